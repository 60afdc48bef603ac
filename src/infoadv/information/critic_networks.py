"""Statistics networks T(u, v) of the bounds on mutual information, one for each image, stacked.

Each parameter has a leading axis of N, the images, and a step is a few batched matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Critics(nn.Module):
    """N networks T(u, v) = w . relu(left(u) + right(v)), each with two linear branches of the layers ``hidden``.

    A branch of several layers has no ReLU between them, as in the authors' follow-up (Hsu et al. 2022: 512 and 10 units).
    It computes what one layer computes, but Adam moves the product of its matrices faster than one matrix of its learning
    rate. The matrices are multiplied before they meet the samples, which costs a tenth.

    Parameters
    ----------
    count
        Number of images N.
    u_dimension, v_dimension
        Length of a sample of each variable.
    hidden
        Units of the layers of a branch; the last are those that the ReLU sees.
    generator
        Where the start comes from.
    start
        "uniform" draws weights and biases within 1 / sqrt(fan in); "glorot" draws weights within
        sqrt(6 / (fan in + fan out)), with zero biases (Glorot and Bengio 2010, equation 16).
    difference
        T sees u - v alone: both branches share their weights, with opposite signs.
    maps
        (H, W) where a sample is a map of H W values: 16 filters of 2 x 2 pixels come before each branch.
    """

    def __init__(
        self,
        count: int,
        u_dimension: int,
        v_dimension: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        *,
        start: str = "uniform",
        difference: bool = False,
        maps: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()

        def draw(*shape: int, fan_in: int, fan_out: int, bias: bool = False) -> nn.Parameter:
            if start == "glorot" and bias:
                one = torch.zeros(shape)
            else:
                limit = math.sqrt(6 / (fan_in + fan_out)) if start == "glorot" else 1 / math.sqrt(fan_in)
                one = limit * (2 * torch.rand(*shape, generator=generator) - 1)
            # Every image starts from the same critic: what it draws cannot depend on its place in the batch.
            return nn.Parameter(one.expand(count, *shape).contiguous())

        self.maps = maps
        self.filters = nn.ParameterList()
        if maps:
            for _ in range(1 if difference else 2):
                self.filters.append(draw(_FILTERS, 1, 2, 2, fan_in=4, fan_out=4 * _FILTERS))
                self.filters.append(draw(_FILTERS, fan_in=4, fan_out=4 * _FILTERS, bias=True))
            u_dimension = v_dimension = _FILTERS * (maps[0] - 1) * (maps[1] - 1)
        widths = {"u": [u_dimension, *hidden], "v": [v_dimension, *hidden]}
        self.a, self.b, self.biases, self.b_biases = (nn.ParameterList() for _ in range(4))
        for layer in range(len(hidden)):
            (rows, columns), (v_rows, _) = (widths[branch][layer : layer + 2] for branch in ("u", "v"))
            self.a.append(draw(rows, columns, fan_in=rows, fan_out=columns))
            if not difference:
                self.b.append(draw(v_rows, columns, fan_in=v_rows, fan_out=columns))
            self.biases.append(draw(1, columns, fan_in=rows, fan_out=columns, bias=True))
            # Of the last layer, only the sum of both biases would count.
            if not difference and layer + 1 < len(hidden):
                self.b_biases.append(draw(1, columns, fan_in=v_rows, fan_out=columns, bias=True))
        self.w = draw(hidden[-1], 1, fan_in=hidden[-1], fan_out=1)
        self.difference = difference

    def branches(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of both branches for u, v (N, K, d), each (N, K, last of ``hidden``)."""
        if self.maps:
            u = self._filtered(u, *list(self.filters)[:2])
            v = self._filtered(v, *list(self.filters)[-2:])
        (weight, bias), (other, shift) = self._layers()
        right = torch.bmm(v, other) if shift is None else torch.baddbmm(shift, v, other)
        return torch.baddbmm(bias, u, weight), right

    def scores(self, u: Tensor, v: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Return T on the pairs (u_k, v_k) and on (u_k, v_order(k)), (N, K) each, for u, v (N, K, d) and ``order`` (K,)."""
        if u.shape[2] > _SHORT:
            left, right = self.branches(u, v)
            joint, broken = (torch.bmm((left + other).relu_(), self.w) for other in (right, right[:, order]))
            return joint.squeeze(-1), broken.squeeze(-1)
        # One product makes the sums of both branches, for both kinds of pairs. Samples are the last axis, along which products
        # with a few units are fastest.
        (weight, bias), (other, shift) = self._layers()
        u, v = torch.cat([u.mT, u.mT], 2), torch.cat([v.mT, v.mT[:, :, order]], 2)
        if self.difference:
            pairs = u - v
        else:
            pairs, weight = torch.cat([u, v], 1), torch.cat([weight, other], 1)
        scored = _ScoreOfPairs.apply(pairs, weight, bias if shift is None else bias + shift, self.w)
        return scored[:, : len(order)], scored[:, len(order) :]

    def all_scores(self, u: Tensor, v: Tensor) -> Tensor:
        """Return T for every sample of u with every one of v, (N, K, K)."""
        left, right = self.branches(u, v)
        return ((left[:, :, None] + right[:, None]).relu_() @ self.w[:, None]).squeeze(-1)

    def _layers(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor | None]]:
        """Return the one matrix and the one bias that each branch comes to; that of the second may be None."""
        weight, bias = _folded(list(self.a), list(self.biases))
        assert bias is not None
        if self.difference:
            # The biases of the first cancel in the difference, those of filters too.
            return (weight, bias), (-weight, None)
        return (weight, bias), _folded(list(self.b), list(self.b_biases))

    def _filtered(self, samples: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        assert self.maps is not None
        count, number = samples.shape[:2]
        images = samples.transpose(0, 1).reshape(number, count, *self.maps)
        out = nn.functional.conv2d(images, weight.flatten(0, 1), bias.flatten(), groups=count)
        return out.view(number, count, -1).transpose(0, 1)


class _ScoreOfPairs(torch.autograd.Function):
    """w . relu(W p + b) of pairs p (N, d, K), (N, K), for W (N, d, H), b (N, 1, H) and w (N, H, 1); differentiable once.

    All gradients are products with one array of zeros and ones, which units are above 0, in the place of the arrays of gradients
    of the size of the hidden layer that automatic differentiation makes: they would take most of the time.
    """

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, weight: Tensor, bias: Tensor, w: Tensor) -> Tensor:
        hidden = torch.baddbmm(bias.mT, weight.mT, pairs).relu_()
        ctx.save_for_backward(pairs, weight, w, hidden)
        return torch.bmm(w.mT, hidden).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pairs, weight, w, hidden = ctx.saved_tensors
        active = hidden.sign()
        gradient = gradient[:, None]
        of_pairs = of_weight = of_bias = of_w = None
        if ctx.needs_input_grad[0]:
            of_pairs = gradient * torch.bmm(weight * w.mT, active)
        if any(ctx.needs_input_grad[1:]):
            # Both at once: the bias is the weight of a constant.
            both = w.mT * torch.bmm(active, torch.cat([gradient * pairs, gradient], 1).mT).mT
            of_weight, of_bias = both[:, :-1], both[:, -1:]
            of_w = torch.bmm(hidden, gradient.mT)
        return of_pairs, of_weight, of_bias, of_w


#: Filters of the follow-up's critic on maps.
_FILTERS = 16
#: Values of a sample up to which one product of pairs is faster than one of each branch: with 10, 32 and 128 units it was slower
#: from 4, 12 and 12 values on. Maps, which go through filters first, have 4 at least.
_SHORT = 3


def _folded(weights: list[Tensor], biases: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the one matrix and the one bias, None for none, of linear layers; ``biases`` may lack the last."""
    weight, bias = weights[-1], biases[-1] if len(biases) == len(weights) else None
    for layer in range(len(weights) - 2, -1, -1):
        inner = torch.bmm(biases[layer], weight)
        bias = inner if bias is None else bias + inner
        weight = torch.bmm(weights[layer], weight)
    return weight, bias
