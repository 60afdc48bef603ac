"""What each kind of artefact must hold for its readers: entries of the header, tensors, columns.

A file that somebody else wrote can have any. Here it is refused before a stage works with it, and before memory is taken
for what it only claims to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: dtype kind and dimensions of the tensors that readers rely on. All of one group have the same length.
_ATTACK = {
    "index": ("i", 1),
    "label": ("i", 1),
    "target": ("i", 1),
    "adversarial": ("f", 4),
    "adversarial_8bit": ("u", 4),
    "success": ("b", 1),
}
_TENSORS: dict[str, list[dict[str, tuple[str, int]]]] = {
    "data": [
        {"x_train": ("u", 4), "y_train": ("i", 1)},
        {"x_test": ("u", 4), "y_test": ("i", 1)},
    ],
    "attack": [_ATTACK],
    "shard": [_ATTACK],
}
_TEXT, _INTEGER, _NUMBER, _FLAG = "O", "iu", "iuf", "b"
_COLUMNS = {
    "metrics": {
        **dict.fromkeys(("dataset", "model", "attack"), _TEXT),
        "index": _INTEGER,
        **dict.fromkeys(("success", "success_float"), _FLAG),
    },
    "transfer": {
        **dict.fromkeys(("dataset", "model", "attack", "network"), _TEXT),
        **dict.fromkeys(("index", "label", "target", "prediction"), _INTEGER),
        **dict.fromkeys(("success", "known", "transferred"), _FLAG),
    },
    "calibration": {
        **dict.fromkeys(("dimension", "samples", "seed"), _INTEGER),
        **dict.fromkeys(("rho", "truth", "estimate"), _NUMBER),
    },
    "flow": {
        **dict.fromkeys(("estimator", "source", "attack", "condition", "layer_name"), _TEXT),
        **dict.fromkeys(("index", "step", "layer", "label", "target", "prediction", "features"), _INTEGER),
        **dict.fromkeys(("success", "crafted"), _FLAG),
        **dict.fromkeys(("l2", "progress", "iip", "oip", "ioc", "dead", "v_true", "v_adversarial"), _NUMBER),
    },
}
#: Entries of the header that are lists of names.
_NAMES = {"data": ("class_names",), "flow": ("layers", "estimators")}
#: Entries of the header that are counts.
_COUNTS = {"shard": ("shard", "shards", "chunks"), "resume": ("chunks",), "checkpoint": ("epoch",)}
#: Bytes that a value of a column takes at least, and what a parquet file may expand to: honest ones stay far below.
_VALUE_BYTES = 8
_RATIO, _ALLOWANCE = 100, 64 << 20


class UnfitError(Exception):
    """Why a file is not what its kind says; the reader adds the file's name."""


def check_header(header: Mapping[str, Any]) -> None:
    """Raise ``UnfitError`` unless a header holds what the readers of its kind take from it."""
    kind, specification = header.get("kind"), header.get("specification")
    if not isinstance(kind, str):
        raise UnfitError("its header names no kind")
    if not isinstance(specification, dict):
        raise UnfitError("its header names no specification")
    inputs = header.get("inputs")
    if not isinstance(inputs, dict) or not all(isinstance(digest, str) for digest in inputs.values()):
        raise UnfitError("its header names no inputs")
    if kind in ("attack", "shard"):
        names = {**{key: header.get(key) for key in ("dataset", "model")}, "attack": specification.get("name")}
        for key, name in names.items():
            if not isinstance(name, str):
                raise UnfitError(f"its header names no {key}")
    if kind == "metrics":
        about = header.get("metrics", {})
        if not isinstance(about, dict) or not all(isinstance(entry, dict) for entry in about.values()):
            raise UnfitError("its header describes no metrics")
    for key in _NAMES.get(kind, ()):
        given = header.get(key)
        if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
            raise UnfitError(f"its header names no {key}")
    for key in _COUNTS.get(kind, ()):
        if type(header.get(key)) is not int or header[key] < 0:
            raise UnfitError(f"its header holds no number {key}")
    if kind == "resume" and not isinstance(header.get("pieces"), dict):
        raise UnfitError("its header holds no pieces")


def check_tensors(kind: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ``UnfitError`` unless the tensors of a ``kind`` are there, of their type and dimensions, and equally long."""
    for group in _TENSORS.get(kind, []):
        for name, (dtype, dimensions) in group.items():
            array = tensors.get(name)
            if array is None:
                raise UnfitError(f"it holds no {name}")
            if array.dtype.kind != dtype or array.ndim != dimensions:
                raise UnfitError(f"its {name} is {array.dtype} {array.shape}")
        lengths = {name: len(tensors[name]) for name in group}
        if len(set(lengths.values())) > 1:
            raise UnfitError(
                f"its tensors differ in length ({', '.join(f'{n} {size}' for n, size in lengths.items())})"
            )
    if kind in ("attack", "shard") and tensors["index"].size and tensors["index"].min() < 0:
        raise UnfitError("it holds an index below 0")


def check_table(path: str | Path, metadata: Any, schema: Any) -> None:
    """Raise ``UnfitError`` unless a parquet file holds plain columns that fit into memory in proportion to the file."""
    import pyarrow.types as types

    for field in schema:
        plain = types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string
        if not any(is_of(field.type) for is_of in (*plain, types.is_null)):
            raise UnfitError(f"column {field.name!r} is of type {field.type}")
    if len(set(schema.names)) < len(schema.names):
        raise UnfitError("two columns have one name")
    declared = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    size = max(sum(declared), metadata.num_rows * metadata.num_columns * _VALUE_BYTES)
    if min([*declared, metadata.num_rows]) < 0 or size > _RATIO * Path(path).stat().st_size + _ALLOWANCE:
        raise UnfitError(f"it claims {metadata.num_rows} rows, which no file of its size holds")


def check_rows(kind: str, frame: Any) -> None:
    """Raise ``UnfitError`` unless the columns of a ``kind`` are there and of their type."""
    for name, kinds in _COLUMNS.get(kind, {}).items():
        if name not in frame:
            raise UnfitError(f"it has no column {name}")
        if len(frame) and frame[name].dtype.kind not in kinds:
            raise UnfitError(f"its column {name} is {frame[name].dtype}")
