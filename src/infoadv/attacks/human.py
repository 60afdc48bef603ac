"""The floor of what an attack can reach in the eyes of people: descent of ColorVideoVDP's own number.

It is here to show how far other attacks are from it, at any cost in passes, and is no rival of theirs: it optimises the
quantity that judges it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from infoadv.attacks import AttackResult, batch_view, margin
from infoadv.attacks.decoupled import Diagonal, Schedule, decoupled
from infoadv.metrics.human import jod_of
from infoadv.numerics.margins import smooth_margin
from infoadv.numerics.optimizers import Adam
from infoadv.numerics.pixels import on_levels

SCHEMA: dict[str, dict] = {
    "jod_descent": {
        "steps": {
            "minimum": 2,
            "description": "gradient steps; the first 60, or half of them, look for a near plain-L2 image",
        },
        "learning_rate": {"exclusiveMinimum": 0, "description": "Adam's, of the perturbation, at the first step"},
        "enlarge": {
            "minimum": 1,
            "maximum": 32,
            "description": "as in the metric jod: times that each pixel is repeated",
        },
        "pixels_per_degree": {"minimum": 1, "maximum": 1000, "description": "as in the metric jod"},
        "display": {"description": "as in the metric jod"},
    }
}
OPTIMISES = {"jod_descent": ["jod"]}

#: Steps of the search for the image to start from.
_START = 60
#: Share by which a multiplier shrinks after a success and grows after a failure, at the beginning and at the end.
_FIRST_SHARE, _LAST_SHARE = 0.2, 0.02
#: Share of its first value that the learning rate has at the end.
_LAST_RATE = 0.05
#: Images whose JOD is differentiated at once: a graph of one takes some hundred megabytes, and a CPU is fastest with one.
_AT_ONCE = {"cpu": 1, "cuda": 16}
_TINY = 1e-12


def jod_descent(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 300,
    learning_rate: float = 0.02,
    confidence: float = 0.0,
    enlarge: int | None = None,
    pixels_per_degree: float = 30.0,
    display: str = "standard_4k",
) -> AttackResult:
    """Maximise the JOD of Mantiuk et al. (2024) on the boundary of the classifier: a Lagrangian under Adam.

    The first steps find an adversarial image that is near in L2. From there the perturbation descends -JOD - c margin, whose
    multiplier c, one an image, shrinks while the image is adversarial and grows while it is not, so that the image stays at the
    boundary and moves along it. Every iterate is judged after rounding to 8 bits; gradients are taken there, as if rounding
    were the identity. Nothing is random.

    Parameters
    ----------
    model
        Takes images in [0, 1] and returns logits (N, classes).
    images, labels
        (N, C, H, W) float in [0, 1] and (N,) int64, C being 1 (gray) or 3 (sRGB).
    targets
        (N,) int64: the class aimed at; None for any other class.
    indices, seed
        As for every attack; not used.
    steps
        Forward and backward passes through the model; all but the first 60 (at most half) with one through ColorVideoVDP.
    learning_rate
        Adam's, of the [0, 1] range a step; it falls to a twentieth.
    confidence
        Margin to be reached, in logits.
    enlarge, pixels_per_degree, display
        Viewing conditions, as in the metric ``jod``.

    Returns
    -------
    AttackResult
        The successful iterate with the highest JOD, else the one nearest to success.

    Raises
    ------
    MetricError
        cvvdp is not installed, the display is unknown, or an image is smaller than 8 pixels.
    """
    size = _AT_ONCE.get(images.device.type, 1)
    seen_by_people = [
        jod_of(part, enlarge=enlarge, pixels_per_degree=pixels_per_degree, display=display)
        for part in images.split(size)
    ]

    def jod_and_gradient(perturbed: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = [], []
        for part, jod in zip(perturbed.split(size), seen_by_people, strict=True):
            leaf = part.detach().requires_grad_(True)
            value = jod(leaf)
            gradients += torch.autograd.grad(value.sum(), leaf)
            values.append(value.detach())
        return torch.cat(values), torch.cat(gradients)

    start = min(_START, steps // 2)
    best, _ = decoupled(
        model,
        images,
        labels,
        targets,
        lambda perturbed: -(perturbed - images).flatten(1).norm(dim=1),
        Diagonal(torch.ones_like(images)),
        Schedule(start, first_step=1.0, norm_change=0.1, momentum=0.0, temperature=1.0),
        confidence=confidence,
        epsilon=1.0,
        quantize=True,
    )
    # From here on the cost is the loss of JOD; the first step enters the image that was found with its own.
    best.cost = torch.full_like(best.cost, torch.inf)
    delta = best.best() - images
    adam = Adam([delta], learning_rate)
    multiplier = torch.zeros(len(images), device=images.device)
    for step in range(steps - start):
        done = step / (steps - start)
        adam.learning_rate = learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)
        seen = on_levels(images + delta).requires_grad_(True)
        logits = model(seen)
        margins = margin(logits, labels, targets).detach()
        (outwards,) = torch.autograd.grad(smooth_margin(logits, labels, targets).sum(), seen)
        value, better = jod_and_gradient(seen)
        with torch.no_grad():
            success = (margins > 0) & (margins >= confidence)
            best.update(seen.detach(), margins, success, start + step, cost=10 - value)
            if step == 0:
                # Both terms pull equally hard at first.
                norms = (gradient.flatten(1).norm(dim=1) for gradient in (better, outwards))
                multiplier = (next(norms) / (next(norms) + _TINY)).clamp_min(_TINY)
            else:
                share = _FIRST_SHARE * (_LAST_SHARE / _FIRST_SHARE) ** done
                multiplier = multiplier * torch.where(success, 1 - share, 1 + share)
            adam.step([-(better + batch_view(multiplier, outwards) * outwards)])
            delta.copy_((images + delta).clamp(0, 1) - images)
    return AttackResult(best.best(), best.first_success)
