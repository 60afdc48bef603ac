"""infoadv new: what it writes, what it prints, and what it refuses; what it writes can be used as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import infoadv
from helpers import ROOT, recipes
from infoadv import cli, config
from infoadv.registry import plugins, templates

KINDS = {recipe.command[1]: recipe for recipe in recipes.recipes()}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Work in an empty folder without plugin folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, "")
    return tmp_path


def test_there_is_a_recipe_for_every_kind_and_a_template_for_every_recipe():
    assert list(KINDS) == list(templates.KINDS)
    folder = Path(templates.__file__).parent
    assert {path.name.removesuffix(".py.txt") for path in folder.glob("*.txt")} == set(KINDS)
    assert {room for room, _ in templates.KINDS.values()} == set(plugins.SIGNATURES)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_is_what_the_page_says_and_what_is_written_can_be_used(kind, capsys):
    recipe = KINDS[kind]
    assert cli.main(recipe.command) == 0
    assert Path(recipe.file).is_file()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"wrote {recipe.file}, which runs as it is.")
    assert [line.strip() for line in lines] == ["plugins: [plugins]", *filter(None, [recipe.line])]
    plugins.use(["plugins"])
    assert recipe.command[2] in plugins.names(templates.KINDS[kind][0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_known_under_another_name_as_well(kind):
    assert cli.main(["new", kind, "mine_2", "--folder", "elsewhere"]) == 0
    (path,) = Path("elsewhere").rglob("*.py")
    assert not re.search(rf"\bmy_{kind}\b", path.read_text())
    plugins.use(["elsewhere"])
    assert "mine_2" in plugins.names(templates.KINDS[kind][0])


def test_nothing_is_overwritten_and_no_name_is_taken_twice(capsys):
    assert cli.main(["new", "attack", "own"]) == 0
    Path("plugins/attacks/own.py").write_text("kept")
    for name, words in (
        ("own", "plugins/attacks/own.py: is there already; choose another name, or remove it"),
        ("ddn", "attacks already has 'ddn'"),
        ("Own", "'Own' is no name; use lower-case letters"),
        ("../own", "'../own' is no name"),
        ("class", "'class' is no name"),
    ):
        capsys.readouterr()
        assert cli.main(["new", "attack", name]) == 2
        assert words in capsys.readouterr().err
    assert [path.as_posix() for path in Path().rglob("*.py")] == ["plugins/attacks/own.py"]
    assert Path("plugins/attacks/own.py").read_text() == "kept"


def test_all_recipes_and_examples_make_one_configuration(capsys):
    for recipe in recipes.recipes():
        assert cli.main(recipe.command) == 0
    for example in recipes.examples():
        Path(example.file).write_text(example.command[0])
    lines = [recipe.line for recipe in [*recipes.recipes(), *recipes.examples()] if recipe.line]
    raw = recipes.merged("plugins: [plugins]", "metrics: {l2: {}}", *lines)
    Path("c.yaml").write_text(yaml.safe_dump(raw))
    assert cli.main(["check", "c.yaml"]) == 0
    settings = config.load("c.yaml")
    assert "my_table" in settings.tables()
    assert set(settings.figures) == {"my_figure", "dots"}


def test_the_lines_of_the_readme_are_those_of_the_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Adding your own")[2].partition("\n## ")[0]
    assert f"infoadv {' '.join(KINDS['attack'].command)} " in readme
    assert f"```yaml\nplugins: [plugins]\n{KINDS['attack'].line}\n```" in readme


@pytest.mark.parametrize("text", [None, recipes.examples()[0].command[0]], ids=["template", "example"])
def test_an_attack_keeps_the_contract(text):
    if text is None:
        cli.main(["new", "attack", "own"])
    else:
        Path("plugins/attacks").mkdir(parents=True)
        Path("plugins/attacks/fade.py").write_text(text)
    plugins.use(["plugins"])
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((6, 1, 8, 8), generator=generator)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    labels = model(images).argmax(1)
    name = "own" if text is None else "fade"
    together = infoadv.attack(model, images, labels, name)
    alone = infoadv.attack(model, images[:1], labels[:1], name)
    assert torch.equal(together.images[:1], alone.images)
    assert bool(together.success.any())
    # The iteration of the first success is told exactly where there is one.
    assert torch.equal(together.first_success >= 0, together.float_success)
    aimed = infoadv.attack(model, images, labels, name, targets="next")
    assert torch.equal(aimed.targets, (labels + 1) % 3)
    assert torch.equal(aimed.first_success >= 0, aimed.float_success)
    with pytest.raises(infoadv.InfoadvError, match="unknown option 'stepz'"):
        infoadv.attack(model, images, labels, name, stepz=1)


def test_metrics_return_what_they_say():
    cli.main(["new", "metric", "own"])
    Path("plugins/metrics/changed.py").write_text(recipes.examples()[1].command[0])
    plugins.use(["plugins"])
    clean = torch.zeros(2, 1, 8, 8)
    other = clean.clone()
    other[0, 0, 0] = 2 / 255
    other[1] = 0.5
    frame = infoadv.measure(clean, other, metrics={"own": {}, "changed": {"levels": 1}})
    assert frame["own"].tolist() == pytest.approx([2 / 255 / 8, 0.5])
    assert frame["changed"].tolist() == [0.125, 1.0]
    assert infoadv.measure(clean, other, metrics={"changed": {"levels": 2}})["changed"].tolist() == [0.0, 1.0]


def test_the_example_from_python_runs(project):
    done = subprocess.run([sys.executable, "-c", recipes.from_python()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor([")


def test_names_of_folders_are_known_in_python_through_the_environment(project, monkeypatch):
    cli.main(["new", "attack", "own"])
    line = next(line for line in recipes.PAGE.splitlines() if line.startswith("    INFOADV_PLUGINS=plugins python -c"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = subprocess.run(line.strip(), shell=True, capture_output=True, text=True)
    assert "'own'" in done.stdout, done.stderr
