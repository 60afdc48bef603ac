"""Tables and figures of the paper, drawn from artefacts alone: no model is run here and torch is never imported.

Each table is one file in ``tables``, each figure one in ``figures``. This module imports neither numpy nor pandas, so
that a workflow can ask for their names whenever it parses.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from infoadv import InfoadvError


def names(kind: str) -> list[str]:
    """Return what there is of ``kind``, "tables" or "figures": the names of the files in its folder."""
    return sorted(path.stem for path in (Path(__file__).parent / kind).glob("[a-z]*.py"))


def load(kind: str, name: str) -> ModuleType:
    """Import the file of one table or figure; raise ``InfoadvError`` if there is none of this name."""
    if name not in names(kind):
        raise InfoadvError(f"no {kind.removesuffix('s')} {name!r}; choose one of: {', '.join(names(kind))}.")
    return importlib.import_module(f"{__name__}.{kind}.{name}")
