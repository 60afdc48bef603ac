"""A user's folder of pictures and a data set of torchvision through the workflow: what makes them again, and what does not."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers import ROOT
from helpers.pipeline import command, environment
from infoadv import data

pytestmark = pytest.mark.workflow

ARTEFACT = "results/data/mine.safetensors"
#: Stands in for the network: the class that torchvision would download from is asked, and writes its files.
OFFLINE = """
import os
import pathlib
import sys

if sys.argv[1:2] == ["fetch"]:
    from torchvision import datasets

    def download(self):
        folder = pathlib.Path(self.raw_folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part, count in (("train", 6), ("t10k", 4)):
            sizes = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
            (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\\0\\0\\x08\\x03" + sizes + bytes(28 * 28 * count))
            labels = count.to_bytes(4, "big") + bytes(place % 2 for place in range(count))
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\\0\\0\\x08\\x01" + labels)

    datasets.FashionMNIST.download = download
"""


def configured(folder, source):
    """Write a configuration of the smallest run on this data set, beside which nothing has to be made."""
    values = yaml.safe_load((ROOT / "tests" / "workflow" / "faults.yaml").read_text())
    values["datasets"] = {"mine": source}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    return folder


def run(tree, *arguments, **variables):
    done = subprocess.run(
        [*command(ARTEFACT, "--snakefile", str(ROOT / "Snakefile"), *arguments), "--configfile", "mine.yaml"],
        cwd=tree,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def pictures(tmp_path):
    """Write a folder of pictures and a configuration that names it."""
    # The configuration attacks eight images, so there have to be as many to test with.
    for part, count in (("train", 3), ("test", 4)):
        for name in ("a cat's", "dög {1}"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for place in range(count):
                pixels = np.random.default_rng(place).integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{place}.png")
    return configured(tmp_path, {"source": "folder", "path": "photos", "size": 16})


def test_a_folder_is_read_again_when_a_picture_changes(pictures):
    status, said = run(pictures)
    assert status == 0, said
    dataset, header = data.load(pictures / ARTEFACT)
    assert dataset.shape == (3, 16, 16)
    assert dataset.class_names == ("a cat's", "dög {1}")
    assert header["specification"]["path"] == "photos"
    first = pictures / "photos" / "train" / "a cat's" / "0.png"
    # Touched, and something that is no picture: nothing to do.
    os.utime(first)
    (pictures / "photos" / "notes.txt").write_text("")
    assert "Nothing to be done" in run(pictures)[1]
    first.write_bytes((pictures / "photos" / "train" / "a cat's" / "1.png").read_bytes())
    status, said = run(pictures)
    assert status == 0, said
    changed, _ = data.load(pictures / ARTEFACT)
    np.testing.assert_array_equal(changed.x_train[0], changed.x_train[1])
    first.unlink()
    assert run(pictures)[0] == 0
    assert len(data.load(pictures / ARTEFACT)[0].x_train) == 5


def test_a_folder_that_is_not_there_or_broken(pictures):
    (pictures / "photos" / "train" / "dög {1}" / "2.png").write_bytes(b"no picture")
    status, _ = run(pictures)
    assert status != 0
    log = (pictures / "logs" / "dataset" / "mine.log").read_text()
    assert re.search(r"data set mine: photos: train/dög \{1\}/2\.png cannot be read as a picture", log)
    (pictures / "photos").rename(pictures / "elsewhere")
    status, said = run(pictures)
    assert status != 0
    assert "Missing input files" in said
    assert "photos" in said


def test_torchvision_is_downloaded_once(tmp_path):
    tree = configured(tmp_path, {"source": "torchvision", "name": "FashionMNIST"})
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(OFFLINE)
    variables = {"PYTHONPATH": str(tmp_path / "site")}
    status, said = run(tree, **variables)
    assert status == 0, said + "".join(path.read_text() for path in tree.glob("logs/**/*.log"))
    assert (tree / "results/downloads/torchvision/mine/FashionMNIST/raw/train-images-idx3-ubyte").is_file()
    assert "rule fetch_torchvision" in said
    assert data.load(tree / ARTEFACT)[0].x_train.shape == (6, 1, 28, 28)
    assert "Nothing to be done" in run(tree, **variables)[1]


def test_torchvision_from_a_data_root(tmp_path):
    tree = configured(tmp_path, {"source": "torchvision", "name": "EuroSAT", "size": 16, "test": 0.5})
    for name in ("Forest", "River"):
        (tmp_path / "root" / "eurosat" / "2750" / name).mkdir(parents=True)
        for place in range(4):
            Image.new("RGB", (64, 64), (place, 0, 0)).save(tmp_path / "root/eurosat/2750" / name / f"{place}.jpg")
    status, said = run(tree, INFOADV_DATA=str(tmp_path / "root"))
    assert status == 0, said
    assert "fetch" not in said
    dataset, _ = data.load(tree / ARTEFACT)
    assert dataset.x_train.shape == dataset.x_test.shape == (4, 3, 16, 16)
    assert dataset.class_names == ("Forest", "River")
