"""Shared by all tests: one thread, two artefacts that take a moment to make, and a run of the pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import pipeline, shared

# Before torch is imported: tests are small, and their sums must not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What the developer has set must not decide what is tested, nor of what there are tests.
os.environ.pop("INFOADV_PLUGINS", None)
# Model artefacts of the tests name these factories.
os.environ["INFOADV_FACTORIES"] = "helpers.toys:linear_factory,helpers.toys:own_network,users_models:own"


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory):
    """Return the path of a data artefact: 500 and 200 of the digits, 16 px."""
    from infoadv import data
    from infoadv.data.digits import digits

    def make(folder):
        full = digits(None, size=16, test=200)
        dataset = data.Dataset(full.x_train[:500], full.y_train[:500], full.x_test, full.y_test, full.class_names)
        data.save(folder / "digits.safetensors", dataset, {"source": "digits", "size": 16, "test": 200})

    return shared.once(tmp_path_factory, "digits_data", make) / "digits.safetensors"


@pytest.fixture(scope="session")
def trained_model(digits_data, tmp_path_factory):
    """Return the path of a small_cnn artefact trained on ``digits_data``."""
    from helpers import toys
    from infoadv.stages import train as train_stage

    def make(folder):
        train_stage.run(
            digits_data,
            toys.specification(epochs=8),
            seed=0,
            device="cpu",
            checkpoint=folder / "small.ckpt.safetensors",
            out=folder / "small.safetensors",
        )

    return shared.once(tmp_path_factory, "trained_model", make) / "small.safetensors"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a copy of the repository in which everything has been made; whoever runs something in it takes a copy."""

    def make(folder):
        pipeline.succeed(pipeline.copy_tree(folder), "all")

    return shared.once(tmp_path_factory, "finished", make)


@pytest.fixture(scope="session")
def reported(finished, tmp_path_factory):
    """Return a copy of ``finished`` in which ``make report`` has been run after ``make all``; ``report.log`` has what it said."""

    def make(folder):
        shutil.copytree(finished, folder, dirs_exist_ok=True)
        # With the environment that runs these tests in the place of .venv.
        binaries = Path(sys.executable).parent
        done = subprocess.run(
            ["make", "report", f"CONFIG={pipeline.CONFIG}", f"BIN={binaries}", "--old-file=.venv/.stamp"],
            cwd=folder,
            env=pipeline.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        (folder / "report.log").write_text(done.stdout + done.stderr)

    return shared.once(tmp_path_factory, "reported", make)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return the processes of ``pytest -n auto``: one for each core that may be used.

    Two at least, because the tests of the workflow wait much. Eight at most: more would wait for the longest of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(2, cores), 8)


def pytest_collection_modifyitems(items):
    """Skip what this machine lacks, and say so; put the longest tests first, so that no process is left alone with them."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
    for item in items:
        if item.get_closest_marker("network") and os.environ.get("INFOADV_NETWORK") != "1":
            item.add_marker(pytest.mark.skip(reason="needs the internet; set INFOADV_NETWORK=1 to run it"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
