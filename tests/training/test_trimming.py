"""Network trimming: the share of zeros against brute force, and the trimmed network against the masked one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infoadv import models
from infoadv.training import trimming
from infoadv.training.trimming import TrimmingError, apoz, masked, masks, trim, widths

SMALL = {
    "fitnet4": {"stages": [[6, 5], [7, 4], [8]], "dense": 9, "dropout": 0.1},
    "deep_conv": {"channels": [[6, 5], [7, 4]], "dense": 9},
    "carlini_wagner": {},
    "small_cnn": {"width": 4},
}


def network(architecture, seed=0):
    torch.manual_seed(seed)
    return models.build(architecture, SMALL[architecture], (3, 17, 20), 10, [0.4] * 3, [0.3] * 3)


def images(count=9):
    return torch.rand(count, 3, 17, 20, generator=torch.Generator().manual_seed(1))


def random_masks(model, seed):
    draws = torch.Generator().manual_seed(seed)
    kept = [torch.rand(width, generator=draws) < 0.6 for width in widths(model)]
    for mask in kept:
        mask[int(torch.randint(len(mask), (), generator=draws))] = True
    return kept


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("architecture", list(SMALL))
def test_trimmed_equals_masked(architecture, seed):
    model = network(architecture, seed).eval()
    kept = random_masks(model, seed)
    before = models.weights_of(model)
    small, same = trim(model, kept), masked(model, kept)
    assert widths(small) == [int(mask.sum()) for mask in kept]
    assert widths(same) == widths(model)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(small(images()), same(images()), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(small(images()), model(images()), atol=1e-3)
    # Neither touches the network that it is given.
    assert all((models.weights_of(model)[name] == array).all() for name, array in before.items())
    assert all(parameter.requires_grad for parameter in small.parameters())


@pytest.mark.parametrize("architecture", ["fitnet4", "deep_conv"])
def test_a_trimmed_network_can_be_built_again(architecture):
    model = network(architecture).eval()
    small = trim(model, random_masks(model, 4))
    options = models.resized(architecture, SMALL[architecture], widths(small))
    again = models.build(architecture, options, (3, 17, 20), 10, [0.0] * 3, [0.0] * 3).eval()
    models.set_weights(again, models.weights_of(small), "again")
    with torch.no_grad():
        assert torch.equal(again(images()), small(images()))


@pytest.mark.parametrize("architecture", ["fitnet4", "deep_conv"])
def test_apoz_is_the_share_of_zeros(architecture, monkeypatch):
    monkeypatch.setattr(trimming, "_BATCH", 4)
    model = network(architecture)
    found = apoz(model, images())
    assert model.training
    model.eval()
    expected = []
    with torch.no_grad():
        maps = (images() - model.mean) / model.std
        for layer in model.network:
            maps = layer(maps)
            if isinstance(layer, nn.ReLU):
                channels = range(maps.shape[1])
                expected.append([float((maps[:, channel] == 0).double().mean()) for channel in channels])
    assert [share.tolist() for share in found] == [pytest.approx(share) for share in expected]


def test_channels_above_the_mean_plus_the_deviations_go():
    shares = [torch.tensor([0.1, 0.2, 0.3, 0.9]).double(), torch.full((3,), 0.1).double(), torch.ones(5).double()]
    kept = masks(shares, 1.0)
    assert [mask.tolist() for mask in kept] == [[True, True, True, False], [True] * 3, [True] * 5]
    assert masks(shares, 0.0)[0].tolist() == [True, True, True, False]
    assert masks(shares, 2.0)[0].all()
    assert masks(shares, -9.0)[0].tolist() == [True, False, False, False]


def test_networks_that_cannot_be_trimmed():
    with pytest.raises(TrimmingError, match=r"plain sequence of layers; use fitnet4 or deep_conv"):
        apoz(nn.Identity(), images())
    with pytest.raises(TrimmingError, match="layer 1, a BatchNorm2d, cannot be trimmed"):
        widths(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()))
    with pytest.raises(TrimmingError, match="layer 0 has no ReLU after it"):
        widths(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)))
    with pytest.raises(TrimmingError, match="follows no convolution or dense layer"):
        widths(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 2)))
    with pytest.raises(TrimmingError, match="a Conv2d, cannot be trimmed"):
        widths(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)))
    torch.manual_seed(0)
    resnet = models.build("resnet", {"width": 4}, (3, 17, 20), 10, [0.4] * 3, [0.3] * 3)
    with pytest.raises(TrimmingError, match="cannot be trimmed"):
        apoz(resnet, images())


def test_masks_that_do_not_fit():
    model = network("deep_conv")
    kept = random_masks(model, 0)
    for wrong in (kept[:-1], [torch.zeros_like(kept[0]), *kept[1:]]):
        with pytest.raises(TrimmingError, match="do not fit layers of"):
            trim(model, wrong)
