"""Information flow: hooks, class evidence, profiles against loops, the conditions, and the stage on two small networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from helpers import toys
from infoadv import artifacts, data, models
from infoadv.flow import conditions, measuring
from infoadv.flow.probes import LinearProbes
from infoadv.flow.profiles import correlation, matrices, profile
from infoadv.flow.recording import FlowError, class_evidence, record
from infoadv.information import spatial
from infoadv.numerics.sizes import equal_to, same_l2
from infoadv.stages import attack as attack_stage
from infoadv.stages import flow as flow_stage
from infoadv.stages import train as train_stage


class Residual(nn.Module):
    """One ReLU module used twice, the second time before an addition in place; a pooled linear head."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(), nn.Linear(4, 3)

    def forward(self, images):
        kept = self.relu(self.first(images))
        new = self.relu(self.second(kept))
        self.output = new.clone()
        new += kept
        return self.head(new.mean((2, 3)))


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return Residual().eval().requires_grad_(False)


def images_of(count, side=8, seed=1):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_record_names_every_use_and_keeps_what_was_there(residual):
    maps, logits = record(residual, images_of(3))
    assert list(maps) == ["relu", "relu:2"]
    assert torch.equal(maps["relu:2"], residual.output)
    assert torch.equal(logits, residual(images_of(3)))


def test_record_layers_by_name(residual):
    maps, _ = record(residual, images_of(2), ["second"])
    assert list(maps) == ["second"]
    with pytest.raises(FlowError, match=r"no layer 'third'.*first"):
        record(residual, images_of(2), ["third"])
    with pytest.raises(FlowError, match="'head' gives"):
        record(residual, images_of(2), ["head"])
    with pytest.raises(FlowError, match="at least 4 x 4"):
        record(residual, images_of(2, side=3))
    with pytest.raises(FlowError, match="name the layers"):
        record(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten()), images_of(2))


def test_class_evidence_of_a_pooled_linear_head_is_the_class_activation_map(residual):
    images = images_of(4)
    maps, _ = record(residual, images, ["first", "second"])
    evidence = class_evidence(residual, images, "relu:2")
    last = residual.output
    expected = torch.einsum("kc,nchw->nkhw", residual.head.weight, last) / 64
    assert torch.allclose(evidence, expected, atol=1e-6)
    assert list(maps) == ["first", "second"]


def test_class_evidence_of_a_dense_head_by_finite_differences():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5), nn.Tanh(), nn.Linear(5, 3))
    model = model.double().eval().requires_grad_(False)
    images = images_of(2).double()
    evidence = class_evidence(model, images, "1")
    head, layer = model[2:], model[:2](images)
    for n, k in ((0, 0), (1, 2)):
        weights = []
        for channel in range(2):
            step = torch.zeros_like(layer[n : n + 1])
            step[0, channel] = 1e-6
            slope = (head(layer[n : n + 1] + step) - head(layer[n : n + 1] - step))[0, k] / 2e-6
            weights.append(slope / 36)
        expected = sum(weight * layer[n, channel] for channel, weight in enumerate(weights))
        assert torch.allclose(evidence[n, k], expected, atol=1e-6)


def test_profiles_are_means_of_the_matrices(residual):
    images = images_of(30)
    found = profile(residual, images, estimators=("copula", "quantile"), shifts=24)
    maps, _ = record(residual, images)
    evidence = class_evidence(residual, images, "relu:2")
    for name, profiles in found.items():
        assert profiles.layers == ("relu", "relu:2")
        for number, layer in enumerate(maps.values()):
            source, target = matrices(layer, images, evidence, estimator=name, shifts=24)
            assert source.shape == (30, 4, 1)
            assert target.shape == (30, 4, 3)
            assert torch.allclose(profiles.iip[:, number], source.mean((1, 2)), atol=1e-5)
            assert torch.allclose(profiles.oip[:, number], target.mean((1, 2)), atol=1e-5)
            for n in (0, 29):
                s, t = source[n].mean(1).numpy(), target[n].mean(1).numpy()
                assert profiles.ioc[n, number].item() == pytest.approx(np.corrcoef(s, t)[0, 1], abs=1e-3)
            assert torch.allclose(profiles.pooled[number], layer.mean((2, 3)))


def test_a_layer_that_is_the_input_knows_it_and_noise_does_not(residual):
    with torch.no_grad():
        residual.first.weight.zero_()
        residual.first.bias.zero_()
        residual.first.weight[:2, 0, 1, 1] = 1.0
        residual.first.weight[2:, 0, 0, 0] = 1.0
    source, _ = matrices(*_layer_and_evidence(residual, images_of(20, side=16)))
    # The first two maps are the image, the others the image moved by one position: noise knows nothing of its neighbours.
    assert source[:, :2].min() > 5
    assert abs(source[:, 2:].mean()) < 0.05


def _layer_and_evidence(model, images):
    maps, _ = record(model, images)
    return maps["relu"], images, class_evidence(model, images, "relu:2")


def test_alternative_evidence_is_the_last_layer_itself(residual):
    images = images_of(5)
    found = profile(residual, images, evidence="maps")["copula"]
    maps, _ = record(residual, images)
    _, target = matrices(maps["relu"], images, maps["relu:2"])
    assert torch.allclose(found.oip[:, 0], target.mean((1, 2)), atol=1e-5)


def test_dead_maps_are_counted(residual):
    residual.first.bias[1] = -100.0
    found = profile(residual, images_of(3))["copula"]
    assert torch.allclose(found.dead[:, 0], torch.full((3,), 0.25))
    assert torch.isfinite(found.iip).all()


def test_correlation_of_a_constant_is_not_defined():
    assert correlation(torch.ones(1, 5), torch.rand(1, 5)).isnan().all()


def test_probes_read_a_class_that_is_there_and_none_that_is_not():
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 3, 600)
    told, silent = np.eye(3)[labels] + 0.1 * draws.standard_normal((600, 3)), draws.standard_normal((600, 4))
    probes = LinearProbes([told, silent], labels, 4)
    bits = probes.information([told, silent])
    own = bits[np.arange(600), :, labels]
    # A class of a third of the images is worth log2 3 bits.
    assert own[:, 0].mean() == pytest.approx(np.log2(3), abs=0.1)
    assert abs(own[:, 1].mean()) < 0.05
    assert np.isnan(bits[:, :, 3]).all()


@pytest.fixture(scope="module")
def study(digits_data, tmp_path_factory):
    """Return a folder with two networks, FGSM and JSMA on the first, JSMA on the second."""
    folder = tmp_path_factory.mktemp("flow")
    for name, seed in (("first", 0), ("second", 1)):
        train_stage.run(
            digits_data,
            toys.specification(epochs=8, width=8),
            seed=seed,
            device="cpu",
            checkpoint=folder / "checkpoint",
            out=folder / "digits" / f"{name}.safetensors",
        )
    for model, attack, method, options in (
        ("first", "fgsm", "fgsm", {"epsilon": 0.2}),
        ("first", "jsma", "jsma", {}),
        ("second", "jsma", "jsma", {}),
    ):
        attack_stage.run(
            digits_data,
            folder / "digits" / f"{model}.safetensors",
            {"name": attack, "method": method, "options": options},
            images=12,
            chunk=12,
            seed=0,
            device="cpu",
            out=folder / f"{model}_{attack}.safetensors",
        )
    return folder


SPECIFICATION = {
    "estimators": ["copula", "quantile"],
    "evidence": "class",
    "shifts": 20,
    "iterates": 4,
    "probes": 300,
    "layers": ["network.1"],
    "matched": "fgsm",
    "studies": [
        {"source": "first", "attack": "fgsm", "conditions": ["native", "matched", "noise", "matched_noise", "class"]},
        {"source": "first", "attack": "jsma", "conditions": ["native", "noise", "class", "iterate", "noise_iterate"]},
        {"source": "second", "attack": "jsma", "conditions": ["native"]},
    ],
}


def follow(study, digits_data, out, specification=SPECIFICATION):
    attacks = [study / f"{name}.safetensors" for name in ("first_fgsm", "first_jsma", "second_jsma")]
    flow_stage.run(
        digits_data, study / "digits" / "first.safetensors", attacks, specification, seed=0, device="cpu", out=out
    )
    return artifacts.load_rows(out, "flow")


@pytest.fixture(scope="module")
def rows(study, digits_data, tmp_path_factory):
    frame, header = follow(study, digits_data, tmp_path_factory.mktemp("rows") / "first.parquet")
    assert header["layers"] == ["network.1"]
    assert header["model"] == "first"
    return frame


def test_the_stage_follows_what_is_asked(rows):
    asked = rows.groupby(["source", "attack", "condition"]).size()
    assert set(asked.index) == {
        ("", "", "clean"),
        *(("first", "fgsm", c) for c in ("native", "matched", "noise", "matched_noise", "class")),
        *(("first", "jsma", c) for c in ("native", "noise", "class", "iterate", "noise_iterate")),
        ("second", "jsma", "native"),
    }
    assert asked["first", "fgsm", "native"] == 12 * 2
    # Iterates are many; the first estimator follows them alone.
    assert set(rows[rows["condition"].str.endswith("iterate")]["estimator"]) == {"copula"}
    clean = rows[rows["condition"] == "clean"]
    assert set(clean["index"]) == set(rows["index"])
    assert (clean["l2"] == 0).all()
    assert not clean["v_true"].isna().any()


def test_noise_has_the_size_of_the_attack(rows):
    first = rows[(rows["estimator"] == "copula") & (rows["source"] == "first")]

    def column(attack, condition, name):
        chosen = first[(first["attack"] == attack) & (first["condition"] == condition)]
        return chosen.set_index("index")[name].sort_index()

    for native, noise in (("native", "noise"), ("matched", "matched_noise")):
        wanted = column("fgsm", native, "l2")
        assert np.allclose(column("fgsm", noise, "l2"), wanted, rtol=0.02)
    assert np.array_equal(column("jsma", "noise", "features"), column("jsma", "native", "features"))
    # FGSM is the attack that the others are matched to: it is matched to itself.
    assert column("fgsm", "matched", "l2").mean() == pytest.approx(column("fgsm", "native", "l2").mean(), rel=0.01)


def test_matched_attacks_have_one_l2_image_by_image(study, digits_data, tmp_path):
    specification = {
        **SPECIFICATION,
        "estimators": ["copula"],
        "matched": "jsma",
        "studies": [
            {"source": "first", "attack": "fgsm", "conditions": ["matched"]},
            {"source": "first", "attack": "jsma", "conditions": ["native"]},
        ],
    }
    frame, _ = follow(study, digits_data, tmp_path / "rows.parquet", specification)
    sizes = frame[frame["source"] == "first"].pivot_table(index="index", columns="attack", values="l2")
    same = same_l2(sizes["fgsm"].to_numpy(), sizes["jsma"].to_numpy())
    # JSMA sets values to 1; FGSM stops at both bounds and may not reach that.
    assert same.mean() > 0.5
    assert (sizes["fgsm"][~same] < sizes["jsma"][~same]).all()


def test_scaling_finds_the_size_of_every_image_by_itself(study, digits_data):
    dataset, _ = data.load(digits_data)
    crafted = conditions.read(study / "first_fgsm.safetensors", artifacts.file_digest(digits_data))
    clean = dataset.x_test[crafted.index]
    wanted = np.linspace(0.5, 2.5, len(clean))
    found = conditions.scaled_to(crafted, clean, wanted, 0)
    assert same_l2(conditions.l2(found, clean), wanted).all()
    direction = np.sign(crafted.adversarial - clean.astype(np.float32) / 255)
    assert ((np.sign(found.astype(int) - clean) == direction) | (found == clean)).all()
    alone = dataclasses.replace(crafted, adversarial=crafted.adversarial[3:4], index=crafted.index[3:4])
    assert np.array_equal(conditions.scaled_to(alone, clean[3:4], wanted[3:4], 0)[0], found[3])


def test_examples_are_cut_to_the_size_of_others(study, digits_data):
    dataset, _ = data.load(digits_data)
    digest = artifacts.file_digest(digits_data)
    made = {name: conditions.read(study / f"{name}_jsma.safetensors", digest) for name in ("first", "second")}
    counts = {
        name: dict(
            zip(c.index.tolist(), conditions.features(c.eight_bit, dataset.x_test[c.index]).tolist(), strict=True)
        )
        for name, c in made.items()
    }
    shared, cut = set(counts["first"]) & set(counts["second"]), {}
    for name, other in (("first", "second"), ("second", "first")):
        crafted = made[name]
        none = np.full(len(crafted.index), -1)
        # Beside itself no example is longer: there is nothing to cut, and no row.
        found, nothing = conditions.build(
            crafted,
            [equal_to(other), equal_to(name)],
            dataset,
            taken_for=none,
            known=none,
            reference=None,
            others=made,
            iterates=4,
            seed=0,
        )
        assert nothing.pixels.shape == (0, *dataset.shape)
        index = crafted.index[found.place]
        clean = dataset.x_test[index]
        sizes = conditions.features(found.pixels, clean)
        assert np.array_equal(sizes, [counts[other][i] for i in index])
        # What is left is part of what JSMA changed.
        kept = found.pixels != clean
        assert (found.pixels[kept] == crafted.eight_bit[found.place][kept]).all()
        cut[name] = set(index.tolist())
    assert not cut["first"] & cut["second"]
    assert cut["first"] | cut["second"] == {i for i in shared if counts["first"][i] != counts["second"][i]}
    assert cut["first"] | cut["second"]


def test_iterates_end_at_the_attack(rows):
    jsma = rows[(rows["source"] == "first") & (rows["attack"] == "jsma") & (rows["estimator"] == "copula")]
    native = jsma[jsma["condition"] == "native"].set_index("index")
    iterates = jsma[jsma["condition"] == "iterate"]
    assert iterates.groupby("index").size().max() <= 4
    assert (iterates["features"] == 2 * iterates["step"]).all()
    last = iterates[iterates["progress"] == 1].set_index("index")
    changed = native[native["l2"] > 0]
    assert set(last.index) == set(changed.index)
    for name in ("iip", "oip", "l2", "prediction", "v_true"):
        assert np.allclose(last[name].sort_index(), changed[name].sort_index(), atol=1e-5)


def test_random_prefixes_go_along_with_the_iterates_and_end_at_the_noise(rows):
    jsma = rows[(rows["source"] == "first") & (rows["attack"] == "jsma") & (rows["estimator"] == "copula")]
    parts = {name: jsma[jsma["condition"] == name] for name in ("iterate", "noise_iterate", "noise")}
    for name in ("index", "step", "progress", "features"):
        assert np.array_equal(parts["iterate"][name], parts["noise_iterate"][name])
    last = parts["noise_iterate"][parts["noise_iterate"]["progress"] == 1].set_index("index").sort_index()
    noise = parts["noise"].set_index("index").loc[last.index]
    for name in ("iip", "oip", "l2", "prediction"):
        assert np.allclose(last[name], noise[name], atol=1e-5)


def test_the_class_control_is_clean_and_of_that_class(rows, digits_data):
    chosen = rows[(rows["attack"] == "fgsm") & (rows["estimator"] == "copula") & (rows["source"] == "first")]
    native = chosen[chosen["condition"] == "native"].set_index("index")
    control = chosen[chosen["condition"] == "class"].set_index("index")
    assert len(control)
    assert set(control.index) <= set(native.index[native["success"]])
    assert (control["prediction"] == native.loc[control.index, "prediction"]).all()
    assert not control["success"].any()
    assert control["v_adversarial"].equals(control["v_true"].rename("v_adversarial"))


def test_success_is_of_the_network_that_looks_and_crafted_of_the_one_attacked(rows, study, digits_data):
    tensors, _ = artifacts.load_tensors(study / "second_jsma.safetensors", "attack")
    transfer = rows[(rows["source"] == "second") & (rows["estimator"] == "copula")].set_index("index")
    transfer = transfer.loc[tensors["index"]]
    assert np.array_equal(transfer["crafted"], tensors["success"])
    model, _ = models.load(study / "digits" / "first.safetensors")
    with torch.no_grad():
        prediction = model(torch.from_numpy(tensors["adversarial_8bit"]).float() / 255).argmax(1).numpy()
    assert np.array_equal(transfer["prediction"], prediction)
    assert np.array_equal(transfer["success"], prediction != tensors["label"])


def test_rows_are_the_profiles_of_those_images(rows, study):
    tensors, _ = artifacts.load_tensors(study / "first_fgsm.safetensors", "attack")
    model, _ = models.load(study / "digits" / "first.safetensors")
    images = torch.from_numpy(tensors["adversarial_8bit"]).float() / 255
    found = profile(model, images, layers=["network.1"], estimators=("quantile",), shifts=20)["quantile"]
    stored = rows[(rows["attack"] == "fgsm") & (rows["condition"] == "native") & (rows["estimator"] == "quantile")]
    stored = stored.set_index("index").loc[tensors["index"]]
    assert np.allclose(stored["oip"], found.oip[:, 0], atol=1e-5)
    assert np.allclose(stored["iip"], found.iip[:, 0], atol=1e-5)


def test_the_stage_repeats_its_bytes(study, digits_data, tmp_path):
    for name in ("a", "b"):
        follow(study, digits_data, tmp_path / f"{name}.parquet")
    first, second = (tmp_path / f"{name}.parquet" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_the_stage_says_what_is_missing(study, digits_data, tmp_path):
    for source, condition, message in (
        ("second", "native", "'fgsm' on 'second' is not among the inputs"),
        ("first", "iterate", "records no iterates"),
        ("first", "matched_nois", "no condition 'matched_nois' of 'fgsm'; choose of: native, matched"),
    ):
        studies = [{"source": source, "attack": "fgsm", "conditions": [condition]}]
        with pytest.raises(FlowError, match=message):
            follow(study, digits_data, tmp_path / "x.parquet", {**SPECIFICATION, "studies": studies})


def test_artefacts_of_another_data_set_are_refused(study, digits_data, tmp_path):
    dataset, _ = data.load(digits_data)
    other = tmp_path / "other.safetensors"
    data.save(other, dataset, {"source": "other"})
    with pytest.raises(artifacts.ArtifactError, match="another data set"):
        conditions.read(study / "first_fgsm.safetensors", artifacts.file_digest(other))
    with pytest.raises(artifacts.ArtifactError, match="was trained on another data set"):
        follow(study, other, tmp_path / "rows.parquet")


def test_an_attack_given_twice_is_refused(study, digits_data, tmp_path):
    attack = study / "first_fgsm.safetensors"
    model = study / "digits" / "first.safetensors"
    with pytest.raises(FlowError, match="given twice"):
        flow_stage.run(
            digits_data, model, [attack, attack], SPECIFICATION, seed=0, device="cpu", out=tmp_path / "x.parquet"
        )


def test_a_class_without_a_known_image_has_no_control(study, digits_data):
    dataset, _ = data.load(digits_data)
    crafted = conditions.read(study / "first_fgsm.safetensors", artifacts.file_digest(digits_data))
    taken_for = np.where(np.arange(12) < 6, 3, 5)
    known = np.flatnonzero(dataset.y_test == 5)
    (found,) = conditions.build(
        crafted, ["class"], dataset, taken_for=taken_for, known=known, reference=None, others={}, iterates=4, seed=0
    )
    assert found.place.tolist() == [6, 7, 8, 9, 10, 11]


def test_evidence_is_taken_at_the_last_layer_whichever_is_profiled(residual):
    images = images_of(6)
    every, first = profile(residual, images)["copula"], profile(residual, images, layers=["relu"])["copula"]
    one = profile(residual, images, layers=["second"])["copula"]
    assert torch.equal(every.oip, first.oip)
    maps, _ = record(residual, images, ["second"])
    _, target = matrices(maps["second"], images, class_evidence(residual, images, "relu:2"))
    assert torch.allclose(one.oip[:, 0], target.mean((1, 2)), atol=1e-5)


def test_layers_that_are_no_maps_are_refused(residual):
    class Pair(nn.Module):
        def forward(self, images):
            return images, images

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.pair, self.head = nn.ReLU(), Pair(), nn.Linear(64, 3)

        def forward(self, images):
            self.relu(images)
            return self.head(self.pair(images)[0].flatten(1))

    odd = Odd().eval().requires_grad_(False)
    with pytest.raises(FlowError, match="gives a tuple"):
        record(odd, images_of(2), ["pair"])
    with pytest.raises(FlowError, match="do not depend on 'relu'"):
        class_evidence(odd, images_of(2), "relu")


def test_a_users_own_network_is_followed(digits_data, tmp_path):
    """A factory's network with functional ReLUs: nothing but names of modules is asked of it."""
    torch.manual_seed(0)
    path = tmp_path / "digits" / "own.safetensors"
    header = artifacts.provenance(
        "model",
        {"factory": "helpers.toys:own_network", "options": {}},
        inputs={"data": digits_data},
        dataset_shape=[1, 16, 16],
        classes=10,
    )
    artifacts.save_tensors(path, models.weights_of(toys.own_network()), header)
    attack = tmp_path / "fgsm.safetensors"
    options = {"name": "fgsm", "method": "fgsm", "options": {"epsilon": 0.1}}
    attack_stage.run(digits_data, path, options, images=6, chunk=6, seed=0, device="cpu", out=attack)
    studies = [{"source": "own", "attack": "fgsm", "conditions": ["native"]}]
    specification = {**SPECIFICATION, "studies": studies, "layers": ["body", "neck"]}
    out = tmp_path / "own.parquet"
    flow_stage.run(digits_data, path, [attack], specification, seed=0, device="cpu", out=out)
    frame, header = artifacts.load_rows(out, "flow")
    assert header["layers"] == ["body", "neck"]
    assert np.isfinite(frame[["iip", "oip"]]).all(axis=None)
    with pytest.raises(FlowError, match="name the layers"):
        flow_stage.run(
            digits_data, path, [attack], {**specification, "layers": None}, seed=0, device="cpu", out=tmp_path / "x"
        )


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(residual):
    images = images_of(6)
    here, there = profile(residual, images)["copula"], profile(residual.cuda(), images.cuda())["copula"]
    assert torch.allclose(there.iip.cpu(), here.iip, atol=1e-3)
    assert torch.allclose(there.oip.cpu(), here.oip, atol=1e-3)


def test_estimators_are_those_of_the_schema():
    from infoadv.config import structure_schema

    declared = structure_schema()["properties"]["flow"]["properties"]["estimators"]
    assert set(declared["items"]["enum"]) == set(spatial.ESTIMATORS)


def test_the_probes_are_fitted_on_images_that_nobody_attacks(study, digits_data, monkeypatch):
    dataset, _ = data.load(digits_data)
    model, _ = models.load(study / "digits" / "first.safetensors")
    taken = []

    def flat(self, pixels):
        taken.append(pixels)
        return [pixels.reshape(len(pixels), -1)]

    monkeypatch.setattr(measuring.Network, "_features", flat)
    attacked = np.arange(0, len(dataset.x_test), 2)
    measuring.Network(model, dataset, attacked, SPECIFICATION, 0, torch.device("cpu"))
    (pixels,) = taken
    assert len(pixels) == len(dataset.x_test) - len(attacked)
    assert not {one.tobytes() for one in dataset.x_test[attacked]} & {one.tobytes() for one in pixels}
