"""Perceptual similarity without learning: SSIM, HaarPSI, GMSD and VIF, as piq computes them.

They are evaluated in double precision: near-identical images differ in the last digits that single precision has, and
a value then does not depend on the batch it was computed in.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from infoadv.metrics import MetricContext, require_size
from infoadv.metrics.viewing import one_by_one

SCHEMA: dict[str, dict] = {"ssim": {}, "haarpsi": {}, "gmsd": {}, "vif": {}}

ABOUT = {
    "ssim": {
        "label": "SSIM",
        "better": "higher",
        "group": "perceptual",
        "order": 50,
        "description": (
            "Structural similarity (Wang et al. 2004), 11 x 11 Gaussian windows that lie fully inside the image, "
            "mean over windows and channels."
        ),
    },
    "haarpsi": {
        "label": "HaarPSI",
        "better": "higher",
        "group": "perceptual",
        "order": 60,
        "description": "Haar wavelet-based perceptual similarity (Reisenhofer et al. 2018); colour images in YIQ.",
    },
    "gmsd": {
        "label": "GMSD",
        "better": "lower",
        "group": "perceptual",
        "order": 70,
        "description": "Gradient magnitude similarity deviation of the luminance (Xue et al. 2014).",
    },
    "vif": {
        "label": "VIF",
        "better": "higher",
        "decimals": 3,
        "group": "perceptual",
        "order": 100,
        "description": (
            "Visual information fidelity of the luminance in the pixel domain (Sheikh and Bovik 2006); images smaller "
            "than 64 px are brought to 64 px by bilinear interpolation. Above 1 after a gain of contrast, and blind to "
            "noise in flat regions."
        ),
    },
}

#: Side, in pixels, to which smaller images are brought for metrics that were made for larger ones.
COMMON_SIDE = 64


def enlarge(images: Tensor, side: int = COMMON_SIDE) -> Tensor:
    """Bring images (N, C, H, W) whose smaller side is below ``side`` to it, bilinearly; the aspect ratio is kept."""
    smaller = min(images.shape[-2:])
    if smaller >= side:
        return images
    height, width = (round(length * side / smaller) for length in images.shape[-2:])
    # The weights of a pixel may add up to one and a last digit, which piq refuses.
    return interpolate(images, size=(height, width), mode="bilinear", align_corners=False).clamp(0, 1)


def piq_function(module: str, function: str) -> Callable[..., Tensor]:
    """Return a function of piq from the one file that holds it.

    ``import piq`` also imports torchvision for metrics that are not used here, which takes longer than torch itself
    and would be paid by every job. A package object that has a path but was not executed lets its files be imported
    alone; it is taken away again, so that a later ``import piq`` finds the whole package.
    """
    name = f"piq.{module}"
    if name not in sys.modules and "piq" not in sys.modules:
        specification: Any = importlib.util.find_spec("piq")
        if specification is None:
            raise ModuleNotFoundError("No module named 'piq'", name="piq")
        sys.modules["piq"] = importlib.util.module_from_spec(specification)
        try:
            importlib.import_module(name)
        finally:
            del sys.modules["piq"]
    elif name not in sys.modules:
        importlib.import_module(name)
    return getattr(sys.modules[name], function)


@torch.no_grad()
def ssim(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return SSIM, at most 1; the mean over the windows that lie inside the image, as in the original. From 11 px.

        (2 m_x m_x' + C1) (2 s_xx' + C2) / ((m_x^2 + m_x'^2 + C1) (s_x^2 + s_x'^2 + C2))
        C1 = 0.01^2,   C2 = 0.03^2

    m, s^2 and s_xx' are mean, variance and covariance in a window (Wang et al. 2004).
    """
    require_size("ssim", clean, 11)

    def of_some(test: Tensor, reference: Tensor) -> Tensor:
        return piq_function("ssim", "ssim")(test, reference, data_range=1.0, reduction="none")

    return one_by_one(of_some, adversarial.double(), clean.double())


@torch.no_grad()
def haarpsi(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return HaarPSI in [0, 1]; gray images by their only channel, colour images with both chrominances. From 16 px.

        l^-1(sum_p w_p l(S_p) / sum_p w_p)^2,   l: logistic function

    S_p is the similarity of the Haar wavelet coefficients of the two finest scales at a place, w_p the larger coefficient
    of a coarse scale (Reisenhofer et al. 2018).
    """
    require_size("haarpsi", clean, 16)
    values = piq_function("haarpsi", "haarpsi")(adversarial.double(), clean.double(), data_range=1.0, reduction="none")
    # Two black images have no coefficient to weight the similarity with: piq returns infinity.
    identical = (clean == adversarial).flatten(1).all(1)
    return torch.where(identical, 1.0, values)


@torch.no_grad()
def gmsd(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return GMSD, 0 for identical images. Any size.

        standard deviation over places of (2 g g' + C) / (g^2 + g'^2 + C)

    g and g' are the gradient magnitudes of the two images (Xue et al. 2014).
    """
    return piq_function("gmsd", "gmsd")(adversarial.double(), clean.double(), data_range=1.0, reduction="none")


@torch.no_grad()
def vif(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return VIF, 1 for identical images; the clean image is the reference. Any size: small images are enlarged.

        sum ln(1 + g^2 s_x^2 / (s_v^2 + s_n^2)) / sum ln(1 + s_x^2 / s_n^2)

    The sums are over scales and windows; x' is g x + v there, s_x^2 and s_v^2 are variances, and s_n^2 is the noise of the
    eye (Sheikh and Bovik 2006).
    """

    def of_some(test: Tensor, reference: Tensor) -> Tensor:
        return piq_function("vif", "vif_p")(test, reference, data_range=1.0, reduction="none")

    return one_by_one(of_some, enlarge(adversarial.double()), enlarge(clean.double()))
