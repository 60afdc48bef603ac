"""A small convolutional network for the default configuration: minutes of training would be wasted on the digits."""

from __future__ import annotations

from torch import nn

SCHEMA: dict[str, dict] = {
    "small_cnn": {"width": {"minimum": 4, "maximum": 256, "description": "channels of the first layer"}}
}


def small_cnn(shape: tuple[int, int, int], classes: int, *, width: int = 16) -> nn.Module:
    """Three strided 3 x 3 convolutions and two dense layers; any size of 16 px and more."""
    channels, height, width_px = shape
    cells = -(-height // 8) * -(-width_px // 8)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * width * cells, 8 * width),
        nn.ReLU(),
        nn.Linear(8 * width, classes),
    )
