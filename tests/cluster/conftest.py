"""Shared by the cluster tests: the run on this machine alone, which every other one must equal, and a Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import shared
from helpers.cluster_runs import finish, started
from helpers.slurm_daemons import Slurm, lacking


@pytest.fixture(scope="session")
def local(tmp_path_factory) -> Path:
    """Return the folder of a finished run without a cluster, to be read."""

    def make(folder):
        with started(folder, "--cores", "2") as run:
            finish(run, folder)

    return shared.once(tmp_path_factory, "local", make)


@pytest.fixture
def slurm(tmp_path) -> Iterator[Slurm]:
    """Return a running Slurm, or skip where there can be none."""
    reason = lacking()
    if reason is not None:
        pytest.skip(reason)
    cluster = Slurm(tmp_path / "slurm")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def pytest_collection_modifyitems(items):
    """Skip before the run on this machine is made, which takes longer than all else."""
    reason = lacking()
    for item in items:
        if reason is not None and item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.skip(reason=reason))
