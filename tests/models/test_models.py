"""Target networks: what they take and return, how they are stored, and a user's own model in their place."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from helpers import toys
from infoadv import InfoadvError, artifacts, data, models
from infoadv.artifacts import ArtifactError
from infoadv.models import ModelError
from infoadv.registry import plugins
from infoadv.stages import train as train_stage
from infoadv.training import evaluation

SMALL = {
    "small_cnn": {"width": 4},
    "carlini_wagner": {},
    "resnet": {"width": 4},
    "fitnet4": {"stages": [[4], [4, 6], [8]], "dense": 8},
    "deep_conv": {"channels": [[4, 6], [8, 4]], "dense": 8},
    "torchvision": {"name": "shufflenet_v2_x0_5", "stem": "small"},
}


def build(architecture, shape, classes=3, options=None, mean=0.5, std=0.25):
    torch.manual_seed(0)
    options = SMALL[architecture] if options is None else options
    channels = shape[0]
    return models.build(architecture, options, shape, classes, [mean] * channels, [std] * channels).eval()


def test_every_architecture_is_tested_here():
    # RobustBench's are in a package of their own: test_robustbench_models.py.
    assert set(SMALL) | {"robustbench"} == set(plugins.schemas("models"))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 16, 16), (3, 17, 23), (1, 31, 18)], ids=str)
@pytest.mark.parametrize("architecture", list(SMALL))
def test_logits_for_every_shape(architecture, shape):
    model = build(architecture, shape)
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    logits = models.check_logits(model, images, 3, architecture)
    assert logits.shape == (2, 3)
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(
    ("architecture", "smallest"),
    [("carlini_wagner", 16), ("deep_conv", 10), ("fitnet4", 16), ("resnet", 8), ("small_cnn", 1)],
    ids=str,
)
@pytest.mark.parametrize("tall", [False, True])
def test_the_smallest_image(architecture, smallest, tall):
    """The side that is named takes one that is a pixel smaller only with an InfoadvError."""
    other = max(smallest, 24)
    shape = (1, other, smallest) if tall else (1, smallest, other)
    assert build(architecture, shape)(torch.rand(2, *shape)).shape == (2, 3)
    if smallest > 1:
        shape = (1, other, smallest - 1) if tall else (1, smallest - 1, other)
        with pytest.raises(InfoadvError, match=f"{architecture} needs images of at least {smallest} px"):
            build(architecture, shape)


@pytest.mark.parametrize("options", [{"width": 8}, {"width": 12}])
@pytest.mark.parametrize("architecture", ["small_cnn", "resnet"])
def test_width_is_the_channels_of_the_first_layer(architecture, options):
    network = build(architecture, (3, 16, 16), options=options)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.shape[:2] == (options["width"], 3)


@pytest.mark.parametrize(
    ("variant", "shape", "channels", "cells", "dense"),
    [("mnist", (1, 28, 28), (32, 32, 64, 64), 4 * 4, 200), ("cifar", (3, 32, 32), (64, 64, 128, 128), 5 * 5, 256)],
)
def test_carlini_wagner_has_the_parameters_of_their_table(variant, shape, channels, cells, dense):
    expected, previous = 0, shape[0]
    for outputs in channels:
        expected += outputs * (previous * 3 * 3 + 1)
        previous = outputs
    for inputs, outputs in ((cells * previous, dense), (dense, dense), (dense, 10)):
        expected += outputs * (inputs + 1)
    network = build("carlini_wagner", shape, 10, {"variant": variant})
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(("architecture", "parameters"), [("fitnet4", 1_276_806), ("deep_conv", 1_250_858)])
def test_parameters_on_cifar10_are_the_published_ones(architecture, parameters):
    network = build(architecture, (3, 32, 32), 10, {})
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("architecture", "widths"), [("fitnet4", [3, 2, 5, 7, 6]), ("deep_conv", [3, 5, 2, 6, 7])], ids=str
)
def test_resized_gives_the_hidden_layers_these_widths(architecture, widths):
    options = models.resized(architecture, SMALL[architecture], widths)
    layers = [m for m in build(architecture, (3, 17, 23), options=options).modules() if hasattr(m, "weight")]
    assert [layer.weight.shape[0] for layer in layers] == [*widths, 3]
    assert SMALL[architecture] != options
    with pytest.raises(ModelError, match=r"resnet cannot be trimmed: .*use fitnet4 or deep_conv"):
        models.resized("resnet", {}, [])


def test_the_probabilities_of_an_ensemble_are_the_mean_of_its_members():
    members = [build(name, (1, 16, 16)) for name in ("small_cnn", "resnet", "deep_conv")]
    with torch.no_grad():
        members[0].network[-1].weight.mul_(1e4)  # logits that leave nothing of the other classes in float32
        images = torch.rand(6, 1, 16, 16)
        logits = models.Ensemble(members)(images)
        mean = torch.stack([member(images).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(logits.softmax(1), mean)
    torch.testing.assert_close(logits.exp(), mean)


def test_normalisation_is_inside():
    images = torch.rand(4, 3, 16, 16)
    model = build("small_cnn", (3, 16, 16), mean=0.3, std=0.2)
    torch.testing.assert_close(model(images), model.network((images - 0.3) / 0.2))
    assert {"mean", "std"} <= set(models.weights_of(model))


def write(path, architecture, shape=(1, 16, 16), **changed):
    model = build(architecture, shape)
    specification = {"architecture": architecture, "options": SMALL[architecture], "training": {}}
    header = artifacts.provenance("model", specification, dataset_shape=list(shape), classes=3) | changed
    artifacts.save_tensors(path, models.weights_of(model), header)
    return model


@pytest.mark.parametrize("architecture", list(SMALL))
def test_a_stored_model_gives_identical_logits(tmp_path, architecture):
    path = tmp_path / "model.safetensors"
    model = write(path, architecture)
    loaded, header = models.load(path)
    images = torch.rand(5, 1, 16, 16).contiguous(memory_format=torch.channels_last)
    model = model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert header["classes"] == 3
    for name, array in models.weights_of(loaded).items():
        assert array.shape == models.weights_of(model)[name].shape


def test_scalars_as_format_1_wrote_them_are_read(tmp_path):
    path = tmp_path / "model.safetensors"
    model = write(path, "resnet")
    tensors, header = artifacts.load_tensors(path, "model")
    artifacts.save_tensors(path, {name: np.atleast_1d(array) for name, array in tensors.items()}, header)
    assert artifacts.load_tensors(path, "model")[0]["network.0.1.num_batches_tracked"].shape == (1,)
    for name, array in models.weights_of(models.load(path)[0]).items():
        np.testing.assert_array_equal(array, models.weights_of(model)[name], strict=True)


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, "small_cnn", classes=4)
    with pytest.raises(ModelError, match=r"model\.safetensors: weights do not fit the model .*remove it or correct"):
        models.load(path)
    specification = {"architecture": "resnet", "options": {"width": 4}, "training": {}}
    write(path, "small_cnn", specification=specification)
    with pytest.raises(ModelError, match=r"model\.safetensors: weights do not fit") as caught:
        models.load(path)
    assert "\n" not in str(caught.value)


def test_a_data_set_is_no_model(digits_data):
    with pytest.raises(ArtifactError, match="'model' artefact is needed"):
        models.load(digits_data)


# A user's own model

FACTORY = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.features = nn.Conv2d(1, width, 4, stride=4)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 16, classes)

    def forward(self, images):
        return self.head(self.norm(self.features(images)).relu().flatten(1))


def own(width=8, classes=10):
    return Own(width, classes)


def with_auxiliary():
    model = Own(8, 10)
    forward = model.forward
    model.forward = lambda images: (forward(images), None)
    return model


def for_colour():
    model = Own(8, 10)
    model.features = nn.Conv2d(3, 8, 4, stride=4)
    return model


def no_module():
    return {"weights": 3}
"""


@pytest.fixture
def factory(tmp_path, monkeypatch, digits_data):
    """Write a user's module and weights that fit ``digits_data``; return a function that makes the artefact."""
    (tmp_path / "users_models.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    import users_models

    dataset, _ = data.load(digits_data)
    torch.manual_seed(0)
    model = users_models.own()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    images, labels = torch.from_numpy(dataset.x_train).float() / 255, torch.from_numpy(dataset.y_train)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    save_file(models.weights_of(model), tmp_path / "own.safetensors")
    out = tmp_path / "model.safetensors"

    def run(function="own", options=None, weights=None):
        if weights is not None:
            save_file(weights, tmp_path / "own.safetensors")
        specification = {
            "factory": f"users_models:{function}",
            "options": options or {},
            "weights": str(tmp_path / "own.safetensors"),
        }
        train_stage.run(digits_data, specification, seed=0, device="cpu", checkpoint=tmp_path / "unused", out=out)
        return out

    yield model.eval(), run
    del sys.modules["users_models"]


def test_a_users_model_becomes_an_artefact(factory, digits_data, tmp_path):
    model, run = factory
    path = run()
    loaded, header = models.load(path)
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
    assert header["inputs"] == {
        "data": artifacts.file_digest(digits_data),
        "weights": artifacts.file_digest(tmp_path / "own.safetensors"),
    }
    assert header["clean_accuracy"] > 0.7
    assert 0 <= header["pgd_accuracy"] <= header["clean_accuracy"]
    assert header["parameters_count"] == sum(parameter.numel() for parameter in model.parameters())
    before = path.read_bytes()
    assert run().read_bytes() == before


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        ("missing", {}, "cannot be called"),
        ("own", {"depth": 3}, "cannot be called .*depth.*accepts the given options"),
        ("no_module", {}, "returned dict; it must return a torch.nn.Module"),
        ("own", {"width": 4}, "own.safetensors: weights do not fit the model"),
        ("with_auxiliary", {}, "must return logits N x classes"),
    ],
)
def test_a_users_model_that_does_not_fit(factory, tmp_path, function, options, words):
    with pytest.raises(ModelError, match=words) as caught:
        factory[1](function, options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_users_module_that_is_not_there(factory):
    with pytest.raises(ModelError, match=r"'no\.such:thing' cannot be called .*PYTHONPATH"):
        models.from_factory("no.such:thing", {})
    for path in ("users_models", ":own", ""):
        with pytest.raises(ModelError, match=r"give 'package\.module:function'"):
            models.from_factory(path, {})


def test_a_users_weights_that_are_not_there(factory, tmp_path):
    (tmp_path / "own.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"own\.safetensors: no such file"):
        factory[1]()


def test_a_users_model_of_other_classes(factory):
    torch.manual_seed(0)
    other = sys.modules["users_models"].own(classes=7)
    with pytest.raises(ModelError, match=r"returns \(8, 7\) for 8 images, the data set has 10 classes"):
        factory[1](options={"classes": 7}, weights=models.weights_of(other))


def test_a_users_model_of_other_images(factory):
    torch.manual_seed(0)
    other = sys.modules["users_models"].for_colour()
    with pytest.raises(ModelError, match=r"cannot take images of shape \(1, 16, 16\)") as caught:
        factory[1]("for_colour", weights=models.weights_of(other))
    assert "\n" not in str(caught.value)


def test_a_users_weights_with_nan(factory, tmp_path):
    model, run = factory
    weights = {name: array.copy() for name, array in models.weights_of(model).items()}
    weights["head.bias"][3] = np.nan
    with pytest.raises(ModelError, match="NaN or infinite logits; train it again or check its weights"):
        run(weights=weights)
    assert not (tmp_path / "model.safetensors").exists()


def test_toy_model_is_right_where_it_should_be(tmp_path):
    data_path, model_path = toys.linear_artifacts(tmp_path)
    dataset, _ = data.load(data_path)
    model, _ = models.load(model_path)
    accuracy = evaluation.accuracy(model, dataset.x_test, dataset.y_test, torch.device("cpu"))
    assert accuracy == 1 - 1 / 5
