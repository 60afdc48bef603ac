"""The gradient with respect to gray images against that of torch, and which convolutions have it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infoadv import models
from infoadv.numerics.gray_convolution import GrayConvolution, speed_up


def gradient_of(network, images, weights):
    points = images.clone(memory_format=torch.preserve_format).requires_grad_(True)
    out = network(points)
    return out.detach(), torch.autograd.grad((out * weights[: out.numel()].view(out.shape)).sum(), points)[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "options", [{}, {"padding": 1}, {"stride": 2, "padding": 1}, {"stride": (1, 3), "bias": False}]
)
@pytest.mark.parametrize("kernel", [3, (2, 5)])
def test_the_gradient_is_torchs(kernel, options, layout):
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(1, 7, kernel, **options).double().to(memory_format=layout).requires_grad_(False)
    images = torch.rand(4, 1, 12, 11, dtype=torch.float64, generator=generator).to(memory_format=layout)
    weights = torch.randn(4 * 7 * 14 * 13, dtype=torch.float64, generator=generator)
    out, expected = gradient_of(plain, images, weights)
    speed_up(plain)
    assert isinstance(plain, GrayConvolution)
    again, found = gradient_of(plain, images, weights)
    assert torch.equal(again, out)
    assert found.shape == images.shape
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_weights_that_are_variables_have_their_gradients():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 8, 8, generator=generator).requires_grad_(True)
    layer = nn.Conv2d(1, 3, 3)
    expected = torch.autograd.grad(layer(images).square().sum(), [images, *layer.parameters()])
    speed_up(layer)
    found = torch.autograd.grad(layer(images).square().sum(), [images, *layer.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_what_torch_allows_is_as_torch_has_it():
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(1, 3, 3).requires_grad_(False)
    gray = nn.Conv2d(1, 3, 3).requires_grad_(False)
    gray.load_state_dict(plain.state_dict())
    speed_up(gray)
    batch = torch.rand(2, 1, 8, 8, generator=generator)
    for layer, images in ((plain, batch[0]), (gray, batch[0])):
        assert layer(images.clone().requires_grad_(True)).shape == (3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        points = batch.clone().requires_grad_(True)
        assert torch.autograd.grad(gray(points).float().sum(), points)[0].shape == batch.shape

    def curvature(layer):
        points = batch.double().requires_grad_(True)
        (slope,) = torch.autograd.grad(
            layer.double()(points).pow(3).sum() + points.pow(3).sum(), points, create_graph=True
        )
        return torch.autograd.grad(slope.square().sum(), points)[0]

    assert torch.allclose(curvature(gray), curvature(plain))


def test_networks_of_the_package_have_it_and_those_of_users_do_not():
    built = models.build("small_cnn", {"width": 4}, (1, 28, 28), 10, [0.1], [0.3])
    assert isinstance(built.network[0], GrayConvolution)
    assert not isinstance(built.network[2], GrayConvolution)
    coloured = models.build("small_cnn", {"width": 4}, (3, 28, 28), 10, [0.1] * 3, [0.3] * 3)
    assert not any(isinstance(module, GrayConvolution) for module in coloured.modules())
    assert (
        type(models.from_factory("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": 3}))
        is nn.Conv2d
    )


def test_other_convolutions_stay_as_they_are():
    class Own(nn.Conv2d):
        pass

    others = [
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(1, 4, 3, dilation=2),
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.Conv2d(1, 4, 7),
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        Own(1, 4, 3),
    ]
    gray = nn.Conv2d(1, 4, 3)
    network = nn.ModuleList([*others, gray])
    types = [type(layer) for layer in others]
    names = list(network.state_dict())
    speed_up(network)
    assert [type(layer) for layer in others] == types
    assert isinstance(gray, GrayConvolution)
    assert list(network.state_dict()) == names
