"""The penalised search of the information attacks: descent of c f - alpha I, with c from a search or a rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import draw
from infoadv.attacks.searches import Information, Trace, TrainedInformation, edges, take_over
from infoadv.attacks.tracking import Tracker
from infoadv.information.projection import projection_information
from infoadv.numerics.margins import margin
from infoadv.numerics.optimizers import SGD, Adam
from infoadv.numerics.pixels import on_levels


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
    quantize
        The network sees images rounded to 8 bits, and these are judged and returned.
    start
        "near" begins a thousandth beside the image; "glorot" as the follow-up's code does, which leaves delta to
        TensorFlow's default of that name: uniform within sqrt(6 / (H W + C H)).
    box
        What keeps pixels in [0, 1]. "projected" moves them back. "clipped", as published, clips what the network sees: a pixel
        that has left the range has no gradient and stays at its edge.
    """

    rule: Literal["decoupled", "binary", "primal_dual"]
    steps: int
    rounds: int
    initial_c: float
    alpha: float
    optimizer: Literal["adam", "sgd"]
    learning_rate: float
    quantize: bool = False
    start: Literal["near", "glorot"] = "near"
    box: Literal["projected", "clipped"] = "projected"


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
    low, high = edges(clean, epsilon, penalty.quantize)
    outer_low, outer_high = (low, high) if penalty.box == "projected" else (clean - epsilon, clean + epsilon)
    c = torch.full((len(clean),), float(penalty.initial_c), device=clean.device)
    c_low, c_high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    start = clean + _first_delta(penalty.start, clean, seed, indices)
    for number in range(rounds):
        moved = torch.minimum(torch.maximum(start, outer_low), outer_high).detach().requires_grad_(True)
        optimizer = (Adam if penalty.optimizer == "adam" else SGD)([moved], penalty.learning_rate)
        information = information_of(number)
        trained = cast(TrainedInformation, information) if hasattr(information, "ascend") else None
        truth = trained.truth if trained is not None else partial(projection_information, clean)
        reached = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
        for step in range(penalty.steps):
            perturbed = moved if penalty.box == "projected" else moved.clamp(low, high)
            # The gradient is taken at the rounded image, as if rounding were the identity. That of the information is not: it
            # has none at the clean image, to which small perturbations are rounded.
            seen = perturbed + (on_levels(perturbed) - perturbed).detach() if penalty.quantize else perturbed
            margins = margin(model(seen), labels, targets)
            loss = (confidence - margins).clamp_min(0)
            kept = information(perturbed)
            total = (c * loss - penalty.alpha * kept).sum()
            gradients = torch.autograd.grad(total, moved, retain_graph=trained is not None)
            if trained is not None:
                trained.ascend()
            with torch.no_grad():
                now = number * penalty.steps + step
                attempt = seen.detach()
                judged = (
                    trained.judged(attempt) if trained else information(attempt) if penalty.quantize else kept.detach()
                )
                reached |= take_over(best, attempt, judged, margins.detach(), confidence, now)
                trace.add(now, margins, kept, partial(truth, perturbed.detach()))
                optimizer.step(gradients)
                moved.copy_(torch.minimum(torch.maximum(moved, outer_low), outer_high))
                if penalty.rule == "primal_dual":
                    c = (1 - 0.1 / (step + 1) ** 0.25) * c + 0.1 * loss.detach()
        c_high = torch.where(reached, torch.minimum(c_high, c), c_high)
        c_low = torch.where(reached, c_low, torch.maximum(c_low, c))
        c = torch.where(c_high.isinf(), c * 10, (c_low + c_high) / 2)
    return best, trace


def _first_delta(kind: str, clean: Tensor, seed: int, indices: Tensor) -> Tensor:
    """Return where delta begins, (N, C, H, W): at 0 the information is infinite and its gradient not defined."""
    channels, height, width = shape = tuple(clean.shape[1:])
    if kind == "near":
        return 1e-3 * draw(torch.randn, shape, seed, indices).to(clean.device)
    limit = math.sqrt(6 / (height * width + channels * height))
    return limit * (2 * draw(torch.rand, shape, seed, indices).to(clean.device) - 1)
