"""Figures and tables of the information profiles, on synthetic artefacts in which the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from helpers import ROOT
from helpers.flow_artifacts import ATTACKS, features_of, save_flow, specification
from infoadv import InfoadvError, artifacts, report
from infoadv.registry import plugins
from infoadv.report import claims, classify, curves, figures, flow, statistics, style, tables
from infoadv.report.figures import label_flip
from infoadv.report.tables import claims as claims_table
from infoadv.report.tables import detection

FIGURES = (
    "label_flip",
    *(f"profiles_{name}" for name in ("adaptive", "attacks", "iterations", "transfer", "trimming")),
)
TABLES = ("claims", "detection", "profiles")
SETTINGS = statistics.Settings(resamples=200, seed=1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return save_flow(tmp_path_factory.mktemp("planted"), images=20)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """No effect anywhere, at success rates that differ from network to network by chance alone."""
    return save_flow(tmp_path_factory.mktemp("nothing"), images=40, effect=0.0)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Regular JSMA leaves every image as it was, and no example transfers."""
    return save_flow(tmp_path_factory.mktemp("empty"), images=14, transfer=0.0, idle=True)


@pytest.fixture(scope="module")
def claimed(planted: list[str]) -> pd.DataFrame:
    return claims_table.build(planted, specification()).frame


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Inputs in networks of 17 layers and more; the others have four."""
    return save_flow(tmp_path_factory.mktemp("deep"), images=14, layers=17)


def verdicts(inputs: list[str], **section: Any) -> dict[str, str]:
    return verdicts_in(claims_table.build(inputs, specification(**section)).frame)


def verdicts_in(frame: pd.DataFrame) -> dict[str, str]:
    deciding = frame[frame["role"] == "deciding"]
    assert (frame.loc[frame["role"] != "deciding", "verdict"] == "").all()
    return deciding.groupby("question")["verdict"].agg(lambda found: "/".join(sorted(set(found)))).to_dict()


def without(paths: list[str], *names: str) -> list[str]:
    return [path for path in paths if Path(path).stem not in names]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def drawn(name: str, inputs: list[str], spec: dict[str, Any]) -> tuple[Figure, pd.DataFrame]:
    with style.applied():
        return plugins.module("figures", name).draw(inputs, spec)


# D and aggregation


@pytest.mark.parametrize("profile", flow.PROFILES)
def test_d_is_what_a_loop_over_the_rows_says(planted: list[str], profile: str) -> None:
    path = next(path for path in planted if path.endswith("good_init.parquet"))
    rows, _ = artifacts.load_rows(path, "flow")
    rows = rows[rows["estimator"] == "copula"]
    clean = rows[rows["condition"] == "clean"].pivot(index="index", columns="layer", values=profile)
    native = rows[(rows["attack"] == "igsm") & (rows["condition"] == "native")]
    native = native.pivot(index="index", columns="layer", values=profile)
    expected = []
    for index in native.index:
        total = 0.0
        for layer in native.columns:
            total += ((native.loc[index, layer] - clean.loc[index, layer]) / clean[layer].std()) ** 2
        expected.append(np.sqrt(total / len(native.columns)))
    read = flow.load(planted, specification())
    np.testing.assert_allclose(read.main.select("copula", "igsm").deviation(profile), expected)


def test_d_leaves_out_layers_without_spread_and_undefined_values() -> None:
    clean = np.array([[0.0, 1.0, np.nan], [2.0, 1.0, np.nan]])
    spread = flow.spreads(clean)
    np.testing.assert_allclose(spread, [np.sqrt(2), 0.0, np.nan])
    values = np.array([[2.0, 9.0, 9.0], [np.nan, 9.0, 9.0]])
    np.testing.assert_allclose(flow.deviations(values, clean, spread), [np.sqrt(2), np.nan])


def test_examples_that_did_nothing_and_misclassified_images_do_not_count(empty: list[str]) -> None:
    distilled = flow.load(empty, specification()).networks["distilled"]
    regular = distilled.select("copula", "jsma_regular")
    assert (len(regular), len(regular.moved), len(regular.won), regular.idle) == (14, 0, 0, 1.0)

    rows, header = artifacts.load_rows(empty[0], "flow")
    rows.loc[(rows["condition"] == "clean") & (rows["index"] == 3), "success"] = True
    folder = Path(empty[0]).parent / "altered"
    artifacts.save_rows(folder / "good_init.parquet", rows, header)
    read = flow.load([str(folder / "good_init.parquet")], specification())
    assert 3 not in read.main.clean("copula").images
    assert 3 not in read.main.select("copula", "jsma").images
    assert len(read.main.select("copula", "jsma")) == 13
    # An untrained network classifies nothing correctly, which says nothing.
    read = flow.load([str(folder / "good_init.parquet")], specification(untrained="good_init"))
    assert 3 in read.main.select("copula", "jsma").images


def test_iterations_begin_at_the_clean_input_and_end_at_the_example(planted: list[str]) -> None:
    read = flow.load(planted, specification())
    native = read.main.select("copula", "jsma")
    for image, path in flow.iterations(read.main, "copula", "jsma", native.won.images).items():
        assert path.table["condition"].iloc[0] == "clean"
        assert path.table["d_oip"].iloc[0] == 0
        assert path.table["progress"].is_monotonic_increasing
        assert path.table["progress"].iloc[-1] == 1
        assert set(path.table["index"]) == {image}
        clean = read.main.clean("copula").of([image])
        np.testing.assert_array_equal(path.values["oip"][0], clean.values["oip"][0])


def test_mean_profile_and_process(planted: list[str]) -> None:
    values = np.random.default_rng(0).normal(size=(30, 5)) + np.arange(5)
    values[4, 2] = np.nan
    band = flow.mean_profile(values, SETTINGS)
    np.testing.assert_allclose(band.mean, np.nanmean(values, axis=0))
    assert ((band.low < band.mean) & (band.mean < band.high)).all()
    layer, curve = flow.process(band.mean)
    assert (layer[0], layer[-1], len(layer)) == (0, 4, 33)
    np.testing.assert_allclose(curve[::8], band.mean, atol=0.5)
    np.testing.assert_array_equal(curve, flow.process(band.mean)[1])
    # Two layers, or none that is defined, make no process.
    np.testing.assert_array_equal(flow.process(np.array([1.0, np.nan, 2.0]))[1], [1.0, 2.0])
    assert len(flow.process(np.full(4, np.nan))[0]) == 0
    np.testing.assert_allclose(flow.process(np.full(6, 0.3))[1], 0.3)


def test_d_above_noise_is_that_of_the_same_source_and_image(planted: list[str]) -> None:
    network = flow.load(planted, specification()).networks["vgg_like"]
    group = network.select("copula", "jsma", source="deep_conv").made
    noise = network.select("copula", "jsma", "noise", "deep_conv").deviation("oip")
    expected = group.deviation("oip") - noise.loc[group.images]
    np.testing.assert_allclose(flow.above_noise(network, "copula", group, "oip"), expected)
    # Of an example without noise there is no such value.
    table = network.groups["copula"].table
    gone = (table["condition"] == "noise") & (table["index"] == group.images[0])
    less = flow.Network("vgg_like", network.layers, {"copula": network.groups["copula"].where(~gone)}, True, 3072.0)
    assert np.isnan(flow.above_noise(less, "copula", group, "oip").iloc[0])


# Statistics


def test_mcnemar_counts_the_images_on_which_attacks_differ() -> None:
    one = np.array([True] * 8 + [False] * 4)
    other = np.array([False] * 7 + [True] * 2 + [False] * 3)
    found = statistics.mcnemar(one, other, SETTINGS)
    # Seven images against one: the two-sided exact p is 2 (1 + 8) / 2^8.
    assert found.p == pytest.approx(18 / 256)
    assert found.difference == pytest.approx(0.5)
    assert statistics.mcnemar(one, one, SETTINGS).p == 1


def test_unpaired_finds_the_larger_side() -> None:
    random = np.random.default_rng(2)
    low, high = random.normal(size=20), random.normal(size=31) + 3
    found = statistics.unpaired(high, low, SETTINGS)
    assert found.n == 20
    assert found.low < high.mean() - low.mean() < found.high
    assert found.low > 0
    assert found.p < 1e-6
    assert found.effect > 0.8
    assert np.isnan(statistics.unpaired(high, np.array([np.nan]), SETTINGS).p)


def test_all_rows_of_an_image_fall_into_one_fold() -> None:
    # Features that name the image: whoever sees an image in training knows its class.
    images = np.tile(np.arange(20), 2)
    features = np.eye(20)[images]
    classes = np.random.default_rng(0).integers(0, 2, 20)[images]
    accuracy = (classify.predicted(features, classes, images, 0) == classes).mean()
    assert accuracy < 0.75


def test_separation_holds_its_own_interval_where_pairs_differ_by_a_hair() -> None:
    positive = np.random.default_rng(0).normal(size=(30, 1))
    found = classify.separation(positive, positive - 1e-6, SETTINGS)
    assert found.low <= found.auroc <= found.high
    assert found.auroc == pytest.approx(0.5, abs=0.05)
    assert np.isnan(classify.separation(positive[:9], positive[:9], SETTINGS).auroc)


def test_a_difference_between_cells_is_none_within_them() -> None:
    # Levels of 1 and 3 with the flag at 10 and 90 per cent: pooled, the flagged ones are far above the others.
    reached = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        cells, images = np.repeat([0, 1], 40), np.tile(np.arange(40), 2)
        flags = random.uniform(size=80) < np.where(cells == 1, 0.9, 0.1)
        hardness = 0.5 * random.normal(size=40)
        values = np.where(cells == 1, 3.0, 1.0) + hardness[images] + 0.5 * random.normal(size=80)
        assert statistics.unpaired(values[flags], values[~flags], SETTINGS).p < 1e-3
        found = statistics.within(values, flags, cells, images, SETTINGS)
        reached += found.p < 0.05 and found.low > 0
        effect = statistics.within(values + 1.5 * flags, flags, cells, images, SETTINGS)
        assert effect.difference == pytest.approx(found.difference + 1.5)
    assert reached <= 5


def test_within_by_hand() -> None:
    # Differences 2 and 4 in two cells of half and half, and a cell without the flag, which tells nothing.
    values = np.array([1.0, 3.0, 10.0, 14.0, 99.0])
    found = statistics.within(values, np.array([0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 2]), np.arange(5), SETTINGS)
    assert (found.n, found.difference) == (2, 3.0)
    assert found.p > 0.2
    nothing = statistics.within(values, np.zeros(5), np.arange(5), np.arange(5), SETTINGS)
    assert nothing.n == 0
    assert np.isnan(nothing.p)


# Claims


def test_planted_effects_are_supported(claimed: pd.DataFrame) -> None:
    # So few examples cannot show that fewer than one in ten transfers.
    expected = dict.fromkeys(claims.STATEMENTS, "supported") | {"Q5d": "not supported"}
    assert verdicts_in(claimed) == expected


def test_without_an_effect_nothing_is_supported(nothing: list[str]) -> None:
    assert verdicts(nothing) == dict.fromkeys(claims.STATEMENTS, "not supported")


def test_unequal_levels_and_rates_of_networks_are_no_transferability(nothing: list[str], tmp_path: Path) -> None:
    rates, random, paths = {"good_init": 0.9, "vgg_like": 0.5, "deep_conv": 0.1}, np.random.default_rng(0), []
    for path in nothing:
        rows, header = artifacts.load_rows(path, "flow")
        chosen = (rows["attack"] == "jsma") & rows["source"].isin(list(rates)) & (rows["source"] != Path(path).stem)
        if Path(path).stem in rates:
            rate = rates[Path(path).stem]
            fools = random.uniform(size=(rows["index"].max() + 1, 3)) < rate
            column = rows["source"].map({name: place for place, name in enumerate(rates)}).fillna(0).astype(int)
            native = chosen & (rows["condition"] == "native")
            rows.loc[native, "success"] = fools[rows["index"], column][native]
            # The network whose examples transfer most often has the largest D as well.
            shift = np.where(rows["layer"] % 2, 0.1, -0.1) * rate
            rows.loc[native, "oip"] += shift[native]
        artifacts.save_rows(tmp_path / Path(path).name, rows, header)
        paths.append(str(tmp_path / Path(path).name))
    frame = claims_table.build(paths, specification(estimators=["copula"])).frame
    row = frame[(frame["question"] == "Q5b") & (frame["role"] == "deciding")].iloc[0]
    assert row["verdict"] == "not supported"
    assert row["p"] > 0.05
    read = flow.load(paths, specification())
    others = pd.concat([read.of_others(network, "copula").table for network in read.transfer])
    sides = [others.loc[others["success"] == fools, "d_oip"].to_numpy() for fools in (True, False)]
    assert statistics.unpaired(*sides, SETTINGS).p < 1e-6


def test_what_did_nothing_or_is_absent_is_not_testable(empty: list[str], planted: list[str]) -> None:
    # One estimator is enough: whether there is something to test does not hang on it.
    found = verdicts(empty, estimators=["copula"])
    assert found["Q5b"] == "not testable"
    # An attack that fails by changing nothing has not shifted the flow: the paper counts failures.
    assert found["Q3"] == "supported"
    assert found["Q1"] == found["Q2"] == found["Q5a"] == "supported"
    absent = dict.fromkeys(("distilled", "trimmed", "transfer", "ensembles", "isolated", "untrained"))
    main = [path for path in planted if path.endswith("good_init.parquet")]
    found = verdicts(main, estimators=["copula"], **absent)
    assert found.pop("Q1") == found.pop("Q2") == "supported"
    assert found == dict.fromkeys(("Q3", "Q4", "Q5a", "Q5b", "Q5c", "Q5d"), "not testable")
    frame = claims_table.build(without(planted, "trimmed"), specification(distilled=None, estimators=["copula"])).frame
    reasons = frame[frame["role"] == "deciding"].groupby("question")["reason"].first()
    assert reasons["Q3"] == "flow.distilled is not configured"
    assert reasons["Q4"] == "no flow artefact of flow.trimmed was given"
    frame = claims_table.build(without(planted, "deep_conv"), specification(estimators=["copula"])).frame
    reasons = frame[frame["role"] == "deciding"].groupby("question")["reason"].first()
    assert reasons["Q5d"] == "no flow artefact of flow.isolated was given"


def test_too_few_images_decide_nothing(tmp_path: Path) -> None:
    paths = save_flow(tmp_path, images=9, layers=3)
    assert set(verdicts(paths).values()) == {"not testable"}


def test_the_rule_of_the_verdict() -> None:
    tests = pd.DataFrame({"low": [0.1, 0.3], "null": [0.0, 0.25], "p_holm": [0.01, 0.04]})
    assert claims.verdict(tests) == "supported"
    assert claims.verdict(tests.assign(p_holm=[0.01, 0.06])) == "not supported"
    assert claims.verdict(tests.assign(low=[0.1, 0.2])) == "not supported"
    assert claims.verdict(tests.assign(p_holm=[0.01, np.nan])) == "not testable"
    assert claims.verdict(tests[:0]) == "not testable"


def test_claims_hold_profiles_estimators_and_controls(claimed: pd.DataFrame, planted: list[str]) -> None:
    frame = claimed
    assert list(frame.columns) == list(claims.COLUMNS)
    d = frame[frame["statistic"].str.startswith("D of")]
    counts = d.groupby(["question", "statistic", "control"]).size()
    # OIP, IIP, IOC by the main estimator, and OIP by the other.
    assert set(counts) == {4}
    assert set(frame.loc[frame["role"] == "deciding", "estimator"]) <= {"copula", ""}
    assert set(frame.loc[(frame["role"] == "deciding"), "profile"]) == {"OIP", ""}
    controls = d[(d["question"] == "Q2") & (d["role"] == "control")]
    assert len(controls) == 2 * len(ATTACKS)
    # Noise of equal L2 moves the flow less than an attack, in a network that has learnt something.
    main = controls[controls["control"] == "noise of equal L2"]
    assert (main["low"] > 0).all()
    idle = controls[controls["network"] == "untrained"]
    assert (idle["value"].abs() < 0.2).all()
    read = flow.load(planted, specification())
    native, noise = (read.main.select("copula", "cw_l2", condition) for condition in ("native", "noise"))
    images = native.won.images
    difference = native.deviation("oip").loc[images] - noise.deviation("oip").loc[images]
    assert main.set_index("statistic").loc["D of C&W-L2", "value"] == pytest.approx(difference.mean())


def test_inputs_that_were_left_as_they_were_count_as_zero_and_are_left_out_beside(
    planted: list[str], tmp_path: Path
) -> None:
    paths = []
    for path in planted:
        rows, header = artifacts.load_rows(path, "flow")
        rows.loc[(rows["attack"] == "jsma_adaptive") & rows["index"].isin([2, 5]), "l2"] = 0.0
        rows.loc[(rows["attack"] == "jsma_regular") & (rows["index"] == 7), "l2"] = 0.0
        artifacts.save_rows(tmp_path / Path(path).name, rows, header)
        paths.append(str(tmp_path / Path(path).name))
    table = claims_table.build(paths, specification(attacks=["igsm"]))
    row = table.frame[(table.frame["question"] == "Q3") & (table.frame["role"] == "deciding")].iloc[0]
    assert (row["n"], row["left_out"]) == (20, 0)
    beside = table.frame[table.frame["control"] == "regular JSMA, images that both changed"].iloc[0]
    assert (beside["n"], beside["left_out"]) == (17, 3)
    read = flow.load(paths, specification())
    one, other = (
        read.role("distilled").select("copula", f"jsma_{kind}").deviation("oip") for kind in ("adaptive", "regular")
    )
    assert one[2] == one[5] == other[7] == 0
    assert row["value"] == pytest.approx((one - other).mean())
    # One attack cannot be told from another.
    assert verdicts_in(table.frame)["Q2"] == "not testable"


# Detection and profiles


def test_detection_finds_what_was_planted_and_nothing_else(planted: list[str], nothing: list[str]) -> None:
    found = detection.build(planted, specification(estimators=["copula"])).frame
    assert set(found["attack"]) == {*ATTACKS, "jsma"}
    main = found.set_index(["comparison", "features", "attack"])["auroc"].sort_index()
    own = main.drop("untrained network, matched size against noise").xs("IIP, OIP, IOC", level="features")
    assert (own.drop("adversarial against clean of its class") > 0.95).all()
    assert (own > 0.6).all()
    np.testing.assert_allclose(main.loc["adversarial against noise", "L2"], 0.5)
    np.testing.assert_allclose(main.loc["adversarial against clean", "L2"], 1.0)
    assert main.loc["adversarial against clean of its class", "L2"].isna().all()
    untrained = main.loc["untrained network, matched size against noise", "IIP, OIP, IOC"]
    assert set(untrained.index) == set(ATTACKS)
    assert (untrained < 0.85).all()

    found = detection.build(nothing, specification()).frame
    full = found[found["features"] == "IIP, OIP, IOC"].groupby("comparison")["auroc"].mean()
    assert (full - 0.5).abs().max() < 0.12


def test_profiles_table_counts(empty: list[str], tmp_path: Path) -> None:
    tables.write("profiles", empty, specification(), tmp_path)
    frame = pd.read_csv(tmp_path / "profiles.csv").fillna({"attack": "", "source": ""})
    frame = frame.set_index(["model", "attack", "condition", "source"]).sort_index()
    idle = frame.loc[("distilled", "jsma_regular", "native", "distilled")]
    assert (idle["n"], idle["did_nothing"], idle["n_changed"], idle["success_rate"]) == (14, 1.0, 0, 0.0)
    assert np.isnan(idle["d_oip"])
    other = frame.loc[("trimmed", "jsma", "native", "good_init")]
    assert other["features_share"] == pytest.approx(np.mean([features_of("good_init", i) for i in range(14)]) / 3072)
    assert other["d_oip_low"] < other["d_oip"] < other["d_oip_high"]
    assert other["d_oip_quantile"] == pytest.approx(other["d_oip"])
    assert "iterate" not in frame.index.get_level_values("condition")
    assert frame.loc["untrained", "success_rate"].isna().all()


# Figures


@pytest.mark.parametrize("name", FIGURES)
def test_figures_draw_many_layers(name: str, deep: list[str], tmp_path: Path) -> None:
    figures.draw(name, deep, specification(), tmp_path / name, tmp_path / f"{name}.csv")
    assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    frame = pd.read_csv(tmp_path / f"{name}.csv")
    assert frame.loc[frame["layer"] == 16, "layer_name"].iloc[0] == "features.48.relu"
    assert (frame["n"] >= (1 if name == "profiles_iterations" else statistics.MINIMUM)).all()


@pytest.mark.parametrize("name", FIGURES)
def test_figures_draw_few_layers_and_tell_success_and_size_of_every_set(name: str, planted: list[str]) -> None:
    figure, frame = drawn(name, planted, specification())
    written = texts(figure)
    assert "success 0." in written or "success 1." in written
    assert "n 20" in written or "n 19" in written or "n 18" in written
    # deep_conv has one layer more than the others.
    assert frame["layer"].max() == (4 if name == "profiles_transfer" else 3)


def test_numbers_of_a_figure_are_means_over_successes(planted: list[str]) -> None:
    figure, frame = drawn("profiles_attacks", planted, specification())
    whole = flow.load(planted, specification()).main.select("copula", "fgsm_native", "matched")
    group = whole.won
    rows = frame[(frame["curve"] == "FGSM") & (frame["profile"] == "oip") & (frame["row"] != "Native size")]
    np.testing.assert_allclose(rows["mean"], group.values["oip"].mean(axis=0))
    assert set(rows["n"]) == {len(group)}
    assert f"FGSM: n {len(group)}, success {whole.rate:.2f}, L2 {group.table['l2'].mean():.2f}" in texts(figure)


def test_curves_of_a_panel_differ_in_colour_from_each_other_and_from_clean() -> None:
    assert len({curves.CLEAN, *(curves.look(place).color for place in range(6))}) == 7


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("label_flip", "profiles_iterations")])
def test_no_two_curves_of_a_legend_have_one_colour(name: str, planted: list[str]) -> None:
    figure, _ = drawn(name, planted, specification())
    for part in figure.subfigs:
        (legend,) = part.legends
        colors = [line.get_color() for line in legend.get_lines() if line.get_linestyle() != "None"]
        assert len(colors) >= 2
        assert len(set(colors)) == len(colors)


def test_empty_sets_say_so(empty: list[str], tmp_path: Path) -> None:
    figure, frame = drawn("profiles_transfer", empty, specification())
    assert "Other, transferable: not drawn (n 0), success 0.00" in texts(figure)
    assert "Other, transferable" not in set(frame["curve"])
    figure, frame = drawn("profiles_adaptive", empty, specification())
    assert "JSMA, regular: not drawn (n 0), success 0.00, did nothing 1.00" in texts(figure)
    # Unchanged inputs are drawn among all inputs, where they are the clean ones, and nowhere else.
    regular = frame[frame["curve"] == "JSMA, regular"]
    assert set(regular["row"]) == {"All inputs, successes and failures, those left as they were included"}
    clean = frame[(frame["curve"] == "Clean") & (frame["row"] == regular["row"].iloc[0])]
    np.testing.assert_allclose(regular["mean"], clean["mean"])
    # Not one success, and not one input: panels say so.
    paths = save_flow(tmp_path, images=3, layers=3, rate=0.0)
    for name in ("profiles_iterations", "label_flip"):
        figure, frame = drawn(name, paths, specification())
        assert "not drawn" in texts(figure)
        assert frame.empty


@pytest.mark.parametrize("name", FIGURES)
def test_a_few_inputs_are_no_mean(name: str, tmp_path: Path) -> None:
    for images in (1, 4):
        figure, frame = drawn(name, save_flow(tmp_path, images=images, layers=3, rate=1.0), specification())
        assert f"(n {images})" in texts(figure) or f"n {images}, success" in texts(figure)
        assert "not drawn" in texts(figure)
        assert frame["low"].isna().all()


def test_ten_inputs_are_drawn_and_nine_are_named(planted: list[str]) -> None:
    read = flow.load(planted, specification())
    group = read.main.select("copula", "jsma")
    found = [
        curves.Curve(f"of {count}", group.of(group.images[:count]), curves.look(count % 2).color) for count in (9, 10)
    ]
    with style.applied():
        figure, frame = curves.stack([curves.Row("", read.main, found)], read)
    assert set(frame["curve"]) == {"of 10"}
    assert "of 9: not drawn (n 9)\nof 10: n 10" in texts(figure)
    assert "means over at least 10 inputs" in texts(figure)


def test_iterations_draws_the_input_asked_for(planted: list[str]) -> None:
    won = flow.load(planted, specification()).main.select("copula", "jsma").won.images
    _, frame = drawn("profiles_iterations", planted, specification({"image": 3}))
    assert set(frame.loc[frame["part"] == "input", "index"]) == {won[3]}
    mean = frame[(frame["part"] == "D, mean") & (frame["profile"] == "oip")].reset_index()
    assert mean["value"].iloc[0] == 0
    random = frame[(frame["part"] == "D of random features, mean") & (frame["profile"] == "oip")].reset_index()
    assert len(random) == len(mean)
    assert random["value"].iloc[0] == 0 < random["value"].iloc[-1]
    assert (random["high"] < mean["low"])[2:].all()
    with pytest.raises(InfoadvError, match=r"figures\.profiles_iterations\.image: 99, but JSMA succeeds on"):
        drawn("profiles_iterations", planted, specification({"image": 99}))


def test_the_label_flips_where_the_means_cross(planted: list[str]) -> None:
    assert np.isnan(label_flip.crossing(np.array([1.0, 1.0]), np.array([0.0, 0.5])))
    assert np.isnan(label_flip.crossing(np.array([0.0, 0.0]), np.array([0.5, 0.5])))
    # The last crossing counts, and an undefined layer is no lead.
    assert label_flip.crossing(np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 3.0])) == pytest.approx(4 / 3)
    figure, frame = drawn("label_flip", planted, specification())
    depth = np.linspace(0, 1, 4)
    expected = label_flip.crossing(3 * depth * (1 - 1.2 * depth**2), 2.6 * depth**3 - 0.2)
    np.testing.assert_allclose(frame["flip"], expected)
    assert f"{expected:.1f}" in texts(figure)
    # The attacks that are compared have one size, JSMA its own.
    read = flow.load(planted, specification())
    sizes = frame.groupby("attack")["l2"].first()
    for name, size in sizes.items():
        own = read.main.select("copula", name, "matched" if name in read.attacks else "native").won.table["l2"]
        assert size == pytest.approx(own.mean())
    assert "(its own)" in " ".join(texts(figure).split())


# Both


def test_results_repeat_byte_for_byte_in_whatever_order_artefacts_come(planted: list[str], tmp_path: Path) -> None:
    spec = specification(attacks=["igsm", "deepfool"], estimators=["copula"])
    for folder in ("one", "two"):
        inputs = planted if folder == "one" else planted[::-1]
        for name in ("profiles_attacks", "profiles_iterations"):
            figures.draw(name, inputs, spec, tmp_path / folder / name, tmp_path / folder / f"{name}.csv")
        for name in TABLES:
            tables.write(name, inputs, spec, tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("kind", "name"), [*(("figures", n) for n in FIGURES), *(("tables", n) for n in TABLES)])
def test_each_says_that_it_reads_flow_artefacts_and_is_a_reconstruction(kind: str, name: str) -> None:
    path = Path(report.__file__).parent / kind / f"{name}.py"
    needs = {"profiles_adaptive": ["distilled"], "profiles_trimming": ["trimmed"], "profiles_transfer": ["transfer"]}
    expected = {"stage": "flow"} | ({"needs": needs[name]} if name in needs else {})
    assert plugins.literal(path, "INPUTS") == expected
    caption = ROOT / "workflow" / "report" / f"{name}.rst"
    assert "reconstruction" in caption.read_text()


def test_errors_say_what_to_do(planted: list[str], tmp_path: Path) -> None:
    with pytest.raises(InfoadvError, match=r"flow\.model: not configured"):
        flow.load(planted, {})
    with pytest.raises(InfoadvError, match=r"flow\.model: no flow artefact of 'good_init' was given; there are: none"):
        flow.load([], specification())
    with pytest.raises(InfoadvError, match="good_init is given twice"):
        flow.load([planted[0], planted[0]], specification())
    with pytest.raises(InfoadvError, match=r"flow\.estimators: 'histogram' is not in .* it has: copula, quantile"):
        flow.load(planted, specification(estimators=["histogram"]))
    rows, header = artifacts.load_rows(planted[0], "flow")
    artifacts.save_rows(tmp_path / "short.parquet", rows.drop(index=rows.index[5]), header)
    with pytest.raises(InfoadvError, match=r"short\.parquet: not every input has all 4 layers once"):
        flow.load([str(tmp_path / "short.parquet")], specification())
    for name, key in (("adaptive", "distilled"), ("trimming", "trimmed"), ("transfer", "transfer")):
        with pytest.raises(InfoadvError, match=rf"flow\.{key}: not configured"):
            drawn(f"profiles_{name}", planted, specification(**{key: None}))
