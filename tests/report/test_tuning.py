"""The setting that the rule of the table ``tuning`` picks, on ranks worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.report_artifacts import save_metrics
from infoadv.report import tables


def specification() -> dict[str, Any]:
    start = {"label": "A", "color_index": 0, "varied": {"step": 1, "c": 1}, "optimises": ["l2"]}
    points = {"a-step-2-c-1": {"step": 2, "c": 1}, "a-step-3-c-1": {"step": 3, "c": 1}}
    entries = {name: {"sweep_of": "a", "compared": False, "varied": varied} for name, varied in points.items()}
    return {"statistics": {"judges": ["mdsi"]}, "seed": 0, "attacks": {"a": start, **entries, "b": {"label": "B"}}}


def metrics(folder: Path, attack: str, dataset: str = "d", **columns: Any) -> str:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"index": np.arange(count), **columns}).assign(dataset=dataset, model="m", attack=attack)
    return save_metrics(folder / f"{dataset}-{attack}.parquet", frame)


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """On data set d the step 2 is best by both metrics; on e the configured step is; 3 fails on half of the images of e."""
    return [
        metrics(tmp_path, "a", l2=[2.0, 2.0], ssim=[0.8, 0.8], mdsi=[0.1, 0.1]),
        metrics(tmp_path, "a-step-2-c-1", l2=[1.0, 1.0], ssim=[0.9, 0.9], mdsi=[0.9, 0.9]),
        metrics(tmp_path, "a-step-3-c-1", l2=[0.5, 0.5], ssim=[0.95, 0.95], mdsi=[0.2, 0.2]),
        metrics(tmp_path, "b", l2=[0.1, 0.1], ssim=[0.99, 0.99], mdsi=[0.01, 0.01]),
        metrics(tmp_path, "a", "e", l2=[1.0, 1.0], ssim=[0.9, 0.7], mdsi=[0.1, 0.1]),
        metrics(tmp_path, "a-step-2-c-1", "e", l2=[2.0, 2.0], ssim=[0.8, 0.8], mdsi=[0.1, 0.1]),
        metrics(tmp_path, "a-step-3-c-1", "e", l2=[0.5, 9.0], ssim=[0.99, 0.1], mdsi=[0, 0], success=[True, False]),
        metrics(tmp_path, "b", "e", l2=[0.1, 0.1], ssim=[0.99, 0.99], mdsi=[0.01, 0.01]),
    ]


def test_the_smallest_mean_rank_of_those_that_succeed_wins(inputs: list[str], tmp_path: Path) -> None:
    tables.write("tuning", inputs, specification(), tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "tuning.csv").set_index(["dataset", "setting"])
    assert set(frame["attack"]) == {"a"}
    assert frame.index.get_level_values("dataset").unique().tolist() == ["all", "d", "e"]
    ranks = frame["mean_rank"]
    # Step 3 fails on a fourth of all images: it is not eligible, and the others are ranked without it.
    assert np.isnan(ranks["all", "step 3, c 1"])
    # d: 2 against 1; e: L2 1, 1 and SSIM 1, 2 against the reverse.
    assert (ranks["all", "step 1, c 1"], ranks["all", "step 2, c 1"]) == ((2 + 1.25) / 2, (1 + 1.75) / 2)
    assert (ranks["e", "step 1, c 1"], ranks["e", "step 2, c 1"]) == (1.25, 1.75)
    # On d alone it succeeds everywhere, and is ranked with the others.
    assert ranks["d"].tolist() == [3, 2, 1]
    winners = frame[frame["winner"]].index.tolist()
    assert winners == [("all", "step 2, c 1"), ("d", "step 3, c 1"), ("e", "step 1, c 1")]
    assert frame.loc[frame["configured"]].index.get_level_values("setting").unique().tolist() == ["step 1, c 1"]
    # A judge is neither asked nor shown.
    assert "mdsi" not in frame.columns
    assert "**step 2, c 1**" in (tmp_path / "out" / "tuning.md").read_text()


@pytest.mark.parametrize(
    ("sizes", "winner"),
    [((2.0, 1.0, 0.5), "step 2, c 1"), ((1.0, 1.0, 0.5), "step 1, c 1")],
    ids=["one miss", "equals"],
)
def test_one_miss_in_a_hundred_is_allowed_and_of_equals_the_configured_one_wins(
    sizes: tuple[float, ...], winner: str, tmp_path: Path
) -> None:
    names = ("a", "a-step-2-c-1", "a-step-3-c-1")
    paths = [
        metrics(tmp_path, name, l2=np.full(100, size), success=np.arange(100) >= missed)
        for missed, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    tables.write("tuning", paths, specification(), tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "tuning.csv").set_index("setting")
    assert np.isnan(frame.loc["step 3, c 1", "mean_rank"])
    assert frame.index[frame["winner"]].tolist() == [winner]
