"""Tables. Each is one file in this folder with ``build(inputs, specification) -> Table``; a new one is one new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infoadv import InfoadvError
from infoadv.report import rendering


def names() -> list[str]:
    """Return the tables that can be written."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def write(name: str, inputs: Sequence[str], specification: Mapping[str, Any], out_dir: str | Path) -> None:
    """Write ``{name}.csv``, ``{name}.md`` and ``{name}.tex`` into ``out_dir`` from artefacts.

    Raises
    ------
    InfoadvError
        There is no such table, or an input is missing, damaged or of another kind.
    """
    if name not in names():
        raise InfoadvError(f"no table {name!r}; choose one of: {', '.join(names())}.")
    module = importlib.import_module(f"{__name__}.{name}")
    rendering.write(module.build(list(inputs), specification), name, out_dir)
