"""What an observer can tell of a perturbation: perturbation information behind opponent colours and contrast sensitivity.

A linear front end turns an image into what is seen of it. Each pixel becomes luminance and two chrominance axes (the matrix
O), and a filter F weighs the spatial frequencies of luminance by the observer's sensitivity to them. Behind it stand the
windows of :mod:`infoadv.information.masking`, with a noise s_n for luminance and one for chrominance:

    I(delta; x') = 1/2 sum over windows w and axes of ln(1 + s_d^2(w) / (s_x^2(w) + s_n^2))

s_d^2 is the local energy of F O delta, s_x^2 the local variance of F O x. For a small delta the logarithm is its argument.
The energy of a window is linear in the squares of F O delta, so with V = window * 1 / (s_x^2 + s_n^2), the adjoint of the
local mean applied to the inverse variances,

    I = 1/2 sum_p V_p (F O delta)_p^2 = 1/2 delta^T W delta,    W = O^T F V F O

F being symmetric. So T = V^(1/2) F O whitens the form, W = T^T T. O is a 3 x 3 matrix a pixel whose rows are not orthogonal,
F is diagonal in the cosine transform of the whole image, V is diagonal in space: T, its inverse O^-1 F^-1 V^(-1/2) and the
inverse of its transpose V^(-1/2) F^-1 O^-T cost a few products of small matrices.

The sensitivity to luminance is f^0.8 exp(-0.2 f), f in cycles per degree (Movshon and Kiorpes 1988, "Analysis of the
development of spatial contrast sensitivity in monkey and human infants", as used by Johnson and Fairchild 2003, "A top down
description of S-CIELAB and CIEDE2000"). It is raised to a power below 1, because what is far above threshold looks the more
alike at all frequencies (contrast constancy, Georgeson and Sullivan 1975). Chrominance passes unfiltered: at the frequencies
that an image of some ten pixels a degree can show, its sensitivity is nearly flat.

There are no bands: a window hides all frequencies of an axis alike, and the noise of an axis is the same at all of them. With
a power of 0, which the rule of the tuning picks for the attack, F is the identity, and what is left of the observer is opponent
colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from infoadv.information.masking import OPPONENT, masking_weights, perturbation_information


def cosine_transform(size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II) of ``size`` points, (size, size): a frequency a row."""
    steps = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * steps[:, None] * (steps + 0.5)) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.to(dtype)


def luminance_sensitivity(height: int, width: int, pixels_per_degree: float) -> Tensor:
    """Return the contrast sensitivity (height, width) at the frequencies of a cosine transform, 1 at its largest; float64.

    It would be 0 for a constant, which is taken at half of the lowest frequency that there is.
    """
    down, across = (
        torch.arange(size, dtype=torch.float64) * pixels_per_degree / (2 * size) for size in (height, width)
    )
    frequency = torch.hypot(down[:, None], across).clamp_min(pixels_per_degree / (4 * max(height, width)))
    sensitivity = frequency**0.8 * torch.exp(-0.2 * frequency)
    return sensitivity / sensitivity.max()


@dataclass(frozen=True)
class FrontEnd:
    """F O: from images (N, C, H, W) to what is seen of them, of the same shape, and back. A gray image is luminance alone.

    ``down`` (H, H) and ``across`` (W, W) are cosine transforms, ``gain`` (H, W) that of luminance at each frequency.
    """

    down: Tensor
    across: Tensor
    gain: Tensor

    @classmethod
    def of(cls, images: Tensor, pixels_per_degree: float, sensitivity: float) -> FrontEnd:
        """Return the front end for ``images``; ``sensitivity`` is the power of the contrast sensitivity, 0 for no filter."""
        height, width = images.shape[2:]
        gain = luminance_sensitivity(height, width, pixels_per_degree) ** sensitivity
        return cls(cosine_transform(height).to(images), cosine_transform(width).to(images), gain.to(images))

    def see(self, images: Tensor) -> Tensor:
        """Return F O applied to images or perturbations."""
        return self._filtered(_each_pixel(OPPONENT, images), self.gain)

    def restore(self, seen: Tensor) -> Tensor:
        """Return O^-1 F^-1: what looks like ``seen``."""
        return _each_pixel(_INVERSE, self._filtered(seen, 1 / self.gain))

    def restore_adjoint(self, gradient: Tensor) -> Tensor:
        """Return F^-1 O^-T, the adjoint of :meth:`restore`."""
        return self._filtered(_each_pixel(_INVERSE.T, gradient), 1 / self.gain)

    def _filtered(self, maps: Tensor, gain: Tensor) -> Tensor:
        # Chrominance is unfiltered, so only luminance goes through the transform.
        luminance = self.down.T @ (gain * (self.down @ maps[:, 0] @ self.across.T)) @ self.across
        return torch.cat([luminance[:, None], maps[:, 1:]], 1)


_INVERSE = torch.linalg.inv(OPPONENT.double())


def _each_pixel(matrix: Tensor, maps: Tensor) -> Tensor:
    """Return ``matrix`` (3, 3) applied to the colours (N, 3, H, W) of each pixel; gray maps (N, 1, H, W) as they are."""
    if maps.shape[1] != 3:
        return maps
    return (matrix.to(maps) @ maps.flatten(2)).view(maps.shape)


@dataclass(frozen=True)
class Observer:
    """The observer of some clean images: perturbation information behind a front end, and its whitening.

    ``seen`` (N, C, H, W) is what is seen of the clean images, ``noise`` s_n of each axis, ``root`` (N, C, H, W) the square
    root of V, scaled to a mean square of 1 in each image.
    """

    clean: Tensor
    front: FrontEnd
    seen: Tensor
    noise: tuple[float, ...]
    root: Tensor

    @classmethod
    def of(
        cls, clean: Tensor, luminance: float, chrominance: float, pixels_per_degree: float, sensitivity: float
    ) -> Observer:
        """Return the observer of ``clean`` (N, C, H, W) in [0, 1], with these s_n of its axes."""
        front = FrontEnd.of(clean, pixels_per_degree, sensitivity)
        seen = front.see(clean)
        noise = (luminance, *[chrominance] * (clean.shape[1] - 1))
        weights = masking_weights(seen, noise)
        return cls(clean, front, seen, noise, (weights / weights.mean((1, 2, 3), keepdim=True)).sqrt())

    def information(self, perturbed: Tensor) -> Tensor:
        """Return (N,) the perturbation information in nats."""
        seen = self.seen + self.front.see(perturbed - self.clean)
        return perturbation_information(self.seen, seen, self.noise)

    def whiten(self, delta: Tensor) -> Tensor:
        """Return T delta, T being V^(1/2) F O up to a factor an image."""
        return self.root * self.front.see(delta)

    def unwhiten(self, whitened: Tensor) -> Tensor:
        """Return T^-1 z."""
        return self.front.restore(whitened / self.root)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Return T^-T g."""
        return self.front.restore_adjoint(gradient) / self.root
