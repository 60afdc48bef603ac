"""Checks of tensors that a caller of the library hands in; each error names the argument and the way out."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from infoadv.registry.options import OptionError

#: Rounding a pixel to float32 may pass 0 or 1 by as much.
_SLACK = 1e-6
#: As in a configuration: further numbers are drawn from it, which have to fit as well.
LARGEST_SEED = 2**32 - 1


def check_images(images: Tensor, name: str) -> None:
    """Raise ``OptionError`` unless ``images`` are float32 (N, C, H, W), finite and in [0, 1]."""
    if not isinstance(images, Tensor):
        hint = "its .images" if isinstance(getattr(images, "images", None), Tensor) else "a torch.Tensor"
        raise OptionError(f"{name}: a {type(images).__name__} is not allowed; give {hint}.")
    if images.dtype != torch.float32:
        hint = "divide by 255 and " if images.dtype == torch.uint8 else ""
        raise OptionError(f"{name}: {images.dtype} is not allowed; {hint}give torch.float32 in [0, 1].")
    if images.ndim != 4 or not images.numel():
        raise OptionError(f"{name}: shape {tuple(images.shape)} is not allowed; give (N, C, H, W), none of them 0.")
    low, high = images.min().item(), images.max().item()
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise OptionError(
            f"{name}: values from {low:.3g} to {high:.3g} are not allowed; give images in [0, 1] and put the normalisation "
            "into the model."
        )


def integers(values: Tensor, images: Tensor, name: str) -> Tensor:
    """Return ``values`` (N,) as int64 beside ``images``; raise ``OptionError`` unless they are one integer an image."""
    if not isinstance(values, Tensor):
        raise OptionError(f"{name}: a {type(values).__name__} is not allowed; give a torch.Tensor of integers.")
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise OptionError(f"{name}: {values.dtype} is not allowed; give integers (torch.int64).")
    if values.shape != (len(images),):
        raise OptionError(
            f"{name}: shape {tuple(values.shape)} is not allowed; give one for each image, ({len(images)},)."
        )
    return values.to(images.device, torch.int64)


def numbers(values: Tensor, images: Tensor, name: str) -> Tensor:
    """Return ``values`` (N,) beside ``images``; raise ``OptionError`` unless they are one finite number >= 0 an image."""
    if not isinstance(values, Tensor):
        raise OptionError(
            f"{name}: a {type(values).__name__} is not allowed; give a torch.Tensor, a number for each image."
        )
    if values.shape != (len(images),):
        raise OptionError(
            f"{name}: shape {tuple(values.shape)} is not allowed; give one for each image, ({len(images)},)."
        )
    if values.is_complex() or not bool((values.isfinite() & (values >= 0)).all()):
        raise OptionError(f"{name}: every number must be finite and 0 or more.")
    return values.to(images.device)


def checked_seed(seed: int) -> int:
    """Return ``seed``, one of numpy's as Python's own; raise ``OptionError`` unless a configuration takes it as well."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise OptionError(f"seed: {seed!r} is not allowed; give an integer from 0 to {LARGEST_SEED}.")
    return int(seed)
