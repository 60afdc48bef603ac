"""The undisturbed small run, which tests of faults compare with."""

from __future__ import annotations

import time

import pytest

from helpers import small_run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Return the folder of a small run that nobody disturbed, and the seconds it took."""
    tree = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    small_run.succeed(tree)
    return tree, time.monotonic() - started
