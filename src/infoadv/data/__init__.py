"""Data sets. Each source becomes one uniform artefact; after that nothing knows where the images came from.

A source is a file with a literal ``SCHEMA`` and a function of the same name, ``source(root, **options) -> Dataset``;
``root`` is the data root (a folder) or None. A literal ``TEST_IMAGES`` may say how many test images there are, so that asking
for more is refused before anything runs: a number, or the name of the option that holds the number, the path of an .npz or that
of a folder of pictures.
If its files can be downloaded, the file has ``fetch(root, **options)`` as well, with those of the options that decide what is
downloaded; if its option ``path`` is a folder, ``digest(path)`` of what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.registry import options as checking
from infoadv.registry import plugins


class DataError(InfoadvError):
    """Images or labels that cannot be used, or a data root without them."""


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N, C, H, W), labels int64 (N,), and the name of each class."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width


def check(dataset: Dataset, name: str) -> None:
    """Raise ``DataError`` unless images, labels and class names fit each other."""
    for part in ("train", "test"):
        images, labels = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        if images.dtype != np.uint8:
            raise DataError(f"{name}: x_{part} is {images.dtype}; give uint8 images (0 to 255).")
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DataError(
                f"{name}: x_{part} has shape {images.shape}; give N x H x W, or N x H x W x C with C 1 or 3."
            )
        if len(images) == 0:
            raise DataError(f"{name}: x_{part} is empty.")
        if images.shape[1:] != dataset.x_train.shape[1:]:
            raise DataError(
                f"{name}: x_test is {images.shape[1:]}, x_train is {dataset.x_train.shape[1:]}; bring them to one size."
            )
        if labels.shape != (len(images),):
            raise DataError(
                f"{name}: y_{part} has shape {labels.shape}, x_{part} has {len(images)} images; give a label each."
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"{name}: y_{part} is {labels.dtype}; give integer labels.")
        if labels.min() < 0:
            raise DataError(f"{name}: y_{part} holds the negative label {labels.min()}; number the classes from 0.")
        if labels.max() >= dataset.classes:
            raise DataError(
                f"{name}: y_{part} holds labels {labels.min()} to {labels.max()}, there are {dataset.classes} classes "
                f"(0 to {dataset.classes - 1}); correct the labels or class_names."
            )
    if dataset.classes < 2:
        raise DataError(f"{name}: {dataset.classes} class; an attack needs at least two.")


def make(path: str | Path, specification: dict[str, Any], root: Path | None) -> None:
    """Read the data set of a specification, ``source`` and its options, and write it as an artefact of kind ``data``.

    The artefact is named after the data set. Raises ``DataError``, which names the data set and the file at fault.
    """
    options = dict(specification)
    if "source" not in options:
        raise DataError(
            f"data set {Path(path).stem}: lacks 'source'; choose one of: {', '.join(plugins.names('data'))}."
        )
    source = plugins.load("data", options.pop("source"))
    try:
        options = checking.check_call("data", specification["source"], source, options)
    except checking.OptionError as error:
        raise DataError(f"data set {Path(path).stem}: {error}") from error
    try:
        dataset = source(root, **options)
    except DataError as error:
        raise DataError(f"data set {Path(path).stem}: {error}") from error
    save(path, dataset, specification)


def save(path: str | Path, dataset: Dataset, specification: dict[str, Any]) -> None:
    """Check a data set and write it as an artefact of kind ``data``."""
    check(dataset, f"data set {Path(path).stem}: {specification.get('path', specification['source'])}")
    tensors = {part: getattr(dataset, part) for part in ("x_train", "x_test")}
    tensors |= {part: getattr(dataset, part).astype(np.int64) for part in ("y_train", "y_test")}
    header = artifacts.provenance("data", specification, class_names=list(dataset.class_names))
    artifacts.save_tensors(path, tensors, header)


def load(path: str | Path) -> tuple[Dataset, dict[str, Any]]:
    """Read a data-set artefact; return it and its provenance. Raises ``DataError`` where it is none that fits together."""
    tensors, header = artifacts.load_tensors(path, "data")
    parts = {name: tensors[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    dataset = Dataset(**parts, class_names=tuple(header["class_names"]))
    check(dataset, str(path))
    return dataset, header


def pinned(path: Path, digest: str) -> Path:
    """Return ``path`` if it exists and has the pinned sha256, else raise ``DataError`` saying what to do."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; set data_root or INFOADV_DATA to a folder that holds it, or leave both unset to download it."
        )
    if artifacts.file_digest(path) != digest:
        raise DataError(
            f"{path}: truncated or altered (its sha256 is not the pinned one); remove it and fetch it again."
        )
    return path
