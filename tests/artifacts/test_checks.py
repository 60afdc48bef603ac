"""Artefacts that a run finds: those that were put in another one's place are named, whatever their file times say."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from infoadv import artifacts
from infoadv.artifacts import checks

TRAINING = {"architecture": "small_cnn", "training": {"epochs": 3, "seed": 2}}
ATTACK = {"name": "ddn", "method": "ddn", "options": {"steps": 20}}


def write(path, kind, specification, inputs=(), **extra):
    inputs = {file.parent.name: file for file in inputs}
    artifacts.save_tensors(
        path, {"x": np.array([len(str(path))])}, artifacts.provenance(kind, specification, inputs=inputs, **extra)
    )
    return path


@pytest.fixture
def made(tmp_path):
    """Return a data set, two networks on it and the attack on each, by name."""
    data = write(tmp_path / "data" / "digits.safetensors", "data", {"source": "digits"})
    files = {"data": data}
    for name, epochs in (("a", 3), ("b", 4)):
        specification = TRAINING | {"training": {"epochs": epochs, "seed": 2}}
        model = write(tmp_path / "model" / f"{name}.safetensors", "model", specification, [data], seed=9)
        attack = tmp_path / "attack" / f"{name}.safetensors"
        files[name] = model
        files[f"ddn on {name}"] = write(attack, "attack", ATTACK, [data, model], seed=7, dataset="digits", model=name)
    return files


def check_model(made, name="a"):
    checks.check(
        made[name], specification=TRAINING, seed=7, names={"dataset": "digits", "model": name}, inputs=[made["data"]]
    )


def check_attack(made, name="a", seed=7, specification=ATTACK):
    names = {"dataset": "digits", "model": name, "attack": "ddn"}
    inputs = [made["data"], made[name]]
    checks.check(made[f"ddn on {name}"], specification=specification, seed=seed, names=names, inputs=inputs)


def refused(check, made, *parts, **changed):
    with pytest.raises(artifacts.ArtifactError) as caught:
        check(made, **changed)
    for part in parts:
        assert part in str(caught.value)
    assert "run again" in str(caught.value)


def test_what_belongs_there_passes(made):
    check_model(made)
    check_attack(made)
    check_attack(made, "b")


def test_another_network_in_its_place(made):
    shutil.copy(made["b"], made["a"])
    refused(check_model, made, str(made["a"]), "not what the configuration asks for", "specification", "'epochs': 4")
    refused(check_attack, made, str(made["ddn on a"]), "made from another model")


def test_the_attack_on_another_network_in_its_place(made):
    shutil.copy(made["ddn on b"], made["ddn on a"])
    refused(check_attack, made, str(made["ddn on a"]), "its model is b")


def test_an_attack_of_other_options_or_another_seed(made):
    refused(check_attack, made, "specification", specification=ATTACK | {"options": {"steps": 21}})
    refused(check_attack, made, "its seed is 7", seed=8)


def test_another_data_set_under_a_network(made):
    write(made["data"], "data", {"source": "digits", "size": 32})
    refused(check_model, made, str(made["a"]), "made from another data")


def test_inputs_that_were_removed_are_not_asked_for(made):
    made["a"].unlink()
    check_attack(made)


def test_a_damaged_one(made):
    made["a"].write_bytes(made["a"].read_bytes()[:-9])
    refused(check_model, made, str(made["a"]), "truncated")


def test_a_file_from_the_future(made):
    checks.check_times([*made.values(), "not/yet/there"])
    os.utime(made["a"], (time.time() + 3600,) * 2)
    with pytest.raises(artifacts.ArtifactError, match=r"a\.safetensors: is dated in the future"):
        checks.check_times(made.values())
