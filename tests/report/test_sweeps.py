"""The table and the figure of sweeps, on values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.report_artifacts import save_metrics
from infoadv import InfoadvError
from infoadv.report import figures, tables

COUNT = 12


def specification(**figure: Any) -> dict[str, Any]:
    start = {"label": "A", "color_index": 0, "varied": {"steps": 20, "c": 1}, "optimises": ["l2"]}
    values = {"a-steps-5": {"steps": 5}, "a-steps-80": {"steps": 80}, "a-c-2": {"c": 2}, "a-both": {"steps": 5, "c": 2}}
    entries = {name: {"sweep_of": "a", "compared": False, "varied": varied} for name, varied in values.items()}
    return {
        "figure": figure,
        "statistics": {"judges": ["mdsi"], "bootstrap": 100},
        "seed": 0,
        "attacks": {"a": start, **entries, "b": {"label": "B", "color_index": 1}},
    }


def metrics(folder: Path, attack: str, l2: np.ndarray, **columns: Any) -> str:
    frame = pd.DataFrame({"index": np.arange(COUNT), "l2": l2, **columns}).assign(dataset="d", model="m", attack=attack)
    return save_metrics(folder / f"{attack}.parquet", frame)


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """80 steps halve L2 on every image; 5 steps double it and fail on one of twelve; another c fails on most."""
    l2 = np.linspace(1, 2, COUNT)
    rarely, often = np.arange(COUNT) != 0, np.arange(COUNT) < 3
    return [
        metrics(tmp_path, "a", l2, ssim=0.9, forwards=20, backwards=20),
        metrics(tmp_path, "a-steps-5", 2 * l2, ssim=0.9, forwards=5, backwards=5, success=rarely),
        metrics(tmp_path, "a-steps-80", l2 / 2, forwards=80, backwards=80, ssim=0.9, mdsi=0.2),
        metrics(tmp_path, "a-c-2", l2, ssim=0.8, success=often),
        metrics(tmp_path, "a-both", l2, ssim=0.1),
        metrics(tmp_path, "b", l2, ssim=0.5),
    ]


def test_values_stand_beside_the_configured_one_and_are_tested_against_it(inputs: list[str], tmp_path: Path) -> None:
    tables.write("sweeps", inputs, specification(), tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "sweeps.csv")
    assert set(frame["attack"]) == {"a"}
    # A metric that one value lacks is not compared; two options at once are no value of either.
    assert set(frame["metric"]) == {"l2", "ssim"}
    values = frame[frame["metric"] == "l2"].set_index(["option", "value"])
    assert values.index.tolist() == [("c", 1), ("c", 2), ("steps", 5), ("steps", 20), ("steps", 80)]
    assert values["configured"].tolist() == [True, False, False, True, False]
    assert values.loc[("steps", 5), "asr"] == pytest.approx(11 / 12)
    # 5 steps fail on less than one of twenty of what succeeds elsewhere: it takes no image out, and is averaged over its own.
    assert values["n_common"].tolist() == [12, 3, 11, 12, 12]
    assert values.loc[("steps", 80), "mean"] == pytest.approx(0.75)
    assert values.loc[("steps", 5), "difference"] == pytest.approx(np.linspace(1, 2, COUNT)[1:].mean())
    assert values["better"].tolist() == ["no difference", "no difference", "configured", "no difference", "value"]
    # The smallest p of the three that are tested is multiplied by the number of tests: two metrics, three values.
    tested = frame[frame["p_wilcoxon"].notna()]
    assert len(tested) == 6
    assert values.loc[("steps", 80), "p_holm"] == pytest.approx(6 * values.loc[("steps", 80), "p_wilcoxon"])
    text = (tmp_path / "out" / "sweeps.md").read_text()
    assert "| steps 20 (configured) | 1.000 |" in text
    assert "**0.75" in text


@pytest.mark.parametrize(
    ("start", "others", "shown"),
    [
        (None, [0.5], ["clip None (configured)", "clip 0.5"]),
        (30, [0.5, 7], ["clip 0.5", "clip 7", "clip 30 (configured)"]),
        ("pairs", ["matrix"], ["clip matrix", "clip pairs (configured)"]),
        (True, [False], ["clip False", "clip True (configured)"]),
    ],
)
def test_values_of_every_kind_are_shown_as_they_are_configured(
    tmp_path: Path, start: Any, others: list[Any], shown: list[str]
) -> None:
    spec = specification()
    spec["attacks"] = {"a": {"label": "A", "color_index": 0, "varied": {"clip": start}}}
    paths = [metrics(tmp_path, "a", np.ones(COUNT))]
    for value in others:
        name = f"a-clip-{value}"
        spec["attacks"][name] = {"sweep_of": "a", "compared": False, "varied": {"clip": value}}
        paths.append(metrics(tmp_path, name, np.ones(COUNT)))
    tables.write("sweeps", paths, spec, tmp_path / "out")
    lines = (tmp_path / "out" / "sweeps.md").read_text().splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| clip")] == shown


def test_an_option_without_one_start_is_left_out(inputs: list[str], tmp_path: Path) -> None:
    spec = specification()
    spec["attacks"]["a"]["varied"] = {"c": 1}
    tables.write("sweeps", inputs, spec, tmp_path / "out")
    assert set(pd.read_csv(tmp_path / "out" / "sweeps.csv")["option"]) == {"c"}


def test_the_figure_shows_passes_against_quality_for_each_number_of_steps(inputs: list[str], tmp_path: Path) -> None:
    figures.draw("budget", inputs, specification(metrics=["l2"]), tmp_path / "budget", tmp_path / "budget.csv")
    frame = pd.read_csv(tmp_path / "budget.csv")
    assert frame["passes"].tolist() == [10, 40, 160]
    assert frame["configured"].tolist() == [False, True, False]
    assert frame["mean"].tolist() == pytest.approx([np.linspace(2, 4, COUNT)[1:].mean(), 1.5, 0.75])
    with pytest.raises(InfoadvError, match="no sweep varies 'rounds'; add"):
        figures.draw("budget", inputs, specification(option="rounds"), tmp_path / "two", tmp_path / "two.csv")
