"""A user's own data set: one .npz file with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from infoadv.data import DataError, Dataset

SCHEMA: dict[str, dict] = {
    "npz": {
        "path": {
            "minLength": 1,
            "format": "path",
            "description": "the .npz file, a path inside the working directory (a link may point out of it)",
        },
        "class_names": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 100},
            "minItems": 2,
            "description": "name of each class; without it the classes are numbered up to the largest training label",
        },
    }
}
TEST_IMAGES = {"npz": "path"}

PARTS = ("x_train", "y_train", "x_test", "y_test")

#: Bytes that an .npz may expand to: so many times its own size, and this on top. Images compress less.
_RATIO, _ALLOWANCE = 200, 64 << 20


def _channels_first(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim == 3:
        return np.ascontiguousarray(images[:, None])
    if images.ndim == 4:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise DataError(f"{name} has shape {images.shape}; give N x H x W or N x H x W x C.")


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return an array of an .npz; raise ``ValueError`` where its header asks for other memory than its content fills."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{name} is in version {version} of the .npy format")
        shape, fortran_order, dtype = read_header[version](member)
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, which only a pickle can store")
        # Before numpy takes the memory that the header asks for.
        if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
            raise ValueError(f"{name} says shape {shape} of {dtype}, and holds another number of bytes")
        flat = np.frombuffer(member.read(), dtype)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _read(path: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        missing = [part for part in PARTS if f"{part}.npy" not in archive.namelist()]
        if missing:
            raise DataError(f"{path}: lacks {', '.join(missing)}; an .npz data set holds {', '.join(PARTS)}.")
        size = sum(archive.getinfo(f"{part}.npy").file_size for part in PARTS)
        if size > _RATIO * Path(path).stat().st_size + _ALLOWANCE:
            raise DataError(f"{path}: expands to {size:,} bytes, which no images do; write it with numpy.savez.")
        return {part: _read_array(archive, part) for part in PARTS}


def npz(root: Path | None, *, path: str, class_names: list[str] | None = None) -> Dataset:
    """Read uint8 images (N, H, W) or (N, H, W, C) and integer labels (N,); ``root`` is not used.

    Pickled arrays are refused, and so is a file that would take more memory than its size explains: it may be a stranger's.
    """
    try:
        arrays = _read(path)
    except DataError:
        raise
    except Exception as error:
        # zipfile and numpy raise what the codec, the parser of headers or the file system happen to raise.
        raise DataError(
            f"{path}: cannot be read as .npz without pickles ({' '.join(str(error).split())}); write it with numpy.savez."
        ) from error
    for part in ("y_train", "y_test"):
        if arrays[part].ndim != 1 or not np.issubdtype(arrays[part].dtype, np.integer) or not len(arrays[part]):
            raise DataError(
                f"{path}: {part} is {arrays[part].dtype} {arrays[part].shape}; give integer labels, one an image."
            )
        if arrays[part].min() < 0:
            raise DataError(f"{path}: {part} holds the negative label {arrays[part].min()}; number the classes from 0.")
    largest = int(arrays["y_train"].max())
    if class_names is None and largest >= len(arrays["y_train"]):
        raise DataError(
            f"{path}: y_train holds label {largest}, more than there are images; number the classes from 0."
        )
    names = class_names or [str(label) for label in range(largest + 1)]
    x_train, x_test = (_channels_first(arrays[part], f"{path}: {part}") for part in ("x_train", "x_test"))
    return Dataset(x_train, arrays["y_train"], x_test, arrays["y_test"], tuple(names))
