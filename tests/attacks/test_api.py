"""``infoadv.attack`` and ``infoadv.measure``: what they take, and what they say of everything else."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import infoadv
from helpers.linear import linear_problem
from infoadv import InfoadvError
from infoadv.attacks import AttackError, AttackResult
from infoadv.attacks.harness import run_batch
from infoadv.config import structure_schema
from infoadv.numerics.checks import LARGEST_SEED
from infoadv.registry.options import OptionError


@pytest.fixture
def given():
    """Return the arguments of an attack that runs, to be spoilt one at a time."""
    problem = linear_problem(4, (1, 12, 12), 3)
    return {"model": problem.model, "images": problem.images, "labels": problem.labels, "name": "ddn", "steps": 10}


REFUSED = {
    "an attack that there is not": ({"name": "dnn"}, "no attack 'dnn'; did you mean 'ddn'"),
    "an option that there is not": ({"stepz": 3}, "ddn: unknown option 'stepz'; did you mean 'steps'"),
    "an option of the wrong type": ({"steps": "many"}, "ddn: steps: 'many' is not allowed"),
    "an integer as a float": ({"steps": 10.0}, "ddn: steps: 10.0 is not allowed"),
    "an option that is NaN": ({"gamma": math.nan}, "ddn: gamma: nan is not allowed; give a finite number"),
    "an option out of range": ({"gamma": 2.0}, "ddn: gamma: 2.0 is not allowed"),
    "no network": ({"model": lambda images: images}, "model: a function is not allowed; give a torch.nn.Module"),
    "bytes": (
        {"images": torch.zeros(4, 1, 12, 12, dtype=torch.uint8)},
        "images: torch.uint8 is not allowed; divide by",
    ),
    "doubles": ({"images": torch.zeros(4, 1, 12, 12, dtype=torch.float64)}, "images: torch.float64 is not allowed"),
    "an image alone": ({"images": torch.zeros(1, 12, 12)}, r"images: shape \(1, 12, 12\) is not allowed"),
    "no images": ({"images": torch.zeros(0, 1, 12, 12)}, r"images: shape \(0, 1, 12, 12\) is not allowed"),
    "images to 255": ({"images": torch.full((4, 1, 12, 12), 255.0)}, "images: values from 255 to 255 are not allowed"),
    "NaN": ({"images": torch.full((4, 1, 12, 12), torch.nan)}, "images: values from nan to nan are not allowed"),
    "an array": ({"images": [[0.0]]}, "images: a list is not allowed; give a torch.Tensor"),
    "labels that are no integers": ({"labels": torch.zeros(4)}, "labels: torch.float32 is not allowed; give integers"),
    "too few labels": ({"labels": torch.zeros(3, dtype=torch.int64)}, r"labels: shape \(3,\) is not allowed"),
    "a label beyond the classes": ({"labels": torch.tensor([0, 1, 2, 3])}, "labels: 0 to 3 are not allowed; the model"),
    "a label below 0": ({"labels": torch.tensor([0, 1, 2, -1])}, "labels: -1 to 2 are not allowed"),
    "a target beyond the classes": ({"targets": torch.tensor([9, 9, 9, 9])}, "targets: 9 to 9 are not allowed"),
    "a choice of targets that there is not": ({"targets": "nxt"}, "no choice of targets 'nxt'; did you mean 'next'"),
    "no batch": ({"batch_size": 0}, "batch_size: 0 is not allowed"),
    "indices of others": ({"indices": torch.arange(3)}, r"indices: shape \(3,\) is not allowed"),
    "a seed that is no integer": ({"seed": 1.5}, "seed: 1.5 is not allowed; give an integer from 0 to 4294967295"),
    "a seed below 0": ({"seed": -1}, "seed: -1 is not allowed"),
    "an attack of the package with a wrong option": (
        {"name": infoadv.attacks.ddn, "stepz": 3},
        "ddn: unknown option 'stepz'; did you mean 'steps'",
    ),
    "no name of an attack": ({"name": 3}, "name: a int is not allowed"),
    "a control without norms": ({"name": "gaussian_noise", "steps": None}, "unknown option 'steps'"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(given, case):
    change, message = REFUSED[case]
    with pytest.raises(OptionError, match=message):
        infoadv.attack(**given | change)


def test_a_target_that_is_the_label_is_refused(given):
    with pytest.raises(OptionError, match="a target equals its label"):
        infoadv.attack(**given | {"targets": given["labels"]})


def test_a_control_asks_for_norms_and_keeps_them(given):
    del given["steps"]
    with pytest.raises(OptionError, match="gaussian_noise: lacks the argument 'norms'"):
        infoadv.attack(**given | {"name": "gaussian_noise"})
    with pytest.raises(OptionError, match="gaussian_noise: like is for a configuration alone; give norms"):
        infoadv.attack(**given | {"name": "gaussian_noise", "like": "ddn"})
    for norms, message in (
        ([0.6] * 4, "norms: a list is not allowed; give a torch.Tensor"),
        (torch.full((5,), 0.6), r"norms: shape \(5,\) is not allowed; give one for each image, \(4,\)"),
        (torch.full((4,), torch.nan), "norms: every number must be finite"),
    ):
        with pytest.raises(OptionError, match=message):
            infoadv.attack(**given | {"name": "gaussian_noise", "norms": norms, "batch_size": 3})
    result = infoadv.attack(**given | {"name": "gaussian_noise", "norms": torch.full((4,), 0.6), "batch_size": 3})
    size = (result.images - given["images"]).flatten(1).norm(dim=1)
    assert (size / 0.6 - 1).abs().max() < 0.1


def test_rounding_keeps_to_the_budget_whether_it_is_given_or_the_default(given, monkeypatch):
    kept = []

    def recorded(*arguments, limits, **others):
        kept.append(limits)
        return run_batch(*arguments, limits=limits, **others)

    monkeypatch.setattr("infoadv.attacks.api.run_batch", recorded)
    given |= {"steps": 3}
    for changes, limits in (
        ({"name": "pgd_linf", "epsilon": 0.03}, {"linf": 0.03}),
        ({"name": infoadv.attacks.pgd_linf, "epsilon": 0.03}, {"linf": 0.03}),
        ({"name": "pgd_l2", "epsilon": 0.5}, {"l2": 0.5}),
        ({"name": "masking"}, {"linf": 1.0}),
        ({"name": "ddn"}, {}),
    ):
        infoadv.attack(**given | changes)
        assert kept.pop() == limits, changes


@pytest.mark.parametrize("name", ["ddn", "masking"])
def test_a_bare_function_checks_its_options(given, name):
    arguments = given["model"], given["images"], given["labels"]
    function = getattr(infoadv.attacks, name)
    with pytest.raises(OptionError, match=f"{name}: unknown option 'stepz'; did you mean 'steps'"):
        function(*arguments, stepz=3)
    with pytest.raises(OptionError, match=f"{name}: steps: 0 is not allowed"):
        function(*arguments, steps=0)
    assert function(*arguments, steps=2, indices=torch.arange(4), seed=1, targets=None).adversarial.shape == (
        4,
        1,
        12,
        12,
    )


def reference_network():
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(400, 4)
    return nn.Sequential(*layers)


def test_a_network_that_is_looked_through_is_left_as_it_was_found():
    problem = linear_problem(4, (1, 12, 12), 4)
    network = reference_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seen = infoadv.measure(problem.images, 1 - problem.images, ["lpips"], reference=network)
    assert seen.equals(infoadv.measure(problem.images, 1 - problem.images, ["lpips"], reference=network.eval()))
    network.train()
    arguments = problem.model, problem.images, problem.labels, "alma_lpips"
    pytest.importorskip("adv_lib", reason="adv-lib is not installed (optional extra peers)")
    infoadv.attack(*arguments, backbone="reference", reference=network, steps=3)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    with pytest.raises(InfoadvError, match="reference goes with backbone reference; leave it out"):
        infoadv.attack(*arguments, reference=network, steps=3)
    with pytest.raises(InfoadvError, match=r"needs a reference network; .* from Python reference=NETWORK"):
        infoadv.attack(*arguments, backbone="reference", steps=3)
    with pytest.raises(InfoadvError, match="reference: a str is not allowed"):
        infoadv.attack(*arguments, backbone="reference", reference="network", steps=3)


class Spoilt(nn.Module):
    """A linear model whose logits are changed on the way out."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, images):
        return self.change(self.model(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits.detach(), "model: its logits have no gradient"),
        (lambda logits: logits * torch.nan, "model: returns NaN or infinite logits"),
        (lambda logits: logits[:, :1], r"model: returns \(2, 1\) for 2 images"),
        (lambda logits: (logits, logits), "model: returns tuple for 2 images"),
    ],
)
def test_a_model_that_cannot_be_attacked_is_refused(given, change, message):
    with pytest.raises(OptionError, match=message):
        infoadv.attack(**given | {"model": Spoilt(given["model"], change)})


def test_numbers_of_numpy_are_options(given):
    result = infoadv.attack(**given | {"steps": np.int64(10), "gamma": np.float32(0.25)})
    assert torch.equal(result.images, infoadv.attack(**given | {"gamma": 0.25}).images)


def test_a_result_is_shown_in_one_line(given):
    result = infoadv.attack(**given)
    assert repr(result) == f"<Attacked: {result.success.sum()} of 4 images succeed>"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda images, labels: images, r"mine returned a Tensor; it must return an infoadv\.attacks\.AttackResult"),
        (lambda images, labels: AttackResult(images[:1], labels), r"mine returned images of shape \(1, 1, 12, 12\)"),
    ],
)
def test_a_function_that_returns_something_else_is_refused(given, returned, message):
    def mine(model, images, labels, *, targets=None, indices=None, seed=0):
        return returned(images, labels)

    del given["steps"]
    with pytest.raises(AttackError, match=message):
        infoadv.attack(**given | {"name": mine})


def test_a_function_of_one_s_own_takes_the_place_of_a_name(given):
    def mine(model, images, labels, *, targets=None, indices=None, seed=0, strength=0.1):
        return AttackResult((images + strength).clamp(0, 1), torch.full_like(labels, -1))

    del given["steps"]
    result = infoadv.attack(**given | {"name": mine, "strength": 0.25})
    assert torch.allclose(result.float_images, (given["images"] + 0.25).clamp(0, 1))
    with pytest.raises(OptionError, match=r"mine: cannot be called with these options .*strenght"):
        infoadv.attack(**given | {"name": mine, "strenght": 0.25})


def test_it_works_under_no_grad_and_in_inference_mode(given):
    plain = infoadv.attack(**given)
    with torch.no_grad():
        assert torch.equal(infoadv.attack(**given).images, plain.images)
    with torch.inference_mode():
        assert torch.equal(infoadv.attack(**given).images, plain.images)


def test_a_progress_bar_on_request_alone(given, capsys):
    infoadv.attack(**given)
    assert capsys.readouterr() == ("", "")
    infoadv.attack(**given, progress=True, batch_size=2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "4/4 images" in shown.err
    assert "success" in shown.err


@pytest.mark.gpu
@pytest.mark.parametrize("name", infoadv.attacks.names())
def test_on_a_gpu_everything_is_on_the_gpu(given, name):
    if name in ("alma_lpips", "alma_ciede2000", "perc_al", "gaussian_noise", "uae_conv"):
        pytest.skip("needs colour, norms or a convolution")
    del given["steps"]
    given |= {
        "name": name,
        "model": given["model"].cuda(),
        "images": given["images"].cuda(),
        "labels": given["labels"].cuda(),
    }
    result = infoadv.attack(**given)
    assert {t.device.type for t in (result.images, result.success, result.factor, result.first_success)} == {"cuda"}


# infoadv.measure


def test_a_row_an_image_and_a_column_a_metric():
    clean = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    frame = infoadv.measure(clean, (clean + 0.1).clamp(0, 1), metrics=["l2", "ssim", "haarpsi", "mi_projection"])
    assert list(frame.columns) == ["l2", "ssim", "haarpsi", "mi_projection"]
    assert len(frame) == 3
    assert (frame["ssim"] < 1).all()


def test_options_of_metrics_and_the_reference_network():
    clean = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    other = (clean + 0.05).clamp(0, 1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 2)).eval()
    frame = infoadv.measure(clean, other, {"lpips": {}, "perturbation_information": {"noise": 0.2}}, reference=network)
    assert list(frame.columns) == ["lpips_reference", "perturbation_information"]
    wider = infoadv.measure(clean, other, {"perturbation_information": {"noise": 0.4}})
    assert (wider["perturbation_information"] < frame["perturbation_information"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["sism"]}, "no metric 'sism'; did you mean 'ssim'"),
        ({"metrics": "ssim"}, "metrics: a text is not allowed"),
        ({"metrics": []}, r"metrics: \[\] is not allowed; give a list of names"),
        ({"metrics": None}, "metrics: None is not allowed"),
        ({"metrics": [3]}, "there is no metric 3; choose one of"),
        ({"metrics": {"l2": None}}, "metrics: l2: None is not allowed; give a mapping of options"),
        ({"metrics": {"lpips": {"reference": "net"}}}, "lpips: reference names a network of a configuration"),
        ({"reference": nn.ReLU()}, "reference: no metric looks through it"),
        ({"seed": "1"}, "seed: '1' is not allowed"),
        ({"metrics": {"ssim": {"window": 3}}}, "ssim: unknown option 'window'"),
        ({"metrics": ["lpips"]}, "give it as reference, or take backbone: alex"),
        ({"adversarial": torch.zeros(2, 1, 16, 17)}, "adversarial: shape"),
        ({"adversarial": torch.full((2, 1, 16, 16), torch.nan)}, "adversarial: values from nan"),
        ({"clean": torch.zeros(2, 2, 16, 16), "adversarial": torch.zeros(2, 2, 16, 16)}, "clean: 2 channels"),
        ({"clean": torch.zeros(2, 1, 16, 16, dtype=torch.uint8)}, "clean: torch.uint8 is not allowed"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    arguments = {"clean": torch.zeros(2, 1, 16, 16), "adversarial": torch.ones(2, 1, 16, 16), "metrics": ["l2"]}
    with pytest.raises(OptionError, match=message):
        infoadv.measure(**arguments | change)


def test_a_result_in_place_of_its_images_is_refused(given):
    with pytest.raises(OptionError, match=r"adversarial: an? Attacked is not allowed; give its \.images"):
        infoadv.measure(given["images"], infoadv.attack(**given))


@pytest.mark.parametrize("name", ["l2", "ssim", "nmi", "mi_mine"])
def test_a_metric_is_a_function_that_needs_no_context(name):
    clean = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    other = (clean + 0.1).clamp(0, 1)
    values = getattr(infoadv.metrics, name)(clean, other)
    assert values.numpy() == pytest.approx(infoadv.measure(clean, other, [name])[name].to_numpy())


def test_a_bare_metric_checks_its_options():
    with pytest.raises(OptionError, match="ssim: unknown option 'window'"):
        infoadv.metrics.ssim(torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16), window=3)


# The package


def test_a_seed_is_what_a_configuration_takes():
    seed = structure_schema()["properties"]["seed"]
    assert (seed["minimum"], seed["maximum"]) == (0, LARGEST_SEED)


def test_importing_the_package_imports_no_torch():
    script = "import sys, infoadv; assert 'torch' not in sys.modules; infoadv.attacks.names(); assert infoadv.attack"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_errors_are_those_of_the_package_and_of_python(given):
    with pytest.raises(ValueError, match="unknown option"):
        infoadv.attack(**given, stepz=1)
    with pytest.raises(InfoadvError):
        infoadv.attack(**given, stepz=1)
    with pytest.raises(AttributeError, match="attacks are"):
        _ = infoadv.attacks.nosuch
    with pytest.raises(AttributeError):
        _ = infoadv.nosuch
