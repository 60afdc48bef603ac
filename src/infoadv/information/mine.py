"""MINE (Belghazi et al. 2018) on Gaussian random projections of one image, for many images at once.

One image becomes a batch by random projection: sample k is the pair (M_k x, M_k x'), M_k a d' x D Gaussian matrix. The
critics of N images are stacked: each parameter has a leading axis of N, and a step is a few batched matrix products.

Two ways to draw the pairs have the same distribution. ``draw_pairs`` never forms M_k: its rows are Gaussian, so
(m.x, m.x') is bivariate normal with moments that x and x' give exactly, and two standard normals a row are enough instead
of D. Its gradient with respect to x' is the expectation of the other's given the pairs, hence less noisy.
``project_pairs`` forms the matrices, as published; it is the reference, and what is timed against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infoadv.information.projection import sine_squared

#: Inside square roots, so that their gradient is finite where the images are parallel.
_TINY = 1e-12


@dataclass(frozen=True)
class Draws:
    """Standard normals of one step, shared by all images: two (K, d') arrays."""

    first: Tensor
    second: Tensor


def draw_normals(samples: int, dimension: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Draws:
    """Draw what ``draw_pairs`` needs for ``samples`` projections to ``dimension`` rows."""
    normals = torch.randn(2, samples, dimension, generator=generator).to(device)
    return Draws(normals[0], normals[1])


def draw_pairs(clean: Tensor, perturbed: Tensor, draws: Draws, standardize: str = "norm") -> tuple[Tensor, Tensor]:
    """Return pairs (u, v), each (N, K, d'), distributed as (M_k x, M_k x') with the same M_k for every image.

    ``standardize``: "norm" divides by the exact standard deviations |x| and |x'|; "row" standardises the d' entries of
    each sample (the follow-up's recipe); "none" leaves them.
    """
    x, z = clean.flatten(1), perturbed.flatten(1)
    x_norm = x.norm(dim=1).clamp_min(_TINY)
    # sine_squared keeps its precision where the images are nearly parallel.
    z_norm = (z.square().sum(1) + _TINY).sqrt()
    sine = (sine_squared(clean, perturbed) + _TINY).sqrt()
    cosine = (x * z).sum(1) / (x_norm * z_norm)
    u = draws.first.expand(len(x), -1, -1)
    v = cosine[:, None, None] * draws.first + sine[:, None, None] * draws.second
    if standardize == "norm":
        return u, v
    u, v = x_norm[:, None, None] * u, z_norm[:, None, None] * v
    return (_standardize_rows(u), _standardize_rows(v)) if standardize == "row" else (u, v)


def project_pairs(
    clean: Tensor,
    perturbed: Tensor,
    samples: int,
    dimension: int,
    generator: torch.Generator,
    standardize: str = "norm",
) -> tuple[Tensor, Tensor]:
    """Return pairs like ``draw_pairs`` by drawing the (K d') x D matrix and multiplying, as published."""
    x, z = clean.flatten(1), perturbed.flatten(1)
    matrix = torch.randn(samples * dimension, x.shape[1], generator=generator).to(x)
    u = (x @ matrix.T).view(len(x), samples, dimension)
    v = (z @ matrix.T).view(len(x), samples, dimension)
    if standardize == "norm":
        u = u / x.norm(dim=1).clamp_min(_TINY)[:, None, None]
        v = v / (z.square().sum(1) + _TINY).sqrt()[:, None, None]
    elif standardize == "row":
        u, v = _standardize_rows(u), _standardize_rows(v)
    return u, v


def _standardize_rows(samples: Tensor) -> Tensor:
    if samples.shape[-1] == 1:
        return samples
    centred = samples - samples.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + _TINY).sqrt()


class Critics(nn.Module):
    """N statistics networks T(u, v) = w . relu(u A + v B + b), one for each image, stacked.

    One hidden layer on two linear branches, as in the follow-up of Hsu, Chen and Yu (AAAI 2022; 10 units there).
    """

    def __init__(self, count: int, u_dimension: int, v_dimension: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()

        def uniform(*shape: int, fan_in: int) -> nn.Parameter:
            one = (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)
            return nn.Parameter(one.expand(count, *shape).contiguous())

        # Every image starts from the same critic: what it draws cannot depend on its place in the batch.
        self.a = uniform(u_dimension, hidden, fan_in=u_dimension)
        self.b = uniform(v_dimension, hidden, fan_in=v_dimension)
        self.bias = uniform(1, hidden, fan_in=u_dimension)
        self.w = uniform(hidden, 1, fan_in=hidden)

    def branches(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return u A + b and v B, each (N, K, hidden)."""
        return torch.baddbmm(self.bias, u, self.a), torch.bmm(v, self.b)

    def score(self, left: Tensor, right: Tensor) -> Tensor:
        """Return T for pairs of branch outputs, (N, K)."""
        return torch.bmm((left + right).relu(), self.w).squeeze(-1)


def marginal_scores(critics: Critics, left: Tensor, right: Tensor, marginal: str, shift: int) -> Tensor:
    """Return T on pairs that are not joint, (N, K) or (N, K (K - 1)).

    "derangement" pairs sample k with sample k + shift, ``shift`` in 1..K-1; "offdiagonal" takes all pairs of different
    samples; "permutation" is the plain permutation of the published recipe, fixed points included, which caps the bound
    at ln K (kept to show that).
    """
    if marginal == "derangement":
        return critics.score(left, right.roll(shift, 1))
    samples = left.shape[1]
    if marginal == "permutation":
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(shift)).to(right.device)
        return critics.score(left, right[:, order])
    rows = (left[:, :, None] + right[:, None]).relu_() @ critics.w[:, None]
    apart = ~torch.eye(samples, dtype=torch.bool, device=left.device)
    return rows.squeeze(-1)[:, apart]


def donsker_varadhan(joint: Tensor, marginal: Tensor, clip: float | None = None) -> Tensor:
    """Return (N,) E_joint[T] - log E_marginal[exp T], in nats.

    ``clip`` bounds T inside the logarithm to [-clip, clip] (SMILE, Song and Ermon 2020), which trades a bias for a much
    smaller variance. From K samples no such bound exceeds O(ln K) reliably (McAllester and Stratos 2020).
    """
    if clip is not None:
        marginal = marginal.clamp(-clip, clip)
    return joint.mean(1) - (marginal.logsumexp(1) - math.log(marginal.shape[1]))


class Mine:
    """The estimator during an attack or a measurement: stacked critics, their optimiser and the moving averages.

    Parameters
    ----------
    count, u_dimension, v_dimension
        Number of images; length of a sample of each variable.
    hidden, learning_rate
        Units of the critic; step of Adam on it.
    marginal, clip
        See ``marginal_scores`` and ``donsker_varadhan``.
    moving_average
        Rate of the moving average of E_marginal[exp T] in the critic's gradient (Belghazi et al. 2018, section 3.2),
        which removes most of the bias of a small batch; 1 switches it off (plain Donsker-Varadhan).
    """

    def __init__(
        self,
        count: int,
        u_dimension: int,
        v_dimension: int,
        *,
        hidden: int,
        learning_rate: float,
        marginal: str,
        clip: float | None,
        moving_average: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.critics = Critics(count, u_dimension, v_dimension, hidden, generator).to(device)
        self.optimizer = torch.optim.Adam(self.critics.parameters(), lr=learning_rate)
        self.marginal, self.clip, self.rate = marginal, clip, moving_average
        self.log_average: Tensor | None = None

    def estimate(self, u: Tensor, v: Tensor, shift: int) -> Tensor:
        """Return (N,) the bound on these samples, differentiable with respect to them and the critics."""
        joint, marginal = self._scores(u, v, shift)
        return donsker_varadhan(joint, marginal, self.clip)

    def _scores(self, u: Tensor, v: Tensor, shift: int) -> tuple[Tensor, Tensor]:
        left, right = self.critics.branches(u, v)
        return self.critics.score(left, right), marginal_scores(self.critics, left, right, self.marginal, shift)

    def objective(self, u: Tensor, v: Tensor, shift: int) -> tuple[Tensor, Tensor]:
        """Return the bound, (N,), and what the critics ascend, (N,), whose gradient uses the moving average."""
        joint, marginal = self._scores(u, v, shift)
        bound = donsker_varadhan(joint, marginal, self.clip)
        if self.rate >= 1:
            return bound, bound
        log_mean = marginal.logsumexp(1) - math.log(marginal.shape[1])
        now = log_mean.detach()
        if self.log_average is None:
            self.log_average = now
        else:
            previous = self.log_average + math.log1p(-self.rate)
            self.log_average = torch.logaddexp(previous, now + math.log(self.rate))
        # The gradient of E[exp T] / average: a ratio whose denominator does not belong to this batch alone.
        return bound, joint.mean(1) - (log_mean - self.log_average).exp()

    def ascend(self, ascended: Tensor) -> None:
        """Take one Adam step on the critics."""
        gradients = torch.autograd.grad(-ascended.sum(), list(self.critics.parameters()))
        for parameter, gradient in zip(self.critics.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()


def measure(
    clean: Tensor,
    perturbed: Tensor,
    *,
    dimension: int = 1,
    samples: int = 256,
    steps: int = 200,
    hidden: int = 32,
    learning_rate: float = 0.03,
    held_out: int = 20,
    seed: int = 0,
    marginal: str = "derangement",
    clip: float | None = None,
) -> Tensor:
    """Return (N,) MINE's estimate, in nats, of the information between projections of ``clean`` and ``perturbed``.

    One fixed protocol, that of the metric ``mi_mine`` and of the calibration figure: each critic is trained for ``steps``
    batches of ``samples`` fresh projections to ``dimension`` rows, then the bound is averaged over ``held_out`` batches
    that it has not seen. The same random numbers serve every image, so that estimates differ by the images alone.
    """
    generator = torch.Generator().manual_seed(seed)
    device = clean.device
    mine = Mine(
        len(clean),
        dimension,
        dimension,
        hidden=hidden,
        learning_rate=learning_rate,
        marginal=marginal,
        clip=clip,
        moving_average=0.01,
        generator=generator,
        device=device,
    )
    for step in range(steps):
        for group in mine.optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        u, v = draw_pairs(clean, perturbed, draw_normals(samples, dimension, generator, device))
        _, ascended = mine.objective(u, v, 1 + step % (samples - 1))
        mine.ascend(ascended)
    total = torch.zeros(len(clean), device=device)
    with torch.no_grad():
        for batch in range(held_out):
            u, v = draw_pairs(clean, perturbed, draw_normals(samples, dimension, generator, device))
            total += mine.estimate(u, v, 1 + batch % (samples - 1))
    return total / held_out
