"""Tables. Each is one file in this folder, or in a folder ``tables`` of the user's: ``build(inputs, specification) -> Table``.

A literal ``INPUTS`` says what it is made from, where that is not the metrics of every attack: one of the stages of
:func:`infoadv.config.stage_inputs`. A new table is one new file (docs/extending.md). Its caption in the report is the first
paragraph of its docstring, or the file ``{name}.rst`` beside it; those of this package are in ``workflow/report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infoadv import artifacts
from infoadv.registry import plugins
from infoadv.report import page, rendering


def write(name: str, inputs: Sequence[str], specification: Mapping[str, Any], out_dir: str | Path) -> None:
    """Write ``{name}.csv``, ``{name}.md``, ``{name}.tex`` and, for the report, ``{name}.html`` into ``out_dir``.

    Raises
    ------
    InfoadvError
        There is no such table, or an input is missing, damaged or of another kind.
    """
    table = plugins.module("tables", name).build(list(inputs), specification)
    rendering.write(table, name, out_dir)
    artifacts.write_text(Path(out_dir) / f"{name}.html", page.html(name, table.markdown))
