"""The decoupled search of the information attacks: direction apart from norm, in coordinates that make the objective an L2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from infoadv.attacks.searches import Information, Trace, edges, take_over
from infoadv.attacks.tracking import Tracker
from infoadv.information.projection import projection_information
from infoadv.numerics.margins import batch_view, margin, smooth_margin
from infoadv.numerics.pixels import on_levels

_TINY = 1e-12
#: Length of the last step, in units of the norm.
_LAST_STEP = 0.01
#: Share by which the decoupled search shrinks or enlarges the norm at its end. What else was tried is in
#: benchmarks/masking_study.py.
_LAST_CHANGE = 0.01


class Whitening(Protocol):
    """An invertible linear map T of each image's perturbations, in whose image z = T delta the objective is a plain L2.

    For an objective delta^T W delta that is T^T T = W. All three take and return (N, C, H, W).
    """

    def whiten(self, delta: Tensor) -> Tensor:
        """Return T delta."""

    def unwhiten(self, whitened: Tensor) -> Tensor:
        """Return T^-1 z."""

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Return T^-T g: the gradient with respect to z, from the one with respect to delta."""


@dataclass(frozen=True)
class Diagonal:
    """The whitening of a weighted L2 norm: each value of delta times its ``root`` (N, C, H, W)."""

    root: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> Diagonal:
        """Return the whitening of sum_p W_p delta_p^2, with ``weights`` (N, C, H, W) scaled to a mean of 1 in each image."""
        return cls((weights / weights.mean((1, 2, 3), keepdim=True)).sqrt())

    def whiten(self, delta: Tensor) -> Tensor:
        return delta * self.root

    def unwhiten(self, whitened: Tensor) -> Tensor:
        return whitened / self.root

    def pull_back(self, gradient: Tensor) -> Tensor:
        return gradient / self.root


@dataclass(frozen=True)
class Schedule:
    """How the decoupled search moves, in ``steps`` steps.

    Attributes
    ----------
    first_step
        Length of the first step in units of the norm of z; the last is a hundredth. Steps shorter at first follow a class that
        is near, longer ones find the boundary sooner (benchmarks/observer_study.py).
    norm_change
        Share by which the norm shrinks after a success and grows after a failure at first; in the end it is a hundredth. Large
        ones look for other places on the boundary, small ones settle on one.
    momentum
        Share of the last direction that a step keeps; 0 follows the gradient alone. It smooths the zigzag across a boundary that
        is not straight.
    temperature
        That of the log-sum-exp over the classes in the end; it begins at 1 and falls geometrically. A high one goes where many
        classes are near, a low one to the nearest class by the shortest way. With 1 throughout the search stops near several
        boundaries instead of at the nearest one where the logits of several classes are close, as on robust networks. A search
        towards one class has no log-sum-exp.
    """

    steps: int
    first_step: float
    norm_change: float
    momentum: float
    temperature: float


def decoupled(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    information: Information,
    whitening: Whitening,
    schedule: Schedule,
    *,
    confidence: float,
    epsilon: float,
    quantize: bool,
    classes: int = 1,
) -> tuple[Tracker, Trace]:
    """Decoupled direction and norm (Rony et al. 2019) in whitened coordinates z = T delta.

    Every step moves z along the normalised gradient, sets its norm, a little smaller where the last image was adversarial
    and a little larger where not, and returns to the box. ``information`` ranks the iterates; ``whitening``, on a scale at
    which z is about as long as delta, makes it a plain L2 near the clean image.

    ``classes`` above 1, of an untargeted attack, makes that many searches by the ``schedule``, one towards each of the classes
    with the largest other logits at the clean image. The best iterate of all is kept, whatever class it is taken for.
    """
    if classes == 1 or targets is not None:
        ranks: list[int | None] = [None]
    else:
        ranks = list(range(classes))
    best, trace = Tracker(clean), Trace(schedule.steps * len(ranks))
    for number, rank in enumerate(ranks):
        _search(
            model,
            clean,
            labels,
            targets,
            information,
            whitening,
            best,
            trace,
            rank,
            schedule,
            number * schedule.steps,
            confidence=confidence,
            epsilon=epsilon,
            quantize=quantize,
        )
    return best, trace


def _search(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    information: Information,
    whitening: Whitening,
    best: Tracker,
    trace: Trace,
    rank: int | None,
    schedule: Schedule,
    begun: int,
    *,
    confidence: float,
    epsilon: float,
    quantize: bool,
) -> None:
    """Search once, after ``begun`` steps of others; ``rank`` counts the other classes by their logit, None for any."""
    steps = schedule.steps
    low, high = edges(clean, epsilon, quantize)
    z = last = torch.zeros_like(clean)
    norm = torch.zeros(len(clean), device=clean.device)
    for step in range(steps):
        perturbed = torch.minimum(torch.maximum(clean + whitening.unwhiten(z), low), high)
        # The gradient is taken at the rounded image, as if rounding were the identity.
        seen = (on_levels(perturbed) if quantize else perturbed).detach().requires_grad_(True)
        logits = model(seen)
        margins = margin(logits, labels, targets)
        if rank is None:
            ascended = smooth_margin(logits, labels, targets, schedule.temperature ** (step / steps))
        else:
            if step == 0:
                aim = _other_class(logits.detach(), labels, rank)
            ascended = (logits.gather(1, aim[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
        (gradient,) = torch.autograd.grad(ascended.sum(), seen)
        with torch.no_grad():
            kept = information(seen.detach())
            success = take_over(best, seen.detach(), kept, margins.detach(), confidence, begun + step)
            trace.add(begun + step, margins, kept, partial(projection_information, clean, seen.detach()))
            # A pixel at the edge of its range cannot follow: leaving it in the norm would shorten the others.
            blocked = ((perturbed <= low) & (gradient < 0)) | ((perturbed >= high) & (gradient > 0))
            direction = whitening.pull_back(torch.where(blocked, 0.0, gradient))
            direction = _unit(direction)
            if schedule.momentum and step > 0:
                direction = _unit(schedule.momentum * last + (1 - schedule.momentum) * direction)
            last = direction
            if step == 0:
                # Towards one class the boundary to that class counts, not the nearest.
                ahead = margins if rank is None else ascended.detach()
                norm = _first_norm(ahead, whitening.pull_back(gradient), confidence)
            else:
                change = schedule.norm_change * (_LAST_CHANGE / schedule.norm_change) ** (step / steps)
                norm = norm * torch.where(success, 1 - change, 1 + change)
            size = _LAST_STEP + (schedule.first_step - _LAST_STEP) * 0.5 * (1 + math.cos(math.pi * step / steps))
            z = whitening.whiten(perturbed - clean) + batch_view(size * norm, direction) * direction
            z = z * batch_view(norm / (z.flatten(1).norm(dim=1) + _TINY), z)


def _unit(values: Tensor) -> Tensor:
    return values / batch_view(values.flatten(1).norm(dim=1) + _TINY, values)


def _first_norm(margins: Tensor, gradient: Tensor, confidence: float) -> Tensor:
    """Return (N,) the norm at which a linear model of the loss would cross the boundary, pixels that cannot follow included."""
    slope = gradient.flatten(1).norm(dim=1)
    return ((confidence - margins).clamp_min(1e-2) / (slope + _TINY)).clamp(0.05, 2.0)


def _other_class(logits: Tensor, labels: Tensor, rank: int) -> Tensor:
    """Return (N,) the class with the largest logit but the label (``rank`` 0), the next, ...; the last where there are fewer."""
    others = logits.scatter(1, labels[:, None], -torch.inf).sort(dim=1, descending=True, stable=True).indices
    return others[:, min(rank, logits.shape[1] - 2)]
