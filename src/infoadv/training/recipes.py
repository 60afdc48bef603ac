"""Training recipes: the loss of one batch. The loop around it is in :mod:`infoadv.training`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

SCHEMA: dict[str, dict] = {
    "standard": {},
    "fast_adversarial": {
        "step": {
            "exclusiveMinimum": 0,
            "maximum": 2,
            "description": "step of the single-step attack, in units of epsilon",
        },
    },
}


def signed_step(loss: Callable[[Tensor], Tensor], images: Tensor, delta: Tensor, epsilon: float, step: float) -> Tensor:
    """Return ``delta`` after one signed-gradient ascent of ``loss(images + delta)``, inside the L-infinity ball and [0, 1]."""
    delta = delta.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(images + delta), delta)
    return stepped(images, delta.detach(), gradient, epsilon, step)


def stepped(images: Tensor, delta: Tensor, gradient: Tensor, epsilon: float, step: float) -> Tensor:
    """Return ``delta`` after one step along the signs of ``gradient``, inside the L-infinity ball and [0, 1]."""
    delta = (delta + step * gradient.sign()).clamp(-epsilon, epsilon)
    return (images + delta).clamp(0, 1) - images


def linf_step(model: nn.Module, images: Tensor, labels: Tensor, delta: Tensor, epsilon: float, step: float) -> Tensor:
    """Return ``delta`` after one signed-gradient ascent of the cross-entropy, inside the L-infinity ball and [0, 1]."""
    return signed_step(lambda shifted: cross_entropy(model(shifted).float(), labels), images, delta, epsilon, step)


def random_start(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return perturbations drawn evenly from the L-infinity ball, inside [0, 1]; channels last, as networks are called."""
    noise = torch.rand(images.shape, generator=generator).to(images.device)
    delta = (images + (2 * noise - 1) * epsilon).clamp(0, 1) - images
    return delta.contiguous(memory_format=torch.channels_last)


def standard(
    model: nn.Module, images: Tensor, labels: Tensor, *, smoothing: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cross-entropy on the clean batch. Returns the loss and the logits."""
    logits = model(images).float()
    return cross_entropy(logits, labels, label_smoothing=smoothing), logits


def fast_adversarial(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    epsilon: float = 0.1,
    step: float = 1.25,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy after one signed-gradient step from a random start (Wong, Rice and Kolter 2020, algorithm 3)."""
    delta = random_start(images, epsilon, generator)
    delta = linf_step(model, images, labels, delta, epsilon, step * epsilon)
    return standard(model, images + delta, labels, smoothing=smoothing, generator=generator)
