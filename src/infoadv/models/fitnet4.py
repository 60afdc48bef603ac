"""FitNet-4 (Romero et al. 2015) with ReLU, the network of "All you need is a good init" (Mishkin and Matas 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from infoadv.execution.errors import InfoadvError

SCHEMA: dict[str, dict] = {
    "fitnet4": {
        "stages": {
            "minItems": 3,
            "maxItems": 3,
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 32,
                "items": {"type": "integer", "minimum": 1, "maximum": 4096},
            },
            "default": [[32, 32, 32, 48, 48], [80, 80, 80, 80, 80, 80], [128, 128, 128, 128, 128, 128]],
            "description": "channels of the convolutions before each of the three poolings",
        },
        "dense": {"minimum": 1, "maximum": 16384, "description": "units of the dense layer"},
        "dropout": {
            "minimum": 0,
            "exclusiveMaximum": 1,
            "description": "share dropped at the input, after each pooling and after the dense layer",
        },
    }
}


def fitnet4(
    shape: tuple[int, int, int],
    classes: int,
    *,
    stages: Sequence[Sequence[int]] = ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6),
    dense: int = 500,
    dropout: float = 0.2,
) -> nn.Module:
    """Three stages of 3 x 3 convolutions; two poolings by 2, one over all positions; 1,276,806 parameters by default.

    Table 2 of Mishkin and Matas, "All you need is a good init" (2016), with ReLU in the place of maxout.
    """
    channels, height, width = shape
    if min(height, width) < 16:
        raise InfoadvError(f"fitnet4 needs images of at least 16 px, these are {height} x {width}; use small_cnn.")
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for number, widths in enumerate(stages):
        for out in widths:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        layers += [nn.MaxPool2d(2) if number < 2 else nn.AdaptiveMaxPool2d(1), nn.Dropout(dropout)]
    layers += [nn.Flatten(), nn.Linear(channels, dense), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dense, classes)]
    return nn.Sequential(*layers)


def resized(options: dict[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    """Return ``options`` with other ``widths``: the channels of each convolution in order, then the dense units."""
    remaining = iter(widths)
    stages = [[next(remaining) for _ in stage] for stage in options["stages"]]
    return {**options, "stages": stages, "dense": next(remaining)}
