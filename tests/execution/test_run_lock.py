"""One run in one folder: the second is told so, a dead one is in nobody's way, and its jobs write nothing any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from helpers import ROOT
from infoadv import artifacts
from infoadv.execution import run_lock

#: Claims the folder, starts a job that outlives it, and waits.
HOLD = """\
import subprocess, sys
from infoadv.execution import run_lock
run_lock.begin()
job = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
print(job.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    # So that it is taken away afterwards.
    monkeypatch.setenv(run_lock.VARIABLE, "none")
    monkeypatch.delenv(run_lock.VARIABLE)
    return tmp_path


def test_the_second_run_is_refused_until_the_first_is_killed_though_its_job_lives_on(folder):
    first = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    job = int(first.stdout.readline())
    try:
        with pytest.raises(run_lock.RunError, match=r"wait until it has ended, or .* --directory") as caught:
            run_lock.begin()
        assert str(folder) in str(caught.value)
        assert f"process {first.pid} on " in str(caught.value)
        assert run_lock.VARIABLE not in os.environ
        first.kill()
        first.wait()
        os.kill(job, 0)
        run_lock.begin()
        assert os.environ[run_lock.VARIABLE] == run_lock.LOCK.read_text()
    finally:
        first.kill()
        first.wait()
        os.kill(job, signal.SIGKILL)


def test_the_name_is_on_the_disk_before_a_job_on_another_machine_reads_it(folder, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.pread(descriptor, 1000, 0).decode()))
    run_lock.begin()
    assert synced == [os.environ[run_lock.VARIABLE]]


def test_a_job_of_a_dead_run_keeps_the_old_file_once_another_run_has_begun(folder, monkeypatch):
    path = folder / "results" / "file.txt"
    artifacts.write_text(path, "before any run\n")
    run_lock.begin()
    artifacts.write_text(path, "mine\n")
    run_lock.LOCK.write_text("another process 1 on elsewhere")
    with pytest.raises(run_lock.RunError, match=r"another run has begun .*process 1 on elsewhere"):
        artifacts.write_text(path, "too late\n")
    assert path.read_text() == "mine\n"
    assert os.listdir(path.parent) == ["file.txt"]
    monkeypatch.delenv(run_lock.VARIABLE)
    artifacts.write_text(path, "by hand\n")
    assert path.read_text() == "by hand\n"


def test_what_a_killed_job_was_writing_is_removed(folder):
    (folder / "results" / "deep").mkdir(parents=True)
    whole = folder / "results" / "deep" / "whole.safetensors"
    whole.touch()
    with pytest.raises(KeyboardInterrupt), artifacts.atomic_path(whole) as partial:
        raise KeyboardInterrupt
    partial.write_text("half")
    run_lock.begin()
    assert os.listdir(whole.parent) == ["whole.safetensors"]


def test_where_nothing_can_be_locked_a_run_goes_on_and_says_so(folder, monkeypatch, capsys):
    import fcntl

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run_lock.begin()
    assert "cannot be locked (Operation not supported); start no second run" in capsys.readouterr().err
    assert run_lock.VARIABLE not in os.environ
