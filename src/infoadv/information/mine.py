"""MINE (Belghazi et al. 2018) on Gaussian random projections of one image, for many images at once.

One image becomes a batch by random projection: sample k is the pair (M_k x, M_k x'), M_k a d' x D Gaussian matrix. The
critics of N images are stacked (:mod:`infoadv.information.critic_networks`).

Two ways to draw the pairs have the same distribution. ``draw_pairs`` never forms M_k: its rows are Gaussian, so
(m.x, m.x') is bivariate normal with moments that x and x' give exactly, and two standard normals a row are enough instead
of D. Its gradient with respect to x' is the expectation of the other's given the pairs, hence less noisy.
``project_pairs`` forms the matrices, as published; it is the reference, and what is timed against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infoadv.information.bounds import Bound, donsker_varadhan, infonce, log_mean_exp, nwj
from infoadv.information.critic_networks import Critics
from infoadv.information.projection import sine_squared
from infoadv.numerics.optimizers import Adam

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

    ``standardize``: "norm" divides by the exact standard deviations |x| and |x'|; "clean" divides both by |x|, so that a
    change of brightness stays to be seen; "row" standardises the d' entries of each sample (the follow-up's recipe);
    "none" leaves them.
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
    if standardize == "clean":
        return u, (z_norm / x_norm)[:, None, None] * v
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
    if standardize in ("norm", "clean"):
        x_norm = x.norm(dim=1).clamp_min(_TINY)
        u = u / x_norm[:, None, None]
        v = v / (x_norm if standardize == "clean" else (z.square().sum(1) + _TINY).sqrt())[:, None, None]
    elif standardize == "row":
        u, v = _standardize_rows(u), _standardize_rows(v)
    return u, v


def _standardize_rows(samples: Tensor) -> Tensor:
    if samples.shape[-1] == 1:
        return samples
    centred = samples - samples.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + _TINY).sqrt()


def scores(critics: Critics, u: Tensor, v: Tensor, marginal: str, shift: int) -> tuple[Tensor, Tensor]:
    """Return T on the joint pairs (N, K), and on pairs that are not joint, (N, K) or (N, K (K - 1)).

    "derangement" pairs sample k with sample k - shift, ``shift`` in 1..K-1; "offdiagonal" takes all pairs of different
    samples; "permutation" is the plain permutation of the published recipe, fixed points included, which caps the bound
    at ln K (kept to show that).
    """
    samples = u.shape[1]
    if marginal == "offdiagonal":
        every = critics.all_scores(u, v)
        apart = ~torch.eye(samples, dtype=torch.bool, device=u.device)
        return torch.diagonal(every, dim1=1, dim2=2), every[:, apart]
    if marginal == "derangement":
        order = torch.arange(samples).roll(shift)
    else:
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(shift))
    return critics.scores(u, v, order.to(u.device))


class Mine:
    """The estimator during an attack or a measurement: stacked critics, their optimiser and the moving averages.

    Parameters
    ----------
    critics
        The statistics networks.
    learning_rate
        Step of Adam on them.
    marginal, bound, clip
        See :func:`scores` and :mod:`infoadv.information.bounds`. InfoNCE takes all pairs whatever ``marginal``; ``clip``
        and ``moving_average`` are of Donsker-Varadhan alone.
    moving_average
        Rate of the moving average of E_marginal[exp T] in the critic's gradient (Belghazi et al. 2018, section 3.2),
        which removes most of the bias of a small batch; 1 switches it off (plain Donsker-Varadhan).
    """

    def __init__(
        self,
        critics: Critics,
        *,
        learning_rate: float,
        marginal: str,
        clip: float | None,
        moving_average: float,
        bound: Bound = "donsker_varadhan",
    ) -> None:
        self.critics = critics
        self.optimizer = Adam(critics.parameters(), learning_rate)
        self.marginal, self.bound, self.clip, self.rate = marginal, bound, clip, moving_average
        self.log_average: Tensor | None = None

    def estimate(self, u: Tensor, v: Tensor, shift: int) -> Tensor:
        """Return (N,) the bound on these samples, differentiable with respect to them and the critics."""
        if self.bound == "infonce":
            return infonce(self.critics.all_scores(u, v))
        joint, marginal = self._scores(u, v, shift)
        return nwj(joint, marginal) if self.bound == "nwj" else donsker_varadhan(joint, marginal, self.clip)

    def _scores(self, u: Tensor, v: Tensor, shift: int) -> tuple[Tensor, Tensor]:
        return scores(self.critics, u, v, self.marginal, shift)

    def objective(self, u: Tensor, v: Tensor, shift: int) -> tuple[Tensor, Tensor]:
        """Return the bound, (N,), and what the critics ascend, (N,), whose gradient uses the moving average."""
        if self.rate >= 1 or self.bound != "donsker_varadhan":
            bound = self.estimate(u, v, shift)
            return bound, bound
        joint, marginal = self._scores(u, v, shift)
        bound = donsker_varadhan(joint, marginal, self.clip)
        log_mean = log_mean_exp(marginal)
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
        self.optimizer.step(torch.autograd.grad(-ascended.sum(), self.optimizer.parameters))


def measure(
    clean: Tensor,
    perturbed: Tensor,
    *,
    dimension: int = 1,
    samples: int = 256,
    steps: int = 200,
    hidden: int | Sequence[int] = 32,
    learning_rate: float = 0.03,
    held_out: int = 20,
    seed: int = 0,
    marginal: str = "derangement",
    clip: float | None = None,
    bound: Bound = "donsker_varadhan",
    start: str = "uniform",
    difference: bool = False,
) -> Tensor:
    """Return (N,) MINE's estimate, in nats, of the information between projections of ``clean`` and ``perturbed``.

    One fixed protocol, that of the metric ``mi_mine`` and of the calibration figure: each critic is trained for ``steps``
    batches of ``samples`` fresh projections to ``dimension`` rows, then the bound is averaged over ``held_out`` batches
    that it has not seen. The same random numbers serve every image, so that estimates differ by the images alone.
    ``hidden``, ``start`` and ``difference`` are those of :class:`infoadv.information.critic_networks.Critics`.
    """
    generator = torch.Generator().manual_seed(seed)
    device = clean.device
    layers = [hidden] if isinstance(hidden, int) else hidden
    critics = Critics(len(clean), dimension, dimension, layers, generator, start=start, difference=difference)
    mine = Mine(
        critics.to(device),
        learning_rate=learning_rate,
        marginal=marginal,
        clip=clip,
        moving_average=0.01,
        bound=bound,
    )
    standardize = "clean" if difference else "norm"

    def pairs() -> tuple[Tensor, Tensor]:
        return draw_pairs(clean, perturbed, draw_normals(samples, dimension, generator, device), standardize)

    for step in range(steps):
        mine.optimizer.learning_rate = learning_rate * (1 - step / steps)
        _, ascended = mine.objective(*pairs(), 1 + step % (samples - 1))
        mine.ascend(ascended)
    total = torch.zeros(len(clean), device=device)
    with torch.no_grad():
        for batch in range(held_out):
            total += mine.estimate(*pairs(), 1 + batch % (samples - 1))
    return total / held_out
