"""The MNIST and CIFAR networks of Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks" (2017)."""

from __future__ import annotations

from torch import nn

from infoadv.execution.errors import InfoadvError

SCHEMA: dict[str, dict] = {
    "carlini_wagner": {
        "variant": {
            "enum": ["mnist", "cifar"],
            "description": "channels 32, 32, 64, 64 and dense 200, 200 (mnist); 64, 64, 128, 128 and 256, 256 (cifar)",
        }
    }
}
_CHANNELS = {"mnist": (32, 64, 200), "cifar": (64, 128, 256)}


def carlini_wagner(shape: tuple[int, int, int], classes: int, *, variant: str = "mnist") -> nn.Module:
    """Four 3 x 3 convolutions with valid padding, two poolings, three dense layers (their Table I)."""
    first, second, dense = _CHANNELS[variant]
    channels, height, width = shape
    rows, columns = (((size - 4) // 2 - 4) // 2 for size in (height, width))
    if min(rows, columns) < 1:
        raise InfoadvError(
            f"carlini_wagner needs images of at least 16 px, these are {height} x {width}; use small_cnn."
        )
    return nn.Sequential(
        nn.Conv2d(channels, first, 3),
        nn.ReLU(),
        nn.Conv2d(first, first, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3),
        nn.ReLU(),
        nn.Conv2d(second, second, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * rows * columns, dense),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(dense, dense),
        nn.ReLU(),
        nn.Linear(dense, classes),
    )
