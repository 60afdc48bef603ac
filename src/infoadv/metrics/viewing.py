"""How an image is looked at by the judges: as a figure, each of its pixels a square of several.

A picture of 28 pixels is half a degree wide on a usual display, and nothing in it could be seen. It is shown larger in every
paper, and so it is here, by repeating pixels: smoothing would hide what an attack did to single ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from infoadv.metrics import MetricError, require_size

#: An image is enlarged until its smaller side has this many pixels, but not more than ``MOST`` times.
SIDE = 128
MOST = 4

#: The smallest side at which a judge is asked: below it there is no pattern, and some filters have no support.
SMALLEST = 8


def factor(images: Tensor, enlarge: int | None) -> int:
    """Return how often each pixel of images (N, C, H, W) is repeated: ``enlarge``, or what the rule says.

    >>> [factor(torch.zeros(1, 1, side, side), None) for side in (28, 32, 64, 96, 224, 300)]
    [4, 4, 2, 2, 1, 1]
    """
    return enlarge or min(MOST, -(-SIDE // min(images.shape[-2:])))


def shown(name: str, images: Tensor, enlarge: int | None) -> Tensor:
    """Return images (N, C, H, W) in [0, 1] as metric ``name`` looks at them: each pixel a square of ``factor`` pixels.

    Raises
    ------
    MetricError
        A side is below ``SMALLEST`` pixels, or a value is NaN or outside [0, 1].
    """
    require_size(name, images, SMALLEST)
    # NaN fails every comparison.
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise MetricError(
            f"{name}: an image has values that are NaN or outside [0, 1], which no display shows; clip it to [0, 1], or "
            f"take {name} out of metrics."
        )
    times = factor(images, enlarge)
    return images.repeat_interleave(times, -2).repeat_interleave(times, -1)


def one_by_one(function: Callable[..., Tensor], *batches: Tensor) -> Tensor:
    """Return ``function`` of batches (N, ...), (N,); on a CPU of one image after the other, joined.

    The caches of a CPU hold one enlarged image, and 64 of them take four times as long together; the grouped convolutions of
    SSIM and VIF in double precision take ten times as long at 96 px. A GPU takes all at once.
    """
    if batches[0].device.type != "cpu":
        return function(*batches)
    return torch.cat([function(*images) for images in zip(*(batch.split(1) for batch in batches), strict=True)])
