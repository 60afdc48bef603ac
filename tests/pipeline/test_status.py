"""`infoadv status`: what it says of runs in which nothing, something, everything is done, or a job was stopped or failed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import redirect_stderr

import numpy as np
import pandas as pd
import pytest

from helpers import ROOT, toys
from infoadv import artifacts, cli, config
from infoadv.execution import device, progress
from infoadv.pipeline import layout, remaining, resources, status
from infoadv.stages import attack as attack_stage
from infoadv.stages import train as train_stage

CONFIG = ROOT / "tests" / "workflow" / "config.yaml"


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that lets the next stage be stopped once it has written ``count`` artefacts of a kind."""
    save = artifacts.save_tensors

    def after(kind, count):
        written = 0

        def stopping(path, tensors, header):
            nonlocal written
            save(path, tensors, header)
            written += header["kind"] == kind
            if written == count:
                raise StoppedError

        monkeypatch.setattr(artifacts, "save_tensors", stopping)
        # However slow the machine is, the first line of the log stays the last.
        monkeypatch.setattr(progress, "LOG_INTERVAL", float("inf"))

    return after


def job(name, stage="attacks"):
    return next(each for each in layout.jobs(config.load(CONFIG)) if (each.stage, each.name) == (stage, name))


def stopped(folder, name, stage, run):
    """Run one job of the configuration in ``folder`` with its log and its checkpoint, until it is stopped."""
    about = job(name, stage)
    (folder / about.logs[0]).parent.mkdir(parents=True, exist_ok=True)
    with open(folder / about.logs[0], "w") as log, redirect_stderr(log), pytest.raises(StoppedError):
        run(folder / about.checkpoints[0], folder / about.files[0])


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def last_written(age, folder, about):
    """Set the age, in seconds, of all that a job has written; a negative one counts as 0, however slow the test is."""
    for file in (folder / name for name in (*about.logs, *about.checkpoints)):
        if file.is_file():
            os.utime(file, (time.time() - age,) * 2)


def finish(folder):
    """Write a small artefact or text wherever the configuration asks for a file."""
    for each in layout.jobs(config.load(CONFIG)):
        for file in map(folder.joinpath, each.files):
            header = artifacts.provenance(each.stage, {}, class_names=["0"])
            if file.suffix == ".safetensors":
                artifacts.save_tensors(file, {"x": np.zeros(3)}, header)
            elif file.suffix == ".parquet":
                artifacts.save_rows(file, pd.DataFrame({"x": [1.0]}), header)
            else:
                write(file)


def total(stage):
    return sum(each.stage == stage for each in layout.jobs(config.load(CONFIG)))


def row(text, stage):
    """Return the words of a stage's line in the table."""
    return next(line for line in text.splitlines() if line.startswith(stage)).split(maxsplit=3)[1:]


def test_nothing_done_says_how_to_begin(tmp_path):
    text = status.report(CONFIG, tmp_path)
    assert row(text, "data") == ["0", "1"]
    assert row(text, "attacks") == ["0", f"{total('attacks')}"]
    assert "Nothing is done or begun" in text
    assert f"snakemake --cores 8 all --directory {tmp_path} --configfile {CONFIG}\n" in text


def test_a_stopped_attack_tells_its_images_and_its_last_line(tmp_path, stop_after):
    data_path, model_path = toys.linear_artifacts(tmp_path)
    checked = config.load(CONFIG)

    def attack(checkpoint, out):
        specification = checked.attacks["ddn"].specification("digits")
        sizes = {"images": checked.images, "chunk": checked.chunk}
        attack_stage.run(
            data_path, model_path, specification, **sizes, seed=0, device="cpu", resume=checkpoint, out=out
        )

    stop_after("resume", 2)
    stopped(tmp_path, "digits/standard/ddn", "attacks", attack)
    about = job("digits/standard/ddn")
    last_written(-600, tmp_path, about)
    text = status.report(CONFIG, tmp_path)
    assert row(text, "attacks") == ["0", f"{total('attacks')}", "1 running"]
    assert "4 of 8 images kept" in text
    assert "0 s ago: 0/8 images  0%" in text
    last_written(3 * 3600, tmp_path, about)
    text = status.report(CONFIG, tmp_path)
    assert row(text, "attacks") == ["0", f"{total('attacks')}", "1 silent"]
    assert "3.0 h ago: 0/8 images  0%" in text


def test_a_stopped_training_tells_its_epochs(tmp_path, stop_after, digits_data):
    def train(checkpoint, out):
        specification = toys.specification(epochs=8)
        train_stage.run(digits_data, specification, seed=0, device="cpu", checkpoint=checkpoint, out=out)

    stop_after("checkpoint", 3)
    stopped(tmp_path, "digits/standard", "models", train)
    last_written(-600, tmp_path, job("digits/standard", "models"))
    text = status.report(CONFIG, tmp_path)
    assert row(text, "models") == ["0", "2", "1 running"]
    assert "3 of 8 epochs kept" in text
    assert "steps  0%" in text


@pytest.mark.parametrize("kind", ["truncated", "another artefact"])
def test_a_checkpoint_of_no_use_is_no_error(kind, tmp_path):
    about = job("digits/standard", "models")
    if kind == "truncated":
        write(tmp_path / about.checkpoints[0], "half a checkpoint")
    else:
        header = artifacts.provenance("attack", {})
        artifacts.save_tensors(tmp_path / about.checkpoints[0], {"x": np.zeros(3)}, header)
    last_written(-600, tmp_path, about)
    text = status.report(CONFIG, tmp_path)
    assert row(text, "models") == ["0", "2", "1 running"]
    assert "kept" not in text
    assert "began 0 s ago" in text


@pytest.mark.parametrize(
    "end",
    [
        "infoadv: error: results/models/digits/standard.safetensors: truncated or not an artefact; remove it.",
        "torch.OutOfMemoryError: CUDA out of memory.",
        "Killed",
        "slurmstepd: error: *** JOB 4 ON node CANCELLED DUE TO TIME LIMIT ***",
    ],
)
def test_a_failure_is_told_with_the_line_that_says_why(end, tmp_path):
    write(
        tmp_path / job("digits/standard/mi_masking").logs[0],
        f"0/8 images  0%\n4/8 images  50%  success 100.0%\n{end}\n",
    )
    text = status.report(CONFIG, tmp_path)
    assert row(text, "attacks") == ["0", f"{total('attacks')}", "1 failed"]
    told = text.partition("Failed\n  attacks digits/standard/mi_masking\n")[2]
    assert " ".join(end.split()) in " ".join(told.split())
    assert len([line for line in text.splitlines() if "0/8" in line]) == 0


def test_a_complete_run_and_one_with_a_file_that_cannot_be_read(tmp_path):
    finish(tmp_path)
    # The log of a job that is done does not count any more.
    write(tmp_path / job("digits/standard/ddn").logs[0], "infoadv: error: of an earlier try\n")
    text = status.report(CONFIG, tmp_path)
    for line in text.splitlines()[1:9]:
        stage, done, of = line.split()
        assert done == of != "0", stage
    assert "go on" not in text
    assert "--dry-run" in text
    bad = tmp_path / job("digits/standard/ddn", "metrics").files[0]
    bad.write_bytes(bad.read_bytes()[:-20])
    text = status.report(CONFIG, tmp_path)
    assert row(text, "metrics") == [f"{total('metrics') - 1}", f"{total('metrics')}", "1 failed"]
    assert "remove it and run again" in " ".join(text.split())


def test_the_rest_is_expected_at_the_speed_of_what_is_done(tmp_path):
    """One attack took twice what its passes ask for: so will those that are left, on this network and on others."""
    settings = config.load(CONFIG)
    finish(tmp_path)
    attacks = [each for each in layout.jobs(settings) if each.stage == "attacks"]
    done, *left = attacks
    asked = {
        each.name: max(resources.attack_seconds(settings, "digits", each.name.split("/")[2], settings.images), 1)
        for each in attacks
    }
    write(tmp_path / done.benchmarks[0], f"s\tcpu_time\n{2 * asked[done.name]}\t1\n")
    rest = remaining.seconds(settings, tmp_path, [done], left)
    assert rest == pytest.approx(2 * sum(asked[each.name] for each in left))
    for each in left:
        (tmp_path / each.files[0]).unlink()
    assert f"About {progress.duration(rest)} of work left" in status.report(CONFIG, tmp_path)
    # What nobody measured is expected at the rates that clusters are asked by.
    (tmp_path / done.benchmarks[0]).write_text("of another program")
    assert remaining.seconds(settings, tmp_path, [done], left) == pytest.approx(sum(asked[each.name] for each in left))


def test_a_job_that_ends_while_it_is_looked_at(tmp_path, monkeypatch):
    about, original = job("digits/standard/ddn"), status._last_line

    def ends(log):
        monkeypatch.setattr(status, "_last_line", original)
        log.unlink()
        header = artifacts.provenance("attack", {"name": "ddn"}, dataset="digits", model="standard")
        artifacts.save_tensors(tmp_path / about.files[0], {"x": np.zeros(3)}, header)
        return original(log)

    write(tmp_path / about.logs[0], "0/8 images  0%\n")
    monkeypatch.setattr(status, "_last_line", ends)
    assert row(status.report(CONFIG, tmp_path), "attacks") == ["1", f"{total('attacks')}"]


def test_part_of_a_table_is_no_table(tmp_path):
    finish(tmp_path)
    (tmp_path / "results" / "tables" / "quality.tex").unlink()
    assert row(status.report(CONFIG, tmp_path), "tables") == [f"{total('tables') - 1}", f"{total('tables')}"]


def test_many_at_once_stay_readable_at_80_columns(tmp_path):
    every = list(layout.jobs(config.load(ROOT / "config" / "config.yaml")))
    for each in every:
        write(tmp_path / each.logs[0], f"12/64 images  19%  success 90.0%  1.0 images/s  {'x' * 60}\n")
    lines = status.report(None, tmp_path).splitlines()
    assert f"  and {len(every) - 8} more" in lines
    assert len(lines) < 60
    assert all(len(line) <= 80 for line in lines if "snakemake" not in line)


def test_the_command_is_quick_and_needs_no_torch(tmp_path):
    finish(tmp_path)
    program = (
        "import sys\nfrom infoadv import cli\nassert cli.main(sys.argv[1:]) == 0\nsys.exit('torch' in sys.modules)"
    )
    arguments = ["status", "--configfile", str(CONFIG), "--directory", str(tmp_path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "profiles") == ["1", "1"]
    # Processor time, which other jobs on the machine do not change.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def test_a_folder_that_is_not_there_and_a_wrong_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "prepare_environment", lambda threads: None)
    assert cli.main(["status", "--directory", str(tmp_path / "absent")]) == 2
    assert "absent: no such folder; give the folder of the run" in capsys.readouterr().err
    wrong = write(tmp_path / "wrong.yaml", "imags: 8\n")
    assert cli.main(["status", "--configfile", str(wrong)]) == 2
    assert "wrong.yaml" in capsys.readouterr().err


def test_outside_a_checkout_a_configuration_has_to_be_named(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "_DEFAULT_CONFIG", tmp_path / "config.yaml")
    with pytest.raises(status.StatusError, match="name that of the run with --configfile"):
        status.report(None, tmp_path)
