"""Similarity of features: gradients and chromaticity (MDSI), phase congruency (FSIM), DCT sub-bands (DSS), as piq has them.

They were made for pictures of some hundred pixels, as people look at, and are given the same picture as the other judges,
enlarged by repeating pixels (see :mod:`infoadv.metrics.viewing`); double precision where it costs little, as in
:mod:`infoadv.metrics.perceptual`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.metrics import MetricContext, MetricError
from infoadv.metrics.perceptual import piq_function
from infoadv.metrics.viewing import one_by_one, shown

SCHEMA: dict[str, dict] = {"mdsi": {}, "fsim": {}, "dss": {}}

ABOUT = {
    "mdsi": {
        "label": "MDSI",
        "better": "lower",
        "group": "perceptual",
        "description": (
            "Mean deviation similarity index (Nafchi et al. 2016): how unevenly gradients and chromaticity differ. Enlarged "
            "by repeating pixels to 128 px, at most 4 times, unless the option says otherwise."
        ),
    },
    "fsim": {
        "label": "FSIM",
        "better": "higher",
        "group": "perceptual",
        "description": (
            "Feature similarity (Zhang et al. 2011): phase congruency and gradients, of colour images the chrominance as "
            "well (FSIMc). Enlarged by repeating pixels to 128 px, at most 4 times, unless the option says otherwise."
        ),
    },
    "dss": {
        "label": "DSS",
        "better": "higher",
        "group": "perceptual",
        "description": (
            "DCT sub-band similarity of the luminance (Balanov et al. 2015), the worst 5 % of places in each sub-band. "
            "Enlarged by repeating pixels to 128 px, at most 4 times, unless the option says otherwise. Where a pixel "
            "becomes a block of 8 x 8 (enlarge: 8), only the sub-band of the means has any content."
        ),
    },
}

#: DSS keeps the worst 5 % of the 8 x 8 blocks, of fewer than 4 x 4 of them none.
_DSS_SMALLEST = 32


@torch.no_grad()
def mdsi(clean: Tensor, adversarial: Tensor, *, context: MetricContext, enlarge: int | None = None) -> Tensor:
    """Return MDSI, 0 for identical images; gray images become three equal channels. From 8 px.

    Raises ``MetricError`` for smaller images and for values that are NaN or outside [0, 1].
    """

    def of_some(reference: Tensor, test: Tensor) -> Tensor:
        pictures = (shown("mdsi", images, enlarge).expand(-1, 3, -1, -1).double() for images in (test, reference))
        return piq_function("mdsi", "mdsi")(*pictures, data_range=1.0, reduction="none")

    return one_by_one(of_some, clean, adversarial)


@torch.no_grad()
def fsim(clean: Tensor, adversarial: Tensor, *, context: MetricContext, enlarge: int | None = None) -> Tensor:
    """Return FSIM of gray and FSIMc of colour images, at most 1. From 8 px.

    Raises ``MetricError`` for smaller images and for values that are NaN or outside [0, 1].
    """

    def of_some(reference: Tensor, test: Tensor) -> Tensor:
        # Single precision: it takes a third of the time, and the sixth digit is the same.
        pictures = (shown("fsim", images, enlarge).float() for images in (test, reference))
        colour = reference.shape[1] == 3
        return piq_function("fsim", "fsim")(*pictures, data_range=1.0, reduction="none", chromatic=colour).double()

    return one_by_one(of_some, clean, adversarial)


@torch.no_grad()
def dss(clean: Tensor, adversarial: Tensor, *, context: MetricContext, enlarge: int | None = None) -> Tensor:
    """Return DSS in [0, 1], 1 for identical images. From 8 px, and 32 px after enlarging.

    Raises ``MetricError`` for smaller images and for values that are NaN or outside [0, 1].
    """

    def of_some(reference: Tensor, test: Tensor) -> Tensor:
        pictures = [shown("dss", images, enlarge).double() for images in (test, reference)]
        height, width = pictures[0].shape[-2:]
        if min(height, width) < _DSS_SMALLEST:
            raise MetricError(
                f"dss: images of {height} x {width} px after enlarging, it needs at least {_DSS_SMALLEST} x "
                f"{_DSS_SMALLEST}; give metrics.dss.enlarge a larger number, or take dss out of metrics."
            )
        return piq_function("dss", "dss")(*pictures, data_range=1.0, reduction="none").double()

    return one_by_one(of_some, clean, adversarial)
