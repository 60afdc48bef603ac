"""Shared by all tests: one thread, two artefacts that take a moment to make, and a run of the pipeline."""

from __future__ import annotations

import os

import pytest

from helpers import pipeline

# Before torch is imported: tests are small, and their sums must not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Model artefacts of the tests name these factories.
os.environ["INFOADV_FACTORIES"] = "helpers.toys:linear_factory,helpers.toys:own_network,users_models:own"


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory):
    """Return the path of a data artefact: 500 and 200 of the digits, 16 px."""
    from infoadv import data
    from infoadv.data.digits import digits

    full = digits(None, size=16, test=200)
    dataset = data.Dataset(full.x_train[:500], full.y_train[:500], full.x_test, full.y_test, full.class_names)
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    data.save(path, dataset, {"source": "digits", "size": 16, "test": 200})
    return path


@pytest.fixture(scope="session")
def trained_model(digits_data, tmp_path_factory):
    """Return the path of a small_cnn artefact trained on ``digits_data``."""
    from helpers import toys
    from infoadv.stages import train as train_stage

    folder = tmp_path_factory.mktemp("model")
    train_stage.run(
        digits_data,
        toys.specification(epochs=8),
        seed=0,
        device="cpu",
        checkpoint=folder / "small.ckpt.safetensors",
        out=folder / "small.safetensors",
    )
    return folder / "small.safetensors"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a copy of the repository in which everything has been made."""
    tree = pipeline.copy_tree(tmp_path_factory.mktemp("tree"))
    pipeline.succeed(tree, "all")
    return tree


def pytest_collection_modifyitems(items):
    """Skip what this machine lacks, and say so."""
    for item in items:
        if item.get_closest_marker("network") and os.environ.get("INFOADV_NETWORK") != "1":
            item.add_marker(pytest.mark.skip(reason="needs the internet; set INFOADV_NETWORK=1 to run it"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
