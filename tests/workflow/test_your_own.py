"""docs/your_own.md as a reader follows it: photographs, a checkpoint of torchvision and a network of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
import torch
import yaml
from torch import nn
from torchvision import models as torchvision_models

from helpers import ROOT
from helpers.pipeline import command, environment
from infoadv import artifacts, config, data

pytestmark = pytest.mark.workflow

PAGE = (ROOT / "docs" / "your_own.md").read_text(encoding="utf-8")
LENET5 = """
import torch
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 21 * 21, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc2(torch.relu(self.fc1(x)))


def lenet5():
    return LeNet5()
"""


def blocks(language):
    return [yaml.safe_load(block) for block in re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)]


def commands(word):
    text = PAGE.replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(rf"^    (infoadv {word} .*)$", text, flags=re.MULTILINE)]


def fitted(model, dataset, mean=0.0, std=1.0):
    """Return ``model`` after a user's training, on all pictures there are: they are few."""
    torch.manual_seed(0)
    images = torch.cat([torch.from_numpy(dataset.x_train), torch.from_numpy(dataset.x_test)]).float() / 255
    labels = torch.cat([torch.from_numpy(dataset.y_train), torch.from_numpy(dataset.y_test)])
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    for _ in range(5):
        for batch in torch.randperm(len(images)).split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model((images[batch] - mean) / std), labels[batch]).backward()
            optimizer.step()
    return model


def infoadv(tree, *arguments):
    # With -P, Python does not look in the working directory by itself, as in the command that pip installs.
    return subprocess.run(
        [sys.executable, "-P", "-m", "infoadv", *arguments], cwd=tree, env=environment(), capture_output=True, text=True
    )


def test_photographs_and_networks_of_ones_own(tmp_path):
    (tmp_path / "photos").symlink_to(ROOT / "tests" / "data" / "clothing")
    (tmp_path / "my_networks.py").write_text(LENET5)
    datasets, networks, rest = blocks("yaml")
    # The page's own blocks are a whole configuration.
    raw = datasets | networks | rest
    # What the page trains takes longer than a test may; that it can be asked for is seen here.
    assert config.Config(raw).models["trained"]["clothes"]["options"]["name"] == "resnet18"
    del raw["models"]["trained"]
    raw |= {"images": 4, "attacks": {"fgsm": {"method": "fgsm"}}, "statistics": {"reference": "fgsm"}}
    raw |= {"threads": {"training": 1}}
    (tmp_path / "clothes.yaml").write_text(yaml.safe_dump(raw))

    dataset_specification = config.Config(raw).datasets["clothes"]
    data.make(tmp_path / "clothes.safetensors", dataset_specification | {"path": str(tmp_path / "photos")}, None)
    dataset, _ = data.load(tmp_path / "clothes.safetensors")
    assert dataset.x_train.shape == (40, 3, 96, 96)
    assert dataset.x_test.shape == (20, 3, 96, 96)
    mean, std = (torch.tensor(raw["models"]["theirs"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    theirs = fitted(torchvision_models.resnet18(num_classes=10), dataset, mean, std)
    torch.save({"epoch": 5, "state_dict": nn.DataParallel(theirs).state_dict()}, tmp_path / "theirs.pth")
    namespace: dict = {}
    exec(LENET5, namespace)
    torch.save(fitted(namespace["lenet5"](), dataset).state_dict(), tmp_path / "lenet5.pth")

    checks = commands("check")
    assert "theirs.safetensors: no such file" in infoadv(tmp_path, *checks[0][1:]).stderr
    conversions = commands("convert")
    assert len(conversions) == 2
    for each in conversions:
        done = infoadv(tmp_path, *each[1:])
        assert done.returncode == 0, done.stderr
    done = infoadv(tmp_path, *checks[0][1:])
    assert done.returncode == 0, done.stderr

    files = [f"results/metrics/clothes/{name}/fgsm.parquet" for name in ("theirs", "mine")]
    snakemake = command(*files, "--snakefile", str(ROOT / "Snakefile"), "--configfile", "clothes.yaml")
    done = subprocess.run(snakemake, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in files:
        frame, _ = artifacts.load_rows(tmp_path / file, "metrics")
        assert len(frame) == 4
        assert frame["success"].any()
    header = artifacts.read_header(tmp_path / "results/models/clothes/theirs.safetensors", "model")
    assert header["clean_accuracy"] > 0.4
