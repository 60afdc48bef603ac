"""Runs of the small pipeline in a folder of their own: started, disturbed, compared."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from helpers import ROOT

CONFIG = ROOT / "tests" / "cluster" / "config.yaml"
#: Laid over it by runs on a cluster: there the long attack is two jobs.
SHARDS = ROOT / "tests" / "cluster" / "shards.yaml"
#: All artefacts, and some of the tables: the others are jobs of the same kind.
TARGETS = tuple(f"results/tables/{table}.csv" for table in ("quality", "comparison", "targets"))
#: Seconds after which a run or a state that is waited for has failed.
LIMIT = 3600
Found = TypeVar("Found")


def wait_for(look: Callable[[], Found | None], what: str, run: subprocess.Popen[bytes] | None = None) -> Found:
    """Return what ``look`` finds, as soon as it finds something; fail where ``run`` ends or time runs out before."""
    until = time.monotonic() + LIMIT
    while True:
        found = look()
        if found:
            return found
        assert run is None or run.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < until, f"{what}: not within {LIMIT} s"
        time.sleep(0.02)


@contextlib.contextmanager
def started(
    folder: Path,
    *arguments: str,
    targets: tuple[str, ...] = TARGETS,
    config: tuple[Path, ...] = (CONFIG,),
    **variables: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the pipeline in ``folder`` and yield its process; what it prints goes to ``folder``/run.log."""
    folder.mkdir(exist_ok=True)
    # What the developer has set, or the cluster that the tests run on, must not decide what is tested.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"INFOADV_DATA", "SNAKEMAKE_PROFILE"} and not name.startswith(("SLURM_", "SBATCH_"))
    }
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", *map(str, config), *arguments]
    with open(folder / "run.log", "wb") as log:
        # In a session of its own: signals meant for its jobs must not reach the tests.
        run = subprocess.Popen(
            command, cwd=ROOT, env={**kept, **variables}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def finish(run: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait until the run has ended, assert that it did so well, and return what it printed."""
    code = run.wait(timeout=LIMIT)
    printed = (folder / "run.log").read_text()
    assert code == 0, printed[-6000:]
    return printed


@dataclass(frozen=True)
class Job:
    """A running process of the package's command line, and the environment it was started with."""

    pid: int
    environment: dict[str, str]

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)


def running_attack(folder: Path, resume: Path) -> Job | None:
    """Return the process that attacks in ``folder`` and keeps what it has done in ``resume``, if one does now."""
    for process in Path("/proc").glob("[0-9]*"):
        # Processes come and go while we look.
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if words[1:4] != ["-m", "infoadv", "attack"] or str(resume) not in words:
                continue
            if (process / "cwd").resolve() == folder.resolve():
                entries = (process / "environ").read_text().split("\0")
                return Job(int(process.name), dict(entry.split("=", 1) for entry in entries if "=" in entry))
    return None


def interrupted_shard(folder: Path, run: subprocess.Popen[bytes]) -> tuple[Path, Job]:
    """Kill the first shard that has finished a chunk; return its resume file, relative to ``folder``, and what was killed."""
    (made, *_) = wait_for(
        lambda: [*folder.glob("results/checkpoints/digits/standard/mi_masking/[0-9].safetensors")],
        "a shard had finished a chunk",
        run,
    )
    resume = made.relative_to(folder)
    job = wait_for(lambda: running_attack(folder, resume), f"{resume} was being written", run)
    job.kill()
    return resume, job


def log_of_shard(folder: Path, resume: Path) -> str:
    """Return what the last job of a shard said."""
    return (folder / "logs" / "attack_shard" / "digits" / "standard" / "mi_masking" / f"{resume.stem}.log").read_text()


def made(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all that must be equal everywhere: artefacts and tables, but for the one of run times."""
    patterns = ("results/**/*.safetensors", "results/**/*.parquet", "results/tables/*.csv")
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files) if path.stem != "runtime"}


def assert_same(folder: Path, reference: Path) -> None:
    """Assert that a run made the files of another one, byte for byte."""
    ours, theirs = made(folder), made(reference)
    assert list(ours) == list(theirs)
    assert len(ours) >= 9
    different = [name for name in ours if ours[name] != theirs[name]]
    assert not different, different
