"""What a configuration names outside itself, as `infoadv check` sees it: missing files, code and images, and nothing is run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers import ROOT
from infoadv import cli
from infoadv.config import Config, outside, summary
from infoadv.registry import plugins


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return an empty folder that a run would be in; it is the working directory, and not on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return tmp_path


def with_own_network(raw, factory="nets:net"):
    raw["models"]["theirs"] = {"factory": factory, "weights": "theirs.safetensors"}
    return raw


def with_own_data(raw, images, project):
    shape = (images, 16, 16)
    labels = np.arange(images) % 2
    np.savez(
        project / "mine.npz",
        x_train=np.zeros(shape, np.uint8),
        y_train=labels,
        x_test=np.zeros(shape, np.uint8),
        y_test=labels,
    )
    raw["datasets"]["mine"] = {"source": "npz", "path": "mine.npz"}
    return raw


def problems(raw):
    return outside.problems(Config(raw), Path())


def test_nothing_is_said_where_everything_is_there(raw, project):
    (project / "nets.py").write_text("def net(): ...\n")
    (project / "theirs.safetensors").touch()
    (project / "data").mkdir()
    raw = with_own_data(with_own_network(raw), 8, project) | {"data_root": "data"}
    assert problems(raw) == []


def test_missing_files_are_named_with_their_key_and_what_to_do(raw, project):
    (project / "nets.py").write_text("def net(): ...\n")
    raw["datasets"]["mine"] = {"source": "npz", "path": "data/mine.npz"}
    raw["datasets"]["photographs"] = {"source": "folder", "path": "theirs.txt"}
    (project / "theirs.txt").touch()
    data, pictures, weights, root = problems(with_own_network(raw) | {"data_root": "mnist"})
    assert data.startswith("datasets.mine.path: data/mine.npz: no such file in the working directory; put or link")
    assert pictures.startswith("datasets.photographs.path: theirs.txt: no such folder in the working directory")
    assert weights.startswith("models.theirs.weights: theirs.safetensors: no such file")
    assert root == "data_root: mnist: no such folder; correct it, or set it to null to download."


def test_files_are_looked_for_in_the_folder_of_the_run(raw, project):
    (project / "run").mkdir()
    (project / "run" / "nets.py").write_text("def net(): ...\n")
    (project / "run" / "theirs.safetensors").touch()
    settings = Config(with_own_network(raw))
    assert outside.problems(settings, Path("run")) == []
    assert len(outside.problems(settings, Path())) == 2


FACTORIES = {
    "no module": ("netz:net", "there is no module 'netz'; put netz.py into the working directory"),
    "no module in the package": ("own.netz:net", "there is no module 'own.netz'; put own/netz.py into"),
    "no package": ("nets.own:net", "there is no module 'nets.own'"),
    "no function": ("nets:nett", "nets.py has no function 'nett'; did you mean 'net'? allowed: Net, net."),
    "a function of a function": ("nets:inner", "nets.py has no function 'inner'"),
    "no Python": ("broken:net", "broken.py: line 2: not Python ("),
    "no text": ("binary:net", "binary.py: "),
}


@pytest.fixture
def code(project):
    (project / "nets.py").write_text("class Net: ...\ndef net():\n    def inner(): ...\n")
    (project / "own").mkdir()
    (project / "own" / "__init__.py").touch()
    (project / "broken.py").write_text("\ndef net(:\n")
    (project / "binary.py").write_bytes(b"net = 1\0")
    return project


@pytest.mark.parametrize("case", FACTORIES)
def test_a_factory_that_is_not_there_is_named(case, raw, code):
    factory, expected = FACTORIES[case]
    (code / "theirs.safetensors").touch()
    (said,) = problems(with_own_network(raw, factory))
    assert said.startswith(f"models.theirs.factory: {expected}")


def test_a_network_that_torchvision_lacks_is_named(raw, project):
    raw["models"]["standard"] |= {"architecture": "torchvision", "options": {"name": "resnet18"}}
    assert problems(raw) == []
    raw["models"]["standard"]["options"] = {"name": "resnet19"}
    (problem,) = problems(raw)
    assert problem.startswith(
        "models.standard.options.name: torchvision has no classification network 'resnet19'; did you"
    )


@pytest.mark.parametrize(
    "text",
    [
        "def net(): ...",
        "class net: ...",
        "net = lambda: 0",
        "from functools import partial as net",
        "from functools import *",
        "def __getattr__(name): ...",
        "try:\n    import torch\nexcept ImportError:\n    pass\nelse:\n    def net(): ...",
    ],
)
def test_what_a_module_may_bind_is_not_refused(text, raw, project):
    (project / "nets.py").write_text(text)
    (project / "theirs.safetensors").touch()
    assert problems(with_own_network(raw)) == []


def test_modules_are_found_where_python_finds_them(project):
    (project / "packed" / "below").mkdir(parents=True)
    (project / "packed" / "below" / "nets.py").touch()
    assert outside.module_file("packed.below.nets", Path()) == project / "packed" / "below" / "nets.py"
    assert outside.module_file("yaml.nodes", Path()) == Path(yaml.nodes.__file__)
    # Compiled, or built in: there, and nothing to read.
    assert outside.module_file("math", Path()) is None
    assert outside.module_file("sys", Path()) is None
    # A folder without __init__.py hides no installed package, a package does.
    (project / "yaml").mkdir()
    assert outside.module_file("yaml", Path()) == Path(yaml.__file__)
    (project / "yaml" / "__init__.py").touch()
    assert outside.module_file("yaml", Path()) == project / "yaml" / "__init__.py"


def test_no_code_of_the_users_is_run(raw, project):
    marked = "from pathlib import Path\nPath('ran').touch()\ndef net(): ...\n"
    (project / "own").mkdir()
    for file in ("nets.py", "own/__init__.py", "own/nets.py"):
        (project / file).write_text(marked)
    (project / "theirs.safetensors").touch()
    for factory in ("nets:net", "own.nets:net", "own.nets:other"):
        problems(with_own_network(raw, factory))
        summary.text(Config(raw), Path())
    assert not (project / "ran").exists()
    assert not {"nets", "own", "own.nets"} & set(sys.modules)


def test_more_images_than_there_are_is_refused_before_anything_runs(raw, project):
    raw["images"] = 450
    assert problems(raw) == []
    raw["images"] = 451
    (said,) = problems(raw)
    assert said.startswith("images: 451 are to be attacked, datasets.digits has 450 test images; ask for fewer")
    assert said.endswith("or raise datasets.digits.test.")
    raw["datasets"]["digits"]["test"] = 500
    assert problems(raw) == []
    own = with_own_data(raw, 30, project)
    (said,) = problems(own)
    assert "datasets.mine has 30 test images; ask for fewer" in said
    assert "datasets.mine." not in said
    # A data set that nobody attacks may be as small as it likes.
    own["attacks"] = {"ddn": {**raw["attacks"]["ddn"], "datasets": ["digits"]}}
    own |= {"sweeps": {}, "figures": {}, "flow": None, "statistics": {"reference": "ddn"}}
    del own["flow"]
    assert problems(own) == []


def test_a_broken_data_set_is_left_to_the_stage_that_reads_it(raw, project):
    raw["datasets"]["mine"] = {"source": "npz", "path": "mine.npz"}
    for content in (b"", b"PK\3\4", b"not a zip"):
        (project / "mine.npz").write_bytes(content)
        assert problems(raw) == []
    np.savez(project / "mine.npz", x_train=np.zeros(3))
    assert problems(raw) == []


def test_pictures_of_a_folder_are_counted_before_they_are_read(raw, project, capsys):
    raw["datasets"]["mine"] = {"source": "folder", "path": "photos", "size": 16}
    for part, count in (("train", 3), ("test", 5)):
        for name in ("hat", "shoe"):
            (project / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                (project / "photos" / part / name / f"{number}.png").write_bytes(b"")
    raw["images"] = 10
    assert problems(raw) == []
    raw["images"] = 11
    (said,) = [line for line in problems(raw) if line.startswith("images:") and "datasets.mine" in line]
    assert "datasets.mine has 10 test images" in said
    # Without train/ and test/ a share of each class is held out.
    raw["datasets"]["mine"] |= {"path": "photos/test", "test": 0.4}
    (said,) = [line for line in problems(raw) if line.startswith("images:") and "datasets.mine" in line]
    assert "datasets.mine has 4 test images" in said
    # What is wrong with a folder is said by the stage that reads it.
    (project / "empty").mkdir()
    raw["datasets"]["mine"]["path"] = "empty"
    assert problems(raw) == []


def test_the_number_of_test_images_that_a_source_states_is_the_number_that_it_returns(project):
    stated = plugins.literals("data", "TEST_IMAGES")
    assert set(stated) == set(plugins.schemas("data"))
    assert len(plugins.load("data", "digits")(None, size=16, **{stated["digits"]: 123}).y_test) == 123


# --- infoadv check ---------------------------------------------------------------------------------------------------


def checked(capsys, raw, *arguments):
    Path("config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    status = cli.main(["check", "config.yaml", *arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


def test_check_prints_every_problem_on_a_line_and_fails(raw, project, capsys):
    status, out, err = checked(capsys, with_own_network(raw, "nets:net") | {"images": 1000})
    assert status == 2
    assert out[-1] == "runs code  nets:net (not found)"
    keys = ("models.theirs.weights", "models.theirs.factory", "images")
    assert [line.split(": ")[:4] for line in err] == [["infoadv", "error", "config.yaml", key] for key in keys]


def test_check_says_at_the_end_which_code_runs(raw, project, capsys):
    status, out, err = checked(capsys, raw)
    assert (status, err) == (0, [])
    assert out[-1] == "runs code  none but that of infoadv"
    (project / "run").mkdir()
    (project / "run" / "nets.py").write_text("def net(): ...\n")
    (project / "run" / "theirs.safetensors").touch()
    status, out, err = checked(capsys, with_own_network(raw), "--directory", "run")
    assert (status, err) == (0, [])
    assert out[-1] == f"runs code  nets:net ({project / 'run' / 'nets.py'})"
