"""The two searches of the information attacks: descent of a penalised loss, and direction apart from norm.

Both look for an adversarial image that keeps the most of a quantity called information here, whatever estimates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import draw
from infoadv.attacks.tracking import Tracker
from infoadv.information.projection import projection_information
from infoadv.numerics.margins import batch_view, margin, smooth_margin
from infoadv.numerics.pixels import on_levels

#: Points of a trace: the whole run, thinned to this many.
TRACE_POINTS = 100
_TINY = 1e-12
#: Share by which the decoupled search shrinks or enlarges the norm, at its beginning and at its end: large ones find the
#: boundary, small ones settle on it. What else was tried is in benchmarks/masking_study.py.
_FIRST_SHARE, _LAST_SHARE = 0.1, 0.01


class Information(Protocol):
    """What an attack keeps: (N,), larger is better, from perturbed images (N, C, H, W)."""

    def __call__(self, perturbed: Tensor) -> Tensor: ...


class TrainedInformation(Information, Protocol):
    """An estimate by critics that are trained along."""

    def ascend(self) -> None:
        """Train the critics on the pairs of the last call, whose graph must still be there."""


@dataclass(frozen=True)
class Penalty:
    """How the penalised loss c f - alpha I is descended.

    Attributes
    ----------
    rule
        "decoupled" has no c. "binary": c from a binary search of ``rounds`` restarts.
        "primal_dual": one round in which c follows the loss.
    steps, rounds
        Steps of a round, and rounds of the binary search.
    initial_c, alpha
        First value of c, and the weight of the information.
    optimizer, learning_rate
        Of the perturbed image.
    """

    rule: Literal["decoupled", "binary", "primal_dual"]
    steps: int
    rounds: int
    initial_c: float
    alpha: float
    optimizer: Literal["adam", "sgd"]
    learning_rate: float


def _take_over(
    tracker: Tracker, images: Tensor, information: Tensor, margins: Tensor, confidence: float, step: int
) -> Tensor:
    """Show the tracker a step, at the cost of the information that is lost; return which images are successful now."""
    success = (margins > 0) & (margins >= confidence)
    tracker.update(images, margins, success, step, cost=-information)
    return success


class Trace:
    """Margin, estimate and closed form along the run, thinned to ``TRACE_POINTS``."""

    def __init__(self, total: int) -> None:
        self.stride = -(-total // TRACE_POINTS)
        self.rows: dict[str, list[Tensor]] = {"margin": [], "estimate": [], "truth": []}
        self.steps: list[int] = []

    def add(self, step: int, margins: Tensor, estimate: Tensor, truth: Callable[[], Tensor]) -> None:
        """Record a step, if its turn has come; ``truth`` is asked only then."""
        if step % self.stride == 0:
            self.steps.append(step)
            for name, values in (("margin", margins), ("estimate", estimate), ("truth", truth())):
                self.rows[name].append(values.detach().float().cpu())

    def tensors(self) -> dict[str, Tensor]:
        """Return ``step`` (P,) and (N, P) of everything else."""
        stacked = {name: torch.stack(rows, 1) for name, rows in self.rows.items()}
        return {"step": torch.tensor(self.steps, dtype=torch.int64), **stacked}


def decoupled(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    information: Information,
    root: Tensor,
    *,
    steps: int,
    confidence: float,
    epsilon: float,
    quantize: bool,
) -> tuple[Tracker, Trace]:
    """Decoupled direction and norm (Rony et al. 2019) in whitened coordinates z = delta ``root``.

    Every step moves z along the normalised gradient, sets its norm, a little smaller where the last image was adversarial
    and a little larger where not, and returns to the box. ``information`` ranks the iterates; ``root`` (N, C, H, W), square
    roots of weights of mean square 1, makes it a plain L2 near the clean image.
    """
    best, trace = Tracker(clean), Trace(steps)
    low, high = (clean - epsilon).clamp_min(0), (clean + epsilon).clamp_max(1)
    if quantize:
        # Rounding must not leave the ball: its edges are moved in to whole levels.
        low, high = (low * 255 - 1e-3).ceil() / 255, (high * 255 + 1e-3).floor() / 255
    z = torch.zeros_like(clean)
    norm = torch.zeros(len(clean), device=clean.device)
    for step in range(steps):
        perturbed = torch.minimum(torch.maximum(clean + z / root, low), high)
        # The gradient is taken at the rounded image, as if rounding were the identity.
        seen = (on_levels(perturbed) if quantize else perturbed).detach().requires_grad_(True)
        logits = model(seen)
        margins = margin(logits, labels, targets)
        (gradient,) = torch.autograd.grad(smooth_margin(logits, labels, targets).sum(), seen)
        with torch.no_grad():
            kept = information(seen.detach())
            success = _take_over(best, seen.detach(), kept, margins.detach(), confidence, step)
            trace.add(step, margins, kept, lambda: projection_information(clean, seen.detach()))  # noqa: B023
            # A pixel at the edge of its range cannot follow: leaving it in the norm would shorten the others.
            blocked = ((perturbed <= low) & (gradient < 0)) | ((perturbed >= high) & (gradient > 0))
            direction = torch.where(blocked, 0.0, gradient / root)
            direction = direction / batch_view(direction.flatten(1).norm(dim=1) + _TINY, direction)
            if step == 0:
                norm = _first_norm(margins, gradient / root, confidence)
            else:
                share = _FIRST_SHARE * (_LAST_SHARE / _FIRST_SHARE) ** (step / steps)
                norm = norm * torch.where(success, 1 - share, 1 + share)
            size = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
            z = (perturbed - clean) * root + batch_view(size * norm, direction) * direction
            z = z * batch_view(norm / (z.flatten(1).norm(dim=1) + _TINY), z)
    return best, trace


def _first_norm(margins: Tensor, gradient: Tensor, confidence: float) -> Tensor:
    """Return (N,) the norm at which a linear model of the loss would cross the boundary, as the first guess."""
    slope = gradient.flatten(1).norm(dim=1)
    return ((confidence - margins).clamp_min(1e-2) / (slope + _TINY)).clamp(0.05, 2.0)


def penalised(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    information_of: Callable[[int], Information | TrainedInformation],
    penalty: Penalty,
    *,
    confidence: float,
    epsilon: float,
    indices: Tensor,
    seed: int,
) -> tuple[Tracker, Trace]:
    """Descend c f - alpha I, with c from a binary search of restarts or from the primal-dual rule.

    ``information_of`` returns what is kept in one round, counted from 0.
    """
    rounds = penalty.rounds if penalty.rule == "binary" else 1
    best, trace = Tracker(clean), Trace(rounds * penalty.steps)
    low, high = (clean - epsilon).clamp_min(0), (clean + epsilon).clamp_max(1)
    c = torch.full((len(clean),), float(penalty.initial_c), device=clean.device)
    c_low, c_high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    # At x' = x the information is infinite and its gradient not defined: start a little beside it.
    start = clean + 1e-3 * draw(torch.randn, tuple(clean.shape[1:]), seed, indices).to(clean.device)
    for number in range(rounds):
        perturbed = torch.minimum(torch.maximum(start, low), high).detach().requires_grad_(True)
        optimizer: torch.optim.Optimizer
        if penalty.optimizer == "adam":
            optimizer = torch.optim.Adam([perturbed], lr=penalty.learning_rate)
        else:
            optimizer = torch.optim.SGD([perturbed], lr=penalty.learning_rate)
        information = information_of(number)
        ascend: Callable[[], None] | None = getattr(information, "ascend", None)
        reached = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
        for step in range(penalty.steps):
            margins = margin(model(perturbed), labels, targets)
            loss = (confidence - margins).clamp_min(0)
            kept = information(perturbed)
            total = (c * loss - penalty.alpha * kept).sum()
            (perturbed.grad,) = torch.autograd.grad(total, perturbed, retain_graph=ascend is not None)
            if ascend is not None:
                ascend()
            with torch.no_grad():
                now = number * penalty.steps + step
                attempt = perturbed.detach().clone()
                reached |= _take_over(best, attempt, kept.detach(), margins.detach(), confidence, now)
                trace.add(now, margins, kept, lambda: projection_information(clean, attempt))  # noqa: B023
                optimizer.step()
                perturbed.copy_(torch.minimum(torch.maximum(perturbed, low), high))
                if penalty.rule == "primal_dual":
                    c = (1 - 0.1 / (step + 1) ** 0.25) * c + 0.1 * loss.detach()
        c_high = torch.where(reached, torch.minimum(c_high, c), c_high)
        c_low = torch.where(reached, c_low, torch.maximum(c_low, c))
        c = torch.where(c_high.isinf(), c * 10, (c_low + c_high) / 2)
    return best, trace
