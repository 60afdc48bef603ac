"""Tables from small artefacts: columns, numbers worked out by hand, renderings, errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.report_artifacts import save_calibration, save_metrics, save_model, save_results
from infoadv import InfoadvError, artifacts
from infoadv.report import page, tables
from infoadv.report.rendering import Cell, markdown_table

COLUMNS = [
    *("dataset", "model", "attack", "n", "asr_float", "asr", "l0", "l2", "linf", "psnr", "ssim"),
    *("haarpsi", "gmsd", "lpips", "ciede2000", "vif", "nmi", "mi_projection", "mi_mine"),
    *("perturbation_information", "forwards", "backwards"),
]


def attacks(**entries: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"label": name.upper(), "color_index": i, "sweep_of": None, "compared": True} | entry
        for i, (name, entry) in enumerate(entries.items())
    }


def specification(reference: str = "a", **entries: dict[str, Any]) -> dict[str, Any]:
    statistics = {"bootstrap": 200, "confidence": 0.95, "reference": reference}
    return {"statistics": statistics, "seed": 0, "attacks": attacks(**entries)}


def metrics(folder: Path, attack: str, success: list[bool], **columns: Any) -> str:
    frame = pd.DataFrame({"index": 10 * np.arange(len(success)), "success": success, **columns})
    return save_metrics(folder / f"{attack}.parquet", frame.assign(dataset="d", model="m", attack=attack))


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    """Two compared attacks, each failing once, and one that is not compared; common: the first two images."""
    return [
        metrics(tmp_path, "a", [True, True, True, False], l2=[1.0, 2.0, 9.0, 0.1], ssim=[0.9, 0.8, 0.7, 0.1]),
        metrics(tmp_path, "b", [True, True, False, True], l2=[3.0, 5.0, 0.1, 1.0], ssim=[0.5, 0.6, 0.1, 0.2]),
        metrics(tmp_path, "weak", [False, True, False, False], l2=[1.0, 0.5, 1.0, 1.0], ssim=[1.0, 0.99, 1.0, 1.0]),
        metrics(tmp_path, "a-confidence-5", [False] * 4, l2=[1.0] * 4),
    ]


@pytest.fixture
def spec() -> dict[str, Any]:
    sweep = {"a-confidence-5": {"sweep_of": "a", "compared": False}}
    return specification(a={"label": "A&B_1"}, b={}, weak={"compared": False}, **sweep)


def test_artefacts_of_before_that_name_an_estimator_are_read(tmp_path: Path, spec: dict[str, Any]) -> None:
    old = metrics(tmp_path, "a", [True, True], l2=[1.0, 2.0], estimator="mine")
    new = metrics(tmp_path, "b", [True, True], l2=[1.0, 2.0])
    tables.write("quality", [old, new], spec, tmp_path)
    assert "estimator" not in pd.read_csv(tmp_path / "quality.csv")


def test_quality_numbers_by_hand(three: list[str], spec: dict[str, Any], tmp_path: Path) -> None:
    tables.write("quality", three, spec, tmp_path)
    frame = pd.read_csv(tmp_path / "quality.csv", keep_default_na=False, na_values=[""])
    assert list(frame.columns[: len(COLUMNS)]) == COLUMNS
    # Metrics that not every table has come last.
    judges = [f"{name}{end}" for name in ("dss", "flip", "fsim", "jod", "mdsi") for end in ("", "_low", "_high")]
    more = ["n_common", "l2_median", "l2_median_low", "l2_median_high", *judges]
    assert list(frame.columns[-len(more) :]) == more
    assert list(frame["attack"]) == ["a", "b", "weak"]
    rows = frame.set_index("attack")
    assert list(rows["n"]) == [4, 4, 4]
    assert list(rows["asr"]) == [0.75, 0.75, 0.25]
    assert list(rows["n_common"]) == [2, 2, 1]
    np.testing.assert_allclose(rows["l2"], [1.5, 4.0, 0.5])
    np.testing.assert_allclose(rows["ssim"], [0.85, 0.55, 0.99])
    # The median of 1, 2, 9 and a failure; of 3, 5, 1 and a failure; of one success in four.
    assert list(rows["l2_median"]) == [5.5, 4.0, np.inf]
    assert (rows["l2_median_low"] <= rows["l2_median"]).all()
    assert (rows["l2_median"] <= rows["l2_median_high"]).all()
    assert (rows["asr_low"] < rows["asr"]).all()
    # Of four images all turned: Wilson's interval, not one of no width.
    assert rows.loc["a", "asr_float_low"] == pytest.approx(4 / (4 + 1.959964**2))
    assert rows["ciede2000"].isna().all()
    assert (rows["l2_low"] <= rows["l2"]).all()
    assert (rows["l2"] <= rows["l2_high"]).all()


def test_quality_marks_the_best_of_the_compared_attacks(three: list[str], spec: dict[str, Any], tmp_path: Path) -> None:
    tables.write("quality", three, spec, tmp_path)
    markdown, latex = ((tmp_path / f"quality.{kind}").read_text() for kind in ("md", "tex"))
    assert "**1.500**" in markdown
    assert "**0.8500**" in markdown
    assert "**0.500**" not in markdown
    assert "CIEDE2000" not in markdown
    assert r"\textbf{0.8500}" in latex
    assert r"A\&B\_1" in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    assert "a-confidence" not in markdown + latex


def test_quality_names_the_backbone_and_the_home_metric(tmp_path: Path) -> None:
    inputs = [
        metrics(tmp_path, "a", [True] * 3, perturbation_information=3.0, lpips_reference=0.1),
        metrics(tmp_path, "b", [True] * 3, perturbation_information=4.0, lpips_reference=0.2),
    ]
    spec = specification(a={"optimises": ["perturbation_information"]}, b={"optimises": ["lpips_reference"]})
    tables.write("quality", inputs, spec, tmp_path)
    markdown = (tmp_path / "quality.md").read_text()
    assert "LPIPS (reference net) \u2193" in markdown
    assert "0.2000\u2020" in markdown
    assert "**3.00**\u2020" in markdown
    assert "4.00\u2020" not in markdown
    assert r"\textbf{3.00}$^\dagger$" in (tmp_path / "quality.tex").read_text()
    assert pd.read_csv(tmp_path / "quality.csv")["lpips"].tolist() == [0.1, 0.2]


def test_an_attack_says_what_it_optimises_whatever_its_name(tmp_path: Path) -> None:
    inputs = [
        metrics(tmp_path, "mine", [True] * 3, l2=1.0, perturbation_information=3.0),
        metrics(tmp_path, "ddn", [True] * 3, l2=2.0),
    ]
    entries = {"mine": {"optimises": ["l2"]}, "ddn": {"optimises": []}}
    tables.write("quality", inputs, specification("mine", **entries), tmp_path)
    markdown = (tmp_path / "quality.md").read_text()
    assert "**1.000**\u2020" in markdown
    assert "2.000\u2020" not in markdown


def test_a_control_is_averaged_where_the_attacks_succeed_whatever_its_own_success(
    three: list[str], spec: dict[str, Any], tmp_path: Path
) -> None:
    # Even if it claims to be compared, it takes no image out of the comparison.
    spec["attacks"]["weak"] |= {"control": True, "compared": True}
    tables.write("quality", three, spec, tmp_path)
    rows = pd.read_csv(tmp_path / "quality.csv").set_index("attack")
    assert list(rows["n_common"]) == [2, 2, 2]
    assert rows.loc["weak", "l2"] == 0.75
    assert rows.loc["weak", "asr"] == 0.25
    assert np.isnan(rows.loc["weak", "l2_median"])
    assert "| WEAK, control | 1.00 | 0.25 | 2 | \u2013 |" in (tmp_path / "quality.md").read_text()
    for kind in ("md", "tex"):
        assert "whatever its own success" in (tmp_path / f"quality.{kind}").read_text()

    tables.write("comparison", three, spec, tmp_path)
    pairs = pd.read_csv(tmp_path / "comparison.csv")
    # The control is a reference as well.
    assert pairs["reference"].unique().tolist() == ["a", "weak"]
    pairs = pairs[pairs["reference"] == "a"].set_index(["attack", "metric"])
    assert pairs.loc[("b", "l2"), "n"] == 2
    # On the images of the table quality.
    assert pairs.loc[("weak", "l2"), "n"] == 2
    assert pairs.loc[("weak", "l2"), "difference"] == pytest.approx((0 - 1.5) / 2)
    assert "whatever its own success" in (tmp_path / "comparison.md").read_text()
    spec["statistics"]["reference"] = "weak"
    with pytest.raises(InfoadvError, match="choose one of: a, b\\."):
        tables.write("comparison", three, spec, tmp_path)


def test_quality_without_a_common_success(tmp_path: Path) -> None:
    inputs = [
        metrics(tmp_path, "a", [True, False], l2=[1.0, 1.0]),
        metrics(tmp_path, "b", [False, True], l2=[1.0, 1.0]),
    ]
    tables.write("quality", inputs, specification(a={}, b={}), tmp_path)
    frame = pd.read_csv(tmp_path / "quality.csv")
    assert frame["l2"].isna().all()
    assert frame["n_common"].tolist() == [0, 0]
    assert frame["l2_median"].tolist() == [np.inf, np.inf]


def test_comparison_finds_the_better_side(tmp_path: Path) -> None:
    n = 16
    base = np.linspace(0.5, 0.6, n)
    lower = {"l2": 1 + base, "ssim": base, "gmsd": base}
    # b: smaller L2 and larger SSIM everywhere, GMSD the same; c: the opposite, and it fails once.
    inputs = [
        metrics(tmp_path, "a", [True] * n, **lower),
        metrics(tmp_path, "b", [True] * n, l2=0.9 + base, ssim=base + 0.1, gmsd=base),
        metrics(tmp_path, "c", [False] + [True] * (n - 1), l2=1.1 + base, ssim=base - 0.1, gmsd=base),
    ]
    tables.write("comparison", inputs, specification(a={}, b={}, c={}), tmp_path)
    frame = pd.read_csv(tmp_path / "comparison.csv").set_index(["attack", "metric"])
    assert frame.loc[("b", "l2"), "better"] == "attack"
    assert frame.loc[("b", "ssim"), "better"] == "attack"
    assert frame.loc[("c", "l2"), "better"] == "reference"
    assert frame.loc[("c", "ssim"), "better"] == "reference"
    assert frame.loc[("c", "gmsd"), "better"] == "no difference"
    assert frame.loc[("c", "l2"), "n"] == n - 1
    assert frame.loc[("b", "l2"), "difference"] == pytest.approx(-0.1)
    tested = frame["p_wilcoxon"].notna()
    assert (frame.loc[tested, "p_holm"] >= frame.loc[tested, "p_wilcoxon"]).all()
    markdown = (tmp_path / "comparison.md").read_text()
    assert "**\u22120.100**" in markdown
    assert "*+0.100*" in markdown


def test_metrics_that_declare_a_column_otherwise_do_not_belong_together(three, spec, tmp_path) -> None:
    frame, header = artifacts.load_rows(three[2], "metrics")
    header["metrics"]["ssim"].update(better="lower")
    artifacts.save_rows(three[2], frame, header)
    with pytest.raises(InfoadvError, match="declares the metric ssim otherwise"):
        tables.write("quality", three, spec, tmp_path)


def test_an_attack_without_lpips_has_no_reference_network_to_agree_on(tmp_path: Path, spec: dict[str, Any]) -> None:
    with_lpips = metrics(tmp_path, "a", [True, True], l2=[1.0, 2.0], lpips_reference=[0.1, 0.2])
    without = metrics(tmp_path, "b", [True, True], l2=[1.0, 2.0])
    frame, header = artifacts.load_rows(without, "metrics")
    artifacts.save_rows(without, frame.drop(columns="lpips_reference"), header)
    frame, header = artifacts.load_rows(with_lpips, "metrics")
    header["inputs"].update(reference="a network")
    artifacts.save_rows(with_lpips, frame, header)
    tables.write("quality", [with_lpips, without], spec, tmp_path)
    assert pd.read_csv(tmp_path / "quality.csv")["lpips"].isna().tolist() == [False, True]
    otherwise = metrics(tmp_path, "weak", [True, True], l2=[1.0, 2.0], lpips_reference=[0.1, 0.2])
    with pytest.raises(InfoadvError, match="LPIPS looked through another reference network"):
        tables.write("quality", [with_lpips, without, otherwise], spec, tmp_path)


def test_a_run_with_one_attack_has_empty_tables_of_tests(tmp_path: Path) -> None:
    alone = [metrics(tmp_path, "a", [True, True], l2=[1.0, 2.0], ssim=[0.9, 0.8])]
    for table in ("comparison", "over_networks"):
        tables.write(table, alone, specification(a={}), tmp_path)
        assert pd.read_csv(tmp_path / f"{table}.csv").empty


def test_comparison_needs_its_reference(three: list[str], spec: dict[str, Any], tmp_path: Path) -> None:
    spec["statistics"]["reference"] = "absent"
    with pytest.raises(InfoadvError, match=r"statistics\.reference: 'absent'.*choose one of: a, b, weak"):
        tables.write("comparison", three, spec, tmp_path)


def test_targets(tmp_path: Path) -> None:
    first = save_model(
        tmp_path / "models" / "digits" / "standard.safetensors", apgd_accuracy=0.0125, apgd_steps=25, apgd_images=1000
    )
    # One of before, without APGD.
    second = save_model(tmp_path / "models" / "digits" / "mine.safetensors", pgd_accuracy=None, pgd_epsilon=None)
    tables.write("targets", [first, second], {}, tmp_path)
    frame = pd.read_csv(tmp_path / "targets.csv")
    assert frame["model"].tolist() == ["standard", "mine"]
    assert frame["parameters"].tolist() == [12345, 12345]
    assert frame["training_options"][0] == "epochs=3"
    lines = (tmp_path / "targets.md").read_text().splitlines()
    assert "| 0.020 (0.3) | 0.013 |" in next(line for line in lines if "standard" in line)
    assert frame["apgd_accuracy"].isna().tolist() == [False, True]
    caption = (tmp_path / "targets.tex").read_text()
    assert "Auto-PGD with 25 steps of the cross-entropy" in caption
    assert "PGD accuracy is over the first 1,000 test images" in caption
    assert "over 1,000 test images, chosen likewise" in caption


def test_targets_tell_of_trimming_and_initialisation(tmp_path: Path) -> None:
    trimming = {
        "widths_before": [32, 48],
        "widths_after": [30, 41],
        "parameters_before": 12345,
        "parameters_after": 9876,
    }
    trimming |= {"accuracy_before": 0.9, "accuracy_trimmed": 0.85}
    paths = [
        save_model(tmp_path / "models" / "digits" / "good_init.safetensors", lsuv_variances={"a": 1.004, "b": 0.982}),
        save_model(tmp_path / "models" / "digits" / "trimmed.safetensors", trimming=trimming),
    ]
    tables.write("targets", paths, {}, tmp_path)
    frame = pd.read_csv(tmp_path / "targets.csv").set_index("model")
    assert frame.loc["good_init", "lsuv_deviation"] == pytest.approx(0.018)
    assert np.isnan(frame.loc["trimmed", "lsuv_deviation"])
    assert frame.loc["trimmed", "widths_after"] == "30-41"
    assert np.isnan(frame.loc["good_init", "parameters_before"])
    markdown, latex = ((tmp_path / f"targets.{kind}").read_text() for kind in ("md", "tex"))
    line = "| digits | trimmed | 32-48 to 30-41 | 12 345 to 9 876 | 0.900 | 0.850 | 0.991 |"
    assert line in markdown
    assert "| digits | good_init | 0.0180 |" in markdown
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 3
    # Without such networks there are no such parts.
    tables.write("targets", [save_model(tmp_path / "models" / "digits" / "standard.safetensors")], {}, tmp_path)
    assert "LSUV" not in (tmp_path / "targets.md").read_text()


def test_runtime_reads_rule_and_wildcards_from_the_path(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    paths = []
    for name, line in {
        "attack/digits/standard/cw-confidence-0.5": "2.5\t0:00:02\t300\t1\t1\t1\t0\t0\t90\t2.25\n",
        "attack/digits/standard/ddn": "1.5\t0:00:01\t-\t-\t-\t-\t-\t-\t-\tNA\n",
        "data/digits": "0.5\t0:00:00\t100\t1\t1\t1\t0\t0\t90\t0.4\n",
    }.items():
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + line)
        paths.append(str(path))
    tables.write("runtime", paths, {}, tmp_path)
    frame = pd.read_csv(tmp_path / "runtime.csv")
    assert frame["rule"].tolist() == ["attack", "attack", "data"]
    assert frame["wildcards"].tolist() == ["digits/standard/cw-confidence-0.5", "digits/standard/ddn", "digits"]
    assert np.isnan(frame["max_rss_mb"][1])
    assert "| attack | 2 | 4.0 |" in (tmp_path / "runtime.md").read_text()
    # A job that could not write what it used.
    Path(paths[0]).write_text("")
    tables.write("runtime", paths, {}, tmp_path)
    assert "| attack | 2 | 1.5 |" in (tmp_path / "runtime.md").read_text()
    with pytest.raises(InfoadvError, match="benchmarks"):
        tables.write("runtime", [str(tmp_path / "elsewhere.tsv")], {}, tmp_path)


def test_runtime_adds_up_the_shards_of_an_attack(tmp_path: Path) -> None:
    paths = []
    for seconds, name in enumerate(
        (
            "attack/d/m/ddn",
            "attack_shard/d/m/cw/0",
            "attack_shard/d/m/cw/1",
            "attack_shard/d/m/fgsm/0",
            "gather/d/m/cw",
        ),
        1,
    ):
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t{seconds}\n")
        paths.append(str(path))
    tables.write("runtime", paths, {}, tmp_path)
    text = (tmp_path / "runtime.md").read_text()
    assert "| d/m/cw | 3 | 10.0 | 3.0 | 5.0 | 10.0 |" in text
    assert "| d/m/fgsm | 1 | 4.0 |" in text
    assert "| attack_shard | d/m/cw/1 | 3.0 |" in text
    assert "\n| d/m/ddn |" not in text
    tables.write("runtime", paths[:1], {}, tmp_path)
    assert "Sharded" not in (tmp_path / "runtime.md").read_text()


def test_provenance_names_the_files_that_an_artefact_was_made_from(tmp_path: Path) -> None:
    model = save_model(tmp_path / "models" / "digits" / "standard.safetensors")
    header = {"libraries": ("scipy",), "device": "cuda", "seed": 3, "dataset": "digits", "model": "standard"}
    for name, given in {"known": model, "lost": __file__}.items():
        made = artifacts.provenance("attack", {"name": name}, inputs={"model": given}, **header)
        artifacts.save_tensors(tmp_path / f"{name}.safetensors", {"index": np.zeros(1)}, made)
    paths = [model, *(str(tmp_path / f"{name}.safetensors") for name in ("known", "lost"))]
    tables.write("provenance", paths, {}, tmp_path)
    frame = pd.read_csv(tmp_path / "provenance.csv", keep_default_na=False).set_index("file")
    assert frame.loc[paths[1], "made_from"] == model.removesuffix(".safetensors")
    assert frame.loc[paths[2], "made_from"] == f"model {artifacts.file_digest(__file__)[:12]}"
    assert frame.loc[model, "sha256"] == artifacts.file_digest(model)
    assert frame.loc[paths[1], ["kind", "device"]].tolist() == ["attack", "cuda"]
    assert frame["seed"].tolist() == [0, 3, 3]
    assert "scipy " in frame.loc[paths[1], "libraries"]
    # The two attacks differ in their specification alone.
    assert frame["specification_sha256"].nunique() == 3
    assert "| attack | 2 |" in (tmp_path / "provenance.md").read_text()


def test_metrics_tell_what_made_an_attack_whose_images_are_gone(tmp_path: Path, monkeypatch) -> None:
    made = artifacts.provenance("attack", {"name": "a"}, inputs={"model": __file__}, seed=3, dataset="d", model="m")
    images = tmp_path / "results" / "attacks" / "d" / "m" / "a.safetensors"
    artifacts.save_tensors(images, {"index": np.zeros(1)}, made)
    measured = metrics(tmp_path, "a", [True, True], l2=[1.0, 2.0])
    frame, header = artifacts.load_rows(measured, "metrics")
    of_images = {
        "attacked": {"attack": artifacts.read_header(images)},
        "inputs": {"attack": artifacts.file_digest(images)},
    }
    artifacts.save_rows(measured, frame, header | of_images)
    monkeypatch.chdir(tmp_path)
    tables.write("provenance", [measured, "results/attacks/d/m/a.safetensors"], {}, tmp_path)
    known = pd.read_csv(tmp_path / "provenance.csv", keep_default_na=False).set_index("file")
    images.unlink()
    tables.write("provenance", [measured], {}, tmp_path)
    told = pd.read_csv(tmp_path / "provenance.csv", keep_default_na=False).set_index("file")
    assert told.to_dict() == known.to_dict()
    assert told.loc[measured, "made_from"] == "attacks/d/m/a"


def test_a_page_shows_what_the_markdown_says_and_runs_none_of_it(tmp_path: Path) -> None:
    text = "Note <script>alert(1)</script>\n\n### digits, a\n\n"
    text += markdown_table(["Attack", "L2"], [[Cell("C&W | <b>"), Cell("1.0", strong=True, home=True)]])
    shown = page.html("a & b", text)
    assert "<title>a &amp; b</title>" in shown
    assert "<script>alert" not in shown
    assert "<td" in shown
    assert "C&amp;W | &lt;b&gt;</td>" in shown
    assert "<strong>1.0</strong>\u2020" in shown
    assert not re.search(r"(src|href)=|https?:", shown)


def test_errors_say_what_to_do(three: list[str], spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        InfoadvError,
        match="tables has no 'nosuch'; it has: claims, comparison, detection, objectives",
    ):
        tables.write("nosuch", three, spec, tmp_path)
    with pytest.raises(InfoadvError, match="given twice"):
        tables.write("quality", [three[0], three[0]], spec, tmp_path)
    with pytest.raises(InfoadvError, match="no metric artefact"):
        tables.write("quality", [], spec, tmp_path)
    with pytest.raises(InfoadvError, match="'calibration' artefact, a 'metrics' artefact is needed"):
        tables.write("quality", [save_calibration(tmp_path / "c.parquet", (1,), (8,), 1)], spec, tmp_path)


def test_tables_repeat_byte_for_byte(tmp_path: Path) -> None:
    entries = {"a": {}, "b": {"strength": 0.1}}
    inputs = save_results(tmp_path, entries, (("digits", "standard", 1),))["metrics"]
    spec = specification(a={}, b={})
    for folder in ("one", "two"):
        for name in ("quality", "comparison"):
            tables.write(name, inputs, spec, tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_report_imports_no_torch() -> None:
    code = (
        "import importlib, pkgutil, sys, infoadv.report as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
