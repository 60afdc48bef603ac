"""The first convolution of a network of gray images, and its gradient with respect to them.

On CPUs the convolutions of torch compute that gradient as if the image had 16 channels. Here it is one matrix product and a sum
over the places of the kernel: forward and backward pass of the layer together are 1.7 to 2.6 times as fast in the channels-last
layout (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

#: Places of a kernel up to which the sum over them is short, and takes little memory.
_SMALL = 25


class _Convolution(torch.autograd.Function):
    """The convolution of images (N, 1, H, W) with a weight (C, 1, h, w) that is no variable."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.stride, ctx.padding = images.shape[2:], stride, padding
        return conv2d(images, weight, bias, stride, padding)

    # Linear in the gradient, so it may be differentiated again.
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (height, width), (down, right), (above, beside) = ctx.size, ctx.stride, ctx.padding
        rows, columns = gradient.shape[2:]
        # What each place of the kernel gives to the pixel below it, for all positions of the kernel at once.
        given = weight.flatten(1).T @ gradient.permute(0, 2, 3, 1).reshape(-1, len(weight)).T
        given = given.view(*weight.shape[2:], len(gradient), rows, columns)
        padded = gradient.new_zeros(len(gradient), height + 2 * above, width + 2 * beside)
        for row in range(weight.shape[2]):
            for column in range(weight.shape[3]):
                down_to, right_to = row + down * rows, column + right * columns
                padded[:, row:down_to:down, column:right_to:right] += given[row, column]
        of_images = padded[:, None, above : above + height, beside : beside + width]
        return of_images, None, None, None, None


class GrayConvolution(nn.Conv2d):
    """``torch.nn.Conv2d`` with that gradient, where a batch of images alone is variable on a CPU; as ever where it is not."""

    def forward(self, input: Tensor) -> Tensor:
        variable = self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        alone = input.requires_grad and torch.is_grad_enabled() and not variable
        plain = input.dim() == 4 and input.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        if not alone or not plain or input.device.type != "cpu":
            return super().forward(input)
        return cast(Tensor, _Convolution.apply(input, self.weight, self.bias, self.stride, self.padding))


def speed_up(network: nn.Module) -> None:
    """Make the plain convolutions of one channel in ``network`` :class:`GrayConvolution`, in place; weights and names stay."""
    for module in network.modules():
        if type(module) is not nn.Conv2d or isinstance(module.padding, str):
            continue
        plain = module.dilation == (1, 1) and module.padding_mode == "zeros" and module.groups == 1
        if plain and module.in_channels == 1 and module.kernel_size[0] * module.kernel_size[1] <= _SMALL:
            module.__class__ = GrayConvolution
