"""Tables. Each is one file in this folder with ``build(inputs, specification) -> Table``; a new one is one new file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infoadv import report
from infoadv.report import rendering


def write(name: str, inputs: Sequence[str], specification: Mapping[str, Any], out_dir: str | Path) -> None:
    """Write ``{name}.csv``, ``{name}.md`` and ``{name}.tex`` into ``out_dir`` from artefacts.

    Raises
    ------
    InfoadvError
        There is no such table, or an input is missing, damaged or of another kind.
    """
    rendering.write(report.load("tables", name).build(list(inputs), specification), name, out_dir)
