"""The transfer stage and its table: what is shown to which network, what counts, and the rates by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from infoadv import InfoadvError, artifacts, data, models
from infoadv.report import tables
from infoadv.report.tables import transfer as table
from infoadv.stages import transfer

SHAPE, CLASSES = (1, 16, 16), 3
NETWORKS = ("one", "two", "three")


def save_network(path, data_path, seed):
    torch.manual_seed(seed)
    model = models.build("small_cnn", {"width": 4}, SHAPE, CLASSES, [0.5], [0.5])
    header = artifacts.provenance(
        "model",
        {"architecture": "small_cnn", "options": {"width": 4}, "training": {}},
        inputs={"data": data_path},
        dataset_shape=list(SHAPE),
        classes=CLASSES,
    )
    artifacts.save_tensors(path, models.weights_of(model), header)


def save_attack(path, data_path, model_path, rng, *, target=False):
    dataset, _ = data.load(data_path)
    index = rng.permutation(len(dataset.x_test))[:30].astype(np.int64)
    label = dataset.y_test[index]
    adversarial = rng.integers(0, 256, (len(index), *SHAPE), dtype=np.uint8)
    tensors = {
        "index": index,
        "label": label,
        "target": (label + 1) % CLASSES if target else np.full(len(index), -1),
        "adversarial": adversarial.astype(np.float32) / 255,
        "adversarial_8bit": adversarial,
        "success": rng.uniform(size=len(index)) < 0.7,
    }
    header = artifacts.provenance(
        "attack",
        {"name": path.stem, "method": path.stem, "options": {}},
        inputs={"data": data_path, "model": model_path},
        dataset="toy",
        model=model_path.stem,
    )
    artifacts.save_tensors(path, tensors, header)


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Return the folder of three random networks and two attacks on each; labels are what the first network says, mostly."""
    root = tmp_path_factory.mktemp("transfer")
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (60, *SHAPE), dtype=np.uint8), rng.integers(0, CLASSES, 60)
    data_path = root / "data.safetensors"
    data.save(
        data_path, data.Dataset(images[:9], labels[:9], images[9:], labels[9:], ("a", "b", "c")), {"source": "toy"}
    )
    (root / "toy").mkdir()
    for seed, name in enumerate(NETWORKS):
        save_network(root / "toy" / f"{name}.safetensors", data_path, seed)
        for attack in ("free", "aimed"):
            (root / "attacks" / name).mkdir(parents=True, exist_ok=True)
            path = root / "attacks" / name / f"{attack}.safetensors"
            save_attack(path, data_path, root / "toy" / f"{name}.safetensors", rng, target=attack == "aimed")
    return root


def run(root, networks=NETWORKS, attacks=None, out="rows.parquet"):
    attacks = attacks or sorted(root.glob("attacks/*/*.safetensors"))
    paths = [root / "toy" / f"{name}.safetensors" for name in networks]
    specification = {"networks": list(NETWORKS)}
    transfer.run(root / "data.safetensors", paths, attacks, specification, device="cpu", out=root / out)
    return artifacts.load_rows(root / out, "transfer")


def test_every_image_is_shown_to_every_other_network_alone(made, monkeypatch):
    frame, header = run(made)
    pairs = set(zip(frame["model"], frame["network"], strict=True))
    assert pairs == {(one, other) for one in NETWORKS for other in NETWORKS if one != other}
    assert len(frame) == 3 * 2 * 2 * 30
    assert header["dataset"] == "toy"
    assert len(header["inputs"]) == 1 + 3 + 6
    dataset, _ = data.load(made / "data.safetensors")
    for (model, network, attack), rows in frame.groupby(["model", "network", "attack"]):
        arrays, _ = artifacts.load_tensors(made / "attacks" / model / f"{attack}.safetensors", "attack")
        net, _ = models.load(made / "toy" / f"{network}.safetensors", "cpu")
        with torch.no_grad():
            seen = net(torch.from_numpy(arrays["adversarial_8bit"]).float() / 255).argmax(1).numpy()
            clean = net(torch.from_numpy(dataset.x_test[arrays["index"]]).float() / 255).argmax(1).numpy()
        label = dataset.y_test[arrays["index"]]
        assert rows["prediction"].tolist() == seen.tolist()
        assert rows["known"].tolist() == (clean == label).tolist()
        assert rows["success"].tolist() == arrays["success"].tolist()
        wanted = seen == arrays["target"] if attack == "aimed" else seen != label
        assert rows["transferred"].tolist() == wanted.tolist()
    # In batches of any size: memory is bounded, and no image depends on the others.
    monkeypatch.setattr(transfer, "_BATCH", 7)
    again, _ = run(made, out="again.parquet")
    pd.testing.assert_frame_equal(frame, again)


def test_what_does_not_belong_together_is_refused(made, tmp_path):
    with pytest.raises(
        InfoadvError, match="networks: the specification names one, two, three, the files are of two, one"
    ):
        run(made, networks=("two", "one"))
    with pytest.raises(InfoadvError, match="give two networks"):
        transfer.run(
            made / "data.safetensors",
            [made / "toy" / "one.safetensors"],
            sorted(made.glob("attacks/one/*")),
            {"networks": ["one"]},
            device="cpu",
            out=tmp_path / "rows.parquet",
        )
    tensors, header = artifacts.load_tensors(made / "attacks" / "one" / "free.safetensors")
    header = {**header, "inputs": {**header["inputs"], "model": "0" * 64}}
    artifacts.save_tensors(tmp_path / "strange.safetensors", tensors, header)
    with pytest.raises(InfoadvError, match=r"strange\.safetensors: was made on another network"):
        run(made, attacks=[tmp_path / "strange.safetensors"], out="none.parquet")


def specification(**more):
    names = ("plain", "other", "noise", "plain-confidence-4")
    attacks = {name: {"label": name.capitalize(), "color_index": i} for i, name in enumerate(names)}
    attacks["noise"]["control"] = True
    attacks["plain-confidence-4"] |= {"sweep_of": "plain", "color_index": 0}
    return {"attacks": attacks, "statistics": {"reference": "plain", "bootstrap": 200}, **more}


def save_rows(path, network, transferred, success, known):
    frames = []
    for name, values in transferred.items():
        count = len(values)
        frame = pd.DataFrame({"index": range(count), "transferred": values, "success": success[name], "known": known})
        frame = frame.assign(dataset="toy", model="one", network=network, attack=name, label=0, target=-1, prediction=0)
        frames.append(frame)
    return frames


@pytest.fixture(name="artefact")
def _artefact(tmp_path):
    rng = np.random.default_rng(0)
    count, frames = 80, []
    rates = {"plain": 0.1, "other": 0.6, "noise": 0.02, "plain-confidence-4": 0.9}
    for network in ("two", "three"):
        transferred = {name: rng.uniform(size=count) < rate for name, rate in rates.items()}
        success = {name: np.arange(count) % 10 != place for place, name in enumerate(rates)} | {
            "noise": np.zeros(count, bool)
        }
        frames += save_rows(tmp_path, network, transferred, success, rng.uniform(size=count) < 0.8)
    path = tmp_path / "toy.parquet"
    artifacts.save_rows(path, pd.concat(frames), artifacts.provenance("transfer", {"networks": []}, dataset="toy"))
    return path


def test_the_rates_and_tests_are_those_counted_by_hand(artefact):
    rows, _ = artifacts.load_rows(artefact, "transfer")
    frame = table.build([str(artefact)], specification()).frame.set_index(["network", "attack"])
    assert len(frame) == 8
    for (network, attack), row in frame.iterrows():
        own = rows[(rows["network"] == network) & (rows["attack"] == attack)].set_index("index")
        counted = [i for i in own.index if own["known"][i] and (own["success"][i] or attack == "noise")]
        assert row["n"] == len(counted)
        fooled = int(own["transferred"][counted].sum())
        assert row["rate"] == pytest.approx(fooled / len(counted))
        interval = binomtest(fooled, len(counted)).proportion_ci(0.95, method="wilson")
        assert (row["rate_low"], row["rate_high"]) == pytest.approx((interval.low, interval.high))
        if attack == "plain":
            assert np.isnan(row["p"])
            continue
        plain = rows[(rows["network"] == network) & (rows["attack"] == "plain")].set_index("index")
        both = [i for i in counted if plain["success"][i]]
        gained = sum(own["transferred"][i] and not plain["transferred"][i] for i in both)
        lost = sum(plain["transferred"][i] and not own["transferred"][i] for i in both)
        assert row["n_paired"] == len(both)
        assert row["difference"] == pytest.approx((gained - lost) / len(both))
        assert row["p"] == pytest.approx(binomtest(gained, gained + lost).pvalue)
    # One family: every test of the images made for a network, on all other networks.
    tested = frame["p"].dropna().sort_values()
    assert len(tested) == 6
    assert frame.loc[tested.index[0], "p_holm"] == pytest.approx(6 * tested.iloc[0])


def test_an_attack_towards_a_class_is_not_tested_against_an_untargeted_one(artefact, tmp_path):
    told = specification()
    told["attacks"]["other"]["target"] = "next"
    frame = table.build([str(artefact)], told).frame.set_index(["network", "attack"])
    assert frame.loc[("two", "other"), ["n_paired", "p", "p_holm"]].isna().all()
    assert frame.loc[("two", "other"), "rate"] > 0
    # It is in no family either: four tests are left of six.
    least = frame["p"].dropna().sort_values()
    assert len(least) == 4
    assert frame.loc[least.index[0], "p_holm"] == pytest.approx(4 * least.iloc[0])
    tables.write("transfer", [str(artefact)], told, tmp_path)
    assert "An attack towards a chosen class fools where" in (tmp_path / "transfer.md").read_text(encoding="utf-8")


def test_the_table_says_who_fools_more_and_what_the_control_does(artefact, tmp_path):
    tables.write("transfer", [str(artefact)], specification(), tmp_path)
    text = (tmp_path / "transfer.md").read_text(encoding="utf-8")
    assert "### toy, made for one" in text
    assert "| Attack | seen by two | seen by three |" in text
    other = next(line for line in text.splitlines() if line.startswith("| Other"))
    assert other.count("**") == 4
    noise = next(line for line in text.splitlines() if line.startswith("| Noise, control"))
    assert "**" not in noise
    assert r"\textbf{" in (tmp_path / "transfer.tex").read_text(encoding="utf-8")
    with pytest.raises(InfoadvError, match=r"statistics\.reference: 'nobody'"):
        table.build([str(artefact)], {**specification(), "statistics": {"reference": "nobody"}})
