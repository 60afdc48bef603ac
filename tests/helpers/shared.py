"""What is dear to make and only read: made once in a run of the tests, however many processes run them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a new folder that ``make`` has filled; the first process that asks for this ``name`` has it made.

    The others wait. Where ``make`` fails, its error is that of everybody who asks.
    """
    base = factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the run.
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = base / name, base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.is_file():
            folder.mkdir()
            error = "making it was interrupted"
            try:
                make(folder)
                error = ""
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
                raise
            finally:
                said.write_text(error)
    assert not said.read_text(), f"{name}: {said.read_text()}"
    return folder
