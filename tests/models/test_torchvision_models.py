"""Architectures of torchvision: of every family, for images of any size, stored and read back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models as theirs

from infoadv import InfoadvError, artifacts, models
from infoadv.models.from_torchvision import torchvision


@pytest.mark.parametrize(
    "name",
    [
        *(
            "alexnet",
            "convnext_tiny",
            "densenet121",
            "efficientnet_b0",
            "googlenet",
            "mnasnet0_5",
            "mobilenet_v3_small",
        ),
        *("regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_32"),
    ],
)
def test_every_family_is_stored_and_read_back(tmp_path, name):
    torch.manual_seed(0)
    options = {"name": name, "stem": "default"}
    model = models.build("torchvision", options, (3, 96, 96), 5, [0.5] * 3, [0.2] * 3).eval()
    images = torch.rand(2, 3, 96, 96)
    logits = models.check_logits(model, images, 5, name)
    specification = {"architecture": "torchvision", "options": options, "training": {}}
    header = artifacts.provenance("model", specification, dataset_shape=[3, 96, 96], classes=5)
    artifacts.save_tensors(tmp_path / "model.safetensors", models.weights_of(model), header)
    loaded, _ = models.load(tmp_path / "model.safetensors")
    torch.testing.assert_close(loaded(images), logits)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "shufflenet_v2_x0_5", "mobilenet_v2", "regnet_x_400mf"])
def test_a_small_stem_keeps_the_size(name):
    network = torchvision((1, 32, 32), 5, name=name, stem="small").eval()
    sizes = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, inputs, output: sizes.append((inputs[0].shape, output.shape)))
    network(torch.rand(2, 1, 32, 32))
    assert sizes[0][0] == (2, 1, 32, 32)
    assert sizes[0][1][2:] == sizes[1][0][2:] == (32, 32)


def test_weights_of_theirs_fit():
    """The names are torchvision's own, so a checkpoint of theirs fits."""
    torch.manual_seed(0)
    network, plain = torchvision((3, 64, 64), 1000, name="resnet18").eval(), theirs.resnet18().eval()
    network.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(network(images), plain(images))


@pytest.mark.parametrize(
    ("name", "stem", "shape", "words"),
    [
        ("resnet19", "default", (3, 32, 32), "torchvision has no classification network 'resnet19'; it has: alexnet"),
        ("fcn_resnet50", "default", (3, 32, 32), "torchvision has no classification network 'fcn_resnet50'"),
        ("vgg11", "small", (3, 32, 32), "vgg11 has no small stem; leave out 'stem'"),
        ("vit_b_32", "default", (3, 48, 48), "vit_b_32 cannot be built for images of 48 x 48"),
        ("vit_b_32", "default", (3, 64, 96), "vit_b_32 takes square images, these are 64 x 96"),
        ("maxvit_t", "default", (3, 64, 64), "maxvit_t cannot be built for images of 64 x 64"),
    ],
)
def test_what_cannot_be_built(name, stem, shape, words):
    with pytest.raises(InfoadvError, match=words):
        torchvision(shape, 5, name=name, stem=stem)
