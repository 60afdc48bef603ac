"""What a stranger's configuration or artefact may do here: nothing but be read, inside the project (docs/trust.md)."""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import warnings

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from helpers import ROOT, toys
from infoadv import InfoadvError, artifacts, cli, models
from infoadv.config import Config, ConfigError
from infoadv.config.limits import MAX_ITEMS, project_path
from infoadv.config.schema import PATHS
from infoadv.models import ModelError
from infoadv.pipeline import code_inputs
from infoadv.registry import factories, plugins
from infoadv.report.rendering import Cell, markdown_table, tex


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())


def with_key(raw, path, value):
    changed = copy.deepcopy(raw)
    *parents, last = path.split("/")
    below = changed
    for key in parents:
        below = below.setdefault(key, {})
    below[last] = value
    return changed


def refusal(raw, path, value):
    with pytest.raises(ConfigError) as caught:
        Config(with_key(raw, path, value))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Paths and names of a configuration

OUTSIDE = ["/etc/passwd", "../mine", "a/../../mine", "../..", "./../x", "//host/share"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leaves_the_project_is_refused(raw, path):
    message = refusal(raw, "datasets/mine", {"source": "npz", "path": f"{path}.npz"})
    assert message.startswith("datasets.mine.path: ")
    assert "link it" in message
    assert "INFOADV_DATA" in message
    own = {"factory": "m:f", "weights": f"{path}.safetensors"}
    assert refusal(raw, "models/theirs", own).startswith("models.theirs.weights: ")


def test_a_path_in_the_project_is_taken_without_its_detours(raw):
    raw["datasets"]["mine"] = {"source": "npz", "path": "./a/../data/mine.npz"}
    raw["models"]["theirs"] = {"datasets": ["digits"], "factory": "m:f", "weights": "a//b/./w.safetensors"}
    checked = Config(raw)
    assert checked.datasets["mine"]["path"] == "data/mine.npz"
    assert checked.models["theirs"]["digits"]["weights"] == "a/b/w.safetensors"
    assert checked.factories() == ["m:f"]


def test_a_link_that_the_user_made_may_leave(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    (tmp_path / "project").mkdir()
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "far" / "w.safetensors")
    (tmp_path / "project" / "w.safetensors").symlink_to(tmp_path / "far" / "w.safetensors")
    monkeypatch.chdir(tmp_path / "project")
    path = project_path("w.safetensors", "models.theirs.weights")
    assert artifacts.load_foreign_tensors(path)["a"].tolist() == [1, 1]


def test_every_option_that_is_a_path_is_declared_as_one():
    """A new data source whose option is called a path or file, and is not checked as one, fails here."""
    for folder in ("data", "models", "training", "attacks", "metrics"):
        for name, options in plugins.schemas(folder).items():
            for option, schema in options.items():
                if re.search("path|file|folder|weights|root", option) and schema.get("type") == "string":
                    assert schema.get("format") in PATHS, f"{folder}/{name}: {option}"


@pytest.mark.parametrize("path", ["/etc", "../photos", "photos/../.."])
def test_a_folder_of_pictures_stays_in_the_working_directory(raw, path):
    raw["datasets"]["mine"] = {"source": "folder", "path": path}
    with pytest.raises(ConfigError, match=r"datasets\.mine\.path: .* leaves the working directory"):
        Config(raw)


@pytest.mark.parametrize("section", ["datasets", "models", "attacks"])
@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "", "-o", "x\n", "a b", "é", "a" * 101, "{dataset}"])
def test_a_name_that_is_no_plain_file_name_is_refused(raw, section, name):
    changed = copy.deepcopy(raw)
    changed[section][name] = next(iter(raw[section].values()))
    with pytest.raises(ConfigError, match=f"^{section}: "):
        Config(changed)


@pytest.mark.parametrize("section", ["datasets", "models", "attacks"])
def test_names_that_differ_in_case_only_are_refused(raw, section):
    name, entry = next(iter(raw[section].items()))
    assert refusal(raw, f"{section}/{name.upper()}", entry).startswith(f"{section}: ")


NAMED = {
    "source": ("datasets/d", lambda name: {"source": name}),
    "architecture": ("models/m", lambda name: {"architecture": name}),
    "recipe": ("models/m", lambda name: {"architecture": "small_cnn", "training": {"recipe": name}}),
    "method": ("attacks/a", lambda name: {"method": name}),
    "metric": ("metrics", lambda name: {name: {}}),
    "figure": ("figures", lambda name: {name: {}}),
}


@pytest.mark.parametrize("key", list(NAMED))
@pytest.mark.parametrize("name", ["..", "os", "../x", "os.path", "__init__", "a/b", "harness", "infoadv.cli"])
def test_a_name_that_the_package_does_not_offer_imports_nothing(raw, key, name):
    path, entry = NAMED[key]
    assert repr(name) in refusal(raw, path, entry(name))


@pytest.mark.parametrize("name", ["..", "os", "../x", "../../cli", "__init__", ""])
def test_a_module_is_loaded_by_a_name_on_the_list_alone(name):
    for folder in ("data", "models", "attacks", "metrics", "training"):
        with pytest.raises(InfoadvError):
            plugins.load(folder, name)
    for kind in ("tables", "figures"):
        with pytest.raises(InfoadvError):
            plugins.module(kind, name)


@pytest.mark.parametrize("label", ["=HYPERLINK(1)", "+1", "-1", "@x", "two\nlines", "bell\a", "x" * 101, ""])
def test_a_label_that_means_something_to_a_spreadsheet_or_a_terminal_is_refused(raw, label):
    assert refusal(raw, "attacks/ddn/label", label).startswith("attacks.ddn.label: ")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("seed", 4.0, "seed: 4.0 is not allowed; give an integer"),
        ("images", True, "images: true is not allowed"),
        ("images", 2**70, "beyond 64 bits"),
        ("data_root", "a\0b", "data_root: "),
        ("models/standard/options/width", [0] * (MAX_ITEMS + 1), "1,001 items"),
        ("models/standard/options", {5: 1}, "models.standard.options: 5 is no key"),
        ("__use_yte__", True, "__use_yte__: Snakemake would run expressions of this file as Python code"),
    ],
)
def test_a_value_that_no_stage_could_take_is_refused(raw, path, value, words):
    assert words in refusal(raw, path, value)


# Code that an artefact names


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """Make a project with a factory in a package that imports two more of its files; return its folder."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "main.py").write_text(
        "import json, blocks\nfrom . import parts\nfrom helpers.toys import linear_factory as network\n"
    )
    (tmp_path / "nets" / "parts.py").write_text("from nets.main import network\nimport nowhere\n")
    (tmp_path / "blocks.py").write_text("import os\n")
    (tmp_path / "other.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_files_of_a_factory_are_those_that_importing_it_runs(own_code):
    files = factories.sources("nets.main:network")
    assert [path.relative_to(own_code).as_posix() for path in files] == [
        "blocks.py",
        "nets/__init__.py",
        "nets/main.py",
        "nets/parts.py",
    ]
    assert factories.sources("torchvision.models:resnet18") == []
    (own_code / "nets" / "main.py").write_text("no python")
    assert [path.name for path in factories.sources("nets.main:network")] == ["__init__.py", "main.py"]


def test_code_of_a_users_network_is_an_input_of_every_job_that_runs_it(own_code, raw):
    raw["models"]["theirs"] = {"factory": "nets.main:network", "weights": "w.safetensors"}
    raw["models"]["both"] = {"members": ["standard", "theirs"]}
    checked = Config(raw)
    file = own_code / "nets" / "parts.py"
    for model in ("theirs", "both"):
        assert file in code_inputs.of_model(checked, "digits", model)
        assert file in code_inputs.of_run(checked, "digits", model, "ddn")
        assert file in code_inputs.of_metrics(checked, "digits", model)
    assert file not in code_inputs.of_model(checked, "digits", "standard")


def test_a_stranger_s_artefact_calls_nothing(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(os, "system", called.append)
    header = artifacts.provenance("model", {"factory": "os:system", "options": {"command": "true"}})
    header |= {"dataset_shape": [1, 8, 8], "classes": 3}
    artifacts.save_tensors(tmp_path / "m.safetensors", {}, header)
    with pytest.raises(
        ModelError, match=r"m\.safetensors: .*'os:system', which is code; .*INFOADV_FACTORIES=os:system"
    ):
        models.load(tmp_path / "m.safetensors")
    members = {"a": header, "b": header}
    ensemble = artifacts.provenance("model", {"members": ["a", "b"]}, members=members)
    artifacts.save_tensors(tmp_path / "e.safetensors", {}, ensemble)
    with pytest.raises(ModelError, match="which is code"):
        models.load(tmp_path / "e.safetensors")
    assert not called


def test_a_factory_that_the_user_allows_is_called_and_named_in_the_log(tmp_path, monkeypatch, capsys):
    _, path = toys.linear_artifacts(tmp_path)
    monkeypatch.setenv("INFOADV_FACTORIES", "a:b,helpers.toys:linear_factory")
    models.load(path)
    assert f"running code: helpers.toys:linear_factory from {toys.__file__}" in capsys.readouterr().err
    monkeypatch.setenv("INFOADV_FACTORIES", "helpers.toys:own_network")
    with pytest.raises(ModelError, match="which is code"):
        models.load(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"architecture_options": {"dense": 16384, "stages": [[4096] * 32] * 3}}, "of shape .*, which is"),
        ({"architecture_options": {"dense": 10**9}}, "dense"),
        ({"architecture_options": {"depth": 3}}, "depth"),
        ({"architecture_options": None}, "options"),
        ({"dataset_shape": [1, 10**9, 10**9]}, "shape"),
        ({"dataset_shape": [10**12, 16, 16]}, "shape"),
        ({"classes": 10**15}, "classes"),
        ({"classes": "3"}, "classes"),
        ({"specification": {"architecture": "os", "options": {}}}, "os"),
        ({"specification": {"members": ["a"]}}, "describes no network"),
        ({"specification": {}}, "describes no network"),
    ],
)
def test_a_header_that_asks_for_another_network_than_its_weights_takes_no_memory(tmp_path, changed, words):
    options = {"stages": [[2], [2], [2]], "dense": 4}
    network = models.build("fitnet4", options, (1, 16, 16), 3, [0.5], [0.5])
    header = artifacts.provenance("model", {"architecture": "fitnet4", "options": options})
    header |= {"dataset_shape": [1, 16, 16], "classes": 3}
    path = tmp_path / "m.safetensors"
    artifacts.save_tensors(path, models.weights_of(network), header)
    models.load(path)
    artifacts.save_tensors(path, models.weights_of(network), header | changed)
    with pytest.raises(ModelError, match=rf"m\.safetensors: .*{words}"):
        models.load(path)


def test_pretrained_weights_are_read_without_unpickling_and_reach_the_layers_of_lpips(tmp_path, monkeypatch):
    import lpips as package
    import torchvision

    from infoadv.metrics import learned

    for backbone, build in (("squeeze", torchvision.models.squeezenet1_1), ("alex", torchvision.models.alexnet)):
        torch.manual_seed(0)
        state = build(weights=None).state_dict()
        file = tmp_path / f"{backbone}.pth"
        torch.save(state, file)
        monkeypatch.setattr(learned, "fetch", lambda _, file=file: file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = learned._pretrained.__wrapped__(backbone, torch.device("cpu"))
            monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", lambda *_, s=state, **__: s)
            theirs = package.LPIPS(net=backbone, verbose=False).eval()
        images = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(ours(*images), theirs(*images))


# Text that a stranger chose, where somebody reads it


def test_text_in_tables_is_text():
    rows = [[Cell('<img src=x onerror="alert(1)">|[x](javascript:1)\nnext')]]
    lines = markdown_table(["Name"], rows).splitlines()
    assert lines[2] == r'| &lt;img src=x onerror="alert(1)">\|[x]\(javascript:1) next |'
    assert len(lines) == 3
    assert Cell("<0.001 [0.1, 0.2]").markdown() == "<0.001 [0.1, 0.2]"
    assert tex("[x]\n\\input{/etc/passwd}") == r"{}[x] \textbackslash{}input\{/etc/passwd\}"


def test_no_specification_ends_the_script_that_a_report_keeps_it_in():
    label = "</script><script>alert(1)</script>"
    text = artifacts.canonical_json({"label": label})
    assert "<" not in text
    assert json.loads(text) == {"label": label}


def test_an_error_message_holds_no_control_character(tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"format": 1, "kind": "\x1b]0;owned\x07", "specification": {}, "inputs": {}})
    save_file({}, path, metadata={"infoadv": header})
    assert cli.main(["figure", "calibration", "--spec", "{}", "--out-stem", "x", "--numbers", "y", str(path)]) == 2
    assert cli.main(["show", str(tmp_path / "\x1b[31m.safetensors")]) == 2
    assert capsys.readouterr().err.replace("\n", "").isprintable()


# Calls that unpickle or run text

#: Modules that nothing here may import.
FORBIDDEN = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "pty"}
#: Functions that run text as code: those of Python itself, and others by their last names.
BUILT_IN = {"eval", "exec", "compile", "__import__"}
CODE = {
    *("system", "popen", "getoutput", "getstatusoutput", "run_path", "run_module", "spec_from_file_location"),
    *("read_pickle", "to_pickle", "unsafe_load", "full_load", "load_all", "import_module"),
}
#: Functions that are safe with one argument only, by module and name.
NEEDS = {
    ("torch", "load"): ("weights_only", True),
    ("hub", "load_state_dict_from_url"): ("weights_only", True),
    ("np", "load"): ("allow_pickle", False),
    ("numpy", "load"): ("allow_pickle", False),
}
#: What is found all the same, and why that is no way in.
EXPLAINED = {
    ("registry/factories.py", "import_module"): "model.factory, which is documented as code",
    ("registry/plugins.py", "import_module"): "files of the package and of plugin folders, which are code",
    ("__init__.py", "import_module"): "modules of the package that the file itself names",
    ("execution/forkserver.py", "import_module"): "packages that the file itself names",
    ("execution/forkserver.py", "run_module"): "infoadv itself",
    ("attacks/adv_lib.py", "import_module"): "modules of adv-lib that the file itself names",
    ("metrics/human.py", "import_module"): "the packages of the judges that the file itself names",
    ("metrics/perceptual.py", "import_module"): "modules of piq that the file itself names",
}


def findings(source):
    """Yield the name of every call and import in Python text that could run somebody else's data as code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from ({name.split(".")[0] for name in names} & FORBIDDEN)
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = function.value if isinstance(function, ast.Attribute) else None
        module = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        # `model.eval()` and `re.compile()` run no text.
        if name in CODE or (name in BUILT_IN and isinstance(function, ast.Name)):
            yield name
        if (module, name) == ("yaml", "load") or given.get("shell") is True:
            yield name
        if (module, name) in NEEDS and given.get(NEEDS[module, name][0]) is not NEEDS[module, name][1]:
            yield name


def test_nothing_unpickles_and_nothing_runs_text():
    found = {}
    for path in sorted((ROOT / "src" / "infoadv").rglob("*.py")):
        for name in findings(path.read_text(encoding="utf-8")):
            found[path.relative_to(ROOT / "src" / "infoadv").as_posix(), name] = path
    assert set(found) == set(EXPLAINED)


def test_the_workflow_runs_no_text_either():
    # Rules are no Python, so their words are looked at.
    for path in [ROOT / "Snakefile", ROOT / "workflow" / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]:
        words = re.findall(r"\w+", path.read_text(encoding="utf-8"))
        assert not (FORBIDDEN | BUILT_IN | CODE) & set(words), path


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.hub.load_state_dict_from_url(url)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "pd.read_pickle(path)",
        "importlib.import_module(name)",
    ],
)
def test_the_search_finds(line):
    assert list(findings(line))


@pytest.mark.parametrize(
    "line",
    ["torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "yaml.safe_load(text)", "run([a])"],
)
def test_the_search_leaves_alone(line):
    assert not list(findings(line))


def test_every_value_of_a_rule_is_quoted():
    """Whatever reaches a shell is quoted by Snakemake, except numbers and names that are checked against a pattern."""
    plain = {
        "params.seed",
        "params.device",
        "params.threads",
        "params.images",
        "params.first_image",
        "params.chunk",
        "params.shards",
    }
    names = {"wildcards.dataset", "wildcards.model", "wildcards.attack", "wildcards.shard"}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        for shell in re.findall(r"shell:\n((?:\s+\"[^\n]*\n)+)", text):
            for value in re.findall(r"(?<!{){([^{}]+)}(?!})", shell):
                assert value.endswith(":q") or value in plain | names, f"{path.name}: {{{value}}}"
