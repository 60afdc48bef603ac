"""Pixels: 8-bit levels to floats in [0, 1] and back, in one place, so that every stage sees the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: Values of an image from which on fewer are taken at once.
_PIXELS = 3 * 64 * 64


def from_levels(levels: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [0, 1] on ``device``."""
    tensor = torch.from_numpy(levels) if isinstance(levels, np.ndarray) else levels
    return tensor.to(device).float() / 255


def to_images(levels: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [0, 1] on ``device``, channels last: the layout that networks are called in."""
    return from_levels(levels, device).contiguous(memory_format=torch.channels_last)


def batch_size(most: int, shape: Sequence[int]) -> int:
    """Return how many images of ``shape`` (C, H, W) a network sees at once: ``most``, and of large ones fewer.

    What the layers of a network keep grows with the pixels of an image, so from 3 x 64 x 64 on the memory stays the same.

    >>> batch_size(250, (3, 32, 32)), batch_size(250, (3, 224, 224))
    (250, 20)
    """
    return max(1, min(most, most * _PIXELS // math.prod(shape)))


def on_levels(images: Tensor) -> Tensor:
    """Round images in [0, 1] to the nearest of the 256 levels; they stay floats."""
    return (images * 255).round() / 255


def to_levels(images: Tensor) -> Tensor:
    """Turn images in [0, 1] into the nearest uint8 levels."""
    return (images * 255).round().to(torch.uint8)
