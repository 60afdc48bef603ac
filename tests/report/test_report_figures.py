"""Figures from synthetic artefacts: they are written, repeat byte for byte, and hold the numbers they show."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from helpers.report_artifacts import save_calibration, save_metrics, save_results
from infoadv import InfoadvError, artifacts
from infoadv.metrics import human
from infoadv.report import figures, style
from infoadv.report.figures import convergence, distributions, examples, grid, tradeoff, visibility

ATTACKS: dict[str, dict[str, Any]] = {
    "cw": {"cost": 900},
    "mine": {"traced": True, "cost": 2000},
    "weak": {"success": 0.0, "strength": 0.2},
    "cw-confidence-0": {"margin": 1.0},
    "cw-confidence-5": {"margin": 5.0, "strength": 0.1},
    "weak-epsilon-0.1": {"success": 0.5},
    "weak-epsilon-0.3": {"success": 0.9, "strength": 0.2},
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("results")
    return save_results(root, ATTACKS, (("digits", "standard", 1), ("photos", "standard", 3)))


def specification(**figure: Any) -> dict[str, Any]:
    entries = {
        name: {
            "label": f"{name} $",
            "color_index": i,
            "sweep_of": name.split("-")[0] if "-" in name else None,
            "compared": name in ("cw", "mine"),
            "varied": {name.split("-")[1]: float(name.split("-")[2])} if "-" in name else {},
        }
        for i, name in enumerate(ATTACKS)
    }
    statistics = {"bootstrap": 100, "confidence": 0.95, "reference": "cw"}
    return {"figure": figure, "statistics": statistics, "attacks": entries}


def draw(name: str, inputs: list[str], spec: dict[str, Any], folder: Path) -> pd.DataFrame:
    figures.draw(name, inputs, spec, folder / name, folder / f"{name}.csv")
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return pd.read_csv(folder / f"{name}.csv")


def of(paths: dict[str, list[str]], dataset: str, *kinds: str) -> list[str]:
    parts = [path for kind in kinds for path in paths[kind]]
    return [path for path in parts if dataset in Path(path).stem or dataset in Path(path).parts]


def test_grid(paths: dict[str, list[str]], tmp_path: Path) -> None:
    inputs = of(paths, "photos", "data", "attack", "metrics")
    spec = specification(images=2, attacks=["cw", "weak"]) | {"dataset": "photos"}
    frame = draw("grid", inputs, spec, tmp_path)
    assert frame["attack"].tolist() == ["cw", "weak", "cw", "weak"]
    assert frame["index"].tolist() == [0, 0, 1, 1]
    assert not frame.loc[frame["attack"] == "weak", "success"].any()
    stored = pd.read_parquet(next(path for path in inputs if path.endswith("photos/standard/cw.parquet")))
    np.testing.assert_allclose(frame.loc[frame["attack"] == "cw", "l2"], stored["l2"][:2])


def test_grid_does_not_repeat_a_class_before_all_were_shown(paths: dict[str, list[str]]) -> None:
    inputs = of(paths, "digits", "data", "attack", "metrics")
    _, frame = grid.draw(inputs, specification(images=11, attacks=["cw"]) | {"dataset": "digits"})
    assert sorted(frame["label"][:10]) == list(range(10))


def test_examples_are_a_picture_for_each_attack_on_each_network(tmp_path: Path) -> None:
    targets = (("photos", "standard", 3), ("photos", "robust", 3))
    attacks = {"cw": {}, "weak": {"success": 0.0}, "noise": {"success": 0.0}}
    made = save_results(tmp_path, attacks, targets, size=32)
    inputs = [*made["data"], *made["attack"], *made["metrics"]]
    spec = specification(images=3)
    spec["attacks"]["noise"] = {"label": "noise", "color_index": 9, "control": True}
    for folder in ("one", "two"):
        figures.draw("examples", inputs, spec, tmp_path / folder, tmp_path / f"{folder}.csv")
    frame = pd.read_csv(tmp_path / "one.csv")
    drawn = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert drawn == sorted(Path(model) / f"{name}.png" for _, model, _ in targets for name in attacks)
    for path in drawn:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
        assert (tmp_path / "one" / path).stat().st_size < 60_000
    # All attacks on a network show the same images, at one factor.
    for _, part in frame.groupby("model"):
        assert part.groupby("attack")["index"].apply(list).tolist() == [[0, 1, 2]] * 3
        assert part["scale"].nunique() == 1
    stored = pd.read_parquet(next(path for path in inputs if path.endswith("photos/robust/cw.parquet")))
    shown = frame[(frame["model"] == "robust") & (frame["attack"] == "cw")]
    np.testing.assert_allclose(shown["l2"], stored["l2"][:3])
    assert shown["prediction"].tolist() == stored["prediction"][:3].tolist()
    with pytest.raises(InfoadvError, match=r"cw\.safetensors: the examples figure has no metrics"):
        figures.draw("examples", [*made["data"], *made["attack"]], spec, tmp_path / "three", tmp_path / "three.csv")


def test_an_example_shows_clean_adversarial_and_perturbation_and_who_failed(tmp_path: Path) -> None:
    attacks = {"weak": {"success": 0.0}, "noise": {"success": 0.0}}
    made = save_results(tmp_path, attacks, (("digits", "standard", 1),))
    spec = specification(images=1)
    spec["attacks"]["noise"] = {"label": "noise", "color_index": 9, "control": True}
    with style.applied():
        pairs, frame = examples.draw([*made["data"], *made["attack"], *made["metrics"]], spec)
        drawn = dict(pairs)
    written = {name: " ".join(text.get_text() for text in figure.texts) for name, figure in drawn.items()}
    assert "failed" in written["standard/weak"]
    assert "failed" not in written["standard/noise"]
    assert "control" in written["standard/noise"]
    tensors, _ = artifacts.load_tensors(made["attack"][0])
    clean = artifacts.load_tensors(made["data"][0])[0]["x_test"][0, 0] / 255
    adversarial = tensors["adversarial_8bit"][0, 0] / 255
    wanted = clean, adversarial, np.clip(0.5 + frame["scale"][0] * (adversarial - clean), 0, 1)
    for image, pixels in zip(drawn["standard/weak"].images, wanted, strict=True):
        inside = np.asarray(image.get_array())[2:-2, 2:-2]
        np.testing.assert_allclose(inside[::7, ::7, 0], pixels)


def test_tradeoff(paths: dict[str, list[str]], tmp_path: Path) -> None:
    frame = draw("tradeoff", of(paths, "digits", "metrics"), specification(), tmp_path)
    assert set(frame["panel"]) == {"survival", "budget", "confidence"}
    curve = frame[(frame["panel"] == "survival") & (frame["attack"] == "cw")]
    assert curve["x"].is_monotonic_decreasing
    assert curve["y"].iloc[-1] == pytest.approx(curve["asr"].iloc[0])
    confidence = frame[frame["panel"] == "confidence"]
    assert confidence["value"].tolist() == [0, 5]
    assert confidence["x"].is_monotonic_increasing
    assert frame.loc[frame["panel"] == "budget", "attack"].tolist() == ["weak", "weak"]
    assert frame.loc[(frame["panel"] == "survival") & (frame["attack"] == "weak"), "y"].isna().all()
    with style.applied():
        figure, _ = tradeoff.draw(of(paths, "digits", "metrics"), specification())
    # No empty panel: of the target, and of each option that is swept on it.
    target = frame.loc[0, "dataset"], frame.loc[0, "model"]
    titles = [axes.get_title(loc="left").split("\n") for axes in figure.axes if axes.get_visible()]
    assert titles == [
        ["{}, {}".format(*target)],
        *(["{}, {}".format(*target), option] for option in ("confidence", "epsilon")),
    ]


def test_a_tradeoff_without_attacks_or_without_values_is_drawn(tmp_path: Path) -> None:
    controls = judged(tmp_path, {"noise": ([0.9, 0.8], [False, True])}, "ssim")
    spec = specification()
    spec["attacks"] = {"noise": {"label": "Noise", "color_index": 0, "control": True}}
    assert draw("tradeoff", controls, spec, tmp_path).empty
    # A sweep that SSIM did not measure has no panel; values decades apart stand side by side, in order.
    values = {"cw": 0.9, "cw-steps-1000": 0.95, "cw-steps-3": 0.7, "cw-epsilon-0.1": np.nan}
    inputs = [
        path for name, value in values.items() for path in judged(tmp_path, {name: ([value] * 4, [True] * 4)}, "ssim")
    ]
    inputs += judged(tmp_path, {"cw-steps-1": ([0.6] * 4, [True, False, False, False])}, "ssim")
    spec["attacks"] = {"cw": {"label": "C&W", "color_index": 0, "varied": {"steps": 30, "epsilon": 1}}}
    for name in (*values, "cw-steps-1"):
        if name != "cw":
            _, option, value = name.split("-")
            varied = {option: float(value)}
            spec["attacks"][name] = {"label": "C&W", "color_index": 0, "sweep_of": "cw", "varied": varied}
    with style.applied():
        figure, _ = tradeoff.draw(inputs, spec)
    titles = [axes.get_title(loc="left").split("\n")[-1] for axes in figure.axes if axes.get_visible()]
    assert titles == ["digits, standard", "epsilon", "steps"]
    steps = figure.axes[2]
    assert [label.get_text() for label in steps.get_xticklabels()] == ["1", "3", "30", "1000"]
    assert "25 %" in [text.get_text() for text in steps.texts]
    hollow = [line for line in steps.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[0]]


def test_ticks_of_similarities_keep_apart() -> None:
    for low, high in ((0.094, 0.13), (1e-5, 1.0), (0.04, 0.3), (0.018, 0.031)):
        for most in (3, 6):
            figure = style.new_figure(2, 2)
            axes = figure.subplots()
            style.similarity_axis(axes, "y", [low, high], most=most)
            ticks = np.log(axes.get_yticks())
            assert 1 <= len(ticks) <= most
            limits = np.log(axes.get_ylim())
            assert len(ticks) < 2 or np.diff(ticks).min() >= abs(np.diff(limits)[0]) / (most + 1)


def judged(root: Path, names: dict[str, tuple[list[float], list[bool]]], column: str = "jod") -> list[str]:
    """Write metric artefacts of attacks whose judge and success are given image by image; return their paths."""
    paths = []
    for name, (values, success) in names.items():
        frame = pd.DataFrame({"index": range(len(values)), column: values, "success": success})
        frame = frame.assign(dataset="digits", model="standard", attack=name, success_float=success)
        paths.append(save_metrics(root / f"{name}.parquet", frame))
    return paths


def test_visibility_is_the_share_of_all_images_turned_at_a_quality(tmp_path: Path) -> None:
    values = {
        "cw": ([9.9, 9.5, 9.4, 5.0], [True, True, True, False]),
        "mine": ([9.99, 9.98, 9.97, 9.96], [True, True, False, False]),
    }
    frame = draw("visibility", judged(tmp_path, values), specification(), tmp_path)
    curves = frame[frame["panel"] == "curve"]
    for name, (quality, success) in values.items():
        own = curves[curves["attack"] == name]
        # A failure counts as one at every quality.
        wanted = [np.mean([s and q >= x for q, s in zip(quality, success, strict=True)]) for x in own["x"]]
        assert own["y"].tolist() == wanted
        assert len(own) == sum(success)
    shares = frame[frame["panel"] == "share"].set_index("attack")
    assert shares["x"].unique().tolist() == [9.5]
    assert shares["y"].to_dict() == {"cw": 0.5, "mine": 0.5}
    assert ((shares["low"] > 0) & (shares["high"] < 1)).all()


def test_visibility_takes_any_directed_metric_and_the_first_judge_without_one(tmp_path: Path) -> None:
    values = {"cw": ([0.1, 0.3, 0.2, 0.9], [True, True, True, False]), "weak": ([0.6] * 4, [True, False, False, False])}
    inputs = judged(tmp_path, values, "flip")
    frame = draw("visibility", inputs, specification(), tmp_path)
    assert frame["metric"].unique().tolist() == ["flip"]
    curve = frame[(frame["panel"] == "curve") & (frame["attack"] == "cw")]
    assert curve["x"].tolist() == [0.1, 0.2, 0.3]
    # Lower is better; beside the curves stands the share at the median of all successes.
    shares = frame[frame["panel"] == "share"].set_index("attack")
    assert shares["x"].unique().tolist() == [0.25]
    assert shares["y"].to_dict() == {"cw": 0.5, "weak": 0.0}
    asked = draw("visibility", inputs, specification(at=0.6), tmp_path)
    assert asked.loc[asked["panel"] == "share", "y"].tolist() == [0.75, 0.25]
    (tmp_path / "none").mkdir()
    nothing = judged(tmp_path / "none", {"cw": ([0.1, 0.3], [False, False])}, "flip")
    assert draw("visibility", nothing, specification(), tmp_path)["y"].tolist() == [0.0]
    (tmp_path / "l2").mkdir()
    with pytest.raises(InfoadvError, match=r"visibility: no judge was computed"):
        draw("visibility", judged(tmp_path / "l2", {"cw": ([1.0], [True])}, "l2"), specification(), tmp_path)
    with pytest.raises(InfoadvError, match=r"visibility\.metric: gmsd"):
        draw("visibility", inputs, specification(metric="gmsd"), tmp_path)
    with pytest.raises(InfoadvError, match=r"visibility\.attacks: .*available: cw, weak"):
        draw("visibility", inputs, specification(attacks=["nosuch"]), tmp_path)


def test_figures_leave_out_attacks_towards_a_class_and_those_that_a_judge_did_not_see(tmp_path: Path) -> None:
    values = {name: ([9.9, 9.5], [True, True]) for name in ("cw", "mine", "aimed")}
    inputs = [*judged(tmp_path, values), *judged(tmp_path, {"weak": ([0.5, 0.6], [True, True])}, "ssim")]
    spec = specification()
    spec["attacks"]["aimed"] = {"label": "Aimed", "color_index": 9, "target": "next", "compared": False}
    assert set(draw("visibility", inputs, spec, tmp_path)["attack"]) == {"cw", "mine"}
    with pytest.raises(InfoadvError, match=r"visibility\.attacks: .*available: cw, mine\."):
        draw("visibility", inputs, {**spec, "figure": {"attacks": ["weak", "aimed"]}}, tmp_path)
    assert set(draw("cost", inputs, spec, tmp_path)["attack"]) == {"cw", "mine", "weak"}
    tradeoff = draw("tradeoff", inputs, spec, tmp_path)
    assert set(tradeoff.loc[tradeoff["panel"] == "survival", "attack"]) == {"cw", "mine", "weak"}


def test_a_sweep_on_fewer_images_is_drawn_on_those_that_all_its_attacks_took(tmp_path: Path) -> None:
    inputs = judged(tmp_path, {"cw": ([0.9, 0.9, 0.5, 0.5], [True] * 4)}, "ssim")
    inputs += judged(tmp_path, {"cw-confidence-5": ([0.9, 0.9], [True] * 2)}, "ssim")
    spec = specification()
    spec["attacks"]["cw"]["varied"] = {"confidence": 0}
    spec["attacks"]["cw-confidence-5"] = {
        "label": "C&W",
        "sweep_of": "cw",
        "varied": {"confidence": 5},
        "color_index": 0,
    }
    frame = draw("tradeoff", inputs, spec, tmp_path)
    points = frame[frame["panel"] == "confidence"]
    assert points["value"].tolist() == [0, 5]
    assert points["n"].tolist() == [2, 2]
    assert points["y"].tolist() == pytest.approx([0.9, 0.9])


def test_visibility_can_be_read_in_a_column_with_many_attacks(tmp_path: Path) -> None:
    many = {f"attack {i}": ([9.9 - 0.1 * i] * 3, [True, True, i % 2 == 0]) for i in range(22)}
    spec = specification()
    spec["attacks"] = {name: {"label": f"A long name ({i})", "color_index": i} for i, name in enumerate(many)}
    with style.applied():
        figure, _ = visibility.draw(judged(tmp_path, many), spec)
        figure.draw_without_rendering()
        assert figure.get_figwidth() <= 3.3
        left, right = figure.axes
        names = right.get_yticklabels()
        # Every attack has its name, inside the page, over no other, and in letters of six points or more.
        assert len(names) == 22
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= style.SMALL
        boxes = sorted((text.get_window_extent() for text in names), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
        page = figure.bbox
        assert all(box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1 for box in boxes)
    # Every attack is drawn, the first seven in colours of their own.
    drawn = [line for line in left.lines if line.get_drawstyle() == "steps-post"]
    assert len(drawn) == 22
    assert len({line.get_color() for line in drawn}) == 8


@pytest.mark.parametrize("kind", ["flip", "jod"])
def test_the_grid_shows_where_differences_are_seen(
    kind: str, paths: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def seen(clean: torch.Tensor, adversarial: torch.Tensor, **conditions: Any) -> torch.Tensor:
        asked.append(conditions)
        return (adversarial - clean).abs().amax(1).repeat_interleave(2, 1).repeat_interleave(2, 2)

    monkeypatch.setattr(human, f"{kind}_map", seen)
    inputs = of(paths, "photos", "data", "attack", "metrics")
    options = specification(images=2, attacks=["cw", "weak"], map=kind) | {"dataset": "photos"}
    with style.applied():
        figure, frame = grid.draw(inputs, options)
    maps = [image for axes in figure.axes for image in axes.images if image.get_cmap().name == "magma"]
    assert len(maps) == len(frame) == 4
    assert all(image.get_array().shape == (32, 32) for image in maps)
    # One scale for all; where a few pixels are beyond its end the bar says so.
    (limits,) = {image.get_clim() for image in maps}
    assert limits[0] == 0
    beyond = np.mean([np.asarray(image.get_array()) > limits[1] for image in maps])
    assert beyond <= 0.005
    (bar,) = [axes for axes in figure.axes if axes.get_xlabel() == grid._MAPS[kind][0]]
    assert (bar._colorbar.extend == "max") == (beyond > 0)
    np.testing.assert_allclose(sorted(frame[f"{kind}_map_mean"]), sorted(image.get_array().mean() for image in maps))
    assert asked == [{}] * 4


def test_a_family_begins_with_the_attack_that_its_sweep_varies(paths: dict[str, list[str]], tmp_path: Path) -> None:
    spec = specification()
    spec["attacks"]["cw"]["varied"] = {"confidence": 0.5, "steps": 7}
    spec["attacks"]["weak"]["varied"] = {"epsilon": "smallest"}
    # The configuration says what varies; a name says nothing.
    spec["attacks"]["cw-confidence-0"]["varied"] = {"confidence": -1}
    # Where the sweep does not run, its attack alone is no family.
    alone = [path for path in of(paths, "photos", "metrics") if "-" not in Path(path).stem]
    frame = draw("tradeoff", of(paths, "digits", "metrics") + alone, spec, tmp_path)
    confidence = frame[frame["panel"] == "confidence"]
    assert confidence["value"].tolist() == [-1, 0.5, 5]
    assert confidence["attack"].unique().tolist() == ["cw"]
    assert confidence["dataset"].unique().tolist() == ["digits"]
    assert frame.loc[frame["panel"] == "budget", "value"].tolist() == [0.1, 0.3]
    # Neither words nor several options at once have a place on a curve.
    spec["attacks"]["cw-confidence-5"]["varied"] = {"confidence": "large"}
    spec["attacks"]["weak-epsilon-0.3"]["varied"] = {"epsilon": 0.3, "steps": 7}
    frame = draw("tradeoff", of(paths, "digits", "metrics"), spec, tmp_path)
    assert frame.loc[frame["panel"] == "confidence", "value"].tolist() == [-1, 0.5]
    assert frame.loc[frame["panel"] == "budget", "value"].tolist() == [0.1]


def test_a_control_neither_fails_nor_succeeds(paths: dict[str, list[str]], tmp_path: Path) -> None:
    spec = specification(metrics=["ssim"]) | {"dataset": "photos"}
    spec["attacks"]["weak"]["control"] = True
    inputs = of(paths, "photos", "metrics")
    boxes = draw("distributions", inputs, spec, tmp_path).set_index("attack")
    assert boxes.loc["weak", "n"] == boxes.loc["cw", "n"] > 0
    assert "weak" not in set(draw("cost", inputs, spec, tmp_path)["attack"])
    survival = draw("tradeoff", inputs, spec, tmp_path).query("panel == 'survival'")
    assert set(survival["attack"]) == {"cw", "mine"}

    spec["figure"] = {"images": 1, "attacks": ["cw", "weak"]}
    figure, _ = grid.draw(of(paths, "photos", "data", "attack", "metrics"), spec)
    written = " ".join(text.get_text() for text in figure.texts)
    assert "failed" not in written
    assert "control" in written
    spec["attacks"]["weak"]["control"] = False
    figure, _ = grid.draw(of(paths, "photos", "data", "attack", "metrics"), spec)
    assert "failed" in " ".join(text.get_text() for text in figure.texts)


def test_distributions_and_cost_with_a_metric_that_one_data_set_lacks(
    paths: dict[str, list[str]], tmp_path: Path
) -> None:
    inputs = [path for path in paths["metrics"] if "-" not in Path(path).stem]
    spec = specification(metrics=["ssim", "ciede2000"])
    frame = draw("distributions", inputs, spec, tmp_path)
    assert set(frame["attack"]) == {"cw", "mine"}
    assert set(frame.loc[frame["dataset"] == "digits", "metric"]) == {"ssim"}
    cost = draw("cost", inputs, spec, tmp_path)
    assert cost.loc[cost["attack"] == "mine", "passes"].unique().tolist() == [4000]
    assert cost.loc[cost["attack"] == "weak", "mean"].isna().all()
    known = cost["mean"].notna()
    assert (cost["low"][known] <= cost["mean"][known]).all()


def test_names_of_metrics_do_not_run_into_each_other(paths: dict[str, list[str]]) -> None:
    inputs = [path for path in of(paths, "photos", "metrics") if "-" not in Path(path).stem]
    spec = specification()
    # Long names of attacks leave little width to the panels.
    spec["attacks"]["cw"]["label"] = "PGD-Linf (smallest) of equal norm"
    with style.applied():
        figure, _ = distributions.draw(inputs, spec)
        figure.draw_without_rendering()
        names = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert len(names) == len(distributions.DEFAULT)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(names))


def test_empty_common_set_is_said_not_hidden(paths: dict[str, list[str]], tmp_path: Path) -> None:
    spec = specification(metrics=["ssim"])
    for name, entry in spec["attacks"].items():
        entry["compared"] = name == "weak"
    inputs = of(paths, "digits", "metrics")
    assert draw("distributions", inputs, spec, tmp_path).empty
    assert draw("cost", inputs, spec, tmp_path)["mean"].isna().all()


def test_calibration(tmp_path: Path) -> None:
    path = save_calibration(tmp_path / "mine.parquet", (1, 64), (128, 512), 2)
    frame = draw("calibration", [path], {"figure": {}}, tmp_path)
    assert (frame["truth"] > 0).all()
    assert frame["seeds"].unique().tolist() == [2]
    np.testing.assert_allclose(frame["ln_samples"], np.log(frame["samples"]))


def test_convergence_draws_the_attack_asked_for_and_repeats(paths: dict[str, list[str]], tmp_path: Path) -> None:
    spec = specification(dataset="photos", model="standard", attack="mine", image=1)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        frame = draw("convergence", paths["attack"], spec, tmp_path / folder)
    assert frame["dataset"].unique().tolist() == ["photos"]
    assert frame["index"].unique().tolist() == [1]
    assert np.isnan(frame["truth"][0])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_convergence_calls_the_estimate_what_the_attack_does(paths: dict[str, list[str]], tmp_path: Path) -> None:
    def legend(inputs: list[str], spec: dict[str, Any]) -> list[str]:
        with style.applied():
            figure, _ = convergence.draw(inputs, spec)
        return [text.get_text() for text in figure.legends[0].get_texts()]

    spec = specification(dataset="photos", attack="mine")
    assert "attack's estimate" in legend(paths["attack"], spec)
    assert "MINE estimate" in legend(paths["attack"], spec | {"traces": {"mine": "MINE estimate"}})
    # An artefact of before, whose method was one for all estimators, names its own.
    (path,) = [path for path in paths["attack"] if path.endswith("photos/standard/mine.safetensors")]
    tensors, header = artifacts.load_tensors(path)
    for estimator, called in (("mine", "MINE estimate"), ("masking", "masking estimate")):
        before = str(tmp_path / f"{estimator}.safetensors")
        artifacts.save_tensors(before, tensors, {**header, "estimator": estimator})
        assert called in legend([before], spec)


def test_errors_say_what_to_do(paths: dict[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(InfoadvError, match="figures has no 'nosuch'; it has: budget, calibration, convergence"):
        draw("nosuch", [], specification(), tmp_path)
    with pytest.raises(InfoadvError, match=r"convergence: no attack artefact with a trace fits \(attack cw\)"):
        draw("convergence", paths["attack"], specification(attack="cw"), tmp_path)
    with pytest.raises(InfoadvError, match=r"convergence\.image: 99"):
        draw("convergence", paths["attack"], specification(image=99), tmp_path)
    with pytest.raises(InfoadvError, match="one data artefact, 0 were given"):
        draw("grid", paths["attack"], specification(), tmp_path)
    with pytest.raises(InfoadvError, match=r"figures\.grid\.attacks"):
        draw("grid", of(paths, "digits", "data", "attack"), specification(attacks=["nosuch"]), tmp_path)
    tensors, header = artifacts.load_tensors(paths["attack"][0])
    nameless = str(tmp_path / "nameless.safetensors")
    artifacts.save_tensors(nameless, tensors, {key: value for key, value in header.items() if key != "model"})
    for name, inputs in (("convergence", [nameless]), ("grid", [*of(paths, "digits", "data"), nameless])):
        with pytest.raises(InfoadvError, match=r"nameless\.safetensors: its header names no model"):
            draw(name, inputs, specification(), tmp_path)
    with pytest.raises(InfoadvError, match=r"tradeoff\.metric: gmsd"):
        draw("tradeoff", paths["metrics"], specification(metric="gmsd"), tmp_path)
    with pytest.raises(InfoadvError, match="metric 'nosuch' was not computed"):
        draw("cost", paths["metrics"], specification(metrics=["nosuch"]), tmp_path)


def test_the_style_sheet_is_put_back() -> None:
    before = matplotlib.rcParams["font.size"], matplotlib.rcParams["pdf.fonttype"]
    with style.applied():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["pdf.fonttype"]) == before
