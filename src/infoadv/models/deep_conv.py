"""The convolutional CIFAR-10 network of the Keras examples of 2016: the stand-in for "DeepConv" of the profiles' paper.

The paper names that network without defining it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from infoadv.execution.errors import InfoadvError

SCHEMA: dict[str, dict] = {
    "deep_conv": {
        "channels": {
            "minItems": 2,
            "maxItems": 2,
            "items": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "integer", "minimum": 1, "maximum": 4096},
            },
            "default": [[32, 32], [64, 64]],
            "description": "channels of the two convolutions before each of the two poolings",
        },
        "dense": {"minimum": 1, "maximum": 16384, "description": "units of the dense layer"},
    }
}


def deep_conv(
    shape: tuple[int, int, int],
    classes: int,
    *,
    channels: Sequence[Sequence[int]] = ((32, 32), (64, 64)),
    dense: int = 512,
) -> nn.Module:
    """Two blocks of two 3 x 3 convolutions, the first with same padding, the second with valid; two dense layers.

    Dropout 0.25 after each pooling, 0.5 after the dense layer; 1,250,858 parameters by default on 3 x 32 x 32.
    """
    previous, *sides = shape
    for _ in channels:
        sides = [(side - 2) // 2 for side in sides]
    if min(sides) < 1:
        raise InfoadvError(
            f"deep_conv needs images of at least 10 px, these are {shape[1]} x {shape[2]}; use small_cnn."
        )
    layers: list[nn.Module] = []
    for first, second in channels:
        layers += [nn.Conv2d(previous, first, 3, padding=1), nn.ReLU(), nn.Conv2d(first, second, 3), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
        previous = second
    layers += [nn.Flatten(), nn.Linear(previous * sides[0] * sides[1], dense), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(dense, classes))


def resized(options: dict[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    """Return ``options`` with other ``widths``: the channels of each convolution in order, then the dense units."""
    *channels, dense = widths
    return {**options, "channels": [channels[:2], channels[2:]], "dense": dense}
