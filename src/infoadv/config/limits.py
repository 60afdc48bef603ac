"""Checks on a configuration before anything is made of it: it may come from a stranger.

Values are plain and few, paths stay in the working directory, and no two names can mean one file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from infoadv.config.errors import ConfigError

#: Far more than a configuration needs. Aliases let a YAML file of one page stand for billions of values.
MAX_VALUES = 20_000
MAX_ITEMS = 1_000
MAX_TEXT = 10_000
MAX_DEPTH = 16
#: Integers beyond this fit into no tensor and no parquet column.
_LARGEST = 2**63


def require_plain(raw: Any) -> None:
    """Raise ``ConfigError`` unless ``raw`` consists of mappings with text keys, lists, text, finite numbers and null.

    It is bounded in size and depth as well, each use of a YAML alias counted; a value that contains itself is too deep.
    """
    if isinstance(raw, Mapping) and "__use_yte__" in raw:
        raise ConfigError("__use_yte__: Snakemake would run expressions of this file as Python code; remove the key.")
    waiting: list[tuple[tuple[str, ...], Any]] = [((), raw)]
    count = 0
    while waiting:
        path, value = waiting.pop()
        count += 1
        where = ".".join(path) or "the configuration"
        if count > MAX_VALUES:
            raise ConfigError(f"the configuration: holds more than {MAX_VALUES:,} values; leave out YAML aliases.")
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{where}: nested more than {MAX_DEPTH} deep; no key needs that.")
        if isinstance(value, Mapping):
            for key in value:
                if not (isinstance(key, str) and key.isprintable() and len(key) <= MAX_TEXT):
                    raise ConfigError(f"{where}: {_short(key)} is no key; give printable text, in quotes if need be.")
            waiting += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            if len(value) > MAX_ITEMS:
                raise ConfigError(f"{where}: {len(value):,} items; give at most {MAX_ITEMS:,}.")
            waiting += [((*path, str(position)), item) for position, item in enumerate(value)]
        else:
            _require_plain_value(value, where)


def _require_plain_value(value: Any, where: str) -> None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ConfigError(f"{where}: text of {len(value):,} characters; give at most {MAX_TEXT:,}.")
        # Neither can be handed to a process as an argument.
        if "\0" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise ConfigError(f"{where}: {_short(value)} holds a character that no command line can carry; remove it.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {value} is not allowed; give a finite number.")
    elif isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise ConfigError(f"{where}: an integer beyond 64 bits is not allowed; give a smaller one.")
    elif value is not None:
        raise ConfigError(f"{where}: YAML reads this as {type(value).__name__}; put it in quotes, or give a number.")


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def project_path(path: str, key: str) -> str:
    """Return ``path`` without its ``.`` and ``..``; raise ``ConfigError`` if it leaves the working directory.

    A symbolic link in the project may point outside: whoever made it has decided so.
    """
    normal = os.path.normpath(path)
    if not path.isprintable():
        raise ConfigError(f"{key}: {_short(path)} holds a character that is not printable; rename the file.")
    if PurePosixPath(normal).is_absolute() or normal.split("/", 1)[0] == "..":
        raise ConfigError(
            f"{key}: {path!r} leaves the working directory; copy the file into it, or link it (ln -s), and give the "
            "path from there. MNIST and CIFAR-10 are found anywhere through data_root or INFOADV_DATA."
        )
    return normal


def require_distinct(names: Iterable[str], key: str) -> None:
    """Raise ``ConfigError`` if two ``names`` differ in case only."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigError(
                f"{key}: {other!r} and {name!r} differ in case only, and some file systems take them for one; rename one."
            )
