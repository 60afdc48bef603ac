"""Pixels: 8-bit levels to floats in [0, 1] and back, in one place, so that every stage sees the same images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def from_levels(levels: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [0, 1] on ``device``."""
    tensor = torch.from_numpy(levels) if isinstance(levels, np.ndarray) else levels
    return tensor.to(device).float() / 255


def to_images(levels: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [0, 1] on ``device``, channels last: the layout that networks are called in."""
    return from_levels(levels, device).contiguous(memory_format=torch.channels_last)


def on_levels(images: Tensor) -> Tensor:
    """Round images in [0, 1] to the nearest of the 256 levels; they stay floats."""
    return (images * 255).round() / 255


def to_levels(images: Tensor) -> Tensor:
    """Turn images in [0, 1] into the nearest uint8 levels."""
    return (images * 255).round().to(torch.uint8)
