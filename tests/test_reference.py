"""The committed reference is one run of one commit, and no older than the configuration that it says it is of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from helpers import ROOT
from helpers.provenance import problems
from infoadv import artifacts, config

REFERENCE = ROOT / "results" / "reference"
#: The runs of `make reference`, and where their tables are.
COMMITTED = {"reference": REFERENCE / "provenance.csv", "profiles": REFERENCE / "profiles" / "provenance.csv"}
NETWORKS = ROOT / "results" / "networks"
SMALL = ROOT / "tests" / "workflow" / "config.yaml"


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


@pytest.mark.parametrize("run", COMMITTED)
def test_a_committed_run_is_of_one_commit_and_of_its_configuration(run: str, tmp_path: Path) -> None:
    # The photographs are not in the repository; folders are asked for by name alone.
    for folder in ("clothing", "networks"):
        (tmp_path / folder).mkdir()
    settings = config.load(ROOT / "config" / f"{run}.yaml", tmp_path)
    assert problems(read(COMMITTED[run]), settings) == []


def test_both_committed_runs_are_of_one_commit() -> None:
    assert len({commit for path in COMMITTED.values() for commit in read(path)["commit"]}) == 1


def test_the_committed_rows_are_those_that_the_tables_were_made_from() -> None:
    provenance = read(COMMITTED["reference"])
    made = provenance[provenance["file"].str.endswith(".parquet")]
    rows = REFERENCE / "rows" / "reference"
    digests = {path.relative_to(rows).as_posix(): artifacts.file_digest(path) for path in rows.rglob("*.parquet")}
    assert digests == dict(zip(made["file"], made["sha256"], strict=True))


def make_reference(folder: Path, rows: str) -> subprocess.CompletedProcess[str]:
    """Run `make reference` in ``folder`` with a Snakemake that does nothing; it fails where it looks for tables at the latest."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "snakemake").write_text("#!/bin/sh\necho planned $@ >> calls\n")
    (folder / "bin" / "snakemake").chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), "-o", ".venv/.stamp", "reference", "BIN=bin", f"ROWS={rows}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_rows_of_an_earlier_run_are_taken_once_and_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    refused = make_reference(tmp_path, "nowhere")
    assert refused.returncode != 0
    assert "make: ROWS=nowhere: no such folder" in refused.stderr
    assert not (tmp_path / "calls").exists()
    row = Path("results", "metrics", "row.parquet")
    (tmp_path / "rows" / "reference" / row).parent.mkdir(parents=True)
    (tmp_path / "rows" / "reference" / row).write_text("earlier")
    make_reference(tmp_path, "rows")
    made = tmp_path / "build" / "reference" / row
    assert made.read_text() == "earlier"
    # What the run has made since stays when the same command goes on.
    made.write_text("later")
    make_reference(tmp_path, "rows")
    assert made.read_text() == "later"


def test_the_reference_has_what_its_findings_ask_for(tmp_path: Path) -> None:
    for folder in ("clothing", "networks"):
        (tmp_path / folder).mkdir()
    settings = config.load(ROOT / "config" / "reference.yaml", tmp_path)
    kin = ("kin_deviation", "kin_sigma_map", "kin_jnd", "kin_noise_visibility")
    swept = {f"{attack}-temperature-1" for attack in ("mi_observer", "mi_masking", *kin)}
    assert swept | {"alma_l2", "mi_mine_published-learning_rate-0.1", "mi_masking-steps-50"} <= settings.attacks.keys()
    # One search for every objective.
    compared = ("mi_projection", "mi_masking", "mi_observer", "mi_observer_sensitive", *kin)
    for option in ("first_step", "norm_change", "momentum", "temperature"):
        assert len({settings.attacks[attack].options["cifar10"][option] for attack in compared}) == 1


def test_the_committed_networks_are_those_of_the_reference_configuration(tmp_path: Path) -> None:
    """They are taken by `make reference`, so they must be what it asks for; one that is not there is trained."""
    for folder in ("clothing", "networks"):
        (tmp_path / folder).mkdir()
    runs = [config.load(ROOT / "config" / f"{name}.yaml", tmp_path) for name in ("reference", "profiles")]
    files = sorted(NETWORKS.glob("*/*"))
    assert files
    for file in files:
        header = artifacts.load_tensors(file, "model")[1]
        settings = next(run for run in runs if file.stem in run.models)
        assert header["specification"] == settings.models[file.stem][file.parent.name], file
        assert header["seed"] == settings.seed + header["specification"]["training"]["seed"], file
        assert re.fullmatch("[0-9a-f]{40}", header.get("trained_commit", header["commit"])), file
        assert file.stat().st_size < 1_500_000, file


@pytest.mark.workflow
def test_a_run_is_told_from_one_of_parts_and_from_one_that_is_older_than_its_configuration(finished: Path) -> None:
    """The table of a run that was made as a whole, and what becomes of it."""
    provenance = read(finished / "results" / "tables" / "provenance.csv").assign(commit="0" * 40)
    settings = config.load(SMALL)
    assert problems(provenance, settings) == []
    for commit in ("1" * 40, "none", "0" * 40 + "-changed"):
        parts = provenance.copy()
        parts.loc[3, "commit"] = commit
        assert any("several commits" in problem for problem in problems(parts, settings))
    assert problems(provenance.assign(commit="none"), settings) == ["commit 'none' is no commit"]
    attack = "results/attacks/digits/standard/ddn.safetensors"
    assert problems(provenance[provenance["file"] != attack], settings) == [f"{attack}: not there"]
    raw = config.read(SMALL)
    raw["attacks"]["ddn"].setdefault("options", {})["gamma"] = 0.123
    assert problems(provenance, config.Config(raw)) == [f"{attack}: older than its configuration"]
    raw = config.read(SMALL)
    raw["models"]["standard"]["training"]["epochs"] += 1
    model = "results/models/digits/standard.safetensors"
    assert problems(provenance, config.Config(raw)) == [f"{model}: older than its configuration"]


def _options(setting: str) -> dict[str, float]:
    """Return the options of one setting of the table ``tuning``."""
    return {name: float(value) for name, value in (option.split() for option in setting.split(", "))}


@pytest.mark.parametrize("name", ["reference", "paper"])
def test_attacks_have_the_options_that_the_tuning_chose(name: str, tmp_path: Path) -> None:
    for folder in ("clothing", "networks"):
        (tmp_path / folder).mkdir()
    settings = config.load(ROOT / "config" / f"{name}.yaml", tmp_path)
    tuning = read(ROOT / "results" / "tuning" / "tuning.csv")
    winners = tuning[tuning["winner"]]
    checked = [attack for attack in winners["attack"].unique() if attack in settings.attacks]
    assert {"mi_mine", "mi_masking", "mi_observer", "cw_l2", "fmn_l2", "alma_ssim", "perc_al"} <= set(checked)
    for attack in checked:
        chosen = {
            row["dataset"]: _options(row["setting"]) for _, row in winners[winners["attack"] == attack].iterrows()
        }
        tuned_on = [dataset for dataset in chosen if dataset in settings.attacks[attack].datasets]
        used = {
            dataset: {option: float(settings.attacks[attack].options[dataset][option]) for option in chosen[dataset]}
            for dataset in tuned_on
        }
        # One setting for all data sets, or each one's own.
        assert all(used[dataset] == chosen.get("all") for dataset in tuned_on) or used == {
            dataset: chosen[dataset] for dataset in tuned_on
        }, attack
