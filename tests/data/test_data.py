"""Data sources: every one gives the same uniform data set, and what cannot be used is named before it is stored."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import tarfile
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from infoadv import data
from infoadv.data import DataError, cifar10, mnist
from infoadv.data.digits import digits
from infoadv.data.npz import npz

REAL = os.environ.get("INFOADV_DATA")
needs_real_data = pytest.mark.skipif(REAL is None, reason="INFOADV_DATA names no data root")


def one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def arrays(shape=(8, 9), count=6, classes=3, **changed):
    """Return the four arrays of a small data set, with ``changed`` ones."""
    rng = np.random.default_rng(0)
    found = {
        "x_train": rng.integers(0, 256, (count, *shape), dtype=np.uint8),
        "y_train": np.arange(count) % classes,
        "x_test": rng.integers(0, 256, (count, *shape), dtype=np.uint8),
        "y_test": np.arange(count) % classes,
    }
    return found | changed


def stored(path, **changed):
    """Write an .npz, take it through the source and the artefact, and return the data set that comes back."""
    np.savez(path / "users.npz", **arrays(**changed))
    data.make(path / "mine.safetensors", {"source": "npz", "path": str(path / "users.npz")}, None)
    return data.load(path / "mine.safetensors")[0]


# The embedded digits


@pytest.fixture(scope="module")
def small_digits():
    return digits(None, size=16)


def test_digits_are_uniform(small_digits):
    assert small_digits.x_train.shape == (1347, 1, 16, 16)
    assert small_digits.x_test.shape == (450, 1, 16, 16)
    assert small_digits.x_train.dtype == np.uint8
    assert small_digits.x_train.min() == 0
    assert small_digits.x_train.max() == 255
    assert small_digits.shape == (1, 16, 16)
    assert small_digits.classes == 10
    assert small_digits.class_names == tuple("0123456789")
    for labels in (small_digits.y_train, small_digits.y_test):
        assert set(labels) == set(range(10))
    data.check(small_digits, "digits")


def test_digits_are_deterministic_and_split_by_the_seed(small_digits):
    again = digits(None, size=16)
    for part in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(small_digits, part))
    other = digits(None, size=16, split_seed=1)
    assert not np.array_equal(other.y_test, small_digits.y_test)
    everything = [np.concatenate([d.x_train, d.x_test]).sum((1, 2, 3), dtype=np.int64) for d in (other, small_digits)]
    np.testing.assert_array_equal(*[np.sort(sums) for sums in everything])


def test_digits_take_size_and_test():
    dataset = digits(None, size=20, test=100)
    assert dataset.shape == (1, 20, 20)
    assert len(dataset.x_test) == 100
    assert len(dataset.x_train) == 1697


def test_artefact_is_what_went_in(digits_data):
    dataset, header = data.load(digits_data)
    assert dataset.x_train.shape == (500, 1, 16, 16)
    assert dataset.y_train.dtype == np.int64
    assert header["kind"] == "data"
    assert header["specification"]["size"] == 16
    assert header["class_names"] == list("0123456789")


# A user's own .npz


def test_npz_gray(tmp_path):
    dataset = stored(tmp_path)
    assert dataset.shape == (1, 8, 9)
    np.testing.assert_array_equal(dataset.x_train[:, 0], arrays()["x_train"])
    assert dataset.class_names == ("0", "1", "2")


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_with_channels_last(tmp_path, channels):
    dataset = stored(tmp_path, shape=(8, 9, channels))
    assert dataset.shape == (channels, 8, 9)
    np.testing.assert_array_equal(dataset.x_test[:, -1], arrays(shape=(8, 9, channels))["x_test"][..., -1])


def test_npz_class_names(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", **arrays())
    dataset = npz(None, path=str(tmp_path / "mine.npz"), class_names=["cat", "dog", "emu", "never seen"])
    assert dataset.classes == 4
    data.check(dataset, "mine")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_npz_labels_of_any_integer_type(tmp_path, dtype):
    assert stored(tmp_path, y_train=arrays()["y_train"].astype(dtype)).y_train.dtype == np.int64


BAD = {
    "float images": ({"x_train": np.zeros((6, 8, 9))}, ["x_train is float64", "uint8"]),
    "float labels": ({"y_test": np.zeros(6)}, ["y_test is float64", "integer"]),
    "one-hot labels": ({"y_train": np.eye(6, dtype=np.int64)}, ["y_train is int64 (6, 6)", "integer labels"]),
    "label too large": (
        {"y_test": np.array([0, 1, 2, 3, 0, 1])},
        ["y_test holds labels 0 to 3", "there are 3 classes"],
    ),
    "negative label": ({"y_train": np.array([0, 1, 2, -1, 0, 1])}, ["y_train holds the negative label -1", "from 0"]),
    "negative label to test": ({"y_test": np.array([0, 1, 2, -7, 0, 1])}, ["y_test holds the negative label -7"]),
    "negative labels alone": ({"y_train": np.full(6, -1)}, ["y_train holds the negative label -1"]),
    "too few labels": ({"y_train": np.array([0, 1, 2])}, ["y_train has shape (3,)", "6 images"]),
    "no test images": ({"x_test": np.zeros((0, 8, 9), np.uint8)}, ["x_test is empty"]),
    "no labels": ({"y_test": np.zeros(0, np.int64)}, ["y_test is int64 (0,)"]),
    "other size": ({"x_test": np.zeros((6, 9, 9), np.uint8)}, ["x_test is (1, 9, 9)", "one size"]),
    "two channels": ({"x_train": np.zeros((6, 8, 9, 2), np.uint8)}, ["x_train has shape", "C 1 or 3"]),
    "flat images": ({"x_train": np.zeros((6, 72), np.uint8)}, ["x_train has shape (6, 72)", "N x H x W"]),
    "one class": ({"y_train": np.zeros(6, np.int64), "y_test": np.zeros(6, np.int64)}, ["1 class;", "at least two"]),
}


@pytest.mark.parametrize("name", list(BAD))
def test_npz_that_cannot_be_used(tmp_path, name):
    changed, parts = BAD[name]
    with pytest.raises(DataError) as caught:
        stored(tmp_path, **changed)
    one_line(caught, "data set mine: ", "users.npz: ", *parts)
    assert not (tmp_path / "mine.safetensors").exists()


def test_a_negative_label_of_any_source(small_digits):
    with pytest.raises(DataError, match="mine: y_test holds the negative label -1; number the classes from 0"):
        data.check(dataclasses.replace(small_digits, y_test=small_digits.y_test - 1), "mine")


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ({"path": "mine.npz"}, "data set mine: lacks 'source'; choose one of: cifar10, digits"),
        ({"source": "npz"}, "data set mine: npz: lacks the argument 'path'"),
        ({"source": "npz", "pth": "mine.npz"}, "data set mine: npz: unknown option 'pth'; did you mean 'path'"),
        ({"source": "digits", "size": 16.0}, "data set mine: digits: size: 16.0 is not allowed"),
    ],
)
def test_a_specification_that_cannot_be_made(tmp_path, specification, words):
    with pytest.raises(DataError, match=words):
        data.make(tmp_path / "mine.safetensors", specification, None)


def test_npz_lacks_arrays(tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=arrays()["x_train"], labels=arrays()["y_train"])
    with pytest.raises(DataError) as caught:
        npz(None, path=str(tmp_path / "mine.npz"))
    one_line(caught, "mine.npz", "lacks y_train, x_test, y_test")


def test_npz_with_pickled_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays(y_train=np.array(["cat", 1], dtype=object)))
    with pytest.raises(DataError) as caught:
        npz(None, path=str(tmp_path / "mine.npz"))
    one_line(caught, "mine.npz", "pickle", "numpy.savez")


def damaged(path, kind):
    """Write a file of a ``kind`` that is not a sound .npz."""
    striped = np.arange(6 * 60 * 60).reshape(6, 60, 60) ** 2 // 7 % 251
    np.savez_compressed(path, **arrays(x_train=striped.astype(np.uint8)))
    content = path.read_bytes()
    middle = len(content) // 4
    if kind == "truncated":
        path.write_bytes(content[:middle])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("x_train,y_train\n")
    elif kind == "array":
        with path.open("wb") as handle:
            np.save(handle, arrays()["x_train"])
    elif kind == "altered":
        path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    else:
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "array", "altered", "missing"])
def test_npz_that_is_damaged_or_none(tmp_path, kind):
    path = tmp_path / "mine.npz"
    damaged(path, kind)
    with pytest.raises(DataError) as caught:
        npz(None, path=str(path))
    one_line(caught, "mine.npz", "numpy.savez")


# MNIST and CIFAR-10, on roots that the tests write


def write_mnist(root):
    """Write four idx files, 5 and 3 images; return {name: content}."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 5), ("t10k", 3)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8).tobytes()
        labels = bytes((7 + i) % 10 for i in range(count))
        sizes = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        contents[f"{part}-images-idx3-ubyte"] = b"\x00\x00\x08\x03" + sizes + pixels
        contents[f"{part}-labels-idx1-ubyte"] = b"\x00\x00\x08\x01" + count.to_bytes(4, "big") + labels
    (root / "MNIST" / "raw").mkdir(parents=True)
    for name, content in contents.items():
        (root / "MNIST" / "raw" / name).write_bytes(content)
    return contents


def write_cifar10(root):
    """Write six record files of 2 images each; return {name: content}."""
    rng = np.random.default_rng(0)
    (root / cifar10.FOLDER).mkdir(parents=True)
    contents = {}
    for number, name in enumerate(cifar10.DIGESTS):
        records = rng.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[:, 0] = (number, 9)
        contents[name] = records.tobytes()
        (root / cifar10.FOLDER / name).write_bytes(contents[name])
    return contents


@pytest.fixture(params=["mnist", "cifar10"])
def source(request, tmp_path, monkeypatch):
    """Return a source's module, function, and a root that holds a synthetic data set of its form."""
    module = {"mnist": mnist, "cifar10": cifar10}[request.param]
    contents = {"mnist": write_mnist, "cifar10": write_cifar10}[request.param](tmp_path)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(module, "DIGESTS", digests)
    return module, getattr(module, request.param), tmp_path, contents


def raw_file(module, root, place):
    folder = root / "MNIST" / "raw" if module is mnist else root / cifar10.FOLDER
    return folder / list(module.DIGESTS)[place]


def test_files_are_read_as_their_format_says(source):
    module, read, root, contents = source
    dataset = read(root)
    data.check(dataset, module.__name__)
    first, last = (contents[name] for name in list(module.DIGESTS)[:: len(module.DIGESTS) - 1])
    if module is mnist:
        assert dataset.x_train.shape == (5, 1, 28, 28)
        assert dataset.x_train.tobytes() == first[16:]
        assert dataset.y_test.tolist() == list(last[8:])
    else:
        assert dataset.x_train.shape == (10, 3, 32, 32)
        assert dataset.x_train[0].tobytes() == first[1:3073]
        assert dataset.y_train.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
        assert dataset.x_test[1].tobytes() == last[3074:]
        assert dataset.y_test.tolist() == [5, 9]
        assert dataset.class_names[9] == "truck"


def test_no_data_root(source):
    with pytest.raises(DataError) as caught:
        source[1](None)
    one_line(caught, "data_root", "INFOADV_DATA")


def test_data_root_without_the_files(source, tmp_path):
    with pytest.raises(DataError) as caught:
        source[1](tmp_path / "nowhere")
    one_line(caught, "nowhere", "no such file", "data_root", "INFOADV_DATA")


@pytest.mark.parametrize("place", [0, -1])
def test_one_file_is_missing(source, place):
    module, read, root, _ = source
    path = raw_file(module, root, place)
    path.unlink()
    with pytest.raises(DataError) as caught:
        read(root)
    one_line(caught, str(path), "no such file")


@pytest.mark.parametrize("place", [0, -1])
def test_one_file_is_truncated(source, place):
    module, read, root, _ = source
    path = raw_file(module, root, place)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError) as caught:
        read(root)
    one_line(caught, str(path), "truncated", "remove it")


def test_mnist_reads_no_cache_beside_the_pinned_files(tmp_path, monkeypatch):
    import torch

    contents = write_mnist(tmp_path)
    monkeypatch.setattr(mnist, "DIGESTS", {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()})
    (tmp_path / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        # What torchvision once wrote, and still prefers to the files.
        other = (torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
        torch.save(other, tmp_path / "MNIST" / "processed" / name)
    assert len(mnist.mnist(tmp_path).x_train) == 5


def test_fetch_without_network(source, tmp_path, monkeypatch):
    import torchvision.datasets.utils

    def refuse(*_arguments, **_options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlretrieve", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", refuse)
    with pytest.raises(DataError) as caught:
        source[0].fetch(tmp_path / "new")
    one_line(caught, "could not be downloaded", "Name or service not known", "data_root", "INFOADV_DATA")
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def serve(monkeypatch, content):
    """Answer every download with ``content`` and return the list of addresses asked for."""
    asked = []

    def answer(url, path):
        asked.append(url)
        Path(path).write_bytes(content)

    monkeypatch.setattr(urllib.request, "urlretrieve", answer)
    return asked


def test_cifar10_is_taken_out_of_its_archive(tmp_path, monkeypatch):
    contents = write_cifar10(tmp_path / "source")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "source" / cifar10.FOLDER, cifar10.FOLDER)
    asked = serve(monkeypatch, buffer.getvalue())
    monkeypatch.setattr(cifar10, "ARCHIVE_DIGEST", hashlib.sha256(buffer.getvalue()).hexdigest())
    monkeypatch.setattr(cifar10, "DIGESTS", {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()})
    cifar10.fetch(tmp_path / "root")
    assert len(cifar10.cifar10(tmp_path / "root").x_train) == 10
    # A second time takes the archive that is there.
    cifar10.fetch(tmp_path / "root")
    assert asked == [cifar10.URL]


def test_cifar10_archive_that_is_something_else(tmp_path, monkeypatch):
    serve(monkeypatch, b"<html>Please log in</html>")
    with pytest.raises(DataError) as caught:
        cifar10.fetch(tmp_path)
    one_line(caught, "cifar-10-binary.tar.gz", "altered", "remove it and fetch it again")


@pytest.mark.realdata
@needs_real_data
def test_real_mnist():
    dataset = mnist.mnist(Path(REAL))
    data.check(dataset, "mnist")
    assert dataset.x_train.shape == (60000, 1, 28, 28)
    assert dataset.x_test.shape == (10000, 1, 28, 28)
    assert {"mnist": len(dataset.x_test)} == mnist.TEST_IMAGES
    # The counts that Yann LeCun's page gives begin with 5923 zeros; the sevens of the test part are 1028.
    assert np.bincount(dataset.y_train)[0] == 5923
    assert np.bincount(dataset.y_test)[7] == 1028


@pytest.mark.realdata
@needs_real_data
def test_real_cifar10():
    dataset = cifar10.cifar10(Path(REAL))
    data.check(dataset, "cifar10")
    assert dataset.x_train.shape == (50000, 3, 32, 32)
    assert dataset.x_test.shape == (10000, 3, 32, 32)
    assert {"cifar10": len(dataset.x_test)} == cifar10.TEST_IMAGES
    assert np.bincount(dataset.y_train).tolist() == [5000] * 10
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
