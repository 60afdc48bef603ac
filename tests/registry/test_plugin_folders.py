"""Plugin folders: what they offer is known, what cannot be used is refused in one line that names file and line, nothing runs."""

from __future__ import annotations

import os
import sys

import pytest
import yaml

from helpers import ROOT
from infoadv import InfoadvError, artifacts, cli, config, models
from infoadv.models import ModelError
from infoadv.pipeline import code_inputs
from infoadv.registry import plugins

ATTACK = """\
SCHEMA = {"own": {}}

def own(model, images, labels, *, targets=None, indices=None, seed=0, steps: int = 3):
    raise SystemExit
"""
METRIC = """\
SCHEMA = {"own": {}}
ABOUT = {"own": {"label": "Own", "better": "lower", "group": "distance", "description": "own"}}

def own(clean, adversarial, *, context):
    return clean
"""


@pytest.fixture(autouse=True)
def none_before(monkeypatch):
    """Take the variable away for a test, and what the test makes of it afterwards."""
    monkeypatch.setenv(plugins.VARIABLE, "")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty plugin folder in the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own"


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())


def put(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_folder_offers_is_known_under_the_configuration_that_names_it_and_no_other(folder, raw):
    put(folder, "attacks/own.py", ATTACK)
    wanted = {**raw, "plugins": ["own"], "attacks": {**raw["attacks"], "mine": {"method": "own"}}}
    assert config.Config(wanted).attacks["mine"].options == {"digits": {"steps": 3}}
    assert os.environ[plugins.VARIABLE] == str(folder)
    with pytest.raises(
        config.ConfigError, match=r"attacks\.mine\.method|attacks\.mine: there is no attack method 'own'"
    ):
        config.Config({**wanted, "plugins": []})
    assert "own" not in plugins.names("attacks")


def test_options_follow_the_folder_in_use(folder, raw):
    put(folder, "attacks/own.py", ATTACK)
    put(folder.parent / "other", "attacks/own.py", ATTACK.replace("steps: int = 3", "size: float"))
    raw["attacks"]["mine"] = {"method": "own"}
    assert config.Config({**raw, "plugins": ["own"]}).attacks["mine"].options["digits"] == {"steps": 3}
    with pytest.raises(config.ConfigError, match=r"attacks\.mine\.options: lacks the key 'size'"):
        config.Config({**raw, "plugins": ["other"]})


def test_a_folder_is_looked_for_in_the_folder_of_the_run(folder, raw, capsys):
    put(folder.parent / "run" / "own", "attacks/own.py", ATTACK)
    raw |= {"plugins": ["own"]}
    raw["attacks"]["mine"] = {"method": "own"}
    (folder.parent / "c.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert cli.main(["check", "c.yaml"]) == 2
    assert "c.yaml: plugins: own: no such folder; make it with `infoadv new`" in capsys.readouterr().err
    assert cli.main(["check", "c.yaml", "--directory", "run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs code  own (attacks/own.py)"
    assert cli.main(["status", "--configfile", "c.yaml", "--directory", "run"]) == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("own", 'plugins: "own" is not allowed; give a list'),
        (["../own"], "plugins.0: '../own' leaves the working directory"),
        (["a:b"], 'plugins.0: "a:b" is not allowed; give a folder in the working directory'),
        (["{x}"], 'plugins.0: "{x}" is not allowed'),
        (["own", "own"], "plugins: .*non-unique"),
        (["absent"], "plugins: absent: no such folder"),
        (["empty"], "plugins: empty: has none of the folders attacks, metrics, "),
    ],
)
def test_folders_that_are_none_are_refused(folder, raw, given, words):
    (folder.parent / "empty").mkdir()
    put(folder, "attacks/own.py", ATTACK)
    with pytest.raises(config.ConfigError, match=words):
        config.Config({**raw, "plugins": given})
    assert os.environ[plugins.VARIABLE] == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("attacks/own.py", "\n\ndef own(:\n", r"own/attacks/own\.py: line 3: not Python"),
        ("attacks/own.py", "SCHEMA = {}\0", r"own/attacks/own\.py: .*(not|cannot be read as) Python"),
        ("attacks/own.py", "import torch\n", r"own/attacks/own\.py: declares nothing; write SCHEMA = {\"own\": {}}"),
        ("attacks/own.py", ATTACK.replace("{}", "options()"), r"own\.py: line 1: SCHEMA is no literal"),
        ("attacks/own.py", ATTACK.replace('{"own": {}}', '["own"]'), r"own\.py: line 1: SCHEMA is no mapping of names"),
        ("attacks/own.py", ATTACK.replace("{}", '{"steps": 3}'), r"own\.py: SCHEMA: 'own' is no mapping of options"),
        (
            "attacks/own.py",
            ATTACK.replace("{}", '{"steps": {"type": "whole"}}'),
            r"own\.py: SCHEMA: own\.steps: no JSON schema \('whole'",
        ),
        (
            "attacks/own.py",
            'SCHEMA = {"own": {}}\n',
            r"own\.py: has no function 'own'; write def own\(model, images, labels",
        ),
        (
            "attacks/own.py",
            ATTACK.replace("seed=0, ", ""),
            r"own\.py: line 3: own takes no argument 'seed'; write def own\(model, images, labels, \*, targets=None",
        ),
        ("attacks/own.py", ATTACK.replace("seed=0", "seed"), r"own\.py: line 3: own has no default for 'seed'"),
        (
            "attacks/own.py",
            ATTACK.replace("labels, *", "labels, steps, *"),
            r"line 3: own takes 4 arguments by place and not 3; .* options as keyword arguments",
        ),
        (
            "attacks/Own.py",
            ATTACK,
            r"own/attacks/Own\.py: name it by letters, digits and '_', beginning with a lower-case",
        ),
        (
            "attacks/mine.py",
            ATTACK.replace("own", "ddn"),
            r"mine\.py: attacks already has 'ddn' \(.*foolbox\.py\); choose",
        ),
        (
            "metrics/own.py",
            METRIC.replace('ABOUT = {"own"', 'ABOUT = {"owl"'),
            r"own\.py: ABOUT has to say of 'own': better, description, g",
        ),
        (
            "figures/own.py",
            "def drew(): ...\n",
            r"figures/own\.py: has no function 'draw'; write def draw\(inputs, spec",
        ),
        (
            "figures/cost.py",
            "def draw(inputs, specification): ...\n",
            r"cost\.py: figures already has 'cost' \(.*; choose",
        ),
        (
            "tables/own.py",
            "def build(inputs): ...\n",
            r"tables/own\.py: line 1: build takes 1 arguments by place and not 2",
        ),
        ("attacks/_helper.py", "1 +\n", r"own/attacks/_helper\.py: line 1: not Python"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(folder, raw, capsys, name, text, words):
    put(folder, name, text)
    (folder.parent / "c.yaml").write_text(yaml.safe_dump({**raw, "plugins": ["own"]}, sort_keys=False))
    assert cli.main(["check", "c.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("infoadv: error: c.yaml: plugins: own/")
    with pytest.raises(InfoadvError, match=words):
        config.load("c.yaml")


def test_two_folders_cannot_offer_one_name(folder, raw):
    put(folder, "attacks/own.py", ATTACK)
    put(folder.parent / "other", "attacks/mine.py", ATTACK)
    with pytest.raises(
        InfoadvError, match=r"other/attacks/mine\.py: attacks already has 'own' \(own/attacks/own\.py\)"
    ):
        config.Config({**raw, "plugins": ["own", "other"]})


def test_a_folder_of_the_environment_that_is_gone_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(InfoadvError, match=r"INFOADV_PLUGINS: .*gone: no such folder; correct or unset"):
        plugins.names("attacks")


def test_files_import_each_other_and_all_they_import_is_their_code(folder, raw, capsys):
    put(folder, "attacks/_steps.py", "from ..shared import FACTOR\nSTEPS = 2 * FACTOR\n")
    put(folder, "shared.py", "import beside\nFACTOR = beside.FACTOR\n")
    put(folder.parent, "beside.py", "FACTOR = 3\n")
    path = put(
        folder,
        "attacks/own.py",
        "from infoadv.attacks import jsma, margin\nfrom infoadv.metrics.distances import l2\nfrom ._steps import STEPS\n"
        + ATTACK,
    )
    raw |= {"plugins": ["own"]}
    raw["attacks"]["mine"] = {"method": "own"}
    files = code_inputs.of_run(config.Config(raw), "digits", "standard", "mine")
    own = {file.relative_to(folder.parent).as_posix() for file in files if file.is_relative_to(folder.parent)}
    assert own == {"own/attacks/own.py", "own/attacks/_steps.py", "own/shared.py", "beside.py"}
    package = {file.relative_to(plugins.PACKAGE).as_posix() for file in files if file.is_relative_to(plugins.PACKAGE)}
    assert {"attacks/saliency_map.py", "metrics/distances.py", "numerics/margins.py"} <= package
    assert "attacks/foolbox.py" not in package
    sys.path.insert(0, str(folder.parent))
    try:
        assert plugins.module("attacks", "own").STEPS == 6
    finally:
        sys.path.remove(str(folder.parent))
    assert f"running code: {path}" in capsys.readouterr().err


def test_a_file_that_fails_when_it_is_imported_is_named_with_its_line(folder):
    put(folder, "attacks/own.py", "import nothing_of_this_name\n" + ATTACK)
    plugins.use([folder])
    with pytest.raises(
        InfoadvError, match=r"own/attacks/own\.py, line 1: cannot be imported \(ModuleNotFoundError: No modu"
    ):
        plugins.load("attacks", "own")


NETWORK = """\
from pathlib import Path
from torch import nn

Path("ran").touch()
SCHEMA = {"theirs": {}}

def theirs(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def test_an_artefact_that_names_an_architecture_of_a_folder_runs_nothing_unless_the_folder_is_allowed(folder):
    put(folder, "models/theirs.py", NETWORK)
    plugins.use([folder])
    tensors = models.weights_of(models.build("theirs", {}, (1, 8, 8), 3, [0.0], [1.0]))
    header = artifacts.provenance("model", {"architecture": "theirs", "options": {}})
    artifacts.save_tensors("m.safetensors", tensors, header | {"dataset_shape": [1, 8, 8], "classes": 3})
    (folder.parent / "ran").unlink()
    for name in [name for name in sys.modules if name.startswith("infoadv_plugins_")]:
        del sys.modules[name]
    plugins.use([])
    with pytest.raises(
        ModelError, match=r"m\.safetensors: .*'theirs', which there is none of; .* set INFOADV_PLUGINS to"
    ):
        models.load("m.safetensors")
    assert not (folder.parent / "ran").exists()
    plugins.use([folder])
    models.load("m.safetensors")
    assert (folder.parent / "ran").exists()


def test_checking_a_configuration_runs_no_file_of_its_folders(folder, raw, capsys):
    put(folder, "models/theirs.py", NETWORK)
    raw |= {"plugins": ["own"]}
    raw["models"]["theirs"] = {"architecture": "theirs"}
    (folder.parent / "c.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert cli.main(["check", "c.yaml"]) == 0
    assert "runs code  own (models/theirs.py)" in capsys.readouterr().out
    assert not (folder.parent / "ran").exists()
