"""What a report calls its metrics: read from the artefacts, from old ones as well, and never from a stranger as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.report_artifacts import save_metrics
from infoadv import artifacts
from infoadv.registry import plugins
from infoadv.report import columns, figures, rows, tables

#: What every table had before the metrics declared it themselves, in that order.
STANDARD = [
    *("l0", "l2", "linf", "psnr", "ssim", "haarpsi", "gmsd", "lpips", "ciede2000", "vif", "nmi"),
    *("mi_projection", "mi_mine", "perturbation_information"),
]
NAMES = {"a": {"label": "A", "color_index": 0, "compared": True}}
SPECIFICATION = {"statistics": {"bootstrap": 100, "confidence": 0.95, "reference": "a"}, "seed": 0, "attacks": NAMES}


def artefact(path: Path, change: Any = None, **values: Any) -> str:
    """Write the metrics of an attack on three images; ``change`` is made to what the header declares."""
    frame = pd.DataFrame({"index": np.arange(3), "l2": 1.0, "psnr": 30.0, "ssim": 0.5, **values})
    save_metrics(path, frame.assign(dataset="d", model="m", attack=path.stem))
    frame, header = artifacts.load_rows(path, "metrics")
    if change is not None:
        change(header["metrics"])
    artifacts.save_rows(path, frame, header)
    return str(path)


def old(about: dict[str, dict[str, Any]]) -> None:
    """Make declarations what they were before tables were told by them."""
    labels = {"psnr": "PSNR [dB]", "mi_mine": "MI, MINE (nats)", "perturbation_information": "perturbation information"}
    for column, entry in about.items():
        for key in ("symbol", "short", "group", "decimals", "order", "colour_only"):
            entry.pop(key, None)
        entry.update(label=labels.get(column, entry["label"]), home="cw_l2, ddn")


def by_column(path: str) -> dict[str, columns.Metric]:
    return {metric.column: metric for metric in rows.load([path], SPECIFICATION).metrics}


def test_the_standard_columns_keep_their_order() -> None:
    assert columns.standard() == STANDARD


def test_an_old_artefact_is_shown_like_a_new_one(tmp_path: Path) -> None:
    for folder, change in (("old", old), ("new", None)):
        path = artefact(tmp_path / folder / "a.parquet", change)
        for table in ("quality", "ranking"):
            tables.write(table, [path], SPECIFICATION, tmp_path / folder)
    for file in ("quality.md", "quality.csv", "quality.tex", "ranking.csv", "ranking.md"):
        assert (tmp_path / "old" / file).read_bytes() == (tmp_path / "new" / file).read_bytes()
    assert "PSNR (dB) \u2191" in (tmp_path / "old" / "quality.md").read_text()


def test_an_old_and_a_new_artefact_go_together(tmp_path: Path) -> None:
    inputs = [artefact(tmp_path / "a.parquet", old), artefact(tmp_path / "b.parquet")]
    assert rows.load(inputs, SPECIFICATION).metric("l2").symbol == "$L_2$"


def test_an_artefact_without_declarations_is_shown_by_those_there_are(tmp_path: Path) -> None:
    found = by_column(artefact(tmp_path / "a.parquet", lambda about: about.clear()))
    assert (found["l2"].label, found["l2"].better, found["l2"].decimals) == ("L2", "lower", 3)


def test_a_metric_of_which_only_its_artefact_knows(tmp_path: Path) -> None:
    def add(about: dict[str, dict[str, Any]]) -> None:
        about["mine_own"] = {"label": "My own_1 (%)", "better": "lower", "home": "", "description": "Mine."}

    path = artefact(tmp_path / "a.parquet", add, mine_own=[0.25, 0.5, 0.75])
    metric = by_column(path)["mine_own"]
    assert (metric.decimals, metric.group, metric.order, metric.axis) == (4, "", None, "My own_1 (%)")
    tables.write("quality", [path], SPECIFICATION, tmp_path)
    assert "| My own_1 (%) \u2193 |" in (tmp_path / "quality.md").read_text()
    assert r"My own\_1 (\%) $\downarrow$" in (tmp_path / "quality.tex").read_text()
    frame = pd.read_csv(tmp_path / "quality.csv")
    assert list(frame.columns[-3:]) == ["mine_own", "mine_own_low", "mine_own_high"]
    assert frame["mine_own"].tolist() == [0.5]


def test_a_metric_says_itself_how_it_is_shown(tmp_path: Path) -> None:
    def add(about: dict[str, dict[str, Any]]) -> None:
        shown = {"symbol": r"$\Delta_E$", "short": "Own", "decimals": 1, "group": "perceptual"}
        about["mine_own"] = {"label": "My own", "better": "lower", "description": "Mine.", **shown}

    inputs = [artefact(tmp_path / f"{name}.parquet", add, mine_own=[0.25, 0.5, 0.75]) for name in ("a", "b")]
    for table in ("quality", "ranking", "comparison"):
        tables.write(table, inputs, SPECIFICATION, tmp_path)
    assert "| Own \u2193 |" in (tmp_path / "quality.md").read_text()
    assert "| **0.5** |" in (tmp_path / "quality.md").read_text() or "| 0.5 |" in (tmp_path / "quality.md").read_text()
    assert r"$\Delta_E$ $\downarrow$" in (tmp_path / "comparison.tex").read_text()
    # It is a judge like the others.
    assert "rank_mine_own" in pd.read_csv(tmp_path / "ranking.csv").columns
    figures.draw(
        "cost", inputs, {**SPECIFICATION, "figure": {"metrics": ["mine_own"]}}, tmp_path / "c", tmp_path / "c.csv"
    )


@pytest.mark.parametrize(
    "symbol",
    [r"$\input{secret}$", r"\input{x}", "$a$$b$", "$", "L2", r"$L_2$ \end{table}", "$_$", r"$L_{2$", 7, ["$x$"]],
)
def test_a_strangers_symbol_is_no_command(tmp_path: Path, symbol: Any) -> None:
    path = artefact(tmp_path / "a.parquet", lambda about: about["l2"].update(symbol=symbol))
    assert by_column(path)["l2"].symbol == ""
    assert by_column(path)["l2"].axis == "L2"


@pytest.mark.parametrize("symbol", ["$L_2$", r"$L_\infty$", r"$\sigma$", "$x^2$", "$D_{KL}$", "$L_2^2$", r"$\Delta_E$"])
def test_a_symbol_can_be_drawn(symbol: str) -> None:
    from matplotlib.mathtext import MathTextParser

    assert columns.SYMBOL.fullmatch(symbol)
    MathTextParser("agg").parse(symbol)


@pytest.mark.parametrize("change", [{"decimals": "3"}, {"decimals": -1}, {"decimals": 1000}, {"decimals": True}])
def test_a_number_of_decimals_that_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    assert by_column(artefact(tmp_path / "a.parquet", lambda about: about["l2"].update(change)))["l2"].decimals == 4


def test_no_name_of_a_metric_stands_in_tables_or_the_code_that_they_share() -> None:
    """But LPIPS, which has one column whatever its backbone, and L2, whose median tables give."""
    names = (set(plugins.literals("metrics", "ABOUT")) | {"lpips"}) - {"l2", "lpips"}
    for part in (
        "columns.py",
        "rows.py",
        "ranking.py",
        "tables/quality.py",
        "tables/ranking.py",
        "tables/comparison.py",
    ):
        text = (plugins.PACKAGE / "report" / part).read_text(encoding="utf-8")
        assert not [name for name in names if f'"{name}"' in text], part
