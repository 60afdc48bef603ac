"""MNIST (LeCun et al. 1998), read by torchvision from the idx files under ``<root>/MNIST/raw``."""

from __future__ import annotations

from pathlib import Path

from infoadv.data import DataError, Dataset, pinned

SCHEMA: dict[str, dict] = {"mnist": {}}

#: sha256 of the decompressed idx files.
DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def fetch(root: Path) -> None:
    """Download MNIST into ``root`` (torchvision checks each archive against a pinned md5)."""
    from torchvision.datasets import MNIST

    try:
        MNIST(str(root), download=True)
    except (OSError, RuntimeError) as error:
        detail = " ".join(str(error).split())
        raise DataError(
            f"MNIST could not be downloaded ({detail}); where there is no network, set data_root or INFOADV_DATA to a "
            "folder that holds MNIST/raw/*-ubyte."
        ) from error


def mnist(root: Path | None) -> Dataset:
    """Return MNIST, 60,000 and 10,000 images of (1, 28, 28)."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    if root is None:
        raise DataError("mnist: no data root; set data_root or INFOADV_DATA.")
    # Not the MNIST class: it prefers an old pickled cache, where there is one, to the files that were just checked.
    files = [str(pinned(root / "MNIST" / "raw" / name, digest, "sha256")) for name, digest in DIGESTS.items()]
    x_train, x_test = (read_image_file(path).numpy()[:, None] for path in files[::2])
    y_train, y_test = (read_label_file(path).numpy() for path in files[1::2])
    return Dataset(x_train, y_train, x_test, y_test, tuple(str(digit) for digit in range(10)))
