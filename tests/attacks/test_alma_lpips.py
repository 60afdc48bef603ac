"""ALMA with LPIPS through a network of the same data set: the distance, the attack, and how the network gets there."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from helpers import ROOT, toys
from infoadv import artifacts, data, models
from infoadv.attacks import adv_lib_lpips
from infoadv.config import Config, ConfigError
from infoadv.metrics import MetricContext
from infoadv.metrics.learned import lpips
from infoadv.numerics.pixels import to_images
from infoadv.pipeline import code_inputs
from infoadv.stages import attack as attack_stage
from infoadv.stages import train as train_stage


@pytest.fixture
def reference():
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)]
    network = nn.Sequential(*layers)
    network(torch.rand(1, 3, 12, 10))
    return network.eval().requires_grad_(False)


def test_the_square_of_the_distance_is_the_metric(reference):
    clean, perturbed = torch.rand(2, 5, 3, 12, 10)
    context = MetricContext(torch.device("cpu"), 0, torch.arange(5), reference)
    distance = adv_lib_lpips.reference_distance(reference, clean)(perturbed)
    torch.testing.assert_close(distance.square(), lpips(clean, perturbed, context=context), rtol=1e-12, atol=0)


def test_the_distance_has_a_gradient_that_is_finite_at_the_clean_image_too(reference):
    clean = torch.rand(2, 3, 12, 10)
    for perturbed in (clean.clone(), clean + 0.1 * torch.rand_like(clean)):
        perturbed.requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            adv_lib_lpips.reference_distance(reference, clean)(perturbed).sum(), perturbed
        )
        assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_the_attack_is_ahead_of_ddn_in_its_own_distance(tmp_path, digits_data, trained_model):
    pytest.importorskip("adv_lib", reason="the optional extra peers is not installed")
    judge = tmp_path / "judge.safetensors"
    train_stage.run(
        digits_data, toys.specification(epochs=8), seed=1, device="cpu", checkpoint=tmp_path / "judge.ckpt", out=judge
    )
    options = {"backbone": "reference", "steps": 100, "smoothing": 0.5}
    specifications = {
        "alma": {"name": "alma", "method": "alma_lpips", "options": options},
        "ddn": {"name": "ddn", "method": "ddn", "options": {"steps": 100}},
    }
    values = {}
    for name, specification in specifications.items():
        attack_stage.run(
            digits_data,
            trained_model,
            specification,
            images=8,
            chunk=8,
            seed=0,
            device="cpu",
            reference=judge if name == "alma" else None,
            out=tmp_path / f"{name}.safetensors",
        )
        tensors, header = artifacts.load_tensors(tmp_path / f"{name}.safetensors", "attack")
        assert tensors["success"].all()
        assert ("reference" in header["inputs"]) == (name == "alma")
        values[name] = tensors
    dataset, _ = data.load(digits_data)
    network, _ = models.load(judge)
    clean = to_images(dataset.x_test[values["ddn"]["index"]], "cpu")
    context = MetricContext(torch.device("cpu"), 0, torch.arange(8), network)
    seen = {name: lpips(clean, torch.from_numpy(each["adversarial"]), context=context) for name, each in values.items()}
    assert seen["alma"].mean() < seen["ddn"].mean()


@pytest.fixture
def raw():
    raw = yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())
    raw["attacks"]["alma"] = {"method": "alma_lpips", "options": {"backbone": "reference"}}
    return raw


def test_the_configuration_knows_the_network(raw):
    checked = Config(raw)
    assert checked.looks_through("alma", "digits") == checked.lpips_reference["digits"]
    assert checked.looks_through("ddn", "digits") is None
    raw["attacks"]["alma"]["options"]["backbone"] = "alex"
    assert Config(raw).looks_through("alma", "digits") is None


def test_code_of_the_attack_holds_the_architecture_of_the_network(raw):
    raw["models"]["reference"] = {"attacked": False, "architecture": "deep_conv", "training": {}}
    files = {file.name for file in code_inputs.of_run(Config(raw), "digits", "standard", "alma")}
    assert {"adv_lib_lpips.py", "deep_conv.py"} <= files
    files = {file.name for file in code_inputs.of_run(Config(raw), "digits", "standard", "ddn")}
    assert "deep_conv.py" not in files


def test_without_a_network_that_nobody_attacks_it_is_refused(raw):
    raw["models"]["reference"]["attacked"] = True
    del raw["metrics"]["lpips"]
    with pytest.raises(ConfigError, match=r"attacks\.alma\.options\.backbone: 'reference' needs a network of digits"):
        Config(raw)


def test_without_the_network_the_attack_says_what_to_do(trained_model, digits_data):
    with pytest.raises(
        adv_lib_lpips.AttackError, match=r"backbone reference needs a reference network; give --reference"
    ):
        adv_lib_lpips.alma_lpips(
            nn.Identity(),
            torch.rand(1, 3, 8, 8),
            torch.zeros(1, dtype=torch.int64),
            indices=torch.arange(1),
            seed=0,
            backbone="reference",
        )
