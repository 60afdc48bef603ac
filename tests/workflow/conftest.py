"""The undisturbed small run, which tests of faults compare with."""

from __future__ import annotations

import time

import pytest

from helpers import shared, small_run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Return the folder of a small run that nobody disturbed, to be read, and the seconds it took."""

    def make(folder):
        (folder / "tree").mkdir()
        started = time.monotonic()
        small_run.succeed(folder / "tree")
        (folder / "seconds").write_text(str(time.monotonic() - started))

    folder = shared.once(tmp_path_factory, "undisturbed", make)
    return folder / "tree", float((folder / "seconds").read_text())
