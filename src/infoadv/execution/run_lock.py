"""One run in one folder: a run claims its working directory, and a job of a dead run does not write into the next one.

The main process of a run holds a lock on ``.snakemake/infoadv.lock``, which the kernel drops when it dies. Jobs do not
inherit the lock: after `kill -9` of the main process they may live on, and must not keep the next run out. The file holds
the name of the run, which jobs know from the environment: a job whose run is no longer the one that has the folder may
have been started under another configuration, so it throws its result away, and ends without a failure. docs/cluster.md
says which executors hand the environment on.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from pathlib import Path

from infoadv.execution.errors import InfoadvError

LOCK = Path(".snakemake") / "infoadv.lock"
VARIABLE = "INFOADV_RUN"
#: In the name of a file that is being written.
PARTIAL = ".partial"


class RunError(InfoadvError):
    """Two runs that want the same folder."""


def begin() -> None:
    """Claim the working directory for this process and the jobs that it starts; remove what dead jobs left half written.

    Raises
    ------
    RunError
        Another run is at work there.
    """
    from infoadv.execution import locks

    LOCK.parent.mkdir(exist_ok=True)
    try:
        descriptor = locks.attempt(LOCK)
    except OSError as error:
        print(
            f"infoadv: warning: {LOCK.absolute()}: cannot be locked ({error.strerror}); start no second run in this folder.",
            file=sys.stderr,
        )
        return
    if descriptor is None:
        raise RunError(
            f"{Path.cwd()}: another run is at work in this folder ({_holder()}); wait until it has ended, or give this run "
            "a folder of its own with --directory."
        )
    name = f"{uuid.uuid4().hex} process {os.getpid()} on {socket.gethostname()}"
    os.ftruncate(descriptor, 0)
    os.write(descriptor, name.encode())
    # Jobs on other machines read it: a network file system may keep it back for as long as the file is open.
    os.fsync(descriptor)
    os.environ[VARIABLE] = name
    # What a killed job was writing.
    for folder in ("results", "figures"):
        for partial in Path(folder).rglob(f".*{PARTIAL}.*"):
            partial.unlink(missing_ok=True)


def check() -> None:
    """Raise ``RunError`` if this process is a job of a run and another run has claimed the working directory since."""
    mine = os.environ.get(VARIABLE)
    if mine is None:
        return
    try:
        name = LOCK.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    if name != mine:
        raise RunError(
            f"{Path.cwd()}: another run has begun in this folder ({_holder()}); this job's result is not kept."
        )


def _holder() -> str:
    return LOCK.read_text(encoding="utf-8").partition(" ")[2]
