"""The rules of docs/judges.md, each at its threshold, and the tables that report the judges apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import ROOT
from helpers.report_artifacts import save_metrics
from infoadv.metrics import viewing
from infoadv.report import judging, rows, statistics, tables
from infoadv.report.columns import Metric
from infoadv.report.findings import Tables

IMAGES = 200
TARGET = ("d", "m")
#: Values of the rival, and the amount by which a clear lead differs from it; the direction is each judge's own.
LEVELS = {"jod": (9.0, 0.5), "flip": (0.1, -0.02), "mdsi": (0.3, -0.05), "fsim": (0.9, 0.05), "dss": (0.8, 0.05)}
SETTINGS = statistics.Settings(resamples=100)


def verdicts(rows, target, attack, rivals, settings):
    return judging.decide(rows, target, attack, rivals, judging.compare(rows, target, attack, rivals, settings))


def specification(*names: str, judges: list[str] | None = None, **optimises: list[str]) -> dict[str, Any]:
    attacks = {
        name: {"label": name.upper(), "color_index": place, "compared": True, "method": name}
        | {"optimises": optimises.get(name, [])}
        for place, name in enumerate(names)
    }
    section: dict[str, Any] = {"bootstrap": 100, "confidence": 0.95, "reference": names[0]}
    if judges is not None:
        section["judges"] = judges
    return {"statistics": section, "seed": 0, "attacks": attacks}


def artefact(folder: Path, attack: str, seed: int, leads: dict[str, float], **columns: Any) -> str:
    """Write metrics in which ``leads`` says how many clear leads each judge is away from the rival's level."""
    generator = np.random.default_rng(seed)
    values = {
        name: level + leads.get(name, 0.0) * lead + 0.1 * abs(lead) * generator.standard_normal(IMAGES)
        for name, (level, lead) in LEVELS.items()
    }
    values |= {"ssim": np.full(IMAGES, 0.95), "forwards": 100, "backwards": 100}
    frame = pd.DataFrame({"index": np.arange(IMAGES), **values, **columns})
    return save_metrics(folder / f"{attack}.parquet", frame.assign(dataset="d", model="m", attack=attack))


def verdict(tmp_path: Path, leads: dict[str, float], *, ours: dict[str, Any] | None = None, **columns: Any) -> str:
    """Return the verdict on an attack with these leads over DDN, whose columns may be overridden."""
    paths = [artefact(tmp_path, "ours", 1, leads, **(ours or {})), artefact(tmp_path, "ddn", 2, {}, **columns)]
    loaded = rows.load(paths, specification("ours", "ddn"))
    (found,) = verdicts(loaded, TARGET, "ours", ["ddn"], SETTINGS)
    (back,) = verdicts(loaded, TARGET, "ddn", ["ours"], SETTINGS)
    if not ours:
        # What is ahead for one is behind for the other.
        assert {found.overall, back.overall} in ({"ahead", "behind"}, {"level"}, {"not judged"})
    return found.overall


ALL = dict.fromkeys(LEVELS, 1.0)


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        (ALL, "ahead"),
        (ALL | {"dss": 0.0}, "ahead"),
        (ALL | {"dss": 0.0, "fsim": 0.0}, "level"),
        (ALL | {"dss": -1.0}, "level"),
        (ALL | {"jod": 0.0}, "level"),
        (ALL | {"jod": -1.0}, "level"),
        (dict.fromkeys(LEVELS, -1.0), "behind"),
        ({}, "level"),
    ],
)
def test_a_verdict_needs_jod_and_three_of_the_other_four(
    tmp_path: Path, leads: dict[str, float], expected: str
) -> None:
    assert verdict(tmp_path, leads) == expected


@pytest.mark.parametrize(("loss", "expected"), [(0.19, "ahead"), (0.21, "level")])
def test_where_plain_l2_is_hardly_seen_jod_may_be_level(tmp_path: Path, loss: float, expected: str) -> None:
    same = np.full(IMAGES, 10 - loss)
    assert verdict(tmp_path, ALL, ours={"jod": same}, jod=same) == expected


def test_where_plain_l2_is_hardly_seen_jod_may_not_be_behind(tmp_path: Path) -> None:
    assert verdict(tmp_path, ALL, ours={"jod": np.full(IMAGES, 9.85)}, jod=np.full(IMAGES, 9.9)) == "level"


@pytest.mark.parametrize(("ssim", "expected"), [(0.9455, "ahead"), (0.9445, "level")])
def test_ssim_may_lose_five_thousandths(tmp_path: Path, ssim: float, expected: str) -> None:
    assert verdict(tmp_path, ALL, ours={"ssim": np.full(IMAGES, ssim)}) == expected


def test_an_attack_that_fails_or_takes_more_passes_is_not_judged(tmp_path: Path) -> None:
    success = np.arange(IMAGES) > 0
    assert verdict(tmp_path, ALL, ours={"success": success}) == "not judged"
    assert verdict(tmp_path, ALL, ours={"forwards": 101}) == "not judged"
    # A rival that fails is compared where it succeeds.
    paths = [artefact(tmp_path, "ours", 1, ALL), artefact(tmp_path, "ddn", 2, {}, success=success)]
    loaded = rows.load(paths, specification("ours", "ddn"))
    assert verdicts(loaded, TARGET, "ours", ["ddn"], SETTINGS)[0].overall == "ahead"
    assert set(judging.compare(loaded, TARGET, "ours", ["ddn"], SETTINGS)["n"]) == {IMAGES - 1}


def test_without_jod_there_is_no_verdict(tmp_path: Path) -> None:
    assert verdict(tmp_path, ALL, ours={"jod": np.nan}, jod=np.nan) == "not judged"


def test_a_judge_that_one_side_optimises_is_not_counted(tmp_path: Path) -> None:
    paths = [artefact(tmp_path, "ours", 1, ALL), artefact(tmp_path, "floor", 2, {})]
    loaded = rows.load(paths, specification("ours", "floor", floor=["jod"]))
    found = judging.compare(loaded, TARGET, "ours", ["floor"], SETTINGS).set_index("metric")
    assert found.loc["jod", "verdict"] == "home"
    assert np.isnan(found.loc["jod", "p"])
    assert set(found["verdict"].drop("jod")) == {"ahead"}
    assert verdicts(loaded, TARGET, "ours", ["floor"], SETTINGS)[0].overall == "not judged"


def test_the_family_is_all_rivals_and_judges_of_a_network(tmp_path: Path) -> None:
    # A difference that one test finds, and that does not outlast the correction for ten.
    small = {"jod": 0.0325}
    paths = [artefact(tmp_path, "ours", 1, small), artefact(tmp_path, "ddn", 2, {}), artefact(tmp_path, "other", 3, {})]
    loaded = rows.load(paths, specification("ours", "ddn", "other"))
    found = judging.compare(loaded, TARGET, "ours", ["ddn", "other"], SETTINGS)
    assert len(found) == 10
    np.testing.assert_allclose(found["p_holm"], statistics.holm(found["p"].to_numpy()))
    first = found.iloc[0]
    assert first["p"] < judging.LEVEL < first["p_holm"]
    assert first["verdict"] == "level"


def test_tables_report_the_two_roles_apart(tmp_path: Path) -> None:
    paths = [artefact(tmp_path, name, place, ALL if place else {}) for place, name in enumerate(("a", "b", "c"))]
    for name in ("comparison", "quality", "ranking"):
        tables.write(name, paths, specification("a", "b", "c"), tmp_path)
    comparison = pd.read_csv(tmp_path / "comparison.csv")
    assert set(comparison.loc[comparison["role"] == "judge", "metric"]) == set(LEVELS)
    assert set(LEVELS).isdisjoint(comparison.loc[comparison["role"] == "metric", "metric"])
    # Each role is a family: the judges take nothing from the others.
    for _, part in comparison.groupby("role"):
        np.testing.assert_allclose(part["p_holm"], statistics.holm(part["p_wilcoxon"].to_numpy()), equal_nan=True)
    ranking = pd.read_csv(tmp_path / "ranking.csv")
    assert ranking.groupby("role", sort=False).size().to_dict() == {"metric": 3, "judge": 3}
    assert ranking.set_index("role").loc["judge", [f"rank_{name}" for name in LEVELS]].notna().all(axis=None)
    for name in ("comparison", "quality", "ranking"):
        assert "the tuning chose no setting by them" in (tmp_path / f"{name}.md").read_text()
        captions = [line for line in (tmp_path / f"{name}.tex").read_text().splitlines() if "caption" in line]
        # The judges have tables of their own, which say how they looked.
        assert sum("the tuning chose no setting by them" in caption for caption in captions) == 1
        assert len(captions) > 1
    heads = [line for line in (tmp_path / "quality.md").read_text().splitlines() if line.startswith("| Attack")]
    assert ["JOD" in head for head in heads] == [False, False, True]
    assert "SSIM" not in heads[2]


def test_any_metric_can_judge(tmp_path: Path) -> None:
    paths = [artefact(tmp_path, name, place, {}) for place, name in enumerate(("a", "b"))]
    for name in ("comparison", "ranking"):
        tables.write(name, paths, specification("a", "b", judges=["ssim"]), tmp_path)
    comparison = pd.read_csv(tmp_path / "comparison.csv").set_index("metric")
    assert comparison.loc["ssim", "role"] == "judge"
    assert comparison.loc["jod", "role"] == "metric"
    ranking = pd.read_csv(tmp_path / "ranking.csv").set_index("role")
    assert "rank_ssim" in ranking
    assert ranking.loc["judge", "rank_ssim"].notna().all()


def test_findings_ask_for_the_judges_by_name(tmp_path: Path) -> None:
    paths = [artefact(tmp_path, name, place, ALL if place else {}) for place, name in enumerate(("a", "b"))]
    for name in ("comparison", "ranking"):
        tables.write(name, paths, specification("a", "b"), tmp_path)
    asked = Tables(tmp_path)
    assert asked.values("ranking", "role") == ["metric"]
    assert asked.values("ranking", "role", role="judge") == ["judge"]
    assert asked.values("comparison", "better", metric="jod") == ["attack"]


def test_captions_say_how_the_judges_looked() -> None:
    def metric(name: str, **options: Any) -> Metric:
        return Metric(name, name, name.upper(), "higher", options=options)

    seen = {"enlarge": None, "pixels_per_degree": 30.0}
    text = judging.conditions(
        [metric("jod", **seen, display="standard_4k"), metric("flip", **seen), metric("mdsi", enlarge=3), metric("x")]
    )
    rule = f"enlarged to {viewing.SIDE} px, at most {viewing.MOST} times"
    assert text == (
        f"JOD: {rule}, 30 pixels per degree, display standard_4k; FLIP: {rule}, 30 pixels per degree; "
        "MDSI: enlarged 3 times."
    )
    assert judging.conditions([metric("x")]) == ""


def test_the_rules_on_paper_have_the_thresholds_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "judges.md").read_text().split())
    assert f"corrected p is below {judging.LEVEL}" in text
    assert f"loses at most {judging.NOTICEABLE} JOD" in text
    assert f"lower by at most {judging.SSIM_LOSS}" in text
    assert f"at most {judging.PASSES} forward and {judging.PASSES} backward passes" in text
    assert judging.SHARE == 3 / 4
    assert "at least three of FLIP, MDSI, FSIM and DSS" in text


def test_a_lead_needs_ranks_and_a_mean_that_agree(tmp_path: Path) -> None:
    # Nine of ten images are better, and the rest so much worse that the mean is on the other side.
    mixed = np.where(np.arange(IMAGES) < 180, 1.0, -100.0)
    values = {name: level + lead * mixed for name, (level, lead) in LEVELS.items()}
    assert verdict(tmp_path, {}, ours=values) == "level"


@pytest.mark.parametrize(("ssim", "expected"), [(0.9455, "behind"), (0.9445, "level")])
def test_the_rival_may_lose_no_more_ssim_either(tmp_path: Path, ssim: float, expected: str) -> None:
    assert verdict(tmp_path, dict.fromkeys(LEVELS, -1.0), ssim=np.full(IMAGES, ssim)) == expected


def test_backward_passes_count_like_forward_ones(tmp_path: Path) -> None:
    assert verdict(tmp_path, ALL, ours={"backwards": 101}) == "not judged"


def test_without_the_plain_l2_attack_jod_has_to_be_ahead(tmp_path: Path) -> None:
    same = np.full(IMAGES, 9.9)
    paths = [artefact(tmp_path, "ours", 1, ALL, jod=same), artefact(tmp_path, "cw", 2, {}, jod=same)]
    loaded = rows.load(paths, specification("ours", "cw"))
    assert verdicts(loaded, TARGET, "ours", ["cw"], SETTINGS)[0].overall == "level"


def test_jod_alone_gives_no_verdict(tmp_path: Path) -> None:
    paths = [artefact(tmp_path, "ours", 1, ALL), artefact(tmp_path, "ddn", 2, {})]
    loaded = rows.load(paths, specification("ours", "ddn"))
    alone = statistics.Settings(resamples=100, judges=("jod",))
    assert verdicts(loaded, TARGET, "ours", ["ddn"], alone)[0].overall == "not judged"
