"""Gaussian noise as large as an attack's perturbation: the control row of every table.

A claim about an attack's direction holds only if noise of the same L2 norm does not show the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, draw, places
from infoadv.numerics.margins import batch_view, margin

SCHEMA: dict[str, dict] = {
    "gaussian_noise": {
        "like": {
            "type": "string",
            "description": "attack of the configuration whose 8-bit perturbations the noise equals in L2 norm",
        }
    }
}


def noise_of_norm(images: Tensor, norms: Tensor, indices: Tensor, seed: int) -> Tensor:
    """Return 8-bit images (N, C, H, W), float64 levels / 255: ``images`` and Gaussian noise of L2 norm ``norms`` (N,).

    Clipping to [0, 1] and rounding to 8 bits change the norm, so the amplitude is found by bisection on what is left
    after both: that norm never falls as the amplitude grows. A norm that no amplitude reaches, because every pixel is
    then at a bound, gives the largest norm of that direction. Raises ``AttackError`` as :func:`gaussian_noise` does.
    """
    wanted = norms.to(images.device, torch.float64)
    if wanted.shape != (len(images),) or not bool((wanted.isfinite() & (wanted >= 0)).all()):
        raise AttackError(
            "gaussian_noise needs one finite L2 norm, 0 or more, for each image; take `like` from an attack."
        )
    clean = images.double()
    direction = draw(torch.randn, tuple(images.shape[1:]), seed, indices).to(images.device, torch.float64)

    def noisy(amplitude: Tensor) -> Tensor:
        return ((clean + batch_view(amplitude, clean) * direction).clamp(0, 1) * 255).round() / 255

    def norm(amplitude: Tensor) -> Tensor:
        return (noisy(amplitude) - clean).flatten(1).norm(dim=1)

    # At this amplitude every pixel is at a bound, however small its noise.
    low = torch.zeros_like(wanted)
    high = 1 / direction.abs().flatten(1).amin(1).clamp(min=1e-12)
    for _ in range(100):
        middle = (low + high) / 2
        below = norm(middle) < wanted
        low = torch.where(below, middle, low)
        high = torch.where(below, high, middle)
    return noisy(high)


def gaussian_noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    norms: Tensor,
) -> AttackResult:
    """Add Gaussian noise, one direction an image, so that the 8-bit image's L2 distance equals ``norms``.

        x' = clip(x + s g, 0, 1),   g: normal,   s such that |x' - x| is the norm asked for

    Parameters
    ----------
    model, images, labels, indices, seed, targets
        As for every attack (see :mod:`infoadv.attacks`).
    norms
        (N,) L2 norms over all values of an image, in units of the [0, 1] range; the option ``like`` of the
        configuration names the attack that they come from.

    Returns
    -------
    AttackResult
        ``first_success`` is 0 where the noise changes the prediction as asked, else -1: nothing is iterated.

    Raises
    ------
    AttackError
        If ``norms`` does not hold one finite number, 0 or more, for each image.
    """
    adversarial = noise_of_norm(images, norms, places(indices, images), seed).to(images.dtype)
    with torch.no_grad():
        success = margin(model(adversarial), labels, targets) > 0
    return AttackResult(adversarial, success.long() - 1)
