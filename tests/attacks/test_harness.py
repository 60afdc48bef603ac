"""The harness on toy attacks: what it counts, rounds, keeps and refuses, and that chunks and interruptions do not show."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from helpers import toys
from infoadv import InfoadvError, artifacts, data, models
from infoadv.artifacts import ArtifactError, shards
from infoadv.attacks import AttackError, AttackResult, CountingModel, generator, harness, margin
from infoadv.attacks.foolbox import cw_l2
from infoadv.attacks.information import masking
from infoadv.attacks.noise import gaussian_noise
from infoadv.numerics.pixels import to_images
from infoadv.registry import plugins
from infoadv.registry.options import OptionError
from infoadv.stages import attack as attack_stage

CPU = torch.device("cpu")


# Toy attacks


def towards(model, images, labels, targets, reach):
    """Go along the gradient of the margin of a linear model, ``reach`` times as far as the boundary."""
    images = images.clone().requires_grad_()
    margins = margin(model(images), labels, targets)
    (gradient,) = torch.autograd.grad(margins.sum(), images)
    length = -margins.detach().clamp_max(0) / gradient.flatten(1).square().sum(1)
    return (images.detach() + reach * length.view(-1, 1, 1, 1) * gradient).clamp(0, 1)


def tight(model, images, labels, *, indices, seed, targets=None, epsilon=None):
    """Stop just past the boundary: one forward, one backward."""
    return AttackResult(towards(model, images, labels, targets, 1.001), torch.zeros_like(labels))


def loose(model, images, labels, *, indices, seed, targets=None):
    """Go three times as far as needed."""
    return AttackResult(towards(model, images, labels, targets, 3.0), torch.zeros_like(labels))


def wasteful(model, images, labels, *, indices, seed, targets=None):
    """Make four more forwards, one of them with two backwards and two of them stacked."""
    with torch.no_grad():
        model(images)
        model(torch.cat([images, images]))
    loss = model(images.clone().requires_grad_()).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    return AttackResult(towards(model, images, labels, targets, 1.001), torch.full_like(labels, 5))


def failing(model, images, labels, *, indices, seed, targets=None):
    """Go half of the way, and say it was enough."""
    return AttackResult(towards(model, images, labels, targets, 0.5), torch.zeros_like(labels))


def noisy(model, images, labels, *, indices, seed, targets=None):
    """Go past the boundary from a start that is random for each image; keep a trace."""
    noise = torch.stack([torch.rand(images.shape[1:], generator=generator(seed, int(i))) for i in indices])
    start = (images + 0.02 * noise).clamp(0, 1)
    trace = {"step": torch.arange(2), "margin": torch.stack([noise.flatten(1).mean(1)] * 2, 1)}
    return AttackResult(towards(model, start, labels, targets, 1.01), indices.clone(), trace)


def exploding(model, images, labels, *, indices, seed, targets=None, value=torch.nan):
    """Return one pixel that no image has."""
    adversarial = images.clone()
    adversarial[-1, 0, 0, 0] = value
    return AttackResult(adversarial, torch.zeros_like(labels))


TOYS = {f.__name__: f for f in (tight, loose, wasteful, failing, noisy, exploding)}


@pytest.fixture
def attack(tmp_path, monkeypatch):
    """Return a function that runs a toy attack and returns its arrays; it writes ``{name}.safetensors``."""
    toy_attacks = dict(TOYS)
    load = plugins.load
    monkeypatch.setattr(
        plugins, "load", lambda folder, name: toy_attacks[name] if folder == "attacks" else load(folder, name)
    )
    # The code of a toy is in no file of the package.
    source_file = plugins.source_file
    monkeypatch.setattr(
        plugins, "source_file", lambda folder, name: source_file(folder, "ddn" if folder == "attacks" else name)
    )
    (tmp_path / "inputs").mkdir()
    made = {}

    def run(
        method, *, name="result", classes=3, images=10, chunk=4, seed=0, target="untargeted", resume=None, **options
    ):
        if classes not in made:
            folder = tmp_path / "inputs" / str(classes)
            folder.mkdir()
            made[classes] = toys.linear_artifacts(folder, classes=classes)
        attack_stage.run(
            *made[classes],
            {"name": name, "method": method, "target": target, "options": options},
            images=images,
            chunk=chunk,
            seed=seed,
            device="cpu",
            resume=resume,
            out=tmp_path / f"{name}.safetensors",
        )
        return artifacts.load_tensors(tmp_path / f"{name}.safetensors", "attack")[0]

    run.toys = toy_attacks
    run.inputs = made
    return run


def network(attack, classes=3):
    """Return the data set and the model that ``attack`` ran on."""
    data_path, model_path = attack.inputs[classes]
    return data.load(data_path)[0], models.load(model_path)[0]


# What is in an artefact


@pytest.mark.parametrize("method", ["tight", "loose", "wasteful", "noisy"])
def test_a_successful_attack(attack, method):
    arrays = attack(method)
    dataset, model = network(attack)
    count, shape = 10, dataset.shape
    assert arrays["adversarial"].shape == (count, *shape)
    assert arrays["adversarial"].dtype == np.float32
    assert arrays["adversarial_8bit"].dtype == np.uint8
    assert arrays["label"].tolist() == dataset.y_test[arrays["index"]].tolist()
    assert arrays["success"].all()
    assert arrays["success_float"].all()
    with torch.no_grad():
        found = model(torch.from_numpy(arrays["adversarial_8bit"]).float() / 255).argmax(1).numpy()
    assert (found != arrays["label"]).all()
    assert (arrays["factor"] >= 1).all()
    assert (arrays["target"] == -1).all()
    if method == "loose":
        assert (arrays["factor"] == 1).all()


@pytest.mark.parametrize(
    ("method", "forwards", "backwards"),
    [("tight", 1, 1), ("loose", 1, 1), ("wasteful", 5, 3)],
)
def test_passes_are_counted(attack, method, forwards, backwards):
    arrays = attack(method)
    assert arrays["forwards"].tolist() == [forwards] * 10
    assert arrays["backwards"].tolist() == [backwards] * 10


def test_a_failure_keeps_its_best_attempt(attack):
    arrays = attack("failing")
    dataset, model = network(attack)
    assert not arrays["success"].any()
    assert not arrays["success_float"].any()
    assert (arrays["factor"] == 1).all()
    clean = to_images(dataset.x_test[arrays["index"]], CPU)
    labels = torch.from_numpy(arrays["label"])
    with torch.no_grad():
        before = margin(model(clean), labels)
        after = margin(model(torch.from_numpy(arrays["adversarial"])), labels)
    torch.testing.assert_close(after, before / 2, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(arrays["adversarial_8bit"], np.rint(arrays["adversarial"] * 255).astype(np.uint8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.5])
def test_an_attack_that_explodes_is_an_error(attack, tmp_path, value):
    attack.toys["exploding"] = partial(exploding, value=value)
    with pytest.raises(AttackError, match=r"exploding returned images outside \[0, 1\] or not finite"):
        attack("exploding")
    assert not (tmp_path / "result.safetensors").exists()


def test_the_header(attack, tmp_path):
    attack("tight", seed=2)
    header = artifacts.read_header(tmp_path / "result.safetensors", "attack")
    assert header["specification"]["method"] == "tight"
    assert header["seed"] == 2
    assert header["chunk"] == 4
    data_path, model_path = attack.inputs[3]
    assert header["inputs"] == {
        "data": artifacts.file_digest(data_path),
        "model": artifacts.file_digest(model_path),
    }


# Which images


def test_images_are_the_first_that_are_right_in_the_seeded_order(attack):
    arrays = attack("tight", images=10, seed=7)
    dataset, _ = network(attack)
    order = np.random.default_rng(7).permutation(len(dataset.x_test))
    assert arrays["index"].tolist() == [index for index in order if index % 5 != 0][:10]
    for method in ("loose", "failing"):
        np.testing.assert_array_equal(attack(method, seed=7)["index"], arrays["index"])
    np.testing.assert_array_equal(attack("tight", images=6, seed=7)["index"], arrays["index"][:6])
    assert attack("tight", seed=8)["index"].tolist() != arrays["index"].tolist()


def test_selection_goes_on_after_the_first_batch(attack, monkeypatch):
    expected = attack("tight")["index"]
    monkeypatch.setattr(attack_stage, "_SELECT_BATCH", 3)
    np.testing.assert_array_equal(attack("tight")["index"], expected)


def test_too_few_images(attack, tmp_path):
    assert len(attack("tight", images=32)["index"]) == 32
    with pytest.raises(AttackError, match=r"33 images asked for, 32 of the 40 test images .*lower images"):
        attack("tight", name="other", images=33)
    assert not (tmp_path / "other.safetensors").exists()


def test_a_model_of_another_data_set_is_refused(attack, tmp_path):
    attack("tight")
    data_path, model_path = attack.inputs[3]
    other, _ = toys.linear_artifacts(tmp_path, seed=1)
    run = partial(attack_stage.run, images=4, chunk=4, seed=0, device="cpu", out=tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"linear\.safetensors: was trained on another data set than .*toy"):
        run(other, model_path, {"name": "tight", "method": "tight", "options": {}})
    with pytest.raises(ArtifactError, match="'model' artefact"):
        run(data_path, data_path, {"name": "tight", "method": "tight", "options": {}})


@pytest.mark.parametrize("target", ["next", "least_likely"])
def test_targeted(attack, target):
    arrays = attack("tight", classes=5, target=target)
    dataset, model = network(attack, 5)
    clean = to_images(dataset.x_test[arrays["index"]], CPU)
    with torch.no_grad():
        logits = model(clean)
        found = model(torch.from_numpy(arrays["adversarial_8bit"]).float() / 255).argmax(1).numpy()
    expected = (arrays["label"] + 1) % 5 if target == "next" else logits.argmin(1).numpy()
    np.testing.assert_array_equal(arrays["target"], expected)
    assert (arrays["target"] != arrays["label"]).all()
    assert arrays["success"].any()
    np.testing.assert_array_equal(arrays["success"], found == expected)


def test_a_target_that_there_is_not_is_refused(attack):
    with pytest.raises(
        AttackError, match="target: 'nxt' is not allowed; choose one of: untargeted, next, least_likely"
    ):
        attack("tight", target="nxt")


def test_options_that_the_attack_does_not_take_are_refused(attack):
    with pytest.raises(
        OptionError, match=r"tight: cannot be called with these options \(got an unexpected .*'stepz'\)"
    ):
        attack("tight", stepz=5)


def test_a_control_takes_the_norms_of_an_attack_on_its_own_network(attack, tmp_path):
    attack("tight", name="copied", images=4)
    data_path, model_path = attack.inputs[3]
    made_by = partial(attack_stage.run, images=4, chunk=4, seed=0, device="cpu", like=tmp_path / "copied.safetensors")
    noise = {"name": "noise", "method": "gaussian_noise", "options": {"like": "copied"}}
    attack.toys["gaussian_noise"] = gaussian_noise
    made_by(data_path, model_path, noise, out=tmp_path / "noise.safetensors")
    copied, made = (
        artifacts.load_tensors(tmp_path / f"{name}.safetensors", "attack")[0] for name in ("copied", "noise")
    )
    clean = data.load(data_path)[0].x_test[made["index"]].astype(float)
    wanted, found = (
        np.linalg.norm((arrays["adversarial_8bit"] - clean).reshape(4, -1), axis=1) for arrays in (copied, made)
    )
    np.testing.assert_allclose(found, wanted, rtol=0.2)

    weights, header = artifacts.load_tensors(model_path, "model")
    other = tmp_path / "linear.safetensors"
    artifacts.save_tensors(other, {name: 2 * array for name, array in weights.items()}, header)
    with pytest.raises(ArtifactError, match=r"copied\.safetensors: is an attack on another network or data set"):
        made_by(data_path, other, noise, out=tmp_path / "other.safetensors")


def test_least_likely_is_never_the_label():
    logits = torch.tensor([[-3.0, 1.0, 2.0], [0.0, 0.0, 5.0]])
    labels = torch.tensor([0, 1])
    chosen = harness.choose_targets("least_likely", lambda images: logits, torch.zeros(2, 1, 1, 1), labels, 3)
    assert chosen.tolist() == [1, 0]


# Rounding to 8 bits


def rounding_problem(count=12, shape=(1, 6, 6), seed=0):
    """Return a linear criterion, 8-bit images and perturbations that stop just past its boundary.

    Each perturbation has the signs of the weights, so that success never ends as the factor grows.
    """
    draws = torch.Generator().manual_seed(seed)
    clean = torch.randint(90, 166, (count, *shape), generator=draws) / 255
    weight = torch.randn(shape, generator=draws)
    delta = weight * torch.rand((count, *shape), generator=draws) * 0.02
    threshold = ((clean + delta) * weight).flatten(1).sum(1) - 1e-4

    def is_adversarial(images):
        return (images * weight).flatten(1).sum(1) > threshold

    return is_adversarial, clean, clean + delta


def brute_force(is_adversarial, clean, adversarial, linf=None, step=0.01):
    """Return the smallest factor on a fine grid, infinite where none does."""
    smallest = torch.full((len(clean),), torch.inf)
    for factor in reversed(np.arange(1, harness.MAX_FACTOR, step)):
        change = factor * (adversarial - clean)
        if linf is not None:
            change = change.clamp(-linf, linf)
        images = ((clean + change).clamp(0, 1) * 255).round() / 255
        smallest = torch.where(is_adversarial(images), torch.tensor(float(factor)), smallest)
    return smallest


@pytest.mark.parametrize("seed", [0, 1])
def test_the_factor_is_the_smallest(seed):
    is_adversarial, clean, adversarial = rounding_problem(seed=seed)
    expected = brute_force(is_adversarial, clean, adversarial)
    assert not torch.isinf(expected).any()
    assert (expected == 1).any()
    assert (expected > 1).any()
    images, success, factor = harness.round_to_8_bits(clean, adversarial, is_adversarial)
    assert success.all()
    assert is_adversarial(images).all()
    torch.testing.assert_close(images * 255, (images * 255).round(), rtol=0, atol=1e-4)
    assert (factor <= expected * 1.001).all()
    assert (factor >= expected - 0.011).all()
    assert (factor[expected == 1] == 1).all()


def test_a_factor_for_a_perturbation_below_half_a_level():
    """All of it rounds away; at the factor that brings it to half a level it does not."""
    clean = torch.full((4, 1, 4, 4), 100 / 255)
    sizes = torch.tensor([0.4, 0.1, 0.0316, 0.03]).view(-1, 1, 1, 1)
    adversarial = clean + sizes / 255
    images, success, factor = harness.round_to_8_bits(clean, adversarial, lambda x: (x > clean + 1e-5).all(3)[:, 0, 0])
    assert success.tolist() == [True, True, True, False]
    torch.testing.assert_close(factor, torch.tensor([1.25, 5.0, 0.5 / 0.0316, 1.0]), rtol=0.002, atol=0)
    assert (images[3] * 255).round().unique().tolist() == [100]


def test_no_factor_is_larger_than_the_largest():
    """A factor that is needed lies between the last of the sweep and the largest one."""
    clean = torch.full((1, 1, 4, 4), 100 / 255)
    adversarial = clean + 0.5 / 255 / 15.9999
    _, success, factor = harness.round_to_8_bits(clean, adversarial, lambda x: (x > clean).all(3)[:, 0, 0])
    assert factor <= harness.MAX_FACTOR
    assert success.all() == (factor > 1).all()


@pytest.mark.parametrize("linf", [0.02, 6 / 255])
def test_rounding_stays_in_the_linf_budget(linf):
    is_adversarial, clean, adversarial = rounding_problem()
    adversarial = clean + (adversarial - clean).clamp(-linf, linf)
    images, success, factor = harness.round_to_8_bits(clean, adversarial, is_adversarial, linf=linf)
    assert (images - clean).abs().max() <= linf + 1e-6
    expected = brute_force(is_adversarial, clean, adversarial, linf=np.floor(linf * 255 + 1e-6) / 255)
    claimed = is_adversarial(adversarial) | is_adversarial(images)
    assert torch.equal(success, torch.isfinite(expected) & claimed)
    assert (factor[success] <= expected[success] * 1.001).all()


def test_rounding_stays_in_the_l2_budget():
    is_adversarial, clean, adversarial = rounding_problem(count=40)
    norms = toys.l2(adversarial, clean)
    budget = 1.004 * float(norms.median())
    _, free, needed = harness.round_to_8_bits(clean, adversarial, is_adversarial)
    assert free.all()
    images, success, factor = harness.round_to_8_bits(clean, adversarial, is_adversarial, l2=budget)
    scaled = clean + factor.view(-1, 1, 1, 1) * (adversarial - clean)
    inside = norms <= budget
    assert (factor[~inside] == 1).all()
    assert (toys.l2(scaled, clean)[inside] <= budget * (1 + 1e-5)).all()
    # Rounding moves each of the 36 values by up to half a level.
    assert (toys.l2(images, clean)[inside] <= budget + 6 * 0.5 / 255).all()
    assert torch.equal(success, is_adversarial(images))
    affordable = torch.where(inside, needed * norms < 0.999 * budget, needed == 1)
    assert success[affordable].all()
    assert not success[torch.where(inside, needed * norms > 1.001 * budget, needed > 1)].any()


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("pgd_l2", {"epsilon": 2}, {"l2": 2.0}),
        ("pgd_linf", {"epsilon": 0.1}, {"linf": 0.1}),
        ("masking", {"epsilon": 1.0}, {"linf": 1.0}),
        ("fgsm", {"epsilon": "smallest"}, {}),
        ("ddn", {"steps": 3}, {}),
    ],
)
def test_the_budget_of_an_attack(method, options, expected):
    assert harness.budget(options, method) == expected


def test_the_harness_passes_the_budget_on(attack, monkeypatch):
    free = attack("tight")
    monkeypatch.setattr(plugins, "schemas", lambda folder: {"tight": {"epsilon": {}}})
    assert (free["factor"] > 1).any()
    bounded = attack("tight", epsilon=1 / 255)
    dataset, _ = network(attack)
    change = bounded["adversarial_8bit"].astype(int) - dataset.x_test[bounded["index"]]
    assert np.abs(change).max() <= 1
    assert bounded["success"].sum() < free["success"].sum()


# Chunks and interruptions


@pytest.mark.parametrize(("images", "chunk"), [(10, 4), (10, 5), (10, 10), (5, 32), (7, 3)])
def test_the_last_chunk_is_padded(attack, images, chunk):
    sizes = []

    def watched(model, batch, labels, **options):
        sizes.append(len(batch))
        return noisy(model, batch, labels, **options)

    attack.toys["noisy"] = watched
    arrays = attack("noisy", images=images, chunk=chunk)
    assert sizes == [chunk] * -(-images // chunk)
    for name, array in arrays.items():
        assert len(array) == (2 if name == "trace_step" else images), name
    np.testing.assert_array_equal(arrays["first_success"], arrays["index"])
    assert len(set(arrays["index"].tolist())) == images


def test_the_order_of_the_chunks_does_not_show(attack, tmp_path):
    arrays = attack("noisy", images=10, chunk=4, seed=3)
    dataset, model = network(attack)
    specification = {"method": "noisy", "options": {}}
    parts = {}
    for number in (2, 0, 1):
        where = np.arange(number * 4, number * 4 + 4) % 10
        parts[number] = attack_stage._attack_chunk(
            noisy, specification, model, dataset, arrays["index"][where], None, None, 3, CPU
        )
    joined = shards.join([parts[number] for number in range(3)], 10)
    assert set(joined) | {"index", "label"} == set(arrays)
    for name, array in joined.items():
        assert array.tobytes() == arrays[name].tobytes(), name


def test_two_runs_are_identical(attack, tmp_path):
    attack("noisy")
    first = (tmp_path / "result.safetensors").read_bytes()
    attack("noisy")
    assert (tmp_path / "result.safetensors").read_bytes() == first


class InterruptedRunError(Exception):
    """Stands for whatever ends an attack."""


def interrupted_in(chunk, calls):
    """Return a noisy attack that ends in this chunk, counted from 1 over all runs; ``calls`` notes the images."""

    def run(model, images, labels, *, indices, **options):
        calls.append(indices.tolist())
        if len(calls) == chunk:
            raise InterruptedRunError
        return noisy(model, images, labels, indices=indices, **options)

    return run


def test_an_interrupted_attack_goes_on_to_the_same_bytes(attack, tmp_path, capsys):
    attack("noisy")
    whole = (tmp_path / "result.safetensors").read_bytes()
    (tmp_path / "result.safetensors").unlink()
    resume = tmp_path / "resume.safetensors"
    calls = []
    attack.toys["noisy"] = interrupted_in(2, calls)
    with pytest.raises(InterruptedRunError):
        attack("noisy", resume=resume)
    assert resume.exists()
    assert not (tmp_path / "result.safetensors").exists()
    capsys.readouterr()
    attack("noisy", resume=resume)
    assert "resumed after 1 chunks" in capsys.readouterr().err
    assert (tmp_path / "result.safetensors").read_bytes() == whole
    assert not resume.exists()
    assert calls[1] == calls[2]
    assert len(calls) == 4


@pytest.mark.parametrize("kind", ["truncated", "text", "other seed", "other options", "other chunk", "other images"])
def test_a_resume_file_that_is_of_no_use_is_ignored(attack, tmp_path, capsys, kind):
    changed = {
        "other seed": {"seed": 1},
        "other options": {"target": "next"},
        "other chunk": {"chunk": 5},
        "other images": {"images": 9},
    }.get(kind, {})
    attack("noisy")
    whole = (tmp_path / "result.safetensors").read_bytes()
    resume = tmp_path / "resume.safetensors"
    attack.toys["noisy"] = interrupted_in(2, [])
    with pytest.raises(InterruptedRunError):
        attack("noisy", resume=resume, **changed)
    if kind == "truncated":
        resume.write_bytes(resume.read_bytes()[:-5])
    elif kind == "text":
        resume.write_text("half a chunk")
    capsys.readouterr()
    attack("noisy", resume=resume)
    assert "resumed" not in capsys.readouterr().err
    assert (tmp_path / "result.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    "method",
    [
        partial(cw_l2, steps=25, binary_search_steps=3),
        partial(masking, steps=40),
    ],
    ids=["cw_l2", "masking"],
)
def test_an_image_alone_is_attacked_like_in_its_chunk(digits_data, trained_model, method):
    dataset, _ = data.load(digits_data)
    model, _ = models.load(trained_model)
    indices = attack_stage.select(model, dataset, 8, 0, CPU, "small")
    images = to_images(dataset.x_test[indices], CPU)
    labels = torch.from_numpy(dataset.y_test[indices])

    def run(part):
        places = torch.from_numpy(indices)[part]
        return method(CountingModel(model, len(places)), images[part], labels[part], indices=places, seed=0)

    together = run(slice(None))
    alone = torch.cat([run(slice(i, i + 1)).adversarial for i in range(8)])
    assert (together.first_success >= 0).sum() >= 6
    ratio = toys.l2(alone, images) / toys.l2(together.adversarial, images)
    assert abs(float(ratio.median()) - 1) < 0.01


# Random numbers and counts


def test_a_generator_is_a_function_of_seed_and_index():
    def draw(seed, index):
        return torch.rand(4, generator=generator(seed, index)).tolist()

    pairs = [(seed, index) for seed in (0, 1, 2, 10**6) for index in (0, 1, 2, 59_999)]
    first = {pair: draw(*pair) for pair in pairs}
    assert {pair: draw(*pair) for pair in reversed(pairs)} == first
    assert len({tuple(numbers) for numbers in first.values()}) == len(pairs)
    neighbours = np.array([draw(0, index) for index in range(500)])
    correlation = np.corrcoef(neighbours[:-1, 0], neighbours[1:, 0])[0, 1]
    assert abs(correlation) < 0.15
    np.testing.assert_allclose(neighbours.mean(0), 0.5, atol=0.06)


def counted(size=4):
    return CountingModel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), size)


def test_counting_model_counts_per_image():
    model, images = counted(), torch.rand(4, 1, 2, 2)
    model(images)
    torch.autograd.grad(model(images).sum(), model.model[1].weight)
    assert model.forwards.tolist() == [2] * 4
    assert model.backwards.tolist() == [1] * 4


def test_counting_model_is_in_the_mode_of_its_model():
    for training in (True, False):
        inner = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout()).train(training)
        assert CountingModel(inner, 2).training is training
        assert inner[1].training is training


def test_counting_model_counts_stacked_copies_and_repeated_backwards():
    model, images = counted(), torch.rand(4, 1, 2, 2)
    logits = model(images.repeat(3, 1, 1, 1))
    logits.sum().backward(retain_graph=True)
    logits.sum().backward()
    assert model.forwards.tolist() == [3] * 4
    assert model.backwards.tolist() == [6] * 4
    with torch.no_grad():
        model(images)
    assert model.forwards.tolist() == [4] * 4


@pytest.mark.parametrize("size", [1, 3, 6])
def test_counting_model_refuses_a_batch_that_it_cannot_count(size):
    with pytest.raises(InfoadvError, match=f"{size} images, its batch has 4"):
        counted()(torch.rand(size, 1, 2, 2))
