"""Mutual information between the pixel values of two images, by histogram."""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.metrics import MetricContext

SCHEMA: dict[str, dict] = {"nmi": {}}

ABOUT = {
    "nmi": {
        "label": "NMI",
        "better": "higher",
        "decimals": 3,
        "group": "information",
        "order": 110,
        "description": (
            "Normalised mutual information (H(x) + H(x')) / H(x, x') (Studholme et al. 1999), 1 to 2, of histograms "
            "with 16 bins over the fixed range 0 to 255, mean over channels. Also 2 for an inverted image."
        ),
    },
}

#: Equal bins over the 256 gray levels. More bins fill with chance: with 100 two unrelated 32-px images score 1.3.
BINS = 16


def _entropy(counts: Tensor) -> Tensor:
    """Return the entropy, in nats, of the histograms along the last axis."""
    shares = counts / counts.sum(-1, keepdim=True)
    return -torch.special.xlogy(shares, shares).sum(-1)


def nmi(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the normalised mutual information, mean over the channels (each with a histogram of its own).

        (H(x) + H(x')) / H(x, x')

    scikit-image's function spreads its bins over the values that occur, so one pixel can move them all; here a bin is
    16 gray levels of the 8-bit image, always. Where both images lie in one bin all entropies are 0, and the value is
    2, the limit for identical images.
    """
    count, channels = clean.shape[:2]
    bin_of = [(images.double() * 255).round().long() * BINS // 256 for images in (clean, adversarial)]
    cell = (bin_of[0] * BINS + bin_of[1]).flatten(2).flatten(0, 1)
    offset = torch.arange(count * channels, device=clean.device)[:, None] * BINS**2
    joint = torch.bincount((cell + offset).flatten(), minlength=count * channels * BINS**2)
    joint = joint.view(count, channels, BINS, BINS).double()
    together = _entropy(joint.flatten(2))
    apart = _entropy(joint.sum(3)) + _entropy(joint.sum(2))
    return torch.where(together > 0, apart / together.where(together > 0, 1), 2.0).mean(1)
