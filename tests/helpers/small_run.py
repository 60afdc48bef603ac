"""A run as small as possible, in a folder of its own, for tests that disturb it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from helpers import ROOT
from helpers.pipeline import environment

CONFIG = ROOT / "tests" / "workflow" / "faults.yaml"
DATA = "results/data/digits.safetensors"
TARGETS = ("results/tables/quality.csv", "results/tables/targets.csv", "figures/distributions.png")
#: Seconds that anything may take on a machine that is busy with other things.
LIMIT = 1200


def command(*targets: str) -> list[str]:
    """Return the command that makes ``targets`` in the working directory."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "8"]
    return [*snakemake, *targets, "--configfile", str(CONFIG)]


def run(tree: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``tree`` to its end; return its status and output."""
    return subprocess.run(
        command(*(targets or TARGETS)), cwd=tree, env=environment(), capture_output=True, text=True, timeout=LIMIT
    )


def succeed(tree: Path, *targets: str) -> str:
    """Run the command in ``tree``; return its output, or fail the test with it."""
    done = run(tree, *targets)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def start(tree: Path, *targets: str) -> subprocess.Popen[bytes]:
    """Start the command in ``tree``, as the leader of a session of its own."""
    return subprocess.Popen(
        command(*(targets or TARGETS)),
        cwd=tree,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stages(session: int) -> dict[int, str]:
    """Return {process: stage} of the jobs that now run in a session: the processes that compute, not the shells round them.

    Those are forks of the fork server, which are named by their stage; without one, Python processes of their own.
    """
    forks, alone, served = {}, {}, False
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                arguments = (entry / "cmdline").read_text().split("\0")
                name = (entry / "comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(after_name[3]) != session or after_name[0] == "Z":
                continue
            if name.startswith("infoadv "):
                forks[int(entry.name)] = name.removeprefix("infoadv ")
            elif arguments[1:3] == ["-m", "infoadv"]:
                alone[int(entry.name)] = arguments[3]
            served |= arguments[1:3] == ["-m", "infoadv.execution.forkserver"]
    return forks if served else alone


def alive(session: int) -> bool:
    """Return whether a process of the session is still there."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds; fail the test if that takes longer than LIMIT."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited {LIMIT} s for {what}"
        time.sleep(0.05)


def end(session: int) -> None:
    """Kill what is left of a session that this test started."""
    if alive(session):
        os.killpg(session, signal.SIGKILL)


def contents(tree: Path) -> dict[str, bytes]:
    """Return the bytes of every artefact, table and figure by path; benchmark files hold clock times and are left out."""
    files = [path for folder in ("results", "figures") for path in sorted((tree / folder).rglob("*")) if path.is_file()]
    names = {str(path.relative_to(tree)): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith("results/benchmarks/")}


def check_same(tree: Path, expected: dict[str, bytes]) -> None:
    """Assert that ``tree`` holds what ``expected`` holds, no file more and none less, byte for byte."""
    found = contents(tree)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
