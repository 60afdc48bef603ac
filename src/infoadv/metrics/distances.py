"""Distances between the pixels of two images: how large a perturbation is, whatever can be seen of it.

They are taken in double precision over all pixels and channels of images in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.metrics import MetricContext

SCHEMA: dict[str, dict] = {"l0": {}, "l2": {}, "linf": {}, "psnr": {}}

ABOUT = {
    "l0": {
        "label": "L0",
        "symbol": "$L_0$",
        "better": "lower",
        "decimals": 0,
        "group": "distance",
        "order": 10,
        "description": "Number of pixels that differ in any channel.",
    },
    "l2": {
        "label": "L2",
        "symbol": "$L_2$",
        "better": "lower",
        "decimals": 3,
        "group": "distance",
        "order": 20,
        "description": "Euclidean norm of the perturbation, of images in [0, 1].",
    },
    "linf": {
        "label": "Linf",
        "symbol": r"$L_\infty$",
        "better": "lower",
        "decimals": 3,
        "group": "distance",
        "order": 30,
        "description": "Largest absolute change of a pixel in a channel, of images in [0, 1].",
    },
    "psnr": {
        "label": "PSNR (dB)",
        "better": "higher",
        "decimals": 1,
        "group": "distance",
        "order": 40,
        "description": "Peak signal-to-noise ratio over all channels, in dB; infinite for identical images.",
    },
}


def _perturbation(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Return the difference as float64 (N, C, H * W)."""
    return (adversarial.double() - clean.double()).flatten(2)


def l0(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the number of pixels, that is places (not place-channel pairs), at which any channel differs.

    |{p : x'_p != x_p}|
    """
    return (clean != adversarial).any(1).flatten(1).sum(1).double()


def l2(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the Euclidean norm of the perturbation: not its square, not its root mean square.

    sqrt(sum_i (x'_i - x_i)^2)
    """
    return _perturbation(clean, adversarial).flatten(1).norm(dim=1)


def linf(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the largest absolute change, in [0, 1].

    max_i |x'_i - x_i|
    """
    return _perturbation(clean, adversarial).abs().flatten(1).amax(1)


def psnr(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the peak signal-to-noise ratio in dB.

        -10 log10(mean_i (x'_i - x_i)^2)

    Identical images have an infinite PSNR, as in scikit-image. No mean that is reported contains one: means are over
    images whose attack succeeded, and an identical image is classified like the clean one.
    """
    return -10 * torch.log10(_perturbation(clean, adversarial).square().flatten(1).mean(1))
