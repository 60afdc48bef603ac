"""References, networks as observations, training seeds, verdicts as a table: small artefacts, by hand where possible."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from helpers.report_artifacts import save_metrics
from infoadv import InfoadvError
from infoadv.report import judging, oracle, pairs, rows, statistics, tables

SETTINGS = statistics.Settings(resamples=500)


def specification(**entries: dict[str, Any]) -> dict[str, Any]:
    attacks = {
        name: {"label": name.upper(), "color_index": place, "compared": True, "method": name} | entry
        for place, (name, entry) in enumerate(entries.items())
    }
    section = {"bootstrap": 200, "confidence": 0.95, "reference": next(iter(entries))}
    return {"statistics": section, "seed": 0, "attacks": attacks}


def artefact(folder: Path, attack: str, model: str = "m", **columns: Any) -> str:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"index": 10 * np.arange(count), **columns}).assign(dataset="d", model=model, attack=attack)
    return save_metrics(folder / f"{model}-{attack}.parquet", frame)


def test_the_oracle_takes_the_smallest_success_of_each_image(tmp_path: Path) -> None:
    l2 = {"optimises": ["l2", "psnr"]}
    paths = [
        artefact(tmp_path, "a", l2=[1.0, 5.0, 0.1, 1.0], ssim=[0.1, 0.2, 0.3, 0.4], success=[True, True, False, False]),
        artefact(tmp_path, "b", l2=[2.0, 4.0, 3.0, 2.0], ssim=[0.5, 0.6, 0.7, 0.8], success=[True, True, True, False]),
        artefact(tmp_path, "other", l2=[0.0] * 4, ssim=[1.0] * 4),
    ]
    loaded = oracle.added(rows.load(paths, specification(a=l2, b={"optimises": ["l2"]}, other={})))
    own = loaded.of("d", "m", oracle.NAME).sort_values("index")
    assert own["ssim"].tolist() == [0.1, 0.6, 0.7, 0.4]
    assert own["success"].tolist() == [True, True, True, False]
    assert own["forwards"].tolist() == [20] * 4
    (added,) = [attack for attack in loaded.attacks if attack.oracle]
    assert (added.compared, added.optimises) == (False, ("l2",))
    named = [artefact(tmp_path, oracle.NAME, l2=[1.0] * 4), *paths]
    taken = rows.load(named, specification(a=l2, b=l2, other={}, best_l2={}))
    with pytest.raises(InfoadvError, match="give this attack another name"):
        oracle.added(taken)


def test_attacks_that_often_fail_take_no_image_out_of_tables_and_tests(tmp_path: Path) -> None:
    n = 100
    first = np.arange(n)
    paths = [
        artefact(tmp_path, "a", l2=1.0 + first, success=first >= 1),
        artefact(tmp_path, "b", l2=2.0 + first, success=first != 50),
        artefact(tmp_path, "poor", l2=3.0 + first, success=first >= 16),
    ]
    for name in ("quality", "comparison"):
        tables.write(name, paths, specification(a={}, b={}, poor={}), tmp_path)
    quality = pd.read_csv(tmp_path / "quality.csv").set_index("attack")
    assert quality["n_common"].to_dict() == {"a": 98, "b": 98, "poor": 83}
    comparison = pd.read_csv(tmp_path / "comparison.csv")
    l2 = comparison[comparison["metric"] == "l2"].set_index("attack")
    assert l2["n"].to_dict() == {"b": 98, "poor": 83}
    # What is tested is the difference of what is printed, where both have all common images.
    assert l2.loc["b", "difference"] == pytest.approx(quality.loc["b", "l2"] - quality.loc["a", "l2"])


def test_pairs_are_tested_on_the_images_that_both_turned(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    values, gains = generator.uniform(1, 2, 60), generator.normal(0.1, 0.2, 60)
    first = np.arange(60)
    paths = [
        artefact(tmp_path, "a", l2=values, ssim=0.9 + 0 * values, success=first != 7),
        artefact(tmp_path, "b", l2=values + gains, ssim=0.9 + 0 * values, success=first != 8),
        # It fails often, and takes no image out of the test of the others.
        artefact(tmp_path, "poor", l2=values, ssim=0.5 + 0 * values, success=first < 20),
        artefact(tmp_path, "a", "other", l2=values, ssim=0.9 + 0 * values),
    ]
    told = specification(a={}, b={}, poor={"sweep_of": "a", "varied": {"steps": 3}})
    told["statistics"]["pairs"] = [["b", "a"], ["poor", "a"]]
    tables.write("paired", paths, told, tmp_path)
    frame = pd.read_csv(tmp_path / "paired.csv")
    assert set(frame["model"]) == {"m"}, "where one of a pair did not run there is no test"
    l2 = frame[frame["metric"] == "l2"].set_index("attack")
    counted = (first != 7) & (first != 8)
    assert l2.loc["b", "n"] == counted.sum()
    assert l2.loc["b", "difference"] == pytest.approx(gains[counted].mean())
    assert l2.loc["b", "p_wilcoxon"] == pytest.approx(wilcoxon(gains[counted]).pvalue, rel=1e-6)
    assert l2.loc["b", "better"] == "reference"
    assert l2.loc["poor", "n"] == 19
    # One family of what is defined: two tests of L2, two of SSIM.
    assert frame["p_holm"].tolist() == pytest.approx(
        statistics.holm(frame["p_wilcoxon"].to_numpy()).tolist(), nan_ok=True
    )
    text = (tmp_path / "paired.md").read_text()
    assert "| B | A | 58 | *" in text
    assert "| poor | A | 19 |" in text


def test_sign_flips_are_counted_one_by_one() -> None:
    generator = np.random.default_rng(3)
    values = generator.standard_normal(7) + 0.5
    flipped = [abs(np.dot(signs, values)) for signs in product((1, -1), repeat=7)]
    assert statistics.sign_flip(values) == np.mean(np.array(flipped) >= abs(values.sum()) - 1e-9)
    assert statistics.sign_flip(np.array([1.0, 2.0, 3.0, 4.0])) == 2 / 2**4
    assert np.isnan(statistics.sign_flip(np.array([np.nan])))
    assert statistics.sign_flip(np.ones(20)) < 0.001


def test_the_interval_over_networks_is_as_wide_as_networks_differ() -> None:
    generator = np.random.default_rng(1)
    networks, images = np.repeat(np.arange(5), 80), np.tile(np.arange(80), 5)
    effects = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[networks]
    values = np.stack([effects + 0.1 * generator.standard_normal(400), 0.1 * generator.standard_normal(400)], axis=1)
    low, high = statistics.crossed_bootstrap(values, networks, images, SETTINGS)
    pooled_low, pooled_high = statistics.bootstrap_means(values, SETTINGS)
    # The standard error of a mean of five networks is sqrt(2 / 5) = 0.63; pooled images pretend to 0.07.
    assert 1.9 < (high - low)[0] < 3.0
    assert (pooled_high - pooled_low)[0] < 0.4
    assert (high - low)[1] < 0.1
    # One network is a bootstrap over images.
    one, _ = statistics.crossed_bootstrap(values[:80], networks[:80], images[:80], SETTINGS)
    assert one[1] == pytest.approx(statistics.bootstrap(values[:80, 1], SETTINGS)[0], abs=0.01)


def many(folder: Path, levels: dict[str, dict[str, float]]) -> list[str]:
    """Write SSIM around a level by model and attack, 30 images each."""
    paths = []
    for place, (model, attacks) in enumerate(levels.items()):
        for number, (attack, level) in enumerate(attacks.items()):
            noise = 0.001 * np.random.default_rng([place, number]).standard_normal(30)
            paths.append(artefact(folder, attack, model, ssim=level + noise, haarpsi=level - noise))
    return paths


LEVELS = {
    "m": {"a": 0.90, "b": 0.95, "c": 0.92},
    "m_s1": {"a": 0.90, "b": 0.93, "c": 0.85},
    "m_s3": {"a": 0.90, "b": 0.94, "c": 0.91},
}


def test_what_holds_over_networks_needs_networks_that_agree(tmp_path: Path) -> None:
    tables.write("over_networks", many(tmp_path, LEVELS), specification(a={}, b={}, c={}), tmp_path)
    frame = pd.read_csv(tmp_path / "over_networks.csv").set_index(["attack", "metric"])
    sure, open_ = frame.loc[("b", "ssim")], frame.loc[("c", "ssim")]
    assert sure["difference"] == pytest.approx(0.04, abs=0.001)
    assert (sure["networks"], sure["better_on"], sure["worse_on"], sure["holds"]) == (3, 3, 0, "attack")
    assert sure["p_sign_flip"] == 0.25 <= sure["p_holm"]
    assert (open_["better_on"], open_["worse_on"], open_["holds"]) == (2, 1, "open")
    assert "with 3 networks cannot have a p below 0.250" in (tmp_path / "over_networks.md").read_text()


def test_training_seeds_show_how_far_a_result_moves(tmp_path: Path) -> None:
    spec = specification(a={}, b={}, c={})
    spec["alike"] = [{"dataset": "d", "seeds": {"m": 0, "m_s1": 1, "m_s3": 3, "not_attacked": 4}}]
    tables.write("training_seeds", many(tmp_path, LEVELS), spec, tmp_path)
    frame = pd.read_csv(tmp_path / "training_seeds.csv").set_index(["attack", "quantity"])
    moved = frame.loc[("c", "ssim")]
    assert (moved["networks"], moved["better_on"], moved["worse_on"]) == (3, 2, 1)
    assert moved[["lowest", "highest", "mean"]].tolist() == pytest.approx([0.85, 0.92, 0.8933], abs=0.001)
    assert moved["sd"] == pytest.approx(np.std([0.92, 0.85, 0.91], ddof=1), abs=0.001)
    assert frame.loc[("c", "mean_rank"), ["lowest", "highest"]].tolist() == pytest.approx([2, 3], abs=0.2)
    assert "m (seed 0), m_s1 (seed 1), m_s3 (seed 3)" in (tmp_path / "training_seeds.md").read_text()


def test_an_objective_that_orders_like_a_metric_is_told_from_its_size(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    size = generator.uniform(1, 2, (8, 40))
    hidden = generator.standard_normal((8, 40))
    paths = [
        artefact(tmp_path, name, l2=size[i], perturbation_information=hidden[i], ssim=-hidden[i], haarpsi=-size[i])
        for i, name in enumerate("abcdefgh")
    ]
    entries: dict[str, dict[str, Any]] = {name: {} for name in "abcdefgh"}
    entries["a"] = {"optimises": ["perturbation_information"]}
    tables.write("objectives", paths, specification(**entries), tmp_path)
    frame = pd.read_csv(tmp_path / "objectives.csv").set_index("metric")
    assert frame.loc["ssim", ["correlation", "partial"]].tolist() == pytest.approx([1, 1])
    assert abs(frame.loc["haarpsi", "correlation"]) < 0.2
    assert np.isnan(frame.loc["haarpsi", "partial"])
    assert frame.loc["ssim", ["n", "attacks"]].tolist() == [40, 8]
    # An attack that took fewer images counts where it ran.
    fewer = artefact(
        tmp_path, "i", l2=size[0][:20], perturbation_information=-size[0][:20], ssim=size[0][:20], haarpsi=-size[0][:20]
    )
    tables.write("objectives", [*paths, fewer], specification(**entries, i={}), tmp_path)
    frame = pd.read_csv(tmp_path / "objectives.csv").set_index("metric")
    assert frame.loc["ssim", ["n", "attacks"]].tolist() == [40, 8.5]
    assert frame.loc["ssim", "correlation"] == pytest.approx(1)


def test_verdicts_as_a_table_with_floors_apart(tmp_path: Path) -> None:
    def judged(name: str, lead: float, **columns: Any) -> str:
        noise = np.random.default_rng(len(name)).standard_normal(60)
        better = {"jod": 9 + 0.5 * lead, "fsim": 0.9 + 0.05 * lead, "dss": 0.8 + 0.05 * lead, "ssim": 0.9 + 0 * noise}
        worse = {"flip": 0.1 - 0.02 * lead, "mdsi": 0.3 - 0.05 * lead}
        values = {key: value + 0.001 * noise for key, value in {**better, **worse}.items()}
        return artefact(tmp_path, name, **(values | columns))

    paths = [judged("ours", 1), judged("ddn", 0), judged("weak", -1), judged("floor", 2)]
    spec = specification(ours={}, ddn={}, weak={}, floor={"optimises": ["jod"]})
    with pytest.raises(InfoadvError, match=r"statistics\.claimed"):
        tables.write("verdicts", paths, spec, tmp_path)
    spec["statistics"]["claimed"] = ["ours"]
    with pytest.raises(InfoadvError, match="a tuning run gives no verdicts"):
        tables.write("verdicts", paths, spec | {"purpose": "tuning"}, tmp_path)
    tables.write("verdicts", paths, spec, tmp_path)
    frame = pd.read_csv(tmp_path / "verdicts.csv").set_index("rival")
    assert frame["verdict"].to_dict() == {"ddn": "ahead", "weak": "ahead", "floor": "floor"}
    assert frame["named"].to_dict() == {"ddn": True, "weak": False, "floor": False}
    # The others that rule 7 names did not run; those in colour are not asked for on gray images.
    assert not frame["least_visible"].any()
    asked = [name for name in judging.NAMED if name not in ("ddn", *judging.IN_COLOUR)]
    assert frame["absent"].unique().tolist() == [" ".join(asked)]
    assert frame.loc["floor", "jod_difference"] == pytest.approx(-0.5, abs=0.01)
    assert frame.loc["floor", [f"{name}_p_holm" for name in statistics.JUDGES]].isna().all()
    # The family is that of the rules: all rivals and judges, and no floor.
    loaded = rows.load(paths, spec)
    tests = judging.compare(loaded, ("d", "m"), "ours", ["ddn", "weak"], statistics.Settings.of(spec))
    found = tests[(tests["rival"] == "ddn") & (tests["metric"] == "jod")].iloc[0]
    assert frame.loc["ddn", "jod_p_holm"] == pytest.approx(found["p_holm"])
    assert "ahead of 1 of the 1 rivals named that ran (without cw_l2, " in (tmp_path / "verdicts.md").read_text()
    everyone = [judged(name, 0) for name in asked]
    spec["attacks"] |= specification(**{name: {} for name in ("ours", *asked)})["attacks"]
    tables.write("verdicts", [*paths, *everyone], spec, tmp_path)
    frame = pd.read_csv(tmp_path / "verdicts.csv")
    assert frame["least_visible"].all()
    assert frame["absent"].isna().all()
    paths[0] = judged("ours", 1, ciede2000=np.ones(60))
    tables.write("verdicts", [*paths, *everyone], spec, tmp_path)
    assert set(pd.read_csv(tmp_path / "verdicts.csv")["absent"]) == {" ".join(judging.IN_COLOUR)}
    # A rival that is claimed as well is no rival.
    spec["statistics"]["claimed"] = ["ours", "projection"]
    tables.write("verdicts", [*paths, *everyone], spec, tmp_path)
    frame = pd.read_csv(tmp_path / "verdicts.csv")
    assert not frame["least_visible"].any()
    assert set(frame["absent"]) == {" ".join(["projection", *judging.IN_COLOUR])}


def test_attacks_towards_a_class_are_tested_against_plain_l2_towards_it_alone(tmp_path: Path) -> None:
    level = np.linspace(0.8, 0.9, 30)
    l2 = {"optimises": ["l2"], "method": "ddn"}
    paths = [
        artefact(tmp_path, name, l2=size + 0 * level, ssim=level + shift)
        for name, size, shift in (
            ("cw", 2, 0),
            ("ddn_next", 0.5, -0.1),
            ("ddn", 1, 0.02),
            ("ours_next", 3, 0),
            ("ours", 3, 0.05),
        )
    ]
    aimed = {"target": "next", "compared": False}
    spec = specification(cw={"optimises": ["l2"]}, ddn_next={**l2, **aimed}, ddn=l2, ours_next=aimed, ours={})
    loaded = rows.load(paths, spec)
    found = pairs.tested(oracle.added(loaded), statistics.Settings.of(spec))
    tested = set(zip(found["attack"], found["reference"], strict=True))
    assert {pair for pair in tested if "next" in "".join(pair)} == {("ours_next", "ddn_next")}
    assert {("ddn", "cw"), ("ours", "ddn"), ("ours", oracle.NAME)} <= tested
    # The targeted one comes first and has the smaller L2: it is neither the plain L2 attack nor in the oracle.
    assert oracle.added(loaded).of("d", "m", oracle.NAME)["l2"].tolist() == [1] * 30
    assert judging.saturated(loaded, ("d", "m")) is False
    paths[2] = artefact(tmp_path, "ddn", l2=1 + 0 * level, ssim=0.999 + 0 * level)
    assert judging.saturated(rows.load(paths, spec), ("d", "m")) is True


def test_the_oracle_takes_no_attack_that_is_not_compared(tmp_path: Path) -> None:
    l2 = {"optimises": ["l2"]}
    paths = [artefact(tmp_path, name, l2=[size] * 3, jod=[9.0] * 3) for name, size in (("a", 2.0), ("b", 3.0))]
    paths.append(artefact(tmp_path, "half", l2=[1.0, 1.0]))
    loaded = rows.load(paths, specification(a=l2, b=l2, half={**l2, "compared": False}))
    assert oracle.added(loaded).of("d", "m", oracle.NAME)["l2"].tolist() == [2.0] * 3


def test_networks_of_several_training_seeds_count_once_over_networks(tmp_path: Path) -> None:
    levels = LEVELS | {"other": {"a": 0.9, "b": 0.95, "c": 0.8}}
    spec = specification(a={}, b={}, c={})
    spec["alike"] = [{"dataset": "d", "seeds": {"m": 0, "m_s1": 1, "m_s3": 3}}]
    for table in ("over_networks", "ranking"):
        tables.write(table, many(tmp_path, levels), spec, tmp_path)
    frame = pd.read_csv(tmp_path / "over_networks.csv").set_index(["attack", "metric"])
    own = frame.loc[("c", "ssim")]
    assert (own["networks"], own["better_on"], own["worse_on"]) == (2, 1, 1)
    assert own["difference"] == pytest.approx(-0.04, abs=0.001)
    ranking = pd.read_csv(tmp_path / "ranking.csv")
    assert set(ranking.loc[ranking["model"] == "all", "networks"]) == {2}
    assert set(ranking["model"]) == {"all", *levels}
    # Holm's family is the sections with these metrics: all networks and each of them.
    each = ranking.drop_duplicates("model").set_index("model")
    expected = statistics.holm(each["p_friedman"].to_numpy())
    assert each["p_holm"].to_numpy() == pytest.approx(expected, nan_ok=True)
    for table in ("over_networks", "ranking"):
        assert "differ in the seed of their training alone" in (tmp_path / f"{table}.md").read_text()


def test_ranks_of_training_seeds_are_among_the_attacks_on_all_of_them(tmp_path: Path) -> None:
    levels = {"m": {"a": 0.90, "b": 0.95, "rival": 0.97}, "m_s1": {"a": 0.90, "b": 0.95}}
    spec = specification(a={}, b={}, rival={})
    spec["alike"] = [{"dataset": "d", "seeds": {"m": 0, "m_s1": 1}}]
    tables.write("training_seeds", many(tmp_path, levels), spec, tmp_path)
    frame = pd.read_csv(tmp_path / "training_seeds.csv").set_index(["attack", "quantity"])
    assert frame.loc[("b", "mean_rank"), ["lowest", "highest"]].tolist() == [1, 1]
    assert ("rival", "mean_rank") not in frame.index
    # No test compares ranks.
    assert frame.loc[("b", "mean_rank"), ["better_on", "worse_on"]].isna().all()
    assert frame.loc[("b", "ssim"), "better_on"] == 2


def test_a_family_is_the_tests_of_one_role_against_one_reference(tmp_path: Path) -> None:
    draws, l2 = np.random.default_rng(0), {"optimises": ["l2"]}
    paths = [
        artefact(
            tmp_path,
            name,
            l2=1 + 0.1 * draws.standard_normal(30),
            ssim=0.9 + 0.01 * draws.standard_normal(30),
            jod=9 + 0.1 * draws.standard_normal(30) + 0.2 * place,
        )
        for place, name in enumerate(("cw", "ddn", "ours", "noise"))
    ]
    spec = specification(cw=l2, ddn=l2, ours={}, noise={"control": True})
    found = pairs.tested(oracle.added(rows.load(paths, spec)), statistics.Settings.of(spec))
    assert found["reference"].nunique() == 4
    for _, family in found.groupby(["reference", "role"]):
        np.testing.assert_allclose(family["p_holm"], statistics.holm(family["p_wilcoxon"].to_numpy()))


def test_a_winner_needs_a_test_and_a_mean_that_agrees_with_the_ranks() -> None:
    assert pairs.winner(-9.1, 0.6, 1e-9, "higher") == "no difference"
    assert pairs.winner(1.0, 0.6, 0.05, "higher") == "no difference"
    assert pairs.winner(1.0, 0.6, 0.04, "higher") == "attack"
    assert pairs.winner(1.0, 0.6, 0.04, "lower") == "reference"
