"""Checkpoints as others write them become weights that fit a network, or an error names what does not fit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from infoadv import artifacts, cli, models
from infoadv.models import ModelError, converting
from infoadv.stages import train as train_stage

FACTORY = """
from torch import nn


def network(width=3):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 196, 10))
"""
SPECIFICATION = {"factory": "theirs:network", "options": {}}


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Return a network of a user's; its factory is importable from the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "theirs.py").write_text(FACTORY)
    torch.manual_seed(0)
    yield models.from_factory("theirs:network", {})
    sys.modules.pop("theirs", None)


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


CONTENTS = {
    "state dict": lambda state: state,
    "under state_dict": lambda state: {"epoch": 3, "state_dict": state, "arch": "theirs"},
    "beside an optimizer": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled DataParallel": lambda state: {"state_dict": prefixed(state, "_orig_mod.module.")},
    "parameters": lambda state: {name: nn.Parameter(value, False) for name, value in state.items()},
    "half precision": lambda state: {n: v.half() if v.is_floating_point() else v for n, v in state.items()},
    "before 2018": lambda state: without(state, "1.num_batches_tracked"),
}


@pytest.mark.parametrize("form", list(CONTENTS))
def test_a_checkpoint_becomes_weights(network, form):
    torch.save(CONTENTS[form](network.state_dict()), "theirs.pth")
    converting.run("theirs.pth", SPECIFICATION, "theirs.safetensors")
    tolerance = 1e-3 if form == "half precision" else 0
    found = load_file("theirs.safetensors")
    assert set(found) == set(network.state_dict())
    for name, array in models.weights_of(network).items():
        np.testing.assert_allclose(found[name], array, atol=tolerance)
        assert found[name].dtype == array.dtype
    assert artifacts.read_header("theirs.safetensors")["inputs"] == {"checkpoint": artifacts.file_digest("theirs.pth")}


def test_converted_weights_go_through_the_training_stage(network, digits_data):
    torch.save(network.state_dict(), "theirs.pth")
    assert cli.main(["convert", "theirs.pth", "--factory", "theirs:network", "--out", "theirs.safetensors"]) == 0
    specification = SPECIFICATION | {"weights": "theirs.safetensors", "training": {"epochs": 0}}
    train_stage.run(digits_data, specification, seed=0, device="cpu", checkpoint="unused", out="model.safetensors")
    stored = artifacts.load_tensors("model.safetensors", "model")[0]
    assert set(stored) == set(network.state_dict())


def test_the_installed_command_finds_a_factory_in_the_working_directory(network, tmp_path):
    torch.save(network.state_dict(), "theirs.pth")
    # With -P, Python does not look in the working directory by itself, as in a script that pip installs.
    command = [sys.executable, "-P", "-m", "infoadv", "convert", "theirs.pth", "--out", "theirs.safetensors"]
    done = subprocess.run([*command, "--factory", "theirs:network"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"running code: theirs:network from {tmp_path / 'theirs.py'}" in done.stderr


def test_names_are_replaced_and_left_out(network, capsys):
    state = prefixed(network.state_dict(), "body.")
    state["head.weight"], state["head.bias"] = state.pop("body.3.weight"), state.pop("body.3.bias")
    torch.save({"net": state | {"auxiliary.weight": torch.zeros(2)}, "ema": state}, "theirs.pt")
    arguments = ["convert", "theirs.pt", "--factory", "theirs:network", "--out", "theirs.safetensors"]
    assert cli.main(arguments) == 2
    assert "theirs.pt: holds several state dicts (net, ema); choose one with --key" in capsys.readouterr().err
    assert cli.main([*arguments, "--key", "net"]) == 2
    assert "--rename OLD=NEW" in capsys.readouterr().err
    renames = ["--rename", "head.=3.", "--rename", "body.="]
    assert cli.main([*arguments, "--key", "net", "--drop", "auxiliary.", *renames]) == 0
    np.testing.assert_array_equal(load_file("theirs.safetensors")["3.bias"], network[3].bias.detach().numpy())


def test_safetensors_under_other_names(network):
    save_file(prefixed(models.weights_of(network), "model."), "theirs.safetensors")
    text = converting.run("theirs.safetensors", SPECIFICATION, "out.safetensors")
    assert text.startswith("out.safetensors: 9 tensors, 5,933 values; took off the prefix 'model.'")


def test_an_architecture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = ["--shape", "3", "16", "16", "--classes", "5"]
    network = models.bare({"architecture": "resnet", "options": {"width": 4}}, (3, 16, 16), 5)
    torch.save(network.state_dict(), "resnet.pth")
    arguments = ["convert", "resnet.pth", "--architecture", "resnet", "--out", "resnet.safetensors"]
    assert cli.main([*arguments, *shape, "--options", '{"width": 4}']) == 0
    assert set(load_file("resnet.safetensors")) == set(network.state_dict())
    assert cli.main(arguments) == 2
    assert cli.main([*arguments, *shape, "--options", '{"depth": 4}']) == 2
    assert cli.main([*arguments, *shape, "--options", '{"width": 8}']) == 2


BAD = {
    "missing": (lambda state: without(state, "3.bias", "0.bias"), r"lacks 0\.bias \(3,\), 3\.bias \(10,\);.*--rename"),
    "too much": (lambda state: state | {"extra": torch.zeros(4)}, r"has extra \(4,\) too much; .*--drop PREFIX"),
    "other shape": (
        lambda state: state | {"3.bias": torch.zeros(7)},
        r"other shapes than the network: 3\.bias \(7,\) for \(10,\); correct",
    ),
    "a list": (lambda state: [1, 2], "holds no state dict; write one with torch.save"),
    "empty": (lambda state: {}, "holds no state dict"),
    "another network": (
        lambda state: {f"layer{number}.weight": torch.zeros(2) for number in range(9)},
        r"lacks 0\.weight .* and \d more; has layer0\.weight .* and 3 more too much",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_checkpoint_that_does_not_fit(network, name):
    content, words = BAD[name]
    torch.save(content(network.state_dict()), "theirs.pth")
    with pytest.raises(ModelError, match=rf"theirs\.pth: .*{words}") as caught:
        converting.run("theirs.pth", SPECIFICATION, "theirs.safetensors")
    assert "\n" not in str(caught.value)
    assert not Path("theirs.safetensors").exists()


class Trap:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return open, ("trapped", "w")


@pytest.mark.parametrize("kind", ["pickled code", "whole network", "text", "truncated", "none"])
def test_a_file_that_is_no_state_dict(network, tmp_path, kind):
    path = tmp_path / "theirs.pth"
    if kind == "pickled code":
        path.write_bytes(pickle.dumps({"weights": Trap()}))
    elif kind == "whole network":
        torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    elif kind == "text":
        path.write_text("version https://git-lfs.example/spec/v1\n")
    elif kind == "truncated":
        torch.save(network.state_dict(), path)
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"theirs\.pth: (cannot be read|no such file)") as caught:
        converting.run("theirs.pth", SPECIFICATION, "theirs.safetensors")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    if kind == "whole network":
        assert "torch.nn.modules" in str(caught.value)
    assert not (tmp_path / "trapped").exists()


def test_the_name_of_what_is_written(network):
    torch.save(network.state_dict(), "theirs.pth")
    with pytest.raises(ModelError, match=r"theirs\.pt: the weights are written as \.safetensors"):
        converting.run("theirs.pth", SPECIFICATION, "theirs.pt")
