"""Closed form of the mutual information between Gaussian random projections of one image and of its perturbed copy.

For one Gaussian row m, (m.x, m.x') is exactly bivariate normal with correlation rho = cos(x, x'), so d' rows carry
-(d'/2) ln(1 - rho^2) nats. This is what MINE estimates in Hsu, Chen and Yu (2020), section II, with no network.

It is blind to a change of brightness, which costs nothing to somebody who follows it. :func:`difference_information` is what
is left to somebody who takes x' for x plus noise, as a critic does that sees the difference of a pair alone.
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


def difference_information(clean: Tensor, perturbed: Tensor, dimension: int = 1) -> Tensor:
    """Return (N,) the part of ``projection_information``, in nats, that the difference m.x' - m.x shows.

        d'/2 (r - 1 - ln r),   r = |x' - x|^2 / (|x|^2 + |x'|^2)

    The divergence between the differences of joint pairs, of variance |x' - x|^2 a row, and of pairs of two projections, of
    variance |x|^2 + |x'|^2. By the data processing inequality a lower bound on the information, and the best that Donsker-
    Varadhan reaches with a critic T(u - v). It falls with |x' - x|, whether texture or brightness changes.

    >>> x = torch.tensor([[[[1.0, 0.0]]]])
    >>> round(difference_information(x, torch.tensor([[[[1.0, 1.0]]]])).item(), 4)  # r = 1/3
    0.216
    """
    x, z = clean.flatten(1), perturbed.flatten(1)
    tiny = torch.finfo(clean.dtype).tiny
    energy = (x.square().sum(1) + z.square().sum(1)).clamp_min(tiny)
    ratio = (z - x).square().sum(1) / energy
    return 0.5 * dimension * (ratio - 1 - ratio.log())
