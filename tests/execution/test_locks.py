"""Sharing out GPUs: never two jobs on one, none left out, and none but those that may be used. No GPU is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import ROOT
from infoadv.execution import device, locks

LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa0000-1111)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb0000-2222)
  MIG 1g.5gb      Device  0: (UUID: MIG-cccc0000-3333)
  MIG 1g.5gb      Device  1: (UUID: MIG-dddd0000-4444)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-eeee0000-5555)
"""
TWO = "GPU 0: A (UUID: GPU-aaaa)\nGPU 1: A (UUID: GPU-bbbb)\n"
#: Takes a GPU, says which, and keeps it until its standard input ends.
HOLD = """\
import os, sys
from infoadv.execution import device
gpu = device.acquire_gpu("cuda")
assert "torch" not in sys.modules
assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
print(gpu, flush=True)
sys.stdin.read()
"""
#: Takes a GPU, and fails if another process is on it.
WORK = """\
import os, time
from infoadv.execution import device
gpu = device.acquire_gpu("auto")
os.mkdir(gpu)
time.sleep(0.3)
os.rmdir(gpu)
print(gpu)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that puts an nvidia-smi with this listing on the path; lock files go to a folder of the test."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "locks"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "locks"))
    monkeypatch.setattr(device, "_acquired", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def listing(text, status=0):
        script = tmp_path / "bin" / "nvidia-smi"
        script.write_text(f'#!/bin/sh\n[ "$*" = "-L" ] || exit 9\ncat <<"END"\n{text}END\nexit {status}\n')
        script.chmod(0o755)

    return listing


def start(program, folder, **variables):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, ["GPU-aaaa0000-1111", "MIG-cccc0000-3333", "MIG-dddd0000-4444", "GPU-eeee0000-5555"]),
        ("2,0", ["GPU-eeee0000-5555", "GPU-aaaa0000-1111"]),
        ("0, 0", ["GPU-aaaa0000-1111"]),
        ("1", ["MIG-cccc0000-3333", "MIG-dddd0000-4444"]),
        ("GPU-ee", ["GPU-eeee0000-5555"]),
        ("GPU-bbbb0000-2222", ["MIG-cccc0000-3333", "MIG-dddd0000-4444"]),
        ("MIG-dddd0000-4444", ["MIG-dddd0000-4444"]),
        ("MIG-GPU-bbbb/1/0", ["MIG-GPU-bbbb/1/0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,2", ["GPU-aaaa0000-1111"]),
        ("0,7,2", ["GPU-aaaa0000-1111"]),
    ],
)
def test_gpus_that_may_be_used(wanted, expected, machine, monkeypatch):
    machine(LISTING)
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    assert device.visible_gpus() == expected


@pytest.mark.parametrize(("wanted", "expected"), [(None, []), ("1,0", ["1", "0"]), ("GPU-ff", ["GPU-ff"]), ("-1", [])])
def test_without_nvidia_smi_indices_are_names(wanted, expected, machine, monkeypatch):
    machine("Failed to initialize NVML: Driver/library version mismatch\n", status=18)
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    assert device.visible_gpus() == expected


def test_nothing_is_locked_for_the_cpu_and_without_a_gpu(machine, tmp_path, monkeypatch):
    machine(TWO)
    assert device.acquire_gpu("cpu") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.acquire_gpu("cuda") is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not list((tmp_path / "locks").iterdir())


def test_four_jobs_share_two_gpus(machine, tmp_path):
    machine(TWO)
    jobs = [start(WORK, tmp_path) for _ in range(4)]
    ended = [job.communicate(timeout=300) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, ended
    assert {out.strip() for out, _ in ended} == {"GPU-aaaa", "GPU-bbbb"}


def test_the_gpu_of_a_killed_job_is_free(machine, tmp_path):
    machine(TWO)
    jobs = [start(HOLD, tmp_path, CUDA_VISIBLE_DEVICES="1") for _ in range(2)]
    try:
        # Whichever was first says what it has, the other that it waits.
        while not (held := [job for job in jobs if (tmp_path / "locks").is_dir() and _said(job)]):
            assert all(job.poll() is None for job in jobs)
        first = held[0]
        second = jobs[1 - jobs.index(first)]
        assert first.stdout.readline() == "GPU-bbbb\n"
        assert "waiting for a free GPU: GPU-bbbb in use" in second.stderr.readline()
        assert not _said(second)
        first.send_signal(signal.SIGKILL)
        assert second.stdout.readline() == "GPU-bbbb\n"
        assert second.communicate(timeout=300)[1] == ""
        assert second.returncode == 0
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def _said(job):
    import select

    return bool(select.select([job.stdout], [], [], 0.05)[0])


def test_a_planted_link_or_pipe_is_refused_and_not_followed(machine, tmp_path):
    machine("GPU 0: A (UUID: GPU-aaaa)\n")
    lock, victim = tmp_path / "locks" / "infoadv-gpu-GPU-aaaa.lock", tmp_path / "victim"
    lock.symlink_to(victim)
    with pytest.raises(device.DeviceError, match=r"infoadv-gpu-GPU-aaaa\.lock: cannot be locked .*; remove it"):
        device.acquire_gpu("cuda")
    assert not victim.exists()
    lock.unlink()
    os.mkfifo(lock)
    started = time.monotonic()
    with pytest.raises(device.DeviceError, match="not a plain file"):
        device.acquire_gpu("cuda")
    assert time.monotonic() - started < 60


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_can_lock_the_same_file_and_not_write_to_it(machine, tmp_path, monkeypatch):
    machine("GPU 0: A (UUID: GPU-aaaa)\n")
    before = os.umask(0o077)
    try:
        assert device.acquire_gpu("cuda") == "GPU-aaaa"
    finally:
        os.umask(before)
    # From inside the folder, since the folders above it belong to this user alone.
    monkeypatch.chdir(tmp_path / "locks")
    os.chmod(".", 0o1777)
    lock = Path("infoadv-gpu-GPU-aaaa.lock")
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        # 0 if it can be tried and is taken.
        os._exit(2 * os.access(lock, os.W_OK) + (locks.attempt(lock, everyone=True) is not None))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lock.stat().st_mode & 0o777 == 0o644


def test_a_process_takes_one_gpu_however_often_it_asks(machine):
    machine(TWO)
    assert device.acquire_gpu("cuda") == device.acquire_gpu("auto") == "GPU-aaaa"
