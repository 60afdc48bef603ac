"""LSUV: every layer begins with unit output variance and orthonormal weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infoadv import InfoadvError, models
from infoadv.training.initialization import TOLERANCE, lsuv


def network(architecture, shape, **options):
    torch.manual_seed(0)
    channels = [0.5] * shape[0]
    return models.build(architecture, options, shape, 10, channels, channels)


CASES = [
    ("fitnet4", (3, 32, 32), {}),
    ("fitnet4", (1, 16, 16), {"stages": [[4, 4], [6], [8]], "dense": 8}),
    ("deep_conv", (3, 16, 16), {"channels": [[4, 4], [6, 6]], "dense": 8}),
]


@pytest.mark.parametrize(("architecture", "shape", "options"), CASES)
def test_every_layer_has_unit_variance(architecture, shape, options):
    assert TOLERANCE == 0.02
    model = network(architecture, shape, **options)
    images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
    reported = lsuv(model, images)
    assert model.training
    measured: dict[str, float] = {}
    model.eval()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):

            def measure(_layer, _inputs, output, name=name):
                measured[name] = float(output.double().var())

            layer.register_forward_hook(measure)
            assert not layer.bias.any()
            # Orthonormal rows or columns, up to the one factor that sets the variance.
            matrix = layer.weight.detach().flatten(1).double()
            gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
            torch.testing.assert_close(gram / gram[0, 0], torch.eye(len(gram)).double(), atol=1e-4, rtol=0)
    with torch.no_grad():
        model(images)
    assert measured == pytest.approx(reported)
    assert all(abs(variance - 1) <= TOLERANCE for variance in measured.values())


def test_the_same_generator_gives_the_same_weights():
    images = torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    weights = []
    for seed in (3, 3, 4):
        model = network("fitnet4", (1, 16, 16), stages=[[4], [4], [4]], dense=4)
        torch.manual_seed(seed)
        lsuv(model, images)
        weights.append(model.network[1].weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_layer_of_constant_output_is_refused():
    model = network("deep_conv", (3, 16, 16), channels=[[4, 4], [6, 6]], dense=8)
    with pytest.raises(InfoadvError, match="cannot be scaled to 1"):
        lsuv(model, torch.full((4, 3, 16, 16), 0.5))
