"""MNIST (LeCun et al. 1998), read from the idx files under ``<root>/MNIST/raw``."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from infoadv.data import DataError, Dataset, pinned

SCHEMA: dict[str, dict] = {"mnist": {}}
TEST_IMAGES = {"mnist": 10_000}
SIDE = {"mnist": 28}

#: sha256 of the decompressed idx files.
DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def fetch(root: Path) -> None:
    """Download MNIST into ``root``: each archive is checked against torchvision's md5, each file against its sha256."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_and_extract_archive

    # Not MNIST(download=True): it prefers an old pickled cache, where there is one, to the files.
    folder = root / "MNIST" / "raw"
    for (archive, md5), name in zip(MNIST.resources, DIGESTS, strict=True):
        failures = []
        for mirror in MNIST.mirrors:
            try:
                download_and_extract_archive(f"{mirror}{archive}", str(folder), filename=archive, md5=md5)
            except (OSError, RuntimeError) as error:
                failures.append(" ".join(str(error).split()))
                continue
            break
        else:
            raise DataError(
                f"MNIST could not be downloaded ({'; '.join(failures)}); where there is no network, set data_root or "
                "INFOADV_DATA to a folder that holds MNIST/raw/*-ubyte."
            )
        pinned(folder / name, DIGESTS[name])


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the uint8 array of an idx file; raise ``DataError`` unless its size is what its header says."""
    content = np.fromfile(path, dtype=np.uint8)
    start = 4 * (1 + dimensions)
    # Two zeros, the code of unsigned bytes, the number of dimensions; then each dimension as a big-endian integer.
    if content[:4].tolist() != [0, 0, 8, dimensions] or len(content) < start:
        raise DataError(f"{path}: not an idx file of bytes in {dimensions} dimensions; remove it and fetch it again.")
    shape = content[4:start].view(">u4").tolist()
    if math.prod(shape) != len(content) - start:
        raise DataError(f"{path}: holds {len(content) - start} values, its header says {shape}; fetch it again.")
    return content[start:].reshape(shape)


def mnist(root: Path | None) -> Dataset:
    """Return MNIST, 60,000 and 10,000 images of (1, 28, 28)."""
    if root is None:
        raise DataError("mnist: no data root; set data_root or INFOADV_DATA.")
    files = [pinned(root / "MNIST" / "raw" / name, digest) for name, digest in DIGESTS.items()]
    x_train, x_test = (read_idx(path, 3)[:, None] for path in files[::2])
    y_train, y_test = (read_idx(path, 1).astype(np.int64) for path in files[1::2])
    return Dataset(x_train, y_train, x_test, y_test, tuple(str(digit) for digit in range(10)))
