"""Dependence of two maps over their positions, in bits, corrected by toroidal shifts.

A spatial position is a sample: these are spatial-dependence scores inside one image, not Shannon's I(X; T) between a
layer and the input, which is degenerate in a deterministic network (Goldfeld et al. 2019).

Any estimate from as few samples as a small map has is biased upwards, and the positions of a smooth map are no
independent samples. What an estimator says of two maps that are not aligned measures that bias: the mean over shifts of
one of the two around the torus, by a quarter of its side or more, which keep both smoothness and ranks, is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

#: Correlations are cut where the copula estimate is 10 bits: equal maps would have infinitely many.
_LARGEST_SQUARE = 1 - 2.0**-20
_BINS = 5
_MAPS = 16


@cache
def shifts(height: int, width: int, count: int, seed: int = 0) -> tuple[tuple[int, int], ...]:
    """Return ``count`` different shifts (rows, columns) by at least a quarter of either side, fewer where there are no more.

    They are drawn by ``seed`` from all of them; a torus of 4 x 4 has 15.
    """

    def far(step: int, side: int) -> bool:
        return min(step, side - step) >= max(1.0, side / 4)

    every = [
        (row, column) for row in range(height) for column in range(width) if far(row, height) or far(column, width)
    ]
    chosen = np.random.default_rng(seed).permutation(len(every))[:count]
    return tuple(every[place] for place in sorted(chosen))


def mean_ranks(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ranks 1 to P of values (..., P) without NaN, equal values sharing their mean rank, float32 (..., P); and where
    all values are equal, bool (...).
    """
    if values.device.type == "cpu" and values.dtype == torch.float32:
        return _mean_ranks_of_floats(values.detach().numpy())
    ordered, order = values.sort(dim=-1)
    places = torch.arange(values.shape[-1], device=values.device).expand_as(order)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    first = torch.where(new, places, 0).cummax(dim=-1).values
    last_of_group = torch.ones_like(new)
    last_of_group[..., :-1] = new[..., 1:]
    beyond = values.shape[-1]
    last = torch.where(last_of_group, places, beyond).flip(-1).cummin(dim=-1).values.flip(-1)
    shared = (first + last).float() / 2 + 1
    return torch.empty_like(shared).scatter_(-1, order, shared), ordered[..., 0] == ordered[..., -1]


def _mean_ranks_of_floats(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the same of float32 ``values``, of a thousand positions four times as fast: value and place are one integer."""
    count = values.shape[-1]
    # The bits of floats are ordered as integers, those of negative ones backwards. A negative zero is no other value.
    bits = (values.reshape(-1, count) + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = (bits.astype(np.int64) << 32) | np.arange(bits.size).reshape(bits.shape)
    keys.sort(axis=-1)
    levels, places = keys >> 32, keys & 0xFFFFFFFF
    new = np.ones(levels.shape, dtype=bool)
    new[:, 1:] = levels[:, 1:] != levels[:, :-1]
    first = np.flatnonzero(new)
    sizes = np.diff(first, append=new.size)
    ranks = np.empty(new.size, np.float32)
    ranks[places.reshape(-1)] = np.repeat((first % count + (sizes + 1) / 2).astype(np.float32), sizes)
    equal = torch.from_numpy(levels[:, 0] == levels[:, -1])
    return torch.from_numpy(ranks).view(values.shape), equal.view(values.shape[:-1])


_Found = TypeVar("_Found")


class Ranked:
    """Maps (N, C, H, W) with what the estimators find of them alone: looked for once, however often they are one of a pair."""

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self._found: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, maps: Tensor | Ranked) -> Ranked:
        return cls(maps) if isinstance(maps, Tensor) else maps

    @cached_property
    def _ranks(self) -> tuple[Tensor, Tensor]:
        return mean_ranks(self.maps.flatten(2))

    @property
    def ranks(self) -> Tensor:
        """The ranks (N, C, H * W) of the positions of each map."""
        return self._ranks[0]

    @property
    def dead(self) -> Tensor:
        """Which maps (N, C) are constant: they depend on nothing."""
        return self._ranks[1]

    def once(self, key: Hashable, find: Callable[[], _Found]) -> _Found:
        """Return what ``find`` returned when it was first asked for under this ``key``."""
        if key not in self._found:
            self._found[key] = find()
        found: _Found = self._found[key]
        return found


def _shifted(maps: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Return maps (N, J, H, W) as they are and after each shift, (N, J, 1 + S, H * W)."""
    every = [maps, *(maps.roll(offset, dims=(2, 3)) for offset in offsets)]
    return torch.stack(every, 2).flatten(3)


def _corrected(bits: Tensor) -> Tensor:
    """Take the mean over the shifts off the estimate: bits (N, I, J, 1 + S) -> (N, I, J)."""
    return bits[..., 0] - bits[..., 1:].mean(-1)


def _scores(ranked: Ranked) -> Tensor:
    """Return the normal scores of maps (N, C, H, W), standardised over the positions; 0 for dead maps."""
    maps = ranked.maps
    positions = maps.shape[2] * maps.shape[3]
    # Shared ranks are halves: twice as many scores as positions, looked up.
    halves = torch.arange(2 * positions + 1, dtype=torch.float32, device=maps.device) / 2
    scores = torch.special.ndtri(halves / (positions + 1))[(2 * ranked.ranks).int()]
    scores = scores - scores.mean(-1, keepdim=True)
    norm = scores.norm(dim=-1, keepdim=True)
    scores = torch.where(ranked.dead[..., None], 0.0, scores / norm.clamp_min(1e-12))
    return scores.view_as(maps)


def copula(first: Tensor | Ranked, second: Tensor | Ranked, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Return the mutual information of every pair of maps under a Gaussian copula, (N, I, J) float32 in bits.

    Normal scores u = Phi^-1(rank / (P + 1)), r their correlation, -1/2 log2(1 - r^2), less its mean over ``offsets``.
    Scores of few ranks are less correlated than what they stand for: r is first enlarged as Olkin and Pratt (1958) do, by
    (1 - r^2) / (2 (P - 4)). The estimate sees monotone dependence.

    Parameters
    ----------
    first, second
        (N, I, H, W) and (N, J, H, W), any units; dead maps give 0. :class:`Ranked` where they are in several pairs.
    offsets
        Shifts of ``second``, from :func:`shifts`.
    """
    one, other = Ranked.of(first), Ranked.of(second)
    scores = other.once(("copula", tuple(offsets)), lambda: _shifted(_scores(other), offsets))
    correlation = torch.einsum("nip,njsp->nijs", _scores(one).flatten(2), scores)
    positions = scores.shape[-1]
    correlation = correlation * (1 + (1 - correlation.square()) / (2 * (positions - 4)))
    return _corrected(-0.5 * torch.log2(1 - correlation.square().clamp_max(_LARGEST_SQUARE)))


def _one_hot(ranked: Ranked) -> Tensor:
    """Return maps (N, C, H, W) as membership of five bins of equal counts, (N, C, 5, H, W) float32."""
    maps = ranked.maps
    positions = maps.shape[2] * maps.shape[3]
    bins = (ranked.ranks - 0.5).mul_(_BINS / positions).floor_().clamp_(max=_BINS - 1)
    hot = bins[:, :, None] == torch.arange(_BINS, device=maps.device)[:, None]
    return hot.float().view(*maps.shape[:2], _BINS, *maps.shape[2:])


def _binned(second: Ranked, offsets: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the shares (N, J, 5) of the bins of the second maps of pairs, and their bins after each shift."""
    right = _one_hot(second)
    return right.mean((3, 4)), _shifted(right.flatten(1, 2), offsets)


def quantile(first: Tensor | Ranked, second: Tensor | Ranked, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Return the mutual information of every pair of maps from five quantile bins each, (N, I, J) float32 in bits.

    Parameters as for :func:`copula`. It sees any dependence, but reads low, because five bins lose information, and the
    more so the fewer the positions are: a Gaussian dependence of 0.32 bit reads 0.25, at 4 x 4 positions 0.10.
    """
    one, other = Ranked.of(first), Ranked.of(second)
    positions = one.maps.shape[2] * one.maps.shape[3]
    left = _one_hot(one)
    share_left = left.mean((3, 4))
    share_right, moved = other.once(("quantile", tuple(offsets)), lambda: _binned(other, offsets))
    # Shares are counts over the positions, so their -s log s are as many numbers as there are counts.
    terms = torch.special.entr(torch.arange(positions + 1, device=left.device) / positions) / math.log(2)
    # The joint counts of many pairs would take gigabytes: some maps of ``first`` at a time.
    parts = []
    for some in left.flatten(3).split(_MAPS, dim=1):
        counts = torch.bmm(some.flatten(1, 2), moved.flatten(1, 2).mT).int()
        joint = terms.index_select(0, counts.flatten()).view_as(counts).unflatten(1, (some.shape[1], _BINS)).sum(2)
        parts.append(joint.unflatten(2, (other.maps.shape[1], _BINS, 1 + len(offsets))).sum(3))
    # I = H(first) + H(second) - H(joint), with 0 log 0 = 0.
    entropies = _entropy(share_left)[:, :, None, None] + _entropy(share_right)[:, None, :, None]
    return _corrected(entropies - torch.cat(parts, 1))


def _entropy(shares: Tensor) -> Tensor:
    return torch.special.entr(shares).sum(-1) / math.log(2)


ESTIMATORS = {"copula": copula, "quantile": quantile}
