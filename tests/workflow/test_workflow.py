"""The real pipeline, through snakemake, on the smallest configuration: made, not made again, and made after a kill."""

from __future__ import annotations

import csv
import re
import resource
import shutil

import pytest

from helpers import pipeline, shared
from helpers.pipeline import CONFIG, snakemake, succeed
from infoadv import artifacts, config
from infoadv.pipeline import layout, status

pytestmark = pytest.mark.workflow


def planned(tree, *arguments):
    """Return (rule, last wildcard) of each job that a dry run would run, ``all`` left out."""
    text = succeed(tree, *arguments, "--dry-run")
    jobs = set()
    for block in re.split(r"\n(?=(?:local)?rule |\[)", text):
        rule = re.search(r"(?:local)?rule (\w+):\n", block)
        wildcards = re.search(r"wildcards: (.*)", block)
        if rule and rule[1] != "all":
            jobs.add((rule[1], wildcards[1].rpartition("=")[2] if wildcards else ""))
    return jobs


@pytest.fixture(scope="module")
def tree(finished, tmp_path_factory):
    """Return a copy of the finished tree, to run Snakemake in; whoever changes a file of it restores it."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "tree")


@pytest.fixture
def edited(tree):
    """Return a function that appends a line to a file of a tree; the file is restored afterwards."""
    before = {}

    def edit(name, line="\n# edited\n", old=None, tree=tree):
        path = tree / name
        before[path] = path.read_text()
        path.write_text(before[path].replace(old, line) if old else before[path] + line)
        assert path.read_text() != before[path]

    yield edit
    for path, text in before.items():
        path.write_text(text)


def test_everything_is_made(finished):
    for table in ("quality", "comparison", "targets", "runtime", "claims", "detection", "profiles", "provenance"):
        for suffix in ("csv", "md", "tex", "html"):
            assert (finished / "results" / "tables" / f"{table}.{suffix}").stat().st_size
    figures = ("grid_digits", "tradeoff", "calibration", "convergence", "distributions", "cost")
    for figure in (*figures, "profiles_iterations", "profiles_attacks"):
        for suffix in ("pdf", "png"):
            assert (finished / "figures" / f"{figure}.{suffix}").stat().st_size
        assert (finished / "results" / "tables" / f"figure_{figure}.csv").stat().st_size
    with open(finished / "results" / "tables" / "targets.csv", newline="") as file:
        listed = [(row["dataset"], row["model"]) for row in csv.DictReader(file)]
    assert listed == config.load(finished / CONFIG).trained()
    assert [path.name for path in finished.glob("figures/examples/digits/standard/ddn.*")] == ["ddn.png"]
    # Nothing half-written and no checkpoint stays behind.
    assert not [*finished.glob("results/**/.*"), *finished.glob("results/checkpoints/**/*.safetensors")]


def test_status_knows_every_file_and_every_log(finished):
    settings = config.load(finished / CONFIG)
    for job in layout.jobs(settings):
        assert all((finished / file).is_file() for file in (*job.files, *job.logs)), job
    assert {each.state for each in status.standings(settings, finished)} == {"done"}


def test_a_second_run_has_nothing_to_do_and_says_so_soon(tree):
    # Seconds of a processor, because other tests may run beside this one.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Nothing to be done" in succeed(tree, "all")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_new_file_times_are_no_reason_to_run(tree):
    # A fresh clone has new times everywhere.
    for path in (tree / "src").rglob("*.py"):
        path.touch()
    # Without a target: that is `all` as well.
    assert "Nothing to be done" in succeed(tree)


def test_a_change_to_a_figure_redraws_it_alone(tree, edited):
    edited("src/infoadv/report/figures/cost.py")
    assert planned(tree, "all") == {("figure_cost", "")}


def test_a_change_to_an_attack_reruns_it_and_its_followers_and_no_training(tree, edited):
    edited("src/infoadv/attacks/foolbox.py")
    jobs = planned(tree, "all")
    assert {name for rule, name in jobs if rule == "attack"} == {"ddn", "noise"}
    assert {name for rule, name in jobs if rule == "metrics"} == {"ddn", "noise"}
    assert not {"train", "dataset", "calibration", "figure_convergence"} & {rule for rule, _ in jobs}
    assert {"table_quality", "figure_grid_digits"} <= {rule for rule, _ in jobs}


def test_a_change_to_a_label_runs_no_attack(tree, edited):
    edited(CONFIG, line="label: Decoupled", old="label: DDN")
    jobs = {rule for rule, _ in planned(tree, "all")}
    assert "table_quality" in jobs
    assert not {"attack", "metrics", "train"} & jobs


def test_a_change_to_what_jobs_ask_a_cluster_for_runs_nothing(tree, edited):
    edited("src/infoadv/pipeline/resources.py", line="PASS = 0.04\n", old="PASS = 0.02\n")
    assert "Nothing to be done" in succeed(tree, "all")


def test_a_change_to_one_option_reruns_that_attack(tree, edited):
    edited(CONFIG, line="options: {steps: 21}", old="options: {steps: 20}")
    assert {name for rule, name in planned(tree, "all") if rule == "attack"} == {"ddn", "noise"}


def test_networks_of_an_earlier_run_are_taken_and_not_trained_again(finished, tmp_path):
    tree = pipeline.copy_tree(tmp_path / "tree")
    (tree / "networks").symlink_to(finished / "results" / "models")
    (tree / CONFIG).write_text((finished / CONFIG).read_text() + "\nnetworks: networks\n")
    # Of another specification than asked for: this one is trained.
    (tree / CONFIG).write_text((tree / CONFIG).read_text().replace("epochs: 4", "epochs: 5"))
    succeed(tree, "models")
    logs = {name: (tree / f"logs/train/digits/{name}.log").read_text() for name in ("standard", "reference")}
    assert "taken from networks/digits/standard.safetensors" in logs["standard"]
    assert "networks/digits/reference.safetensors: has another specification; trained anew" in logs["reference"]
    weights = [
        artifacts.load_tensors(folder / "results" / "models" / "digits" / "standard.safetensors", "model")[0]
        for folder in (finished, tree)
    ]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert "Nothing to be done" in succeed(tree, "models")


def test_a_run_goes_on_elsewhere_from_its_rows_alone(finished, tmp_path):
    tree = pipeline.copy_tree(tmp_path / "tree")
    succeed(tree, "data", "models")
    for folder in ("metrics", "transfer", "calibration", "flow", "benchmarks"):
        if (finished / "results" / folder).exists():
            shutil.copytree(finished / "results" / folder, tree / "results" / folder, dirs_exist_ok=True)
            for path in (tree / "results" / folder).rglob("*.*"):
                path.touch()
    jobs = planned(tree, "tables")
    assert {rule for rule, _ in jobs if not rule.startswith("table_")} == {"tables"}
    succeed(tree, "tables")
    tables = [
        {
            row["file"]: row
            for row in csv.DictReader((folder / "results/tables/provenance.csv").read_text().splitlines())
        }
        for folder in (finished, tree)
    ]
    assert tables[1] == tables[0]
    assert (tree / "results/tables/quality.csv").read_bytes() == (finished / "results/tables/quality.csv").read_bytes()


GATHERED = [f"results/attacks/digits/standard/{name}.safetensors" for name in ("ddn", "noise")]
SHARD_JOBS = {("attack_shard", str(shard)) for shard in range(3)} | {("gather", "ddn"), ("gather", "noise")}


@pytest.fixture(scope="module")
def sharded(finished, tmp_path_factory):
    """Return a copy of the finished tree in which two attacks have been made again in shards."""

    def make(folder):
        shutil.copytree(finished, folder, dirs_exist_ok=True)
        text = (folder / CONFIG).read_text()
        for label, shards in (("DDN", 3), ("Noise", 2)):
            assert f"label: {label}," in text
            text = text.replace(f"label: {label},", f"label: {label}, shards: {shards},")
        (folder / CONFIG).write_text(text)
        assert planned(folder, *GATHERED) == SHARD_JOBS
        succeed(folder, *GATHERED)

    made = shared.once(tmp_path_factory, "sharded", make)
    return shutil.copytree(made, tmp_path_factory.mktemp("copy") / "sharded")


def test_sharded_attacks_have_the_bytes_of_unsharded_ones(finished, sharded):
    for target in GATHERED:
        assert (sharded / target).read_bytes() == (finished / target).read_bytes(), target
    assert not [*(sharded / "results" / "shards").rglob("*.safetensors")]
    succeed(sharded, "results/tables/runtime.csv")
    assert "\n| digits/standard/ddn | 4 |" in (sharded / "results" / "tables" / "runtime.md").read_text()


def test_a_change_of_code_makes_shards_again_that_are_gone(sharded, edited):
    for path in (sharded / "src").rglob("*.py"):
        path.touch()
    assert "Nothing to be done" in succeed(sharded, *GATHERED)
    edited("src/infoadv/attacks/foolbox.py", tree=sharded)
    assert planned(sharded, *GATHERED) >= SHARD_JOBS


def test_a_gathered_attack_is_checked_like_any_other(sharded):
    ddn, noise = (sharded / target for target in GATHERED)
    good = ddn.read_bytes()
    try:
        shutil.copy(noise, ddn)
        refused = " ".join(snakemake(sharded, "tables").stderr.split())
        assert f"{GATHERED[0]}: is not what the configuration asks for (its specification is" in refused
        ddn.write_bytes(good)
        tensors, header = artifacts.load_tensors(ddn)
        header["inputs"]["model"] = "0" * 64
        artifacts.save_tensors(ddn, tensors, header)
        refused = " ".join(snakemake(sharded, "tables").stderr.split())
        assert f"{GATHERED[0]}: was made from another model than is there now" in refused
    finally:
        ddn.write_bytes(good)


def test_wrong_configurations_stop_in_one_line_before_anything_runs(tree, edited):
    edited(CONFIG, line="epoch: 8", old="epochs: 8")
    done = snakemake(tree, "all")
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower() or "Traceback" in line]
    assert len(errors) == 1, done.stderr
    assert "models.standard.training.epoch: unknown key; did you mean 'epochs'?" in errors[0]


def test_a_data_root_that_is_not_there_stops_in_one_line(tree):
    done = snakemake(tree, "all", INFOADV_DATA=str(tree / "absent"))
    assert done.returncode != 0
    assert "no such folder; correct data_root or INFOADV_DATA" in done.stderr


@pytest.mark.parametrize("name", ["config/config.yaml", "config/paper.yaml"])
def test_the_configurations_of_the_repository_can_be_planned(tree, name):
    done = snakemake(tree, "all", "--dry-run", "--quiet", config=name)
    assert done.returncode == 0, done.stderr


def test_make_report_after_make_all_writes_the_report_and_computes_nothing(reported):
    assert "Nothing to be done" in (reported / "report.log").read_text()
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert len(page) > 100_000
    # What docutils writes into a page where a caption is no reStructuredText.
    assert "system-message" not in page


def test_a_job_is_told_from_which_place_on_its_images_are(tree):
    target = "results/attacks/digits/standard/ddn.safetensors"
    shown = succeed(tree, target, "--force", "--dry-run", "--printshellcmds", "--config", "first_image=3")
    assert "--first-image 3 " in shown
