"""The committed reference is one run of one commit, and no older than the configuration that it says it is of."""

from __future__ import annotations

import hashlib
import re

import pandas as pd
import pytest

from helpers import ROOT
from infoadv import artifacts, config
from infoadv.pipeline import layout, report_inputs

PROVENANCE = ROOT / "results" / "reference" / "provenance.csv"

pytestmark = pytest.mark.skipif(
    not PROVENANCE.is_file(), reason="the committed reference was made before `make reference`: it has no provenance"
)


@pytest.fixture(scope="module")
def provenance() -> pd.DataFrame:
    return pd.read_csv(PROVENANCE, keep_default_na=False).set_index("file")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> config.Config:
    folder = tmp_path_factory.mktemp("reference")
    # The photographs are not in the repository; their folder is asked for by name alone.
    (folder / "clothing").mkdir()
    return config.load(ROOT / "config" / "reference.yaml", folder)


def test_all_artefacts_are_of_one_commit(provenance: pd.DataFrame) -> None:
    commits = provenance["commit"].unique().tolist()
    assert len(commits) == 1, commits
    # Neither "none" nor a checkout with changes.
    assert re.fullmatch("[0-9a-f]{40}", commits[0])
    assert provenance["version"].nunique() == 1


def test_every_artefact_of_the_configuration_is_there_and_no_other(
    provenance: pd.DataFrame, settings: config.Config
) -> None:
    assert set(provenance.index) == set(report_inputs.artefacts(settings))


def test_attacks_are_those_that_the_configuration_asks_for_now(
    provenance: pd.DataFrame, settings: config.Config
) -> None:
    for run in settings.runs:
        asked = artifacts.canonical_json(settings.attacks[run.attack].specification(run.dataset))
        found = provenance.loc[layout.attack_file(run), "specification_sha256"]
        assert found == hashlib.sha256(asked.encode()).hexdigest(), run


def test_networks_are_those_that_the_configuration_asks_for_now(
    provenance: pd.DataFrame, settings: config.Config
) -> None:
    for dataset, model in settings.trained():
        asked = artifacts.canonical_json(settings.models[model][dataset])
        found = provenance.loc[layout.model_file(dataset, model), "specification_sha256"]
        assert found == hashlib.sha256(asked.encode()).hexdigest(), (dataset, model)
