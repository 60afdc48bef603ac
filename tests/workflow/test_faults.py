"""What happens to machines happens to a small run here: an error that says so, then the same command makes the same bytes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from helpers import small_run

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="reads /proc and mounts file systems as Linux does"
    ),
]

NOISE = "results/attacks/digits/standard/noise.safetensors"
MASKING = "results/attacks/digits/standard/masking.safetensors"
DAY = 86400


@pytest.fixture
def expected(undisturbed):
    return small_run.contents(undisturbed[0])


@pytest.fixture
def tree(undisturbed, tmp_path):
    """Return a copy of the finished run, in which a test removes or damages something."""
    return shutil.copytree(undisturbed[0], tmp_path / "tree")


@pytest.fixture
def sessions():
    """Collect the runs that a test starts; what is left of them is killed afterwards."""
    started = []
    yield started
    for session in started:
        small_run.end(session)


def failed(tree, *targets):
    """Run the command, which must fail; return what it printed as one line."""
    done = small_run.run(tree, *targets)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-6000:]
    return " ".join((done.stdout + done.stderr).split())


def started_with_an_attack(tree, sessions):
    """Start a run in which one attack is left to do, and nothing after it; return it and its job when that is there."""
    (tree / NOISE).unlink()
    process = small_run.start(tree, NOISE)
    sessions.append(process.pid)
    small_run.wait_until(lambda: small_run.stages(process.pid) or process.poll() is not None, "the attack")
    [(job, stage)] = small_run.stages(process.pid).items()
    assert stage == "attack"
    return process, job


def times(tree):
    files = [path for folder in ("results", "figures") for path in (tree / folder).rglob("*")]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def test_of_two_runs_in_one_folder_the_second_stops_and_an_orphan_changes_nothing(tree, expected, sessions):
    first, job = started_with_an_attack(tree, sessions)
    os.kill(job, signal.SIGSTOP)
    before = times(tree)
    output = failed(tree, NOISE)
    assert f"{tree}: another run is at work in this folder (process {first.pid} on" in output
    assert "wait until it has ended, or give this run a folder of its own with --directory" in output
    assert times(tree) == before
    # Its job lives on, stopped, and goes on when the next run is through.
    first.kill()
    first.wait()
    small_run.succeed(tree, NOISE)
    assert job in small_run.stages(first.pid)
    after = times(tree)
    os.kill(job, signal.SIGCONT)
    small_run.wait_until(lambda: not small_run.alive(first.pid), "the job that lived on")
    assert times(tree) == after
    small_run.check_same(tree, expected)


def test_out_of_memory_in_a_job(tree, expected, sessions):
    process, job = started_with_an_attack(tree, sessions)
    resource.prlimit(job, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    assert process.wait(small_run.LIMIT) == 1
    log = max((tree / ".snakemake" / "log").iterdir())
    assert "Error in rule attack" in log.read_text()
    assert not (tree / NOISE).exists()
    small_run.succeed(tree, NOISE)
    small_run.check_same(tree, expected)


def test_a_full_disk_and_a_read_only_folder(undisturbed, tmp_path):
    results = tmp_path / "results"
    results.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(results)]
        return subprocess.run(command, capture_output=True).returncode == 0

    size = (undisturbed[0] / small_run.DATA).stat().st_size
    if not mount(f"size={size // 2}"):
        pytest.skip("mounting a small file system needs root and the right to mount")
    try:
        output = failed(tmp_path, small_run.DATA)
        assert f"{small_run.DATA}: cannot be written (No space left on device); make room" in output
        assert "then run the same command again" in output
        assert not [path for path in results.rglob("*") if "digits" in path.name and path.suffix == ".safetensors"]
        assert mount("remount,ro")
        output = failed(tmp_path, small_run.DATA)
        assert "Read-only file system" in output
        assert str(results.name) in output
        assert mount("remount,rw,size=64m")
        small_run.succeed(tmp_path, small_run.DATA)
        assert (tmp_path / small_run.DATA).read_bytes() == (undisturbed[0] / small_run.DATA).read_bytes()
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_artefacts_in_the_place_of_others_and_damaged_ones_enter_no_table(tree, expected):
    table = tree / "results/tables/quality.csv"
    table.unlink()
    good = (tree / MASKING).read_bytes()
    shutil.copy(tree / NOISE, tree / MASKING)
    output = failed(tree)
    assert f"{MASKING}: is not what the configuration asks for (its specification is" in output
    (tree / MASKING).write_bytes(good[:-20])
    output = failed(tree)
    assert f"{MASKING}: truncated" in output
    assert not table.exists()
    # The way out that the errors name. The metrics are there still, so the table alone would not need the attack.
    (tree / MASKING).unlink()
    small_run.succeed(tree, MASKING, *small_run.TARGETS)
    small_run.check_same(tree, expected)


def test_a_clock_that_was_set_back(tree, expected):
    (tree / NOISE).unlink()
    dated = [path for path in (tree / "results").rglob("*") if path.is_file()]
    for path in dated:
        os.utime(path, (time.time() + DAY,) * 2)
    assert "is dated in the future; if the clock was set back" in failed(tree, NOISE)
    for path in dated:
        path.touch()
    small_run.succeed(tree, NOISE)
    small_run.check_same(tree, expected)
