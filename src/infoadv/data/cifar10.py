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

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_DIGEST = "c32a1d4ab5d03f1284b67883e8d87530"
FOLDER = "cifar-10-batches-bin"
#: md5 of each file of the binary version.
DIGESTS = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
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
    with tarfile.open(archive) as tar:
        for name in DIGESTS:
            member = tar.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise DataError(f"{archive}: holds no {FOLDER}/{name}; remove it and run again.")
            with atomic_path(root / FOLDER / name) as temporary:
                temporary.write_bytes(member.read())


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    # A record is one label byte and 3,072 image bytes, channel by channel.
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def cifar10(root: Path | None) -> Dataset:
    """Return CIFAR-10, 50,000 and 10,000 images of (3, 32, 32)."""
    if root is None:
        raise DataError("cifar10: no data root; set data_root or INFOADV_DATA.")
    batches = [_read(pinned(root / FOLDER / name, digest)) for name, digest in DIGESTS.items()]
    (x_train, y_train) = (np.concatenate(part) for part in zip(*batches[:5], strict=True))
    x_test, y_test = batches[5]
    return Dataset(x_train, y_train, x_test, y_test, CLASS_NAMES)
