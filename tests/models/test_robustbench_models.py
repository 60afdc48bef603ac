"""RobustBench by name: with a package of the same interface in its place, and with the package where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from enum import Enum
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from infoadv import InfoadvError, cli, data, models
from infoadv.models.from_robustbench import robustbench
from infoadv.stages import train as train_stage

OPTIONS = {"name": "Doe2020Robust", "dataset": "cifar10", "threat_model": "Linf"}


class Doe(nn.Module):
    """Normalises its images itself, as networks of RobustBench do, by buffers that checkpoints lack."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.features = nn.Conv2d(3, 4, 3, stride=2)
        self.head = nn.Linear(4 * 15 * 15, 10)

    def forward(self, images):
        return self.head(self.features(images - self.mu).relu().flatten(1))


@pytest.fixture
def installed(monkeypatch):
    """Put a package with the names that are used of RobustBench in its place."""
    dataset = Enum("BenchmarkDataset", {"cifar_10": "cifar10", "cifar_100": "cifar100", "imagenet": "imagenet"})
    threat = Enum("ThreatModel", {"Linf": "Linf", "L2": "L2", "corruptions": "corruptions"})
    offered = {kind: {each: {} for each in threat} for kind in dataset}
    offered[dataset("cifar10")][threat("Linf")]["Doe2020Robust"] = {"model": Doe, "gdrive_id": "never asked for"}
    package, zoo = ModuleType("robustbench"), ModuleType("robustbench.model_zoo")
    enums, of_models = ModuleType("robustbench.model_zoo.enums"), ModuleType("robustbench.model_zoo.models")
    enums.BenchmarkDataset, enums.ThreatModel, of_models.model_dicts = dataset, threat, offered
    for module in (package, zoo, enums, of_models):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_checkpoint_of_robustbench_goes_through_the_training_stage(installed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = Doe().eval()
    published = {f"module.{name}": value for name, value in network.state_dict().items() if name != "mu"}
    torch.save({"state_dict": published, "epoch": 30}, "doe.pt")
    convert = ["convert", "doe.pt", "--architecture", "robustbench", "--options", '{"name": "Doe2020Robust"}']
    convert += ["--shape", "3", "32", "32", "--classes", "10", "--out", "doe.safetensors"]
    assert cli.main(convert) == 2
    assert "doe.pt: lacks mu (1, 3, 1, 1); name another network" in capsys.readouterr().err
    assert cli.main([*convert, "--keep", "mu"]) == 0

    images = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(40) % 10
    names = tuple("abcdefghij")
    data.save("cifar.safetensors", data.Dataset(images, labels, images, labels, names), {"source": "toy"})
    specification = {"architecture": "robustbench", "options": OPTIONS, "weights": "doe.safetensors"}
    specification["training"] = {"epochs": 0}
    train_stage.run(
        "cifar.safetensors", specification, seed=0, device="cpu", checkpoint="unused", out="model.safetensors"
    )
    model, header = models.load("model.safetensors")
    batch = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(model(batch), network(batch))
    assert header["specification"]["options"] == OPTIONS


def test_a_name_that_is_not_there(installed):
    with pytest.raises(
        InfoadvError, match="robustbench has no network 'Doe2021' of cifar10 and Linf; it has: Doe2020Robust"
    ):
        robustbench((3, 32, 32), 10, name="Doe2021")
    with pytest.raises(InfoadvError, match="robustbench has no network 'Doe2020Robust' of cifar100 and Linf"):
        robustbench((3, 32, 32), 10, name="Doe2020Robust", dataset="cifar100")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(InfoadvError, match=r"the package robustbench cannot be imported .*install it"):
        robustbench((3, 32, 32), 10, name="Wong2020Fast")


@pytest.mark.skipif(importlib.util.find_spec("robustbench") is None, reason="robustbench is not installed")
def test_the_package_itself():
    network = robustbench((3, 32, 32), 10, name="Wong2020Fast")
    assert models.check_logits(network.eval(), torch.rand(2, 3, 32, 32), 10, "Wong2020Fast").shape == (2, 10)
