"""CIFAR-10 (Krizhevsky 2009), read from the official *binary version* under ``<root>/cifar-10-batches-bin``.

torchvision reads the python version, which is pickled; the binary one needs no unpickling of downloaded files.
"""

from __future__ import annotations

import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from infoadv.artifacts import atomic_path
from infoadv.data import DataError, Dataset, pinned

SCHEMA: dict[str, dict] = {"cifar10": {}}
TEST_IMAGES = {"cifar10": 10_000}
SIDE = {"cifar10": 32}

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
#: sha256 of the archive.
ARCHIVE_DIGEST = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER = "cifar-10-batches-bin"
#: sha256 of each file of the binary version.
DIGESTS = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def fetch(root: Path) -> None:
    """Download the archive into ``root``, check it against its pinned digest, and take out the six data files."""
    archive = root / "cifar-10-binary.tar.gz"
    if not archive.is_file():
        try:
            with atomic_path(archive) as temporary:
                urllib.request.urlretrieve(URL, temporary)
        except (OSError, urllib.error.ContentTooShortError) as error:
            raise DataError(
                f"CIFAR-10 could not be downloaded ({error}); where there is no network, set data_root or INFOADV_DATA "
                f"to a folder that holds {FOLDER}/*.bin."
            ) from error
    pinned(archive, ARCHIVE_DIGEST)
    # Only the pinned archive is opened, and of it only these names are read: nothing is extracted to a path of its choice.
    with tarfile.open(archive) as tar:
        for name in DIGESTS:
            member = tar.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise DataError(f"{archive}: holds no {FOLDER}/{name}; remove it and run again.")
            with atomic_path(root / FOLDER / name) as temporary:
                temporary.write_bytes(member.read())


def read_records(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (N, 3, 32, 32) and labels int64 (N,); raise ``DataError`` where a record is not whole."""
    # A record is one label byte and 3,072 image bytes, channel by channel.
    content = np.fromfile(path, dtype=np.uint8)
    if len(content) % 3073:
        raise DataError(f"{path}: {len(content)} bytes, no whole number of records of 3,073; fetch it again.")
    records = content.reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def cifar10(root: Path | None) -> Dataset:
    """Return CIFAR-10, 50,000 and 10,000 images of (3, 32, 32)."""
    if root is None:
        raise DataError("cifar10: no data root; set data_root or INFOADV_DATA.")
    batches = [read_records(pinned(root / FOLDER / name, digest)) for name, digest in DIGESTS.items()]
    (x_train, y_train) = (np.concatenate(part) for part in zip(*batches[:5], strict=True))
    x_test, y_test = batches[5]
    return Dataset(x_train, y_train, x_test, y_test, CLASS_NAMES)
