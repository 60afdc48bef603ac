"""The penalised search of the information attacks: descent of c f - alpha I, with c from a search or a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import draw
from infoadv.attacks.searches import Information, Trace, TrainedInformation, take_over
from infoadv.attacks.tracking import Tracker
from infoadv.information.projection import projection_information
from infoadv.numerics.margins import margin


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
                reached |= take_over(best, attempt, kept.detach(), margins.detach(), confidence, now)
                trace.add(now, margins, kept, lambda: projection_information(clean, attempt))  # noqa: B023
                optimizer.step()
                perturbed.copy_(torch.minimum(torch.maximum(perturbed, low), high))
                if penalty.rule == "primal_dual":
                    c = (1 - 0.1 / (step + 1) ** 0.25) * c + 0.1 * loss.detach()
        c_high = torch.where(reached, torch.minimum(c_high, c), c_high)
        c_low = torch.where(reached, c_low, torch.maximum(c_low, c))
        c = torch.where(c_high.isinf(), c * 10, (c_low + c_high) / 2)
    return best, trace
