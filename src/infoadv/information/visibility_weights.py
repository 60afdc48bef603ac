"""Weighted L2 norms of earlier work, related to perturbation information, for comparison under the same optimiser.

Each function returns weights W (N, C, H, W) of the norm sum_p W_p delta_p^2, from clean images in [0, 1]. A flat region has no
deviation to divide by, so those that divide by a deviation take a floor, by default one gray level, ``FLOOR``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from infoadv.information.masking import OPPONENT

#: One gray level of an 8-bit image.
FLOOR = 1 / 255

#: Directional high-pass operators of Chou and Li (1995), figure 1, for the largest gradient around a pixel.
_GRADIENTS = (
    torch.tensor(
        [
            [[0, 0, 0, 0, 0], [1, 3, 8, 3, 1], [0, 0, 0, 0, 0], [-1, -3, -8, -3, -1], [0, 0, 0, 0, 0]],
            [[0, 0, 1, 0, 0], [0, 8, 3, 0, 0], [1, 3, 0, -3, -1], [0, 0, -3, -8, 0], [0, 0, -1, 0, 0]],
            [[0, 0, 1, 0, 0], [0, 0, 3, 8, 0], [-1, -3, 0, 3, 1], [0, -8, -3, 0, 0], [0, 0, -1, 0, 0]],
            [[0, 1, 0, -1, 0], [0, 3, 0, -3, 0], [0, 8, 0, -8, 0], [0, 3, 0, -3, 0], [0, 1, 0, -1, 0]],
        ],
        dtype=torch.float32,
    )
    / 16
)
#: Low-pass operator of Chou and Li (1995), figure 2, for the luminance of the background.
_BACKGROUND = (
    torch.tensor(
        [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 2, 0, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]], dtype=torch.float32
    )
    / 32
)


def _neighbours(images: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """Return the images moved by each (down, right) offset of at most 1, (len(offsets), N, C, H, W); the border is mirrored."""
    height, width = images.shape[-2:]
    padded = pad(images, (1, 1, 1, 1), mode="reflect")
    return torch.stack(
        [padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width] for down, right in offsets]
    )


def inverse_deviation(clean: Tensor, floor: float = FLOOR) -> Tensor:
    """Return 1 / s^2, s being the deviation of the 3 x 3 window around a pixel, in each channel.

    Perturbation sensitivity 1 / s (Luo et al. 2018, "Towards imperceptible and robust adversarial example attacks against
    neural networks", equation 3), as the weight of a perturbation in an L2 norm.
    """
    window = _neighbours(clean, [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    return window.std(0, correction=0).clamp_min(floor).pow(-2)


def sigma_map(clean: Tensor, floor: float = FLOOR) -> Tensor:
    """Return 1 / s^2 with s^2 = min(s_x, s_y), the deviations of a pixel and its two neighbours in a row and in a column.

    Sigma maps of Croce and Hein (2019), "Sparse and imperceivable adversarial attacks", section 3: a pixel may change in
    proportion to s.
    """
    across = _neighbours(clean, [(0, -1), (0, 0), (0, 1)]).std(0, correction=0)
    along = _neighbours(clean, [(-1, 0), (0, 0), (1, 0)]).std(0, correction=0)
    return 1 / torch.minimum(across, along).clamp_min(floor)


def just_noticeable_difference(clean: Tensor) -> Tensor:
    """Return 1 / JND^2 of the luminance, the same in every channel.

    JND is the larger of the visibility threshold of the background's luminance and of the masking by the largest gradient
    (Chou and Li 1995, "A perceptually tuned subband image coder based on the measure of just-noticeable-distortion
    profile", equations 1 to 6), in gray levels.
    """
    luminance = 255 * (torch.einsum("c,nchw->nhw", _LUMA.to(clean), clean) if clean.shape[1] == 3 else clean.mean(1))
    padded = pad(luminance[:, None], (2, 2, 2, 2), mode="reflect")
    background = conv2d(padded, _BACKGROUND.to(clean)[None, None])
    gradient = conv2d(padded, _GRADIENTS.to(clean)[:, None]).abs().amax(1, keepdim=True)
    masking = gradient * (background * 0.0001 + 0.115) + (0.5 - background * 0.01)
    dark = 17 * (1 - (background / 127).clamp(0, 1).sqrt()) + 3
    bright = 3 / 128 * (background - 127) + 3
    threshold = torch.where(background <= 127, dark, bright)
    return (255 / torch.maximum(masking, threshold)).square().expand_as(clean).contiguous()


def noise_visibility(clean: Tensor) -> Tensor:
    """Return 1 / (1 + theta s^2), s^2 being the variance of the 3 x 3 window around a pixel, in each channel.

    The noise visibility function of a non-stationary Gaussian image (Voloshynovskiy et al. 1999, "A stochastic approach to
    content adaptive digital image watermarking", section 4), which weights the squared error of a watermark in the weighted
    PSNR of the same authors. theta is 150 over the largest variance of the channel, so the weight is that of a noise floor of
    a twelfth of the largest deviation: the form of :func:`infoadv.information.masking.masking_weights`, with a floor that
    depends on the image and without the window's adjoint.
    """
    window = _neighbours(clean, [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    variance = window.var(0, correction=0)
    return 1 / (1 + _CONTRAST * variance / variance.amax((2, 3), keepdim=True).clamp_min(FLOOR**2))


#: Contrast constant of the noise visibility function; its authors name 50 to 1,000.
_CONTRAST = 150

#: Luminance weights that sum to 1.
_LUMA = OPPONENT[0] / OPPONENT[0].sum()

#: Weights that divide by a deviation, which has a floor; weights with thresholds of their own; the names of all.
FLOORED = {"inverse_deviation": inverse_deviation, "sigma_map": sigma_map}
FIXED = {"just_noticeable_difference": just_noticeable_difference, "noise_visibility": noise_visibility}
NAMES = (*FLOORED, *FIXED)


def visibility_weights(name: str, clean: Tensor, floor: float = FLOOR) -> Tensor:
    """Return the weights of this ``name``, those of one of the functions above; ``floor`` counts where it takes one."""
    return FLOORED[name](clean, floor) if name in FLOORED else FIXED[name](clean)


def weighted_norm(clean: Tensor, perturbed: Tensor, weights: Tensor) -> Tensor:
    """Return sum_p W_p delta_p^2 of each image, (N,)."""
    return (weights * (perturbed - clean).square()).sum((1, 2, 3))
