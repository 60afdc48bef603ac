"""Tables and figures of the paper, drawn from artefacts alone: no model is run here and torch is never imported.

Each table is one file in ``tables``, each figure one in ``figures``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from infoadv.registry import plugins


def load(kind: str, name: str) -> ModuleType:
    """Import the file of one table or figure; raise ``InfoadvError`` if there is none of this name."""
    return importlib.import_module(f"{__name__}.{kind}.{plugins.report_file(kind, name).stem}")
