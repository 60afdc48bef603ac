"""Colour difference, for colour images only."""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.metrics import MetricContext

SCHEMA: dict[str, dict] = {"ciede2000": {}}

ABOUT = {
    "ciede2000": {
        "label": "CIEDE2000",
        "better": "lower",
        "decimals": 2,
        "group": "perceptual",
        "colour_only": True,
        "order": 90,
        "description": (
            "CIEDE2000 colour difference (Sharma et al. 2005) of sRGB images under D65, mean over pixels; about 1 is "
            "just noticeable. Not defined for gray images."
        ),
    },
}


def ciede2000(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the mean over pixels of scikit-image's CIEDE2000, for sRGB under D65; NaN for gray images.

        mean over pixels of sqrt(dL^2 + dC^2 + dH^2 + R dC dH)

    dL, dC and dH are weighted differences of lightness, chroma and hue in CIELAB (Sharma et al. 2005).
    """
    if clean.shape[1] != 3:
        return torch.full((len(clean),), torch.nan, dtype=torch.float64, device=clean.device)
    from skimage.color import deltaE_ciede2000, rgb2lab

    lab = [rgb2lab(images.double().cpu().numpy(), channel_axis=1) for images in (clean, adversarial)]
    difference = deltaE_ciede2000(*lab, channel_axis=1)
    return torch.from_numpy(difference).flatten(1).mean(1).to(clean.device)
