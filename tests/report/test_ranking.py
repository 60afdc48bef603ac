"""Ranks worked out by hand, the critical difference against published values, the table and the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.report_artifacts import save_metrics, save_results
from infoadv.report import figures, ranking, rows, statistics, tables


def ranked(loaded, targets, **options):
    return ranking.rank(loaded, targets, ranking.perceptual(loaded.metrics, statistics.JUDGES), **options)


def specification(*names: str, **entries: dict[str, Any]) -> dict[str, Any]:
    attacks = {
        name: {"label": name.upper(), "color_index": place, "compared": True} | entries.get(name, {})
        for place, name in enumerate(names)
    }
    return {"statistics": {"bootstrap": 100, "confidence": 0.95, "reference": names[0]}, "seed": 0, "attacks": attacks}


def metrics(folder: Path, attack: str, model: str = "m", **columns: Any) -> str:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"index": np.arange(count), **columns}).assign(dataset="d", model=model, attack=attack)
    return save_metrics(folder / f"{model}-{attack}.parquet", frame)


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    """SSIM and HaarPSI are better when higher, GMSD when lower; c fails on the last image."""
    success = [True, True, False]
    return [
        metrics(tmp_path, "a", ssim=[0.9, 0.9, 0.1], haarpsi=[0.9, 0.8, 0.1], gmsd=[0.3, 0.1, 0.9]),
        metrics(tmp_path, "b", ssim=[0.8, 0.9, 0.9], haarpsi=[0.8, 0.9, 0.9], gmsd=[0.1, 0.2, 0.1]),
        metrics(tmp_path, "c", ssim=[0.7, 0.1, 0.9], haarpsi=[0.1, 0.1, 0.9], gmsd=[0.2, 0.3, 0.1], success=success),
    ]


def test_ranks_by_hand(three: list[str]) -> None:
    found = ranked(rows.load(three, specification("a", "b", "c")), [("d", "m")])
    assert [attack.name for attack in found.attacks] == ["a", "b", "c"]
    assert [metric.column for metric in found.metrics] == ["ssim", "haarpsi", "gmsd"]
    # Image 0: ranks 1 1 3, 2 2 1, 3 3 2, so scores 5/3, 5/3, 8/3; image 1: 1.5 2 1, 1.5 1 2, 3 3 3, so 1.5, 1.5, 3.
    assert found.by_metric[0].tolist() == [[1, 1, 3], [2, 2, 1], [3, 3, 2]]
    assert found.by_metric[1].tolist() == [[1.5, 2, 1], [1.5, 1, 2], [3, 3, 3]]
    # c, which fails too often to take image 2 out, is last there.
    assert found.ranks.tolist() == [[1.5, 1.5, 3], [1.5, 1.5, 3], [2, 1, 3]]
    assert found.mean.tolist() == pytest.approx([5 / 3, 4 / 3, 3])


def test_a_metric_that_an_attack_optimises_is_not_counted_for_it(three: list[str]) -> None:
    loaded = rows.load(three, specification("a", "b", "c", b={"optimises": ["gmsd", "l2"]}))
    found = ranked(loaded, loaded.targets)
    assert found.home.tolist() == [[False] * 3, [False, False, True], [False] * 3]
    # Image 0: b scores 2 instead of 5/3. Image 1: b scores 1.25, a 1.5.
    assert found.ranks.tolist() == [[1, 2, 3], [2, 1, 3], [2, 1, 3]]
    nearly = rows.load(three, specification("a", "b", "c", b={"nearly": ["gmsd", "l2"]}))
    assert not ranked(nearly, nearly.targets).home.any()
    assert (ranked(nearly, nearly.targets, strict=True).ranks == found.ranks).all()


def test_only_attacks_and_metrics_of_all_targets_meet(three: list[str], tmp_path: Path) -> None:
    other = [
        metrics(tmp_path, "a", "other", ssim=[0.5], gmsd=[0.2]),
        metrics(tmp_path, "c", "other", ssim=[0.6], gmsd=[0.1]),
    ]
    loaded = rows.load([*three, *other], specification("a", "b", "c"))
    found = ranked(loaded, loaded.targets)
    assert [attack.name for attack in found.attacks] == ["a", "c"]
    assert [metric.column for metric in found.metrics] == ["ssim", "gmsd"]
    # Three common images of the first target, on the last of which c fails, and one of the second.
    assert found.ranks.tolist() == [[1.5, 1.5], [1, 2], [1, 2], [2, 1]]
    # Networks count alike, whatever their images, and are the blocks of the tests; image 0 is one image on both.
    assert found.mean.tolist() == pytest.approx([(3.5 / 3 + 2) / 2, (5.5 / 3 + 1) / 2])
    assert found.blocks.tolist() == [[1, 2], [2, 1]]
    assert found.images.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(("attacks", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_demsars(attacks: int, q: float) -> None:
    """Demsar 2006, table 5a: critical values of the two-tailed Nemenyi test at 0.05."""
    empty = ranking.Ranking(
        [], [], np.zeros((30, attacks)), np.zeros((30, attacks, 0)), np.zeros((attacks, 0)), *np.zeros((2, 30))
    )
    assert empty.critical_difference == pytest.approx(q * np.sqrt(attacks * (attacks + 1) / (6 * 30)), rel=5e-4)


def test_without_common_images_there_is_no_rank(tmp_path: Path) -> None:
    inputs = [
        metrics(tmp_path, "a", ssim=[0.9, 0.8], success=[True, False]),
        metrics(tmp_path, "b", ssim=[0.9, 0.8], success=[False, True]),
    ]
    tables.write("ranking", inputs, specification("a", "b"), tmp_path)
    frame = pd.read_csv(tmp_path / "ranking.csv")
    assert frame["n"].tolist() == [0, 0]
    assert frame["mean_rank"].isna().all()


def test_table_has_a_section_over_all_targets(tmp_path: Path) -> None:
    attacks = {"a": {"strength": 0.02}, "b": {"strength": 0.2}, "c": {"strength": 0.1}}
    paths = save_results(tmp_path, attacks, (("gray", "m", 1), ("photos", "m", 3)))["metrics"]
    tables.write("ranking", paths, specification("a", "b", "c"), tmp_path)
    frame = pd.read_csv(tmp_path / "ranking.csv")
    assert frame.groupby(["dataset", "model"], sort=False).size().to_dict() == {
        ("all", "all"): 3,
        ("gray", "m"): 3,
        ("photos", "m"): 3,
    }
    # Best first; mean ranks of k attacks sum to k (k + 1) / 2.
    assert frame[frame["dataset"] == "all"]["attack"].tolist() == ["a", "c", "b"]
    assert frame.groupby("dataset")["mean_rank"].sum().tolist() == pytest.approx([6.0] * 3)
    # CIEDE2000 is not defined on gray images, so it counts where all are in colour alone.
    assert frame.set_index("dataset").loc["photos", "rank_ciede2000"].notna().all()
    assert frame.set_index("dataset").loc[["all", "gray"], "rank_ciede2000"].isna().all()
    text = (tmp_path / "ranking.md").read_text()
    assert text.count("\n### ") == 3
    assert "All networks: n = " in text


def test_variants_leave_out_saturated_networks_and_metrics_nearly_optimised(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def values(level: float) -> dict[str, Any]:
        return {name: level + 0.001 * generator.standard_normal(20) for name in ("ssim", "haarpsi")}

    inputs = [metrics(tmp_path, "a", "seen", ssim=np.full(20, 0.97), haarpsi=np.full(20, 0.8))]
    inputs += [metrics(tmp_path, "b", "seen", **values(0.9)), metrics(tmp_path, "ddn", "seen", **values(0.95))]
    inputs += [metrics(tmp_path, name, "flat", **values(0.995)) for name in ("a", "b", "ddn")]
    spec = specification("a", "b", "ddn", a={"nearly": ["ssim"]}, ddn={"method": "ddn"})
    tables.write("ranking", inputs, spec, tmp_path)
    frame = pd.read_csv(tmp_path / "ranking.csv").set_index(["model", "variant", "attack"]).sort_index()
    assert frame.groupby(["model", "variant"]).ngroups == 4 + 2 + 2
    # SSIM is all that speaks for a on the network that is not saturated.
    seen = frame.loc[("all", "unsaturated", "a"), "mean_rank"]
    assert seen == frame.loc[("seen", "all", "a"), "mean_rank"] < 3
    assert frame.loc[("seen", "strict", "a"), "mean_rank"] == 3
    assert frame.loc[("all", "unsaturated strict", "a"), "mean_rank"] == 3
    assert frame.loc[("all", "all"), "networks"].eq(2).all()
    assert frame.loc[("all", "unsaturated"), "networks"].eq(1).all()
    # A variant is the same data again: Holm's family is the networks, in each variant by itself.
    each = frame.groupby(["model", "variant"], sort=False)[["p_friedman", "p_holm"]].first()
    for _, part in each.groupby("variant"):
        np.testing.assert_allclose(part["p_holm"], statistics.holm(part["p_friedman"].to_numpy()))
    text = (tmp_path / "ranking.md").read_text()
    assert "Saturated, since DDN loses less than 0.01 of SSIM: d, flat." in text
    assert "Nearly optimised: SSIM by A." in text


def test_figure_joins_what_nothing_beats(tmp_path: Path) -> None:
    attacks = {
        "cheap": {"strength": 0.2, "cost": 5, "success": 1},
        "dear": {"strength": 0.02, "cost": 500, "success": 1},
        "beaten": {"strength": 0.3, "cost": 600, "success": 1},
    }
    paths = save_results(tmp_path, attacks, (("gray", "m", 1),))["metrics"]
    figures.draw("pareto", paths, specification(*attacks), tmp_path / "pareto", tmp_path / "pareto.csv")
    numbers = pd.read_csv(tmp_path / "pareto.csv").set_index("attack")
    assert numbers["efficient"].to_dict() == {"cheap": True, "dear": True, "beaten": False}
    assert numbers["passes"].to_dict() == {"cheap": 10, "dear": 1000, "beaten": 1200}
    assert (numbers["low"] <= numbers["mean_rank"]).all()
    assert (numbers["mean_rank"] <= numbers["high"]).all()
    assert (tmp_path / "pareto.pdf").read_bytes().startswith(b"%PDF")


def of_ranks(ranks: np.ndarray, networks: np.ndarray, images: np.ndarray) -> ranking.Ranking:
    n, k = ranks.shape
    return ranking.Ranking([], [], ranks, np.zeros((n, k, 0)), np.zeros((k, 0)), networks, images)


@pytest.mark.parametrize(("count", "near"), [(30, [True, False, False]), (4, [True, True, False])])
def test_on_one_network_the_critical_difference_says_what_is_near_the_best(count: int, near: list[bool]) -> None:
    # It is 0.61 for 30 images and 1.66 for four.
    found = of_ranks(np.tile([1.0, 2.0, 3.0], (count, 1)), np.zeros(count, dtype=int), np.arange(count))
    assert found.near_best(statistics.Settings(resamples=200)).tolist() == near


def test_over_networks_what_is_better_on_some_of_them_is_near_the_best() -> None:
    of_networks = np.array([[1, 3, 2]] * 3 + [[2, 3, 1]] * 2, dtype=float)
    found = of_ranks(np.repeat(of_networks, 40, axis=0), np.repeat(np.arange(5), 40), np.tile(np.arange(40), 5))
    assert found.near_best(statistics.Settings(resamples=200)).tolist() == [True, False, True]
