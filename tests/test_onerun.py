"""One run in one folder: the second is told so, a dead one is in nobody's way, and its jobs write nothing any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infoadv import artifacts, onerun

ROOT = Path(__file__).resolve().parents[1]
#: Claims the folder, starts a job that outlives it, and waits.
HOLD = """\
import subprocess, sys
from infoadv import onerun
onerun.begin()
job = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
print(job.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    # So that it is taken away afterwards.
    monkeypatch.setenv(onerun.VARIABLE, "none")
    monkeypatch.delenv(onerun.VARIABLE)
    return tmp_path


def test_the_second_run_is_refused_until_the_first_is_killed_though_its_job_lives_on(folder):
    first = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    job = int(first.stdout.readline())
    try:
        with pytest.raises(onerun.RunError, match=r"wait until it has ended, or .* --directory") as caught:
            onerun.begin()
        assert str(folder) in str(caught.value)
        assert f"process {first.pid} on " in str(caught.value)
        assert onerun.VARIABLE not in os.environ
        first.kill()
        first.wait()
        os.kill(job, 0)
        onerun.begin()
        assert os.environ[onerun.VARIABLE] == onerun.LOCK.read_text()
    finally:
        first.kill()
        first.wait()
        os.kill(job, signal.SIGKILL)


def test_the_name_is_on_the_disk_before_a_job_on_another_machine_reads_it(folder, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.pread(descriptor, 1000, 0).decode()))
    onerun.begin()
    assert synced == [os.environ[onerun.VARIABLE]]


def test_a_job_of_a_dead_run_keeps_the_old_file_once_another_run_has_begun(folder, monkeypatch):
    path = folder / "results" / "file.txt"
    artifacts.write_text(path, "before any run\n")
    onerun.begin()
    artifacts.write_text(path, "mine\n")
    onerun.LOCK.write_text("another process 1 on elsewhere")
    with pytest.raises(onerun.RunError, match=r"another run has begun .*process 1 on elsewhere"):
        artifacts.write_text(path, "too late\n")
    assert path.read_text() == "mine\n"
    assert os.listdir(path.parent) == ["file.txt"]
    monkeypatch.delenv(onerun.VARIABLE)
    artifacts.write_text(path, "by hand\n")
    assert path.read_text() == "by hand\n"


def test_what_a_killed_job_was_writing_is_removed(folder):
    (folder / "results" / "deep").mkdir(parents=True)
    whole = folder / "results" / "deep" / "whole.safetensors"
    whole.touch()
    with pytest.raises(KeyboardInterrupt), artifacts.atomic_path(whole) as partial:
        raise KeyboardInterrupt
    partial.write_text("half")
    onerun.begin()
    assert os.listdir(whole.parent) == ["whole.safetensors"]


def test_where_nothing_can_be_locked_a_run_goes_on_and_says_so(folder, monkeypatch, capsys):
    import fcntl

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    onerun.begin()
    assert "cannot be locked (Operation not supported); start no second run" in capsys.readouterr().err
    assert onerun.VARIABLE not in os.environ
