"""A user's own data set: one .npz file with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from infoadv.data import DataError, Dataset

SCHEMA = {
    "npz": {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "the .npz file, relative to the working directory or absolute",
        },
        "class_names": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 2,
            "description": "name of each class; without it the classes are numbered up to the largest training label",
        },
    }
}

PARTS = ("x_train", "y_train", "x_test", "y_test")


def _channels_first(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim == 3:
        return np.ascontiguousarray(images[:, None])
    if images.ndim == 4:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise DataError(f"{name} has shape {images.shape}; give N x H x W or N x H x W x C.")


def npz(root: Path | None, *, path: str, class_names: list[str] | None = None) -> Dataset:
    """Read uint8 images (N, H, W) or (N, H, W, C) and integer labels (N,); ``root`` is not used."""
    try:
        # Pickled arrays are refused: loading a data set must not run code.
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise DataError(f"{path}: holds one array (.npy); write the four arrays with numpy.savez.")
        with loaded as archive:
            missing = [part for part in PARTS if part not in archive.files]
            if missing:
                raise DataError(f"{path}: lacks {', '.join(missing)}; an .npz data set holds {', '.join(PARTS)}.")
            arrays = {part: archive[part] for part in PARTS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read as .npz without pickles ({error}); write it with numpy.savez."
        ) from error
    for part in ("y_train", "y_test"):
        if arrays[part].ndim != 1 or not np.issubdtype(arrays[part].dtype, np.integer) or not len(arrays[part]):
            raise DataError(
                f"{path}: {part} is {arrays[part].dtype} {arrays[part].shape}; give integer labels, one an image."
            )
    names = class_names or [str(label) for label in range(int(arrays["y_train"].max()) + 1)]
    x_train, x_test = (_channels_first(arrays[part], f"{path}: {part}") for part in ("x_train", "x_test"))
    return Dataset(x_train, arrays["y_train"], x_test, arrays["y_test"], tuple(names))
