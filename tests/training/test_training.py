"""Training: a function of data, specification and seed, whatever interrupts it, and a fail-safe against bad networks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from helpers import ROOT, toys
from infoadv import artifacts, cli, data, models
from infoadv.execution import device
from infoadv.registry import plugins
from infoadv.stages import train as train_stage
from infoadv.training import TrainingError, distillation, evaluation, loop, recipes
from infoadv.training.evaluation import apgd_accuracy, pgd_accuracy
from infoadv.training.loop import augment, learning_rate_at

CPU = torch.device("cpu")


@pytest.fixture
def train(digits_data, tmp_path):
    """Return a function that trains into ``tmp_path`` and returns the artefact's path."""

    def run(
        name="model",
        *,
        seed=0,
        data_path=digits_data,
        start=None,
        teacher=None,
        trained=None,
        architecture=None,
        **options,
    ):
        out = tmp_path / f"{name}.safetensors"
        others = {"start": start, "teacher": teacher}
        train_stage.run(
            data_path,
            toys.specification(**options)
            | (architecture or {})
            | {role: path.stem for role, path in others.items() if path is not None},
            seed=seed,
            device="cpu",
            checkpoint=checkpoint(tmp_path, name),
            out=out,
            trained=trained,
            **others,
        )
        return out

    return run


def test_robustness_is_judged_by_the_first_test_images_unless_they_are_sorted_by_class():
    mixed = np.array([3, 1, 2, 0, 1, 0])
    assert train_stage._judging(mixed, 4).tolist() == [0, 1, 2, 3]
    assert train_stage._judging(mixed, 9).tolist() == list(range(6))
    by_class = np.repeat([0, 1, 2], 4)
    assert by_class[train_stage._judging(by_class, 6)].tolist() == [0, 0, 1, 1, 2, 2]
    assert train_stage._judging(by_class, 99).tolist() == list(range(12))


def checkpoint(folder, name="model"):
    return folder / f"{name}.ckpt.safetensors"


#: A fitnet4 that trains in a moment.
FITNET = {
    "architecture": "fitnet4",
    "options": {"stages": [[12], [16], [16]], "dense": 16, "dropout": 0.05},
}


class InterruptedRunError(Exception):
    """Stands for whatever ends a training."""


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that lets a training be interrupted in the middle of an epoch (counted from 1)."""
    original = augment

    def after(epoch, steps=25):
        calls = 0

        def counted(images, kinds, generator):
            nonlocal calls
            calls += 1
            if calls == (epoch - 1) * steps + 4:
                monkeypatch.setattr(loop, "augment", original)
                raise InterruptedRunError
            return original(images, kinds, generator)

        monkeypatch.setattr(loop, "augment", counted)

    return after


# One specification, one network


def test_same_seed_same_bytes(train):
    options = {"augment": ["flip", "crop"], "label_smoothing": 0.1, "width": 8, "epochs": 6}
    first = train("first", **options).read_bytes()
    assert train("second", **options).read_bytes() == first
    assert train("third", seed=1, **options).read_bytes() != first


def test_what_the_header_says(trained_model, digits_data):
    header = artifacts.read_header(trained_model, "model")
    assert header["specification"] == toys.specification(epochs=8)
    assert header["dataset_shape"] == [1, 16, 16]
    assert header["classes"] == 10
    assert header["inputs"] == {"data": artifacts.file_digest(digits_data)}
    assert header["pgd_epsilon"] == 0.1
    model, _ = models.load(trained_model)
    dataset, _ = data.load(digits_data)
    assert header["clean_accuracy"] == evaluation.accuracy(model, dataset.x_test, dataset.y_test, CPU)
    assert header["clean_accuracy"] > 0.8
    assert header["pgd_accuracy"] == pgd_accuracy(model, dataset.x_test, dataset.y_test, CPU, 0.1, 0)
    assert header["apgd_accuracy"] == apgd_accuracy(model, dataset.x_test, dataset.y_test, CPU, 0.1, 0, 25)
    assert header["apgd_images"] == min(1000, len(dataset.x_test))
    assert header["parameters_count"] == sum(parameter.numel() for parameter in model.parameters())


#: Recipes that train against an attack.
ADVERSARIAL = ("fast_adversarial", "pgd_adversarial", "trades")


@pytest.mark.parametrize("recipe", list(plugins.schemas("training")))
def test_an_interrupted_training_goes_on_to_the_same_bytes(train, interrupt, trained_model, tmp_path, capsys, recipe):
    options = {"recipe": recipe, "epochs": 5, "width": 8, "augment": ["crop"]}
    if recipe in ADVERSARIAL:
        options["epsilon"] = 0.02
    elif recipe == "distillation":
        options |= {"teacher": trained_model, "temperature": 1.0}
    elif recipe == "trimming":
        options |= {"architecture": FITNET, "deviations": 0.5}
        options["start"] = train("start", epochs=0, architecture=FITNET)
    whole = train("whole", **options).read_bytes()
    # In the first epoch there is nothing yet to go on from.
    for epoch in (1, 3):
        interrupt(epoch)
        with pytest.raises(InterruptedRunError):
            train("cut", **options)
        assert not (tmp_path / "cut.safetensors").exists()
        assert checkpoint(tmp_path, "cut").exists() == (epoch > 1)
    capsys.readouterr()
    assert train("cut", **options).read_bytes() == whole
    assert "resumed after epoch 2" in capsys.readouterr().err
    assert not checkpoint(tmp_path, "cut").exists()


def test_dropout_and_batch_statistics_go_on_as_well(train, interrupt, monkeypatch):
    """Dropout draws from the global generator; batch normalisation has buffers."""

    def network(shape, classes, *, width):
        return nn.Sequential(
            nn.Conv2d(1, width, 4, stride=4),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(16 * width, classes),
        )

    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda folder, name: network if folder == "models" else load(folder, name))
    whole = train("whole", width=8).read_bytes()
    interrupt(2)
    with pytest.raises(InterruptedRunError):
        train("cut", width=8)
    assert train("cut", width=8).read_bytes() == whole


KILLED = """
import os, signal, sys
from helpers import toys
from infoadv.stages import train
from infoadv.training import loop

steps, original = 0, loop.augment

def deadly(*arguments):
    global steps
    steps += 1
    if steps == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

loop.augment = deadly
train.run(sys.argv[1], toys.specification(), seed=0, device="cpu", checkpoint=sys.argv[2], out=sys.argv[3])
"""


def test_a_killed_training_goes_on_to_the_same_bytes(train, digits_data, tmp_path, capsys):
    whole = train("whole").read_bytes()
    paths = [str(path) for path in (digits_data, checkpoint(tmp_path), tmp_path / "model.safetensors")]
    command = [sys.executable, "-c", KILLED, *paths]
    environment = {"PYTHONPATH": f"{plugins.PACKAGE.parent}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint(tmp_path).exists()
    capsys.readouterr()
    assert train().read_bytes() == whole
    assert "resumed after epoch 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind", ["truncated", "text", "other options", "other seed", "other data", "device", "code", "threads"]
)
def test_a_checkpoint_that_is_of_no_use_is_ignored(train, interrupt, digits_data, tmp_path, capsys, kind):
    whole = train("whole").read_bytes()
    path = checkpoint(tmp_path)
    interrupt(2)
    options = {}
    if kind == "other options":
        options["weight_decay"] = 0.0
    elif kind == "other seed":
        options["seed"] = 5
    elif kind == "other data":
        dataset, _ = data.load(digits_data)
        dataset.x_train[0] = 255 - dataset.x_train[0]
        options["data_path"] = tmp_path / "other.safetensors"
        data.save(options["data_path"], dataset, {"source": "another"})
    with pytest.raises(InterruptedRunError):
        train(**options)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind in ("device", "code", "threads"):
        tensors, header = artifacts.load_tensors(path)
        identity = json.loads(header["specification"]["identity"])
        identity[kind] = {"device": "cuda", "code": identity["code"][1:], "threads": 64}[kind]
        specification = {"identity": artifacts.canonical_json(identity)}
        artifacts.save_tensors(path, tensors, header | {"specification": specification})
    capsys.readouterr()
    assert train().read_bytes() == whole
    assert "resumed" not in capsys.readouterr().err


# Networks of an earlier run


def test_a_finished_network_is_taken_whole(train, monkeypatch, tmp_path, capsys):
    earlier = train("earlier", epochs=3)
    tensors, header = artifacts.load_tensors(earlier, "model")
    artifacts.save_tensors(earlier, tensors, header | {"commit": "1" * 40})
    monkeypatch.setattr(loop, "train", lambda *arguments: pytest.fail("trained"))
    checkpoint(tmp_path, "taken").write_bytes(b"of a training that was killed")
    taken, after = artifacts.load_tensors(train("taken", epochs=3, trained=earlier), "model")
    assert taken.keys() == tensors.keys()
    assert all((taken[name] == tensors[name]).all() for name in tensors)
    assert after["trained_commit"] == "1" * 40
    assert after["commit"] == header["commit"]
    assert after["inputs"] == header["inputs"] | {"trained": artifacts.file_digest(earlier)}
    assert {key: after[key] for key in ("clean_accuracy", "pgd_accuracy", "made_from", "specification")} == {
        key: header[key] for key in ("clean_accuracy", "pgd_accuracy", "made_from", "specification")
    }
    assert "taken from" in capsys.readouterr().err
    assert not checkpoint(tmp_path, "taken").exists()
    # Taken again, it still names the commit that trained it.
    again = train("again", epochs=3, trained=tmp_path / "taken.safetensors")
    assert artifacts.read_header(again)["trained_commit"] == "1" * 40


def test_a_network_that_is_not_trained_is_not_taken_from_an_earlier_run(train, digits_data, tmp_path):
    specification = {"members": ["a", "b"], "training": {}}
    with pytest.raises(TrainingError, match="is not trained but made of what its entry names; leave --trained out"):
        train_stage.run(
            digits_data,
            specification,
            seed=0,
            device="cpu",
            checkpoint=checkpoint(tmp_path),
            out=tmp_path / "joined.safetensors",
            members={"a": tmp_path / "a", "b": tmp_path / "b"},
            trained=tmp_path / "earlier.safetensors",
        )


@pytest.mark.parametrize("what", ["specification", "seed", "made_from"])
def test_a_network_of_another_specification_seed_or_data_set_is_not_taken(train, digits_data, tmp_path, capsys, what):
    earlier = train("earlier", epochs=6)
    options = {"epochs": 6}
    if what == "specification":
        options["epochs"] = 7
    elif what == "seed":
        options["seed"] = 1
    else:
        dataset, _ = data.load(digits_data)
        dataset.x_train[0] = 255 - dataset.x_train[0]
        options["data_path"] = tmp_path / "other.safetensors"
        data.save(options["data_path"], dataset, {"source": "another"})
    expected = train("expected", **options).read_bytes()
    capsys.readouterr()
    assert train("asked", trained=earlier, **options).read_bytes() == expected
    assert f"has another {what}; trained anew" in capsys.readouterr().err


def test_data_smaller_than_a_batch(train):
    assert artifacts.read_header(train(batch_size=1000, epochs=60))["clean_accuracy"] > 0.2


# Networks that are made from others


def test_training_begins_from_the_weights_of_start(train, trained_model, digits_data):
    path = train("same", epochs=0, start=trained_model)
    weights, header = artifacts.load_tensors(path)
    given, _ = artifacts.load_tensors(trained_model)
    assert all(np.array_equal(weights[name], array) for name, array in given.items())
    assert header["specification"]["start"] == "small"
    assert header["inputs"] == {
        "data": artifacts.file_digest(digits_data),
        "start": artifacts.file_digest(trained_model),
    }
    before, after = (artifacts.read_header(file)["clean_accuracy"] for file in (trained_model, path))
    assert after == before
    again = train("again", epochs=1, learning_rate=0.001, start=trained_model)
    assert artifacts.read_header(again)["clean_accuracy"] > before - 0.05


@pytest.mark.parametrize("role", ["start", "teacher"])
def test_a_checkpoint_of_another_start_or_teacher_is_ignored(train, interrupt, trained_model, tmp_path, capsys, role):
    other = train("other", epochs=6, seed=7)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("start", "teacher")}
    for path in files.values():
        path.write_bytes(trained_model.read_bytes())
    options = {"recipe": "distillation", "temperature": 1.0, **files}
    interrupt(2)
    with pytest.raises(InterruptedRunError):
        train(**options)
    # The same name in the specification, another network behind it.
    files[role].write_bytes(other.read_bytes())
    capsys.readouterr()
    changed = train(**options)
    assert "resumed" not in capsys.readouterr().err
    assert artifacts.read_header(changed)["inputs"][role] == artifacts.file_digest(other)


def test_no_epoch_leaves_an_untrained_control(train, digits_data):
    path = train(epochs=0, initialization="lsuv", seed=4)
    model, header = models.load(path)
    dataset, _ = data.load(digits_data)
    # Near chance, which is an error for a network that was trained.
    assert header["clean_accuracy"] == evaluation.accuracy(model, dataset.x_test, dataset.y_test, CPU) < 0.3
    assert all(abs(variance - 1) <= 0.02 for variance in header["lsuv_variances"].values())
    assert train("again", epochs=0, initialization="lsuv", seed=4).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"start": "a"}, r"start: the specification names a, no file is given; give a file with --start"),
        ({"members": ["a", "b"]}, r"members: .*no file is given; give a file with --member if"),
    ],
)
def test_files_that_are_named_must_be_given(digits_data, tmp_path, changed, words):
    with pytest.raises(TrainingError, match=words):
        train_stage.run(
            digits_data,
            toys.specification() | changed,
            seed=0,
            device="cpu",
            checkpoint=tmp_path / "c",
            out=tmp_path / "o",
        )


def test_networks_that_do_not_fit_are_refused(train, trained_model, digits_data, tmp_path):
    with pytest.raises(TrainingError, match=r"small\.safetensors: a network of another architecture; .* of fitnet4"):
        train(start=trained_model, architecture=FITNET)
    dataset, _ = data.load(digits_data)
    other = tmp_path / "other.safetensors"
    data.save(other, dataset, {"source": "another"})
    with pytest.raises(TrainingError, match=r"small\.safetensors: made on another data set than .*other\.safetensors"):
        train(start=trained_model, data_path=other)


def linear(weight):
    layer = nn.Linear(2, 3, bias=False)
    layer.weight = nn.Parameter(torch.tensor(weight))
    return layer


@pytest.mark.parametrize("temperature", [1.0, 5.0, 100.0])
def test_losses_at_a_temperature_by_hand(temperature):
    images, labels = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]]), torch.tensor([2, 0, 1])
    model = linear([[30.0, 2.0], [1.0, -40.0], [5.0, 6.0]])
    teacher = linear([[10.0, 20.0], [-70.0, 4.0], [0.5, 60.0]])
    chosen = {"smoothing": 0.0, "generator": torch.Generator(), "temperature": temperature}

    def softmax(logits):
        powers = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64) / temperature)
        return powers / powers.sum(1, keepdims=True)

    with torch.no_grad():
        student_p, teacher_p = (softmax(network(images).numpy()) for network in (model, teacher))
    for targets, (loss, logits) in (
        (np.eye(3)[labels.numpy()], distillation.tempered(model, images, labels, **chosen)),
        (teacher_p, distillation.distillation(model, images, labels, teacher=teacher, **chosen)),
    ):
        assert loss.item() == pytest.approx(-(targets * np.log(student_p)).sum(1).mean(), rel=1e-4)
        torch.testing.assert_close(logits, model(images))
        (gradient,) = torch.autograd.grad(loss, model.weight)
        by_logits = (student_p - targets) / temperature / len(images)
        np.testing.assert_allclose(gradient, by_logits.T @ images.numpy(), rtol=1e-4, atol=1e-8)
    assert teacher.weight.grad is None


def test_defensive_distillation_trains_at_ordinary_learning_rates(train):
    options = {"width": 8, "epochs": 8, "learning_rate": 0.05, "weight_decay": 0.0005}
    start = train("start", width=8, epochs=3)
    teacher = train("teacher", recipe="tempered", temperature=100.0, start=start, **options)
    student = train("student", recipe="distillation", temperature=100.0, start=start, teacher=teacher, **options)
    for path in (teacher, student):
        model, header = models.load(path)
        assert header["clean_accuracy"] > 0.85
        logits = model(torch.rand(50, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
        assert logits.abs().max() > 100
    assert header["inputs"]["teacher"] == artifacts.file_digest(teacher)
    assert header["distillation"] == {"last_layer_times": 100.0}


def test_a_tempered_network_begins_as_the_start_at_temperature_1(train, trained_model):
    tempered, _ = models.load(train(recipe="tempered", temperature=50.0, epochs=0, start=trained_model))
    start, _ = models.load(trained_model)
    images = torch.rand(20, 1, 16, 16)
    torch.testing.assert_close(tempered(images) / 50, start(images))


def test_rounds_of_trimming_follow_each_other(train, digits_data):
    small = train("full", epochs=6, initialization="lsuv", architecture=FITNET)
    options = {"recipe": "trimming", "deviations": 0.5, "apoz_images": 300, "epochs": 2, "learning_rate": 0.02}
    dataset, _ = data.load(digits_data)
    previous = [12, 16, 16, 16]
    for name in ("first", "second"):
        small = train(name, start=small, architecture=FITNET, **options)
        model, header = models.load(small)
        about = header["trimming"]
        assert about["widths_before"] == previous
        assert all(after <= before for after, before in zip(about["widths_after"], previous, strict=True))
        assert sum(about["widths_after"]) < sum(previous)
        assert about["parameters_after"] == header["parameters_count"] < about["parameters_before"]
        assert header["specification"]["options"] == FITNET["options"]
        *channels, dense = about["widths_after"]
        assert header["architecture_options"] == FITNET["options"] | {"stages": [[c] for c in channels], "dense": dense}
        assert header["clean_accuracy"] == evaluation.accuracy(model, dataset.x_test, dataset.y_test, CPU)
        assert 0 <= about["accuracy_trimmed"] <= 1
        previous = about["widths_after"]
    # A network that only starts from a trimmed one has its size.
    header = artifacts.read_header(train("later", start=small, architecture=FITNET, epochs=0))
    assert header["architecture_options"]["dense"] == previous[-1]


def test_an_ensemble_is_a_model_artefact_of_its_own(train, digits_data, trained_model, tmp_path):
    trimmed = train("trimmed", epochs=0, recipe="trimming", architecture=FITNET, start=train("f", architecture=FITNET))
    members = {"b": trained_model, "a.1": trimmed}
    out, arguments = tmp_path / "ensemble.safetensors", {"seed": 0, "device": "cpu", "checkpoint": tmp_path / "c"}
    specification = {"members": ["b", "a.1"], "training": {"pgd_epsilon": 0.05}}
    train_stage.run(digits_data, specification, members=members, out=out, **arguments)
    networks = [models.load(path)[0] for path in members.values()]
    trimmed.unlink()
    ensemble, header = models.load(out)
    dataset, _ = data.load(digits_data)
    images = torch.from_numpy(dataset.x_test[:30]).float() / 255
    mean = torch.stack([network(images).softmax(1) for network in networks]).mean(0)
    torch.testing.assert_close(ensemble(images).softmax(1), mean)
    assert header["clean_accuracy"] == evaluation.accuracy(ensemble, dataset.x_test, dataset.y_test, CPU)
    assert header["pgd_epsilon"] == 0.05
    assert header["parameters_count"] == sum(p.numel() for network in networks for p in network.parameters())
    assert header["members"]["b"] == artifacts.read_header(trained_model)
    assert set(header["inputs"]) == {"data", "member b", "member a.1"}
    with pytest.raises(TrainingError, match=r"members: the specification names b, a\.1, the files are of b; "):
        train_stage.run(digits_data, specification, members={"b": trained_model}, out=out, **arguments)


def test_the_command_line_takes_the_files_of_other_networks(digits_data, trained_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "prepare_environment", lambda threads: None)
    monkeypatch.setattr(device, "configure", lambda threads: None)

    def command(name, specification, *arguments):
        given = ["--data", digits_data, "--spec", json.dumps(specification), "--checkpoint", tmp_path / "c"]
        out = tmp_path / f"{name}.safetensors"
        assert cli.main(["train", *map(str, [*given, *arguments, "--out", out])]) == 0, capsys.readouterr().err
        return out

    student = toys.specification(epochs=1, recipe="distillation", temperature=1.0) | {"start": "s", "teacher": "t"}
    path = command("student", student, "--start", trained_model, "--teacher", trained_model)
    assert set(artifacts.read_header(path)["inputs"]) == {"data", "start", "teacher"}
    both = {"members": ["x", "y"], "training": {"pgd_epsilon": 0.1}}
    pair = command("pair", both, "--member", f"x={path}", "--member", f"y={trained_model}")
    assert list(artifacts.read_header(pair)["specification"]["members"]) == ["x", "y"]
    with pytest.raises(SystemExit):
        cli.main(["train", "--member", str(path)])
    assert "is not NAME=FILE" in capsys.readouterr().err


# Networks that nobody should attack


def test_accuracy_near_chance_is_an_error(train, digits_data, tmp_path):
    dataset, _ = data.load(digits_data)
    labels = np.random.default_rng(0).integers(0, 10, len(dataset.y_train))
    shuffled = data.Dataset(dataset.x_train, labels, dataset.x_test, dataset.y_test, dataset.class_names)
    data.save(tmp_path / "shuffled.safetensors", shuffled, {"source": "shuffled"})
    with pytest.raises(TrainingError, match=r"near chance.*check the labels"):
        train(data_path=tmp_path / "shuffled.safetensors")
    assert not (tmp_path / "model.safetensors").exists()


def test_loss_that_is_no_number_is_an_error(train, tmp_path):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch .*lower training\.learning_rate"):
        train(learning_rate=1e20, epochs=3)
    assert not (tmp_path / "model.safetensors").exists()


# What happens in a step


def test_crop_shifts_the_image():
    images = torch.rand(40, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    shifted = augment(images, ["crop"], torch.Generator().manual_seed(1))
    assert shifted.shape == images.shape
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    found = set()
    for image, whole in zip(shifted, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(whole[:, y : y + 16, x : x + 16], image)]
        assert len(places) == 1
        found.update(places)
    assert len(found) > 12


def test_flip_mirrors_half_of_the_images():
    images = torch.rand(200, 3, 5, 8)
    flipped = augment(images, ["flip"], torch.Generator().manual_seed(1))
    mirrored = [torch.equal(one, other.flip(2)) for one, other in zip(flipped, images, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(flipped, images, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize("kinds", [[], ["flip"], ["crop"], ["crop", "flip"]])
def test_augmentation_is_a_function_of_the_generator(kinds):
    images = torch.rand(20, 1, 16, 18)
    once, again, other = (augment(images, kinds, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert torch.equal(once, other) == (not kinds)
    assert once.is_contiguous(memory_format=torch.channels_last)


def test_learning_rate_goes_up_and_down():
    rates = [learning_rate_at(step / 1000, 0.4) for step in range(1000)]
    assert rates[0] == 0
    assert max(rates) == rates[200] == pytest.approx(0.4)
    assert rates[100] == pytest.approx(0.2)
    assert rates[600] == pytest.approx(0.2)
    assert 0 < rates[-1] < 0.001
    assert rates[:201] == sorted(rates[:201])
    assert rates[200:] == sorted(rates[200:], reverse=True)


def test_training_follows_the_schedule(train, monkeypatch):
    asked = []

    def schedule(progress, peak):
        asked.append((progress, peak))
        return learning_rate_at(progress, peak)

    monkeypatch.setattr(loop, "learning_rate_at", schedule)
    train(learning_rate=0.12)
    assert {peak for _, peak in asked} == {0.12}
    assert sorted({progress for progress, _ in asked}) == [step / 75 for step in range(75)]


def test_bfloat16(train):
    path = train(precision="bfloat16", epochs=5)
    tensors, header = artifacts.load_tensors(path, "model")
    assert header["clean_accuracy"] > 0.3
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}


# Robustness


def test_pgd_stays_in_the_ball_and_in_the_box(trained_model, digits_data, monkeypatch):
    model, _ = models.load(trained_model)
    dataset, _ = data.load(digits_data)
    seen = []

    def step(images, delta, gradient, epsilon, length):
        moved = recipes.stepped(images, delta, gradient, epsilon, length)
        for change in (delta, moved):
            seen.append(
                (float(change.abs().max()), float((images + change).min()), float((images + change).max()), length)
            )
        return moved

    monkeypatch.setattr(evaluation, "stepped", step)
    pgd_accuracy(model, dataset.x_test[:50], dataset.y_test[:50], CPU, 0.08, 0)
    assert len(seen) == 2 * evaluation.PGD_STEPS
    assert max(size for size, *_ in seen) <= 0.08 + 1e-6
    assert min(low for _, low, *_ in seen) >= -1e-6
    assert max(high for _, _, high, _ in seen) <= 1 + 1e-6
    assert {length for *_, length in seen} == {0.01}


def test_pgd_accuracy_falls_with_the_radius(trained_model, digits_data):
    model, _ = models.load(trained_model)
    dataset, _ = data.load(digits_data)
    part = dataset.x_test[:100], dataset.y_test[:100]
    clean = evaluation.accuracy(model, *part, CPU)
    shares = [pgd_accuracy(model, *part, CPU, epsilon, 0) for epsilon in (1e-6, 0.05, 0.2)]
    assert shares[0] == clean
    assert clean > shares[1] > shares[2]


class Step(nn.Module):
    """Sees only whether the image is brighter than a threshold: its gradient is zero everywhere."""

    def forward(self, images):
        bright = (images.flatten(1).amax(1) > 0.5).float() + 0 * images.flatten(1).sum(1)
        return torch.stack([-bright, bright], 1)


def test_the_clean_image_lies_in_the_ball():
    """A wrong image counts as wrong also where the random start happens to correct it."""
    images = np.full((20, 1, 6, 6), 126, np.uint8)
    labels = np.ones(20, np.int64)
    assert evaluation.accuracy(Step(), images, labels, CPU) == 0
    assert pgd_accuracy(Step(), images, labels, CPU, 0.1, 0) == 0


class Linear(nn.Module):
    """Three logits, linear in the image; ``sharpness`` scales them, as distillation does."""

    def __init__(self, sharpness=1.0):
        super().__init__()
        self.weights = torch.randn(3, 36, generator=torch.Generator().manual_seed(0))
        self.sharpness = sharpness

    def forward(self, images):
        return self.sharpness * ((images.flatten(1) - 0.5) @ self.weights.T)


@pytest.fixture(scope="module")
def linear_problem():
    """Return images far from black and white, their labels after ``Linear``, and the radius at which each is turned."""
    images = np.random.default_rng(0).integers(60, 196, (200, 1, 6, 6), dtype=np.uint8)
    model = Linear()
    logits = model(torch.from_numpy(images).float() / 255)
    labels = logits.argmax(1)
    # By Hoelder's inequality: the difference of two logits over the L1 norm of the difference of their weights.
    distances = (logits.gather(1, labels[:, None]) - logits) / torch.cdist(model.weights, model.weights, p=1)[labels]
    radius = distances.nan_to_num(torch.inf, torch.inf).scatter(1, labels[:, None], torch.inf).amin(1)
    return images, labels.numpy(), radius.numpy()


@pytest.mark.parametrize("sharpness", [1.0, 1e4])
def test_apgd_turns_every_image_of_a_linear_network_that_can_be_turned(linear_problem, sharpness):
    images, labels, radius = linear_problem
    for epsilon in (0.01, 0.03):
        exact = float((radius > epsilon).mean())
        assert 0.1 < exact < 0.95
        found = apgd_accuracy(Linear(sharpness), images, labels, CPU, epsilon, 0, 25)
        assert exact <= found <= exact + 0.01


def test_apgd_sees_through_a_saturated_softmax_where_pgd_stands_still(linear_problem):
    images, labels, radius = linear_problem
    exact = float((radius > 0.03).mean())
    assert pgd_accuracy(Linear(1e4), images, labels, CPU, 0.03, 0) > exact + 0.2


def test_apgd_stays_in_the_ball_and_in_the_box(trained_model, digits_data):
    model, _ = models.load(trained_model)
    dataset, _ = data.load(digits_data)
    images, labels = dataset.x_test[:1], dataset.y_test[:1]
    clean = torch.from_numpy(images).float() / 255
    seen = []

    class Watched(nn.Module):
        def forward(self, points):
            seen.append(points.detach().clone())
            return model(points)

    assert apgd_accuracy(Watched(), images, labels, CPU, 0.02, 0, 10) == 1
    points = torch.cat(seen)
    # The clean image, and with each loss the start and ten steps.
    assert len(points) == 1 + 2 * 11
    changes = points - clean
    assert changes.abs().max() <= 0.02 + 1e-6
    assert points.min() >= 0
    assert points.max() <= 1
    assert (changes[0] == 0).all()
    # Starts differ between the losses and lie at the surface of the ball before the box cuts them.
    assert not torch.equal(points[1], points[12])


def test_apgd_agrees_with_adv_lib(trained_model, digits_data):
    auto_pgd = pytest.importorskip("adv_lib.attacks.auto_pgd")
    model, _ = models.load(trained_model)
    model.requires_grad_(False)
    dataset, _ = data.load(digits_data)
    images, labels = dataset.x_test[:80], dataset.y_test[:80]
    clean, truth = torch.from_numpy(images).float() / 255, torch.from_numpy(labels)
    for epsilon in (0.03, 0.06):
        standing = model(clean).argmax(1) == truth
        torch.manual_seed(0)
        for loss in ("ce", "dlr"):
            turned = auto_pgd.apgd(
                model, clean[standing], truth[standing], epsilon, torch.inf, n_iter=25, loss_function=loss
            )
            standing[standing.clone()] = model(turned).argmax(1) == truth[standing]
        ours = apgd_accuracy(model, images, labels, CPU, epsilon, 0, 25)
        assert 0.1 < ours < 0.99
        assert ours == pytest.approx(float(standing.float().mean()), abs=0.02)
        assert ours <= pgd_accuracy(model, images, labels, CPU, epsilon, 0) + 0.01


def test_apgd_does_not_depend_on_the_batch(trained_model, digits_data, monkeypatch):
    model, _ = models.load(trained_model)
    dataset, _ = data.load(digits_data)
    part = dataset.x_test[:60], dataset.y_test[:60]
    together = apgd_accuracy(model, *part, CPU, 0.05, 0, 10)
    assert 0 < together < 1
    monkeypatch.setattr(evaluation, "_BATCH", 7)
    assert apgd_accuracy(model, *part, CPU, 0.05, 0, 10) == together


def test_apgd_can_be_left_out_or_shortened(train):
    shorter = artifacts.read_header(train("shorter", epochs=4, apgd_steps=2, apgd_images=30))
    assert (shorter["apgd_steps"], shorter["apgd_images"]) == (2, 30)
    none = artifacts.read_header(train("none", epochs=4, apgd_steps=0))
    assert none["apgd_accuracy"] is None
    assert none["pgd_accuracy"] == shorter["pgd_accuracy"]


@pytest.fixture(scope="module")
def not_robust(digits_data, tmp_path_factory):
    """Return the header of a network trained on clean images."""
    folder = tmp_path_factory.mktemp("standard")
    specification = toys.specification(width=8, epochs=12, pgd_epsilon=0.1)
    out = folder / "model.safetensors"
    train_stage.run(digits_data, specification, seed=0, device="cpu", checkpoint=folder / "unused", out=out)
    return artifacts.read_header(out)


@pytest.mark.parametrize(("recipe", "epsilon"), [("fast_adversarial", 0.1), ("pgd_adversarial", 0.05), ("trades", 0.1)])
def test_adversarial_training_makes_robust(train, not_robust, recipe, epsilon):
    robust = artifacts.read_header(train("robust", recipe=recipe, epsilon=epsilon, width=8, epochs=12, pgd_epsilon=0.1))
    assert robust["pgd_accuracy"] > not_robust["pgd_accuracy"] + 0.1
    assert robust["clean_accuracy"] > 0.6


class Watched(nn.Module):
    """Keeps what it is called with, and whether it was in training mode."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(256, 3)
        self.seen = []

    def forward(self, inputs):
        self.seen.append((inputs.detach(), self.training))
        return self.head(inputs.flatten(1))


@pytest.mark.parametrize(
    ("recipe", "attack", "last"), [("fast_adversarial", 1, 1), ("pgd_adversarial", 7, 1), ("trades", 11, 2)]
)
def test_an_adversarial_recipe_trains_inside_its_ball(recipe, attack, last):
    """``attack`` calls belong to the attack, the ``last`` ones to the loss."""
    images, labels, model = torch.rand(10, 1, 16, 16), torch.arange(10) % 3, Watched()
    loss, logits = plugins.load("training", recipe)(
        model, images, labels, smoothing=0.0, generator=torch.Generator().manual_seed(0), epsilon=0.05
    )
    assert len(model.seen) == attack + last
    for inputs, _ in model.seen:
        assert (inputs - images).abs().max() <= 0.05 + 1e-6
        assert inputs.min() >= 0
        assert inputs.max() <= 1
    assert not torch.equal(model.seen[-2][0], model.seen[-1][0])
    if recipe != "fast_adversarial":
        assert [training for _, training in model.seen] == [False] * attack + [True] * last
    assert loss.requires_grad
    assert logits.shape == (10, 3)
    loss.backward()
    assert model.head.weight.grad.abs().sum() > 0


def test_the_attack_of_each_recipe_raises_what_it_trains_against():
    torch.manual_seed(0)
    images, labels = torch.rand(20, 1, 16, 16), torch.arange(20) % 3
    for recipe in ("pgd_adversarial", "trades"):
        losses = []
        for steps in (1, 20):
            model = Watched()
            nn.init.normal_(model.head.weight, std=0.2, generator=torch.Generator().manual_seed(1))
            nn.init.zeros_(model.head.bias)
            loss, _ = plugins.load("training", recipe)(
                model,
                images,
                labels,
                smoothing=0.0,
                generator=torch.Generator().manual_seed(0),
                epsilon=0.05,
                steps=steps,
                step=0.1,
            )
            losses.append(loss.item())
        assert losses[1] > losses[0] + 0.1, recipe


def test_without_weight_on_robustness_trades_is_standard_training():
    torch.manual_seed(0)
    images, labels, model = torch.rand(10, 1, 16, 16), torch.arange(10) % 3, Watched()
    arguments = {"smoothing": 0.1, "generator": torch.Generator().manual_seed(0)}
    expected, _ = recipes.standard(model, images, labels, **arguments)
    found, _ = plugins.load("training", "trades")(model, images, labels, **arguments, beta=0.0)
    assert found.item() == pytest.approx(expected.item())


def test_mean_and_deviation_of_many_images_need_no_copy_of_them(digits_data, monkeypatch):
    images = np.random.default_rng(0).integers(0, 200, (300, 3, 16, 18), dtype=np.uint8)
    images[:, 1] //= 2
    at_once = train_stage._moments(images)
    monkeypatch.setattr(train_stage, "_MOMENTS_AT_ONCE", 100)
    np.testing.assert_allclose(train_stage._moments(images), at_once, rtol=1e-5)


def test_large_images_are_evaluated_in_smaller_batches():
    seen = []

    class Bright(nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return torch.stack([-images.flatten(1).mean(1) + 0.5, images.flatten(1).mean(1) - 0.5], 1)

    images = np.full((45, 3, 224, 224), 40, np.uint8)
    images[::3] = 200
    labels = (np.arange(45) % 3 == 0).astype(np.int64)
    assert evaluation.accuracy(Bright(), images, labels, CPU) == 1
    assert seen == [20, 20, 5]
    assert pgd_accuracy(Bright(), images, labels, CPU, 0.05, 0) == 1
    assert max(seen) == 20
