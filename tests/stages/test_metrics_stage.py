"""The metrics stage on small synthetic artefacts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infoadv import artifacts, data, metrics, models
from infoadv.stages import measure
from infoadv.stages.looking import classified

SPECIFICATION = {"l2": {}, "ssim": {}, "ciede2000": {}, "lpips": {"backbone": "reference"}}
COUNT = 5


def write_model(path, data_path, *, seed=0, broken=False):
    torch.manual_seed(seed)
    model = models.build("small_cnn", {"width": 4}, (1, 16, 16), 3, [0.5], [0.5])
    if broken:
        with torch.no_grad():
            next(model.parameters()).fill_(torch.nan)
    header = artifacts.provenance(
        "model",
        {"architecture": "small_cnn", "options": {"width": 4}, "training": {}},
        inputs={"data": data_path},
        dataset_shape=[1, 16, 16],
        classes=3,
    )
    artifacts.save_tensors(path, models.weights_of(model), header)
    return path


def write_attack(path, data_path, model_path, *, count=COUNT, seed=0, **changed):
    dataset, _ = data.load(data_path)
    rng = np.random.default_rng(seed)
    index = rng.permutation(len(dataset.x_test))[:count].astype(np.int64)
    adversarial = np.clip(dataset.x_test[index] / 255 + rng.normal(0, 0.2, (count, 1, 16, 16)), 0, 1)
    tensors = {
        "index": index,
        "label": dataset.y_test[index],
        "target": np.full(count, -1),
        "adversarial": adversarial.astype(np.float32),
        "adversarial_8bit": np.rint(adversarial * 255).astype(np.uint8),
        # Deliberately untrue: the stage must look for itself.
        "success_float": np.zeros(count, bool),
        "success": np.zeros(count, bool),
        "factor": np.ones(count, np.float32),
        "forwards": np.arange(count, dtype=np.int64),
        "backwards": np.arange(count, dtype=np.int64) + 1,
        "first_success": np.full(count, -1, np.int64),
    }
    header = artifacts.provenance(
        "attack",
        {"name": "noise", "method": "noise", "options": {}},
        inputs={"data": data_path, "model": model_path},
        dataset="toy",
        model="small",
    )
    artifacts.save_tensors(path, tensors | changed, header)
    return path


@pytest.fixture(name="files")
def _files(tmp_path):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (100, 1, 16, 16), dtype=np.uint8)
    labels = rng.integers(0, 3, 100)
    dataset = data.Dataset(images[:20], labels[:20], images[20:], labels[20:], ("a", "b", "c"))
    data.save(tmp_path / "toy.safetensors", dataset, {"source": "toy"})
    model = write_model(tmp_path / "small.safetensors", tmp_path / "toy.safetensors")
    attack = write_attack(tmp_path / "noise.safetensors", tmp_path / "toy.safetensors", model)
    return {"data": tmp_path / "toy.safetensors", "model": model, "attack": attack, "out": tmp_path / "rows.parquet"}


def run(files, specification=SPECIFICATION, reference="model", **changed):
    paths = files | changed
    measure.run(
        paths["data"],
        paths["model"],
        paths["attack"],
        specification,
        reference=files[reference] if reference else None,
        seed=3,
        device="cpu",
        out=paths["out"],
    )
    return artifacts.load_rows(paths["out"], "metrics")


def test_rows(files):
    frame, header = run(files)
    arrays, _ = artifacts.load_tensors(files["attack"])
    dataset, _ = data.load(files["data"])
    assert list(frame.columns) == [
        *("dataset", "model", "attack", "index", "label", "prediction", "success_float", "success"),
        *("margin", "first_success", "forwards", "backwards", "l2", "ssim", "ciede2000", "lpips_reference"),
    ]
    assert frame[["dataset", "model", "attack"]].drop_duplicates().to_numpy().tolist() == [["toy", "small", "noise"]]
    for key in ("index", "label", "first_success", "forwards", "backwards"):
        np.testing.assert_array_equal(frame[key], arrays[key])

    model, _ = models.load(files["model"])
    with torch.no_grad():
        logits = model(torch.from_numpy(arrays["adversarial_8bit"]).float() / 255).numpy()
        logits_float = model(torch.from_numpy(arrays["adversarial"])).numpy()
    rows, label = np.arange(COUNT), arrays["label"]
    others = logits.copy()
    others[rows, label] = -np.inf
    np.testing.assert_array_equal(frame["prediction"], logits.argmax(1))
    np.testing.assert_array_equal(frame["success"], logits.argmax(1) != label)
    np.testing.assert_array_equal(frame["success_float"], logits_float.argmax(1) != label)
    np.testing.assert_allclose(frame["margin"], others.max(1) - logits[rows, label], rtol=1e-5, atol=1e-6)
    assert frame["success"].any()
    assert ((frame["margin"] > 0) == frame["success"]).all()

    clean = dataset.x_test[arrays["index"]].astype(float)
    delta = (arrays["adversarial_8bit"] - clean) / 255
    np.testing.assert_allclose(frame["l2"], np.sqrt((delta**2).sum((1, 2, 3))), rtol=1e-6)
    assert frame["ciede2000"].isna().all()
    assert all(frame[column].dtype == np.float64 for column in ("margin", "l2", "ssim", "ciede2000"))

    assert header["specification"] == SPECIFICATION
    assert header["seed"] == 3
    assert header["inputs"].keys() == {"data", "model", "attack", "reference"}
    assert {"piq", "lpips", "scikit-image", "torch"} <= header["libraries"].keys()
    assert header["metrics"]["lpips_reference"]["better"] == "lower"
    assert header["metrics"]["lpips_reference"]["options"] == {"backbone": "reference"}
    assert list(header["metrics"]) == sorted(["l2", "ssim", "ciede2000", "lpips_reference"])


def test_equal_inputs_give_equal_bytes(files):
    run(files)
    first = files["out"].read_bytes()
    run(files)
    assert files["out"].read_bytes() == first


def test_numbers_do_not_depend_on_the_batch(files, monkeypatch):
    together, _ = run(files)
    monkeypatch.setattr(metrics, "BATCH", 2)
    sizes = []
    monkeypatch.setattr(
        measure,
        "classified",
        lambda *given, size, **named: sizes.append(size) or classified(*given, size=size, **named),
    )
    apart, _ = run(files)
    assert sizes == [2, 2]
    numbers = ["margin", "l2", "ssim", "lpips_reference"]
    np.testing.assert_allclose(together[numbers], apart[numbers], rtol=1e-4, atol=1e-6)


def test_more_images_than_a_batch(files, tmp_path):
    attack = write_attack(tmp_path / "many.safetensors", files["data"], files["model"], count=metrics.BATCH + 3)
    frame, _ = run(files, {"l0": {}}, reference=None, attack=attack)
    assert len(frame) == metrics.BATCH + 3
    assert (frame["l0"] > 0).all()


@pytest.mark.parametrize("role", ["model", "data"])
def test_foreign_artefacts_are_refused(files, tmp_path, role):
    other = tmp_path / "other.safetensors"
    if role == "model":
        write_model(other, files["data"], seed=1)
    else:
        dataset, _ = data.load(files["data"])
        data.save(other, data.Dataset(**{**vars(dataset), "x_test": dataset.x_test[::-1]}), {"source": "toy"})
    with pytest.raises(artifacts.ArtifactError, match=r"noise\.safetensors: was not made from .*other\.safetensors"):
        run(files, **{role: other})
    assert not files["out"].exists()


def test_a_reference_of_another_data_set_is_refused(files, tmp_path):
    files["foreign"] = write_model(tmp_path / "foreign.safetensors", files["model"])
    with pytest.raises(artifacts.ArtifactError, match=r"foreign\.safetensors: was not made from"):
        run(files, reference="foreign")


def test_images_or_labels_that_do_not_fit_are_refused(files, tmp_path):
    for changed in (
        {"index": np.array([0, 1, 2, 3, 1000])},
        {"label": np.full(COUNT, 2) - artifacts.load_tensors(files["attack"])[0]["label"]},
        {"adversarial_8bit": np.zeros((COUNT, 1, 8, 8), np.uint8)},
    ):
        attack = write_attack(tmp_path / "odd.safetensors", files["data"], files["model"], **changed)
        with pytest.raises(artifacts.ArtifactError, match=r"odd\.safetensors.*do not fit"):
            run(files, attack=attack)


def test_a_targeted_attack_succeeds_at_its_target_alone(files, tmp_path):
    label = artifacts.load_tensors(files["attack"])[0]["label"]
    for step in (1, 2):
        target = (label + step) % 3
        attack = write_attack(tmp_path / "aimed.safetensors", files["data"], files["model"], target=target)
        frame, _ = run(files, attack=attack)
        np.testing.assert_array_equal(frame["success"], frame["prediction"] == target)
        assert ((frame["margin"] > 0) == frame["success"]).all()


def test_nan_logits_are_refused(files, tmp_path):
    broken = write_model(tmp_path / "broken.safetensors", files["data"], broken=True)
    attack = write_attack(tmp_path / "noise2.safetensors", files["data"], broken)
    with pytest.raises(models.ModelError, match=r"broken\.safetensors.*NaN"):
        run(files, model=broken, attack=attack)


def test_lpips_without_a_reference_is_refused(files):
    with pytest.raises(metrics.MetricError, match=r"lpips\.reference"):
        run(files, reference=None)
