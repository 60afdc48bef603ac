"""Perturbation information: how much of a perturbation an observer can tell from the image it is hidden in.

In a small window w the image's own texture, of local variance s_x^2(w), and the observer's internal noise, s_n^2, mask a
perturbation of local energy s_d^2(w). For a Gaussian signal in that Gaussian channel

    I(delta; x') = 1/2 sum_w ln(1 + s_d^2(w) / (s_x^2(w) + s_n^2))

This objective is the project's own. Related: perturbation sensitivity (Luo et al. 2018) and sigma maps (Croce and Hein 2019),
which weight by the inverse local standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from infoadv.execution.errors import InfoadvError

WINDOW = 7
SIGMA = 1.5

#: Luminance and two chrominance axes (ITU-R BT.601 luma; red and blue difference), rows scaled to unit length so that
#: noise floors of the three are on one scale.
_OPPONENT = torch.tensor([[0.299, 0.587, 0.114], [0.5, -0.418688, -0.081312], [-0.168736, -0.331264, 0.5]])
OPPONENT = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)


def gaussian_window(size: int = WINDOW, sigma: float = SIGMA, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the (size,) Gaussian whose outer product with itself is the window; it sums to 1."""
    offsets = torch.arange(size, dtype=dtype) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def local_mean(maps: Tensor, window: Tensor) -> Tensor:
    """Return the Gaussian-weighted mean around every pixel, (N, C, H, W); the border is mirrored."""
    count, channels, height, width = maps.shape
    half = len(window) // 2
    flat = pad(maps.reshape(count * channels, 1, height, width), (half, half, half, half), mode="reflect")
    window = window.to(flat)
    flat = conv2d(conv2d(flat, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
    return flat.view(count, channels, height, width)


def local_variance(images: Tensor, window: Tensor) -> Tensor:
    """Return the Gaussian-weighted variance around every pixel, (N, C, H, W)."""
    # Around the image's own mean, so that E[x^2] - E[x]^2 does not cancel in single precision.
    centred = images - images.mean((2, 3), keepdim=True)
    mean = local_mean(centred, window)
    return (local_mean(centred.square(), window) - mean.square()).clamp_min(0)


def to_opponent(images: Tensor) -> Tensor:
    """Turn RGB (N, 3, H, W) into luminance and two chrominance maps (N, 3, H, W)."""
    return torch.einsum("oc,nchw->nohw", OPPONENT.to(images), images)


def _noise(noise: float | Sequence[float], maps: Tensor) -> Tensor:
    values = torch.as_tensor(noise, dtype=maps.dtype, device=maps.device).reshape(-1)
    if len(values) not in (1, maps.shape[1]):
        raise InfoadvError(
            f"noise: {len(values)} values for images of {maps.shape[1]} channels; give one number, or one a channel."
        )
    return values.view(1, -1, 1, 1)


def perturbation_information(
    clean: Tensor, perturbed: Tensor, noise: float | Sequence[float] = 0.1, colour: str = "rgb"
) -> Tensor:
    """Return (N,) the perturbation information in nats, summed over windows (one around every pixel) and channels.

    ``noise`` is the observer's noise s_n, one number or one a channel; ``colour`` is "rgb" (each channel by itself) or
    "opponent" (luminance and chrominance; for gray images the same as "rgb").
    """
    window = gaussian_window(dtype=clean.dtype)
    delta = perturbed - clean
    if colour == "opponent" and clean.shape[1] == 3:
        clean, delta = to_opponent(clean), to_opponent(delta)
    energy = local_mean(delta.square(), window)
    return 0.5 * torch.log1p(energy / (local_variance(clean, window) + _noise(noise, clean) ** 2)).sum((1, 2, 3))


def masking_weights(clean: Tensor, noise: float | Sequence[float] = 0.1, exponent: float = 1.0) -> Tensor:
    """Return W (N, C, H, W), with which the perturbation information of a small delta is 1/2 sum_p W_p delta_p^2.

    W = window * (1 / (s_x^2 + s_n^2)): the adjoint of the local mean applied to the inverse masking variance. An
    ``exponent`` below 1 gives weights like those of earlier work (1/2 with little noise: inverse local standard deviation).
    """
    window = gaussian_window(dtype=clean.dtype)
    inverse = 1 / (local_variance(clean, window) + _noise(noise, clean) ** 2)
    maps = torch.zeros_like(clean).requires_grad_(True)
    with torch.enable_grad():
        (weights,) = torch.autograd.grad((local_mean(maps, window) * inverse).sum(), maps)
    return weights.pow(exponent)
