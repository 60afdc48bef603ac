"""A user's own pictures: a folder with a folder for each class, as torchvision's ``ImageFolder`` reads it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from infoadv.artifacts import file_digest
from infoadv.data import DataError, Dataset

SCHEMA: dict[str, dict] = {
    "folder": {
        "path": {
            "minLength": 1,
            "format": "folder",
            "description": "folder with train/CLASS/* and test/CLASS/* (or val/), or with CLASS/* alone, which is split; "
            "a path inside the working directory (a link may point out of it)",
        },
        "test": {
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "share of each class that is held out, where there are no train/ and test/",
        },
    }
}

#: The option that names them: they are counted without being read (:func:`pictures_to_test`).
TEST_IMAGES = {"folder": "path"}
#: What is read as a picture: the suffixes of torchvision's ImageFolder, and GIF.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
#: Names of the part to test with, beside train/.
_TEST = ("test", "val", "valid", "validation")
_LONGEST_NAME = 100


def folder(
    root: Path | None,
    *,
    path: str,
    size: int | Sequence[int] | None = None,
    fit: Literal["crop", "stretch"] = "crop",
    channels: Literal[1, 3] = 3,
    test: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Read the pictures below ``path``, labelled by the folder that they lie in; ``root`` is not used.

    Classes are numbered in the order of their names. What is no picture by its suffix is left out, and stderr says so. A
    split takes the same pictures for the same files and seed, whatever the order in which the file system lists them.
    """
    from infoadv.data.pictures import opened, stacked

    parts = _parts(Path(path), test, split_seed)
    others = set(_files(Path(path))).difference(_pictures(Path(path)))
    _say_left_out(Path(path), (file.suffix or file.name for file in others))
    names = sorted(parts["train"])
    arrays = {}
    for part, by_class in parts.items():
        files = [file for name in names for file in by_class.get(name, ())]
        shown = [file.relative_to(path).as_posix() for file in files]
        try:
            images = stacked(shown, lambda place, files=files: opened(files[place]), size, fit, channels)  # type: ignore[misc]
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        labels = np.repeat(np.arange(len(names)), [len(by_class.get(name, ())) for name in names])
        arrays[part] = images, labels.astype(np.int64)
    return Dataset(*arrays["train"], *arrays["test"], tuple(names))


def pictures_to_test(path: Path, test: float = 0.2, split_seed: int = 0) -> int:
    """Return how many pictures :func:`folder` takes for the test part. Raises ``DataError`` as it does."""
    return sum(len(files) for files in _parts(path, test, split_seed)["test"].values())


def digest(path: str) -> str:
    """Return the digest of the names and contents of all pictures below ``path``: what a data set of them depends on."""
    content = hashlib.sha256()
    for file in sorted(_pictures(Path(path))):
        content.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode(errors="surrogateescape"))
    return content.hexdigest()


def _parts(path: Path, test: float, split_seed: int) -> dict[str, dict[str, list[Path]]]:
    """Return the files of each class, to train and to test."""
    folders = _folders(path)
    held_out = next((name for name in _TEST if name in folders), None)
    if folders == ["train"]:
        raise DataError(f"{path}: holds train/ and no test/ or val/; add one, or give {path / 'train'} to split that.")
    # A class may be called train, as long as none is called test.
    if "train" not in folders or held_out is None:
        return _split(path, _classes(path), test, split_seed)
    _say_left_out(path, (f"{name}/" for name in folders if name not in ("train", held_out)))
    parts = {"train": _classes(path / "train"), "test": _classes(path / held_out)}
    new = sorted(set(parts["test"]) - set(parts["train"]))
    if new:
        raise DataError(f"{path}: {held_out}/ has the class {new[0]!r}, train/ has not; name the folders alike.")
    return parts


def _folders(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a folder ({error.strerror}).") from error


def _classes(path: Path) -> dict[str, list[Path]]:
    """Return the pictures in each folder of ``path``, at any depth, sorted by their path."""
    found = {}
    for name in _folders(path):
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise DataError(f"{path}: the folder {ascii(name)[:_LONGEST_NAME]} has no name for a class; rename it.")
        found[name] = sorted(_pictures(path / name), key=lambda file: file.as_posix())
        if not found[name]:
            raise DataError(f"{path / name}: holds no picture; fill or remove it. Pictures are {', '.join(SUFFIXES)}.")
    if len(found) < 2:
        raise DataError(f"{path}: holds {len(found)} folders of classes; an attack needs two classes at least.")
    return found


def _files(path: Path) -> list[Path]:
    """Return the files at any depth of a folder; what is hidden is none of the user's pictures."""
    found = []
    for place, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return found


def _pictures(path: Path) -> list[Path]:
    return [file for file in _files(path) if file.name.lower().endswith(SUFFIXES)]


def _say_left_out(path: Path, names: Iterable[str]) -> None:
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))
    if kinds:
        print(f"{path}: left out: {kinds}", file=sys.stderr, flush=True)


def _split(
    path: Path, classes: dict[str, list[Path]], test: float, split_seed: int
) -> dict[str, dict[str, list[Path]]]:
    """Hold out a share of each class, at least one picture and not all."""
    generator = np.random.default_rng(split_seed)
    parts: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(f"{path / name}: holds one picture; a split into train and test needs two of each class.")
        count = min(max(1, round(test * len(files))), len(files) - 1)
        held_out = set(generator.permutation(len(files))[:count].tolist())
        for place, file in enumerate(files):
            parts["test" if place in held_out else "train"].setdefault(name, []).append(file)
    return parts
