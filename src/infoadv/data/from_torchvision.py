"""Data sets of torchvision by name: any that labels each image with one class."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from infoadv.data import DataError, Dataset

SCHEMA: dict[str, dict] = {
    "torchvision": {
        "name": {
            "enum": [
                "CIFAR10",
                "CIFAR100",
                "CLEVRClassification",
                "Caltech101",
                "Caltech256",
                "Country211",
                "DTD",
                "EMNIST",
                "EuroSAT",
                "FER2013",
                "FGVCAircraft",
                "FashionMNIST",
                "Flowers102",
                "Food101",
                "GTSRB",
                "ImageNet",
                "Imagenette",
                "KMNIST",
                "LFWPeople",
                "MNIST",
                "OxfordIIITPet",
                "PCAM",
                "Places365",
                "QMNIST",
                "RenderedSST2",
                "SEMEION",
                "STL10",
                "SUN397",
                "SVHN",
                "StanfordCars",
                "USPS",
            ],
            "description": "class of torchvision.datasets",
        },
        "arguments": {
            "type": ["object", "null"],
            "description": "arguments of that class beside root, download and its parts to train and to test, "
            "such as split: letters of EMNIST",
        },
        "channels": {"description": "1: gray, 3: RGB, null: as the first picture has it"},
        "test": {
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "share that is held out of a data set that has no part to test with",
        },
        "sha256": {
            "type": ["string", "null"],
            "pattern": "^[0-9a-f]{64}$(?!\\n)",
            "$comment": "give 64 hexadecimal digits, or nothing",
            "description": "digest that images and labels must have, as the log of a first run says it (default: any)",
        },
    }
}


#: They are known once they are downloaded.
TEST_IMAGES = {"torchvision": None}


def _parts(argument: str, train: Any, test: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {argument: train}, {argument: test}


#: Arguments of the parts to train and to test; a data set that is not here has one part.
_PARTS = {
    **dict.fromkeys(
        ("CIFAR10", "CIFAR100", "EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"),
        _parts("train", True, False),
    ),
    **dict.fromkeys(
        (
            *("Country211", "DTD", "FER2013", "Flowers102", "Food101", "GTSRB", "LFWPeople", "PCAM", "RenderedSST2"),
            *("STL10", "SVHN", "StanfordCars"),
        ),
        _parts("split", "train", "test"),
    ),
    **dict.fromkeys(("FGVCAircraft", "OxfordIIITPet"), _parts("split", "trainval", "test")),
    # Their part called test has no labels, or there is none.
    **dict.fromkeys(("CLEVRClassification", "ImageNet", "Imagenette"), _parts("split", "train", "val")),
    "Places365": _parts("split", "train-standard", "val"),
}
#: Arguments that this source gives, or that are no plain values.
_OURS = ("root", "download", "transform", "target_transform", "transforms", "loader", "kwargs")
_LONGEST_NAME = 100


def fetch(root: Path, *, name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Download all parts of a data set into ``root``; torchvision checks them against its own digests."""
    if "download" not in _parameters(name):
        raise DataError(
            f"torchvision has no download of {name}; set data_root or INFOADV_DATA to a folder that holds it as torchvision "
            "expects it."
        )
    root.mkdir(parents=True, exist_ok=True)
    _opened(root, name, arguments or {}, download=True)


def torchvision(
    root: Path | None,
    *,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    size: int | Sequence[int] | None = None,
    fit: Literal["crop", "stretch"] = "crop",
    channels: Literal[1, 3] | None = None,
    test: float = 0.2,
    split_seed: int = 0,
    sha256: str | None = None,
) -> Dataset:
    """Return a data set of torchvision, which lies below ``root`` as torchvision lays it out."""
    from infoadv.data.pictures import stacked

    if root is None:
        raise DataError(f"torchvision {name}: no data root; set data_root or INFOADV_DATA.")
    parts = _opened(root, name, arguments or {}, download=False)
    places = [np.arange(len(part)) for part in parts]
    if len(parts) == 1:
        order = np.random.default_rng(split_seed).permutation(len(parts[0]))
        held_out = min(max(1, round(test * len(order))), len(order) - 1)
        parts, places = parts * 2, [order[held_out:], order[:held_out]]
    if channels is None:
        channels = 1 if parts[0][0][0].mode in ("1", "L", "I;16", "I") else 3
    arrays: list[np.ndarray] = []
    for part, chosen in zip(parts, places, strict=True):
        labels = np.zeros(len(chosen), np.int64)

        def read(place: int, part: Any = part, chosen: np.ndarray = chosen, labels: np.ndarray = labels) -> Any:
            picture, labels[place] = part[int(chosen[place])]
            return picture

        try:
            images = stacked([f"image {place}" for place in chosen], read, size, fit, channels)
        except (DataError, OSError, TypeError, ValueError) as error:
            raise DataError(f"torchvision {name} in {root}: {' '.join(str(error).split())}") from error
        arrays += [images, labels]
    found = hashlib.sha256(b"".join(hashlib.sha256(array.data).digest() for array in arrays)).hexdigest()
    print(f"sha256 of images and labels: {found}", file=sys.stderr, flush=True)
    if sha256 not in (None, found):
        raise DataError(
            f"torchvision {name} in {root}: images and labels have the sha256 {found}, the configuration says {sha256}; "
            "fetch them again, or correct the one that is wrong."
        )
    x_train, y_train, x_test, y_test = arrays
    return Dataset(x_train, y_train, x_test, y_test, _class_names(parts[0], int(max(y_train.max(), y_test.max()))))


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    from torchvision import datasets

    return inspect.signature(getattr(datasets, name)).parameters


def _opened(root: Path, name: str, arguments: Mapping[str, Any], download: bool) -> list[Any]:
    """Return the parts of a data set, to train and to test, or all of it where it has no parts."""
    from torchvision import datasets

    parts: Sequence[Mapping[str, Any]] = _PARTS.get(name, ({},))
    allowed = sorted(set(_parameters(name)) - {*_OURS, *parts[0]})
    for key in arguments:
        if key not in allowed:
            raise DataError(
                f"torchvision {name}: arguments: no {key!r} to give; allowed: {', '.join(allowed) or 'none'}."
            )
    # Those that hand theirs on take it too; they download only where they are told to.
    takes_download = {"download", "kwargs"} & set(_parameters(name)) and name != "ImageNet"
    given = {**arguments, **({"download": download} if takes_download else {})}
    try:
        return [getattr(datasets, name)(root=str(root), **part, **given) for part in parts]
    except Exception as error:
        # Each raises what its reader, its archive or the network happens to raise.
        detail = " ".join(str(error).split())[:300] or type(error).__name__
        what = "could not be downloaded" if download else f"cannot be read in {root}"
        raise DataError(
            f"torchvision {name} {what} ({detail}); set data_root or INFOADV_DATA to a folder that holds it as torchvision "
            "expects it, or leave both unset to download it."
        ) from error


def _class_names(part: Any, largest: int) -> tuple[str, ...]:
    """Return the names that torchvision gives the classes, their numbers where it gives none that can be shown."""
    given = getattr(part, "classes", None) or getattr(part, "categories", None) or ()
    # Of synonyms (ImageNet) the first.
    names = [name[0] if isinstance(name, tuple | list) else name for name in given]
    fit_to_show = all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME for name in names)
    if len(names) <= largest or not fit_to_show or len(set(names)) < len(names):
        return tuple(str(number) for number in range(largest + 1))
    return tuple(names)
