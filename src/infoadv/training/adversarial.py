"""Training against attacks of several steps, for robust networks that one takes seriously.

Single steps (``fast_adversarial``) are cheaper and fail where the radius is large: the network learns to fool the step
(Wong, Rice and Kolter 2020). The attack looks at the network as it will be attacked: in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from infoadv.training.recipes import random_start, signed_step, standard

SCHEMA: dict[str, dict] = {
    "pgd_adversarial": {},
    "trades": {
        "beta": {
            "minimum": 0,
            "description": "weight of robustness against accuracy; 6 in the paper, 1 for more accuracy",
        },
    },
}

#: Standard deviation of the noise that TRADES starts from.
_TRADES_START = 0.001


def _attacked(
    model: nn.Module,
    images: Tensor,
    delta: Tensor,
    loss: Callable[[Tensor], Tensor],
    epsilon: float,
    steps: int,
    step: float,
) -> Tensor:
    """Return ``images`` after signed ascents of a ``loss`` of their logits, which begin at ``delta``."""
    training = model.training
    model.eval()
    for _ in range(steps):
        delta = signed_step(lambda shifted: loss(model(shifted).float()), images, delta, epsilon, step * epsilon)
    model.train(training)
    return images + delta


def pgd_adversarial(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    epsilon: float = 0.1,
    steps: int = 7,
    step: float = 0.25,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy after PGD from a random start (Madry et al. 2018). Returns the loss and the logits (N x classes).

    ``epsilon`` is the L-infinity radius for images in [0, 1], ``step`` in units of it.
    """
    start = random_start(images, epsilon, generator)
    attacked = _attacked(model, images, start, lambda logits: cross_entropy(logits, labels), epsilon, steps, step)
    return standard(model, attacked, labels, smoothing=smoothing, generator=generator)


def trades(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    epsilon: float = 0.1,
    steps: int = 10,
    step: float = 0.25,
    beta: float = 6.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy on the clean batch and ``beta`` times the divergence of the outputs near it from those on it.

    The TRADES loss of Zhang et al. 2019, equation 5: KL(f(x) || f(x')), with x' in the L-infinity ball of radius ``epsilon``
    where PGD finds it largest. Returns the loss and the logits of the clean images (N x classes).
    """
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    start = (images + _TRADES_START * noise).clamp(0, 1) - images
    start = start.contiguous(memory_format=torch.channels_last)
    training = model.training
    model.eval()
    with torch.no_grad():
        clean = model(images).float().log_softmax(1)
    model.train(training)

    def divergence(logits: Tensor, wanted: Tensor = clean) -> Tensor:
        return kl_div(logits.log_softmax(1), wanted, reduction="batchmean", log_target=True)

    attacked = _attacked(model, images, start, divergence, epsilon, steps, step)
    loss, logits = standard(model, images, labels, smoothing=smoothing, generator=generator)
    return loss + beta * divergence(model(attacked).float(), logits.log_softmax(1)), logits
