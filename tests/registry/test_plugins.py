"""Plugins: what a file declares is what its function takes, and reading it imports nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import jsonschema
import pytest

from infoadv import InfoadvError
from infoadv.registry import plugins
from infoadv.training import COMMON

FOLDERS = ("attacks", "data", "metrics", "models", "training")
NAMES = [(folder, name) for folder in FOLDERS for name in plugins.schemas(folder)]
#: What the stages pass to every function of a folder, beside its options.
PASSED = {
    "attacks": {"indices", "seed", "targets"},
    "data": set(),
    "metrics": {"context"},
    "models": set(),
    "training": {"smoothing", "generator"},
}
#: Options that have no default by their nature.
REQUIRED = {
    ("data", "npz", "path"),
    ("data", "folder", "path"),
    ("data", "torchvision", "name"),
    ("models", "torchvision", "name"),
    ("models", "robustbench", "name"),
    ("attacks", "gaussian_noise", "like"),
}
#: Options without a default in the schema, whose function has None.
ABSENT = {("data", "npz", "class_names")}


def options_of(function):
    """Return {name: default} of the keyword-only parameters of ``function``."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Yield an empty folder of plugins called ``toys``."""
    monkeypatch.setattr(plugins, "PACKAGE", tmp_path)
    plugins._literals.cache_clear()
    (tmp_path / "toys").mkdir()
    yield tmp_path / "toys"
    plugins._literals.cache_clear()


@pytest.mark.parametrize(("folder_name", "name"), NAMES, ids=[f"{f}.{n}" for f, n in NAMES])
def test_the_function_takes_what_the_schema_declares(folder_name, name):
    schema = plugins.schemas(folder_name)[name]
    function = plugins.load(folder_name, name)
    assert callable(function)
    assert plugins.source_file(folder_name, name).samefile(inspect.getfile(inspect.unwrap(function)))
    declared = dict(schema)
    passed = set(PASSED[folder_name])
    if name == "gaussian_noise":
        # The harness turns the name of an attack into the norms of its perturbations.
        assert set(declared) == {"like"}
        declared, passed = {}, passed | {"norms"}
    if folder_name == "attacks" and "reference" in schema.get("backbone", {}).get("enum", []):
        # The network that the harness loads for this backbone.
        passed |= {"reference"}
    if "teacher" in plugins.literals(folder_name, "NEEDS").get(name, []):
        passed |= {"teacher"}
    options = options_of(function)
    assert passed <= set(options)
    options = {key: value for key, value in options.items() if key not in passed}
    assert set(options) == set(declared)
    for key, default in options.items():
        if (folder_name, name, key) in ABSENT:
            assert default is None
        elif (folder_name, name, key) in REQUIRED:
            assert default is inspect.Parameter.empty
        else:
            # A default that cannot be changed by accident is a tuple; JSON has lists.
            assert declared[key]["default"] == json.loads(json.dumps(default)), key


def declared_options():
    for folder in (*FOLDERS, "figures"):
        for name, schema in plugins.schemas(folder).items():
            yield from (((folder, name, key), option) for key, option in schema.items())
    yield from ((("training", "every recipe", key), option) for key, option in COMMON.items())


@pytest.mark.parametrize(("key", "option"), [pytest.param(k, o, id=".".join(k)) for k, o in declared_options()])
def test_every_option_is_described_and_its_default_is_allowed(key, option):
    assert len(option["description"]) > 5
    assert "\n" not in option["description"]
    jsonschema.Draft202012Validator.check_schema(option)
    if "default" in option:
        jsonschema.validate(option["default"], option)
    elif key[0] != "figures":
        assert key in REQUIRED | ABSENT


def test_reading_schemas_imports_nothing_heavy():
    script = (
        "import sys\nfrom infoadv.registry import plugins\n"
        f"for folder in {FOLDERS!r}: assert plugins.schemas(folder)\n"
        "assert plugins.literals('metrics', 'ABOUT')\n"
        "heavy = {'torch', 'numpy', 'pandas', 'foolbox', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'infoadv.attacks' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": str(plugins.PACKAGE.parent)})


def test_a_new_file_is_enough(folder):
    (folder / "first.py").write_text("SCHEMA = {'one': {}, 'two': {'size': {'type': 'integer'}}}\n")
    (folder / "second.py").write_text("SCHEMA: dict[str, dict] = {'three': {}}\nimport nothing_of_this_name\n")
    (folder / "helper.py").write_text("OTHER = {'four': {}}\n")
    assert plugins.schemas("toys") == {"one": {}, "two": {"size": {"type": "integer"}}, "three": {}}
    assert plugins.source_file("toys", "three") == folder / "second.py"


def test_two_files_with_one_name_are_an_error(folder):
    (folder / "first.py").write_text("SCHEMA = {'one': {}}\n")
    (folder / "second.py").write_text("SCHEMA = {'one': {}}\n")
    with pytest.raises(InfoadvError, match=r"second\.py: toys already has 'one' \(.*first\.py\); choose another name"):
        plugins.schemas("toys")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InfoadvError, match=r"no 'smal_cnn'; did you mean 'small_cnn'\? it has: .*resnet"):
        plugins.load("models", "smal_cnn")
    with pytest.raises(InfoadvError, match="no 'imagenet'"):
        plugins.source_file("data", "imagenet")
