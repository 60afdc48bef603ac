"""Data sets of torchvision, from roots that the tests write: parts, labels, names, and errors that say what to do."""

from __future__ import annotations

import inspect
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from infoadv import data
from infoadv.data import DataError, from_torchvision
from infoadv.data.from_torchvision import fetch, torchvision

NAMES = from_torchvision.SCHEMA["torchvision"]["name"]["enum"]


@pytest.fixture
def fashion(tmp_path):
    """Write FashionMNIST of 5 and 3 images as torchvision expects it; return the root and the training images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    images = {}
    for part, count in (("train", 5), ("t10k", 3)):
        images[part] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        sizes = b"".join(size.to_bytes(4, "big") for size in images[part].shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03" + sizes + images[part].tobytes())
        labels = count.to_bytes(4, "big") + bytes(9 - place for place in range(count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01" + labels)
    return tmp_path, images["train"]


@pytest.fixture
def eurosat(tmp_path):
    """Write EuroSAT, which has no parts: six pictures of two classes and two sizes."""
    for name in ("Forest", "River"):
        (tmp_path / "eurosat" / "2750" / name).mkdir(parents=True)
        for place in range(3):
            picture = Image.new("RGB", (64, 60 + place), (80 * place, 0, 0))
            picture.save(tmp_path / "eurosat" / "2750" / name / f"{place}.png")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_torchvision_has_what_is_offered(name):
    parameters = inspect.signature(getattr(datasets, name)).parameters
    for part in from_torchvision._PARTS.get(name, ()):
        assert set(part) <= set(parameters) or "kwargs" in parameters
    assert "root" in parameters


def test_parts_labels_and_names(fashion):
    root, images = fashion
    dataset = torchvision(root, name="FashionMNIST")
    data.check(dataset, "fashion")
    np.testing.assert_array_equal(dataset.x_train[:, 0], images)
    assert dataset.y_train.tolist() == [9, 8, 7, 6, 5]
    assert dataset.y_test.tolist() == [9, 8, 7]
    assert dataset.class_names[9] == "Ankle boot"


def test_size_and_channels(fashion):
    dataset = torchvision(fashion[0], name="FashionMNIST", size=[16, 20], channels=3)
    assert dataset.shape == (3, 16, 20)
    np.testing.assert_array_equal(dataset.x_train[:, 0], dataset.x_train[:, 2])


def test_a_data_set_without_parts_is_split_by_the_seed(eurosat):
    def read(seed):
        return torchvision(eurosat, name="EuroSAT", size=16, test=0.5, split_seed=seed)

    first, again, other = read(0), read(0), read(1)
    assert first.class_names == ("Forest", "River")
    assert first.x_train.shape == first.x_test.shape == (3, 3, 16, 16)
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)
    red = np.concatenate([first.x_train, first.x_test])[:, 0, 8, 8]
    assert sorted(red.tolist()) == [0, 0, 80, 80, 160, 160]


def test_pictures_of_different_sizes(eurosat):
    with pytest.raises(
        DataError, match=r"EuroSAT in .*: not all pictures are .*image \d .*; bring them to one size with"
    ):
        torchvision(eurosat, name="EuroSAT")


def test_the_digest_is_said_and_checked(fashion, capsys):
    torchvision(fashion[0], name="FashionMNIST")
    said = capsys.readouterr().err
    digest = said.split()[-1]
    assert said == f"sha256 of images and labels: {digest}\n"
    torchvision(fashion[0], name="FashionMNIST", sha256=digest)
    with pytest.raises(DataError, match=rf"have the sha256 {digest}, the configuration says {'0' * 64}"):
        torchvision(fashion[0], name="FashionMNIST", sha256="0" * 64)
    capsys.readouterr()
    torchvision(fashion[0], name="FashionMNIST", size=16)
    assert digest not in capsys.readouterr().err


def test_arguments(fashion):
    root = fashion[0]
    (root / "FashionMNIST").rename(root / "QMNIST")
    for key in ("root", "download", "transform", "train", "depth"):
        with pytest.raises(DataError, match=rf"QMNIST: arguments: no '{key}' to give; allowed: compat, what"):
            torchvision(root, name="QMNIST", arguments={key: 1})


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no data root; set data_root or INFOADV_DATA"):
        torchvision(None, name="SVHN")
    for name in ("FashionMNIST", "SVHN", "SEMEION", "ImageNet", "Food101", "EMNIST"):
        with pytest.raises(
            DataError, match=rf"torchvision {name} cannot be read in .*data_root or INFOADV_DATA"
        ) as caught:
            torchvision(tmp_path, name=name)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.*"))


def test_fetch_asks_for_every_part(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        datasets.Food101,
        "__init__",
        lambda self, root, split="train", download=False: asked.append((root, split, download)),
    )
    fetch(tmp_path / "new", name="Food101")
    assert asked == [(str(tmp_path / "new"), split, True) for split in ("train", "test")]


def test_fetch_without_network(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(datasets.mnist, "download_and_extract_archive", refuse)
    monkeypatch.setattr(datasets.svhn, "download_url", refuse)
    for name in ("KMNIST", "SVHN"):
        with pytest.raises(
            DataError, match=rf"torchvision {name} could not be downloaded .*Name or service not known.*data_root"
        ):
            fetch(tmp_path, name=name)


def test_fetch_of_what_torchvision_cannot_download(tmp_path):
    for name in ("ImageNet", "FER2013"):
        with pytest.raises(DataError, match=rf"torchvision has no download of {name}; set data_root"):
            fetch(tmp_path, name=name)
