"""The captions of tables and figures in the report, in reStructuredText. No torch here: the Snakefile asks."""

from __future__ import annotations

import ast
from pathlib import Path

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins
from infoadv.registry.source_code import shown, tree

#: Where captions are written that stand in no file of their own, below the folder of a run.
WRITTEN = Path(".snakemake") / "infoadv_captions"


def caption_file(kind: str, name: str, captions: Path) -> Path:
    """Return the file with the caption of a table or figure (``kind``).

    That is NAME.rst in the folder ``captions`` of the package's own, NAME.rst beside the file of the table or figure, or else
    the first paragraph of that file's docstring, written into a file below the working directory.

    Raises ``InfoadvError`` where there is none.
    """
    source = plugins.source_file(kind, name)
    for path in (captions / f"{name}.rst", source.with_suffix(".rst")):
        if path.is_file():
            return path
    text = (ast.get_docstring(tree(source)) or "").partition("\n\n")[0]
    if not text:
        raise InfoadvError(
            f"{shown(source)}: has no caption; begin it with a docstring, or write {name}.rst beside it."
        )
    path = WRITTEN / kind / f"{name}.rst"
    if not path.is_file() or path.read_text(encoding="utf-8") != f"{text}\n":
        artifacts.write_text(path, f"{text}\n")
    return path.absolute()
