"""Images and networks for tuning stay apart from those on which claims are judged (docs/judges.md, "Tuning")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from helpers import ROOT
from infoadv import artifacts, cli, data, models
from infoadv.config import Config, ConfigError, outside
from infoadv.execution import device
from infoadv.numerics.pixels import to_images
from infoadv.stages import attack

CPU = torch.device("cpu")


@pytest.fixture
def raw():
    """Return a run on data of another source than digits, which are for tuning alone."""
    raw = yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())
    raw["datasets"] = {"images": {"source": "mnist"}}
    return raw


def refused(raw):
    with pytest.raises(ConfigError) as caught:
        Config(raw)
    return str(caught.value)


def test_tuning_takes_later_places_and_all_of_the_digits(raw):
    raw["datasets"]["digits"] = {"source": "digits", "size": 28}
    assert Config(raw).first_images == {"images": 0, "digits": 0}
    assert Config(raw | {"first_image": 1000}).first_images == {"images": 1000, "digits": 1000}
    assert Config(raw | {"purpose": "tuning"}).first_images == {"images": 5000, "digits": 0}
    assert Config(raw | {"purpose": "tuning", "first_image": 6000}).first_images == {"images": 6000, "digits": 0}
    assert refused(raw | {"purpose": "tuning", "first_image": 4999}).startswith("first_image: 4999 is not allowed")


def test_more_images_than_there_are_from_that_place_on_are_refused(raw):
    raw = raw | {"purpose": "tuning"}
    assert not outside.missing_images(Config(raw | {"images": 5000}), Path())
    (said,) = outside.missing_images(Config(raw | {"images": 5001}), Path())
    assert "5,001 are to be attacked from place 5,000 on, datasets.images has 10,000 test images" in said


def test_claims_are_not_judged_on_what_is_for_tuning(raw):
    raw["statistics"]["claimed"] = ["mi_masking"]
    assert Config(raw).statistics["claimed"] == ["mi_masking"]
    for key, value in (("compared", False), ("target", "next")):
        attacks = raw["attacks"] | {"mi_masking": raw["attacks"]["mi_masking"] | {key: value}}
        assert "'mi_masking' is not compared with the others" in refused(raw | {"attacks": attacks})
    assert "purpose: tuning" in refused(raw | {"purpose": "tuning"})
    digits = {**raw["datasets"], "digits": {"source": "digits", "size": 28}}
    assert "datasets.digits is for tuning alone" in refused(raw | {"datasets": digits})
    assert "those from 5,000 on are for tuning" in refused(raw | {"first_image": 4993, "images": 8})
    assert Config(raw | {"first_image": 4992, "images": 8})
    raw["models"]["reference"]["training"]["seed"] = 2
    assert Config(raw), "a network that nobody attacks may have that seed"
    raw["models"]["standard"]["training"]["seed"] = 2
    assert "models.standard has the training seed 2" in refused(raw)


def test_pairs_aim_at_the_same_class(raw):
    first, second, *_ = raw["attacks"]
    raw["statistics"]["pairs"] = [[first, second]]
    assert Config(raw).statistics["pairs"] == [[first, second]]
    assert "paired" in Config(raw).tables()
    attacks = raw["attacks"] | {second: raw["attacks"][second] | {"target": "next"}}
    assert f"{first} and {second} aim at different classes" in refused(raw | {"attacks": attacks})
    del raw["statistics"]["pairs"]
    assert "paired" not in Config(raw).tables()


def test_images_are_taken_in_the_seeded_order_from_a_place_on(digits_data, trained_model):
    dataset, _ = data.load(digits_data)
    model, _ = models.load(trained_model)
    order = np.random.default_rng(3).permutation(len(dataset.x_test))
    right = model(to_images(dataset.x_test[order], CPU)).argmax(1).numpy() == dataset.y_test[order]
    for first in (0, 17):
        expected = [place for place, is_right in zip(order[first:], right[first:], strict=True) if is_right][:20]
        assert attack.select(model, dataset, 20, 3, CPU, "small", first).tolist() == expected
    with pytest.raises(attack.AttackError, match=f"test images from place {len(order) - 5} on"):
        attack.select(model, dataset, 20, 3, CPU, "small", len(order) - 5)


@pytest.mark.parametrize("first", [0, 17])
def test_the_command_attacks_the_images_from_a_place_on(digits_data, trained_model, tmp_path, monkeypatch, first):
    monkeypatch.setattr(device, "prepare_environment", lambda threads: None)
    monkeypatch.setattr(device, "configure", lambda threads: None)
    out = tmp_path / "attack.safetensors"
    spec = '{"name": "fgsm", "method": "fgsm", "options": {"epsilon": 0.1}}'
    given = ["--data", digits_data, "--model", trained_model, "--spec", spec, "--images", 4, "--chunk", 4, "--seed", 3]
    assert cli.main(["attack", *map(str, [*given, "--first-image", first, "--out", out])]) == 0
    arrays, header = artifacts.load_tensors(out, "attack")
    dataset, model = data.load(digits_data)[0], models.load(trained_model)[0]
    assert arrays["index"].tolist() == attack.select(model, dataset, 4, 3, CPU, "small", first).tolist()
    assert header["first_image"] == first
