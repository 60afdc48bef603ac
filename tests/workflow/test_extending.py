"""The recipes of docs/extending.md through the real pipeline: every template and every example in one run, word for word."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from helpers import ROOT, pipeline, recipes, shared

pytestmark = pytest.mark.workflow

TARGETS = ["results/tables/my_table.csv", "figures/my_figure.png", "figures/dots.png"]
BASE = (
    "images: 4",
    "threads: {training: 1, attack: 1, metrics: 1}",
    "attacks: {fgsm: {method: fgsm}}",
    "metrics: {l2: {}}",
    "statistics: {reference: fgsm, bootstrap: 100}",
)


def infoadv(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "infoadv", *arguments],
        cwd=folder,
        env={**pipeline.environment(), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def snakemake(folder, *arguments):
    """Run the workflow of the repository from the repository, with ``folder`` as the folder of the run."""
    return pipeline.snakemake(
        ROOT, *arguments, "--directory", str(folder), "--cores", "2", config=str(folder / "config.yaml")
    )


def succeed(folder, *arguments):
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def planned(folder):
    """Return the (rule, attack) pairs of the jobs that a dry run would run."""
    text = succeed(folder, *TARGETS, "--dry-run")
    blocks = re.findall(r"rule (\w+):\n((?:    .*\n)*)", text)
    return {(rule, "".join(re.findall(r"wildcards: .*attack=(\w+)", body))) for rule, body in blocks}


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Return a folder in which every recipe was followed and everything has been made, to be read."""
    return shared.once(tmp_path_factory, "project", follow)


def follow(folder):
    """Follow every recipe in ``folder`` and make everything."""
    for recipe in recipes.recipes():
        infoadv(folder, *recipe.command)
    for example in recipes.examples():
        (folder / example.file).write_text(example.command[0])
    (folder / "plugins" / "figures" / "dots.rst").write_text("Dots, from a file beside the figure.\n")
    lines = [recipe.line for recipe in [*recipes.recipes(), *recipes.examples()] if recipe.line]
    raw = recipes.merged("plugins: [plugins]", *BASE, *lines)
    # One network to attack is enough here.
    raw["models"]["my_recipe"]["attacked"] = False
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    infoadv(folder, "check", "config.yaml")
    succeed(folder, *TARGETS)


def test_every_recipe_and_every_example_runs(project):
    for target in TARGETS:
        assert (project / target).stat().st_size
    rows = (project / "results" / "tables" / "my_table.csv").read_text().splitlines()
    attacks = {tuple(row.split(",")[:3]) for row in rows[1:]}
    assert attacks == {
        ("my_data", model, name) for model in ("my_model", "my_recipe") for name in ("fgsm", "my_attack", "fade")
    }
    log = (project / "logs" / "attack" / "my_data" / "my_model" / "fade.log").read_text()
    assert log.startswith(f"running code: {project / 'plugins' / 'attacks' / 'fade.py'}\n")
    assert "my_metric" not in (project / "results" / "tables" / "figure_dots.csv").read_text()


def test_status_knows_the_folder_of_the_run(project):
    said = infoadv(ROOT, "status", "--configfile", str(project / "config.yaml"), "--directory", str(project))
    assert re.search(r"attacks +3 +3\n", said)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "attacks/fade.py",
            {
                ("attack", "fade"),
                ("metrics", "fade"),
                ("table_my_table", ""),
                ("figure_my_figure", ""),
                ("figure_dots", ""),
            },
        ),
        ("figures/dots.py", {("figure_dots", "")}),
        ("tables/my_table.py", {("table_my_table", "")}),
    ],
)
def test_an_edit_of_a_file_makes_again_what_uses_it_and_no_more(project, tmp_path, name, expected):
    folder = shutil.copytree(project, tmp_path / "project")
    path = folder / "plugins" / name
    before = path.read_text()
    path.write_text(before + "# edited\n")
    assert planned(folder) == expected
    path.write_text(before)
    assert planned(folder) == set()


def test_captions_stand_beside_a_figure_or_in_its_docstring(project):
    succeed(project, *TARGETS, "--report", "report.html")
    report = (project / "report.html").read_text()
    assert "Dots, from a file beside the figure." in report
    assert "The mean of a metric" in report or "the mean of a metric under each attack" in report
    assert "This first paragraph is the caption" not in report


def test_a_figure_without_a_caption_and_a_broken_file_stop_in_one_line(project):
    path = project / "plugins" / "figures" / "my_figure.py"
    before = path.read_text()
    try:
        for text, words in (
            (
                before.partition('"""\n')[2],
                "my_figure.py: has no caption; begin it with a docstring",
            ),
            ("def draw(:\n", "config: plugins: "),
        ):
            path.write_text(text)
            done = snakemake(project, *TARGETS)
            assert done.returncode != 0
            (line,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            assert words in line
            assert "my_figure.py" in line
    finally:
        path.write_text(before)


def test_a_file_in_the_package_is_known_without_a_plugin_folder(tmp_path):
    tree = pipeline.copy_tree(tmp_path)
    run = {"cwd": tree, "env": {**pipeline.environment(), "PYTHONPATH": str(tree / "src")}, "text": True}
    command = [sys.executable, "-m", "infoadv", "new", "attack", "my_attack", "--folder", "src/infoadv"]
    said = subprocess.run(command, check=True, capture_output=True, **run).stdout
    assert (tree / "src" / "infoadv" / "attacks" / "my_attack.py").is_file()
    line = next(recipe.line for recipe in recipes.recipes() if "my_attack" in recipe.command)
    assert [text.strip() for text in said.splitlines()[1:]] == [line]
    raw = yaml.safe_load((tree / pipeline.CONFIG).read_text())
    raw["attacks"] |= yaml.safe_load(line)["attacks"]
    (tree / "own.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    target = "results/attacks/digits/standard/my_attack.safetensors"
    done = pipeline.snakemake(tree, target, config="own.yaml")
    assert done.returncode == 0, done.stderr[-6000:]
    assert (tree / target).is_file()
    assert "src/infoadv/attacks/my_attack.py" in done.stdout + done.stderr
