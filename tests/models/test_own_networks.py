"""Networks of users, built by a factory: through every stage as they are written, and errors that name their code."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from infoadv import artifacts, data, models
from infoadv.models import ModelError
from infoadv.stages import attack as attack_stage
from infoadv.stages import measure as measure_stage
from infoadv.stages import train as train_stage
from infoadv.training import COMMON

LENET5 = """
import torch
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.fc1 = nn.Linear(16 * 4 * 4, 40)
        self.fc2 = nn.Linear(40, 10)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc2(torch.relu(self.fc1(x)))


class Strict(LeNet5):
    def forward(self, x):
        if x.shape[1] != 1:
            raise IndexError("only gray images")
        return super().forward(x)


def with_settings(file):
    return open(file)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of a user's into the working directory and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lenets.py").write_text(LENET5)
    monkeypatch.setenv("INFOADV_FACTORIES", "lenets:LeNet5,lenets:Strict")
    yield "lenets"
    sys.modules.pop("lenets", None)


def of_channels(digits_data, channels):
    """Return the path of a copy of the digits with so many equal channels."""
    dataset, _ = data.load(digits_data)
    gray = data.Dataset(
        dataset.x_train.repeat(channels, 1),
        dataset.y_train,
        dataset.x_test.repeat(channels, 1),
        dataset.y_test,
        dataset.class_names,
    )
    data.save("digits.safetensors", gray, {"source": "digits", "channels": channels})
    return "digits.safetensors"


def fitted(data_path, channels):
    """Train LeNet5 as a user does and return it."""
    from lenets import LeNet5

    dataset, _ = data.load(data_path)
    torch.manual_seed(0)
    model = LeNet5(channels)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    images, labels = torch.from_numpy(dataset.x_train).float() / 255, torch.from_numpy(dataset.y_train)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def through_training(data_path, model, out="model.safetensors", factory="lenets:LeNet5", **options):
    from safetensors.numpy import save_file

    save_file(models.weights_of(model), "own.safetensors")
    specification = {"factory": factory, "weights": "own.safetensors", "options": options}
    train_stage.run(data_path, specification, seed=0, device="cpu", checkpoint="unused", out=out)
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ensemble", [False, True])
def test_a_network_that_uses_view_goes_through_every_stage(own, digits_data, trained_model, channels, ensemble):
    data_path = of_channels(digits_data, channels)
    model = fitted(data_path, channels)
    network = through_training(data_path, model, channels=channels)
    if ensemble:
        members = {"first": network, "second": network}
        specification = {"members": list(members), "training": {}}
        train_stage.run(
            data_path, specification, seed=0, device="cpu", checkpoint="unused", members=members, out="both.safetensors"
        )
        network = "both.safetensors"
    specification = {"name": "fgsm", "method": "fgsm", "target": "untargeted", "estimator": "", "options": {}}
    attack_stage.run(data_path, network, specification, images=8, chunk=4, seed=0, device="cpu", out="fgsm.safetensors")
    measure_stage.run(data_path, network, "fgsm.safetensors", {"l2": {}}, seed=0, device="cpu", out="fgsm.parquet")
    frame, _ = artifacts.load_rows("fgsm.parquet", "metrics")
    assert frame["success"].mean() > 0.5
    assert (frame["l2"][frame["success"]] > 0).all()
    images = torch.rand(4, channels, 16, 16).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        logits = models.load(network)[0](images)
        expected = model(images.flatten(1).view(images.shape))
    torch.testing.assert_close(logits.softmax(1), expected.softmax(1))


def test_networks_of_our_architectures_stay_channels_last(trained_model):
    model, _ = models.load(trained_model)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert not all(kernel.is_contiguous() for kernel in kernels)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("def own():\n    number = {}\n    return number['width']\n", r"KeyError in broken\.py, line 3: 'width'"),
        ("def own():\n    assert 1 == 2, 'no such width'\n", r"AssertionError in broken\.py, line 2: no such width"),
        ("def own():\n    return 3 +\n", r"SyntaxError in broken\.py, line 2"),
        ("import no_such_package\n", r"ModuleNotFoundError in broken\.py, line 1: No module named 'no_such_package'"),
        ("import json\n\n\ndef own():\n    return json.loads('{')\n", r"JSONDecodeError in broken\.py, line 5"),
        ("import torch\n\ndef own():\n    return torch.nn.Linear(-1, 2)\n", r"RuntimeError in broken\.py, line 4"),
    ],
)
def test_a_factory_that_raises(own, tmp_path, changed, words):
    (tmp_path / "broken.py").write_text(changed)
    try:
        with pytest.raises(ModelError, match=rf"model factory 'broken:own' cannot be called \({words}") as caught:
            models.from_factory("broken:own", {})
    finally:
        sys.modules.pop("broken", None)
    assert "\n" not in str(caught.value)


def test_a_network_that_raises_on_these_images(own, digits_data):
    data_path = of_channels(digits_data, 3)
    from lenets import Strict

    torch.manual_seed(0)
    words = (
        r"images of shape \(3, 16, 16\) \(IndexError in lenets\.py, line 25: only gray images\); .*code of its factory"
    )
    with pytest.raises(ModelError, match=words):
        through_training(data_path, Strict(3), factory="lenets:Strict", channels=3)


def test_the_channels_of_an_image_keep_their_places(own, digits_data):
    """Bringing images into the default layout moves no pixel."""
    from lenets import LeNet5

    seen = []
    model = models.from_factory("lenets:LeNet5", {"channels": 3})
    model.conv1.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 16, 16)
    for given in (images, images.contiguous(memory_format=torch.channels_last), images[:1]):
        model(given)
        np.testing.assert_array_equal(seen[-1].numpy(), given.numpy())
        assert seen[-1].stride()[1:] == (256, 16, 1)
    assert set(model.state_dict()) == set(LeNet5(3).state_dict())


# Normalisation, and weights for an architecture


def weights_file(network):
    from safetensors.numpy import save_file

    save_file(models.weights_of(network), "own.safetensors")
    return "own.safetensors"


def trained(data_path, specification, out="model.safetensors", **files):
    train_stage.run(data_path, specification, seed=0, device="cpu", checkpoint="unused", out=out, **files)
    return models.load(out)


def same_logits(model, expected):
    images = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected(images))


MEANS = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)


def test_a_network_of_a_factory_is_normalised_where_the_specification_says_so(own, digits_data):
    data_path = of_channels(digits_data, 3)
    network = fitted(data_path, 3)
    specification = {"factory": "lenets:LeNet5", "weights": weights_file(network), "options": {"channels": 3}}
    specification |= {"training": {"epochs": 0}, "mean": [0.1, 0.2, 0.3], "std": 0.5}
    model, header = trained(data_path, specification)
    same_logits(model, lambda images: network((images - MEANS) / 0.5))
    assert header["specification"]["std"] == 0.5
    joined, _ = trained(
        data_path, {"members": ["a", "b"]}, "joined.safetensors", members=dict.fromkeys("ab", "model.safetensors")
    )
    same_logits(joined, lambda images: network((images - MEANS) / 0.5).log_softmax(1))
    with pytest.raises(ModelError, match="mean: 2 values, the images have 3 channels; give one value or 3"):
        trained(data_path, specification | {"mean": [0, 1]})


@pytest.mark.parametrize("normalised", [False, True])
def test_an_architecture_with_weights(own, digits_data, normalised):
    data_path = of_channels(digits_data, 3)
    torch.manual_seed(0)
    network = models.bare({"architecture": "small_cnn", "options": {"width": 4}}, (3, 16, 16), 10).eval()
    specification = {"architecture": "small_cnn", "options": {"width": 4}, "weights": weights_file(network)}
    specification |= {"training": {"epochs": 0}}
    if normalised:
        specification |= {"mean": [0.1, 0.2, 0.3], "std": 0.5}
    model, header = trained(data_path, specification)
    same_logits(model, lambda images: network((images - MEANS) / 0.5 if normalised else images))
    assert header["inputs"]["weights"] == artifacts.file_digest("own.safetensors")
    # Training goes on from there.
    training = {"recipe": "standard"} | {name: option["default"] for name, option in COMMON.items()}
    further = {key: specification[key] for key in ("architecture", "options", "mean", "std") if key in specification}
    further |= {"training": training | {"epochs": 0}, "start": "own"}
    again, _ = trained(data_path, further, "further.safetensors", start="model.safetensors")
    same_logits(again, model)


def test_weights_of_another_network_for_an_architecture(own, digits_data):
    network = models.bare({"architecture": "small_cnn", "options": {"width": 8}}, (1, 16, 16), 10)
    specification = {"architecture": "small_cnn", "options": {"width": 4}, "weights": weights_file(network)}
    with pytest.raises(ModelError, match=r"own\.safetensors: weights do not fit the model"):
        trained(digits_data, specification)


def test_a_trained_network_is_normalised_as_the_specification_says(digits_data, tmp_path):
    training = {"recipe": "standard"} | {name: option["default"] for name, option in COMMON.items()} | {"epochs": 0}
    specification = {"architecture": "small_cnn", "options": {"width": 4}, "training": training}
    for given, mean, std in (({"mean": 0.25, "std": [2]}, 0.25, 2), ({}, None, None)):
        out = tmp_path / "model.safetensors"
        train_stage.run(
            digits_data, specification | given, seed=0, device="cpu", checkpoint=tmp_path / "unused", out=out
        )
        stored = artifacts.load_tensors(out, "model")[0]
        dataset, _ = data.load(digits_data)
        assert stored["mean"].item() == pytest.approx(dataset.x_train.mean() / 255 if mean is None else mean, rel=1e-5)
        assert stored["std"].item() == pytest.approx(dataset.x_train.std() / 255 if std is None else std, rel=1e-5)
