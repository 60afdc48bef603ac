"""Closed form of the mutual information between Gaussian random projections of one image and of its perturbed copy.

For one Gaussian row m, (m.x, m.x') is exactly bivariate normal with correlation rho = cos(x, x'), so d' rows carry
-(d'/2) ln(1 - rho^2) nats. This is what MINE estimates in Hsu, Chen and Yu (2020), section II, with no network.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sine_squared(clean: Tensor, perturbed: Tensor) -> Tensor:
    """Return (N,) 1 - cos^2 of the angle between images, from the part of the perturbation that is orthogonal to x.

    Written as 1 - rho^2 it would cancel: at an L2 of 1e-3, rho is 1 to within single precision.
    """
    clean, delta = clean.flatten(1), (perturbed - clean).flatten(1)
    energy = clean.square().sum(1, keepdim=True).clamp_min(torch.finfo(clean.dtype).tiny)
    along = (clean * delta).sum(1, keepdim=True) / energy
    orthogonal = delta - along * clean
    return orthogonal.square().sum(1) / (clean + delta).square().sum(1).clamp_min(torch.finfo(clean.dtype).tiny)


def projection_information(clean: Tensor, perturbed: Tensor, dimension: int = 1) -> Tensor:
    """Return (N,) the mutual information, in nats, of ``dimension`` Gaussian projections; infinite where x' = a x.

    Only the angle between the images matters: a change of brightness scale is free, and so is where a change lies.

    >>> x = torch.tensor([[[[1.0, 0.0]]]])
    >>> projection_information(x, torch.tensor([[[[1.0, 1.0]]]])).item()  # rho^2 = 1/2
    0.3465735912322998
    """
    return -0.5 * dimension * sine_squared(clean, perturbed).log()
