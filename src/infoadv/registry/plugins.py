"""Finds what the package offers (attacks, metrics, architectures, data sources) without importing it.

Each is one file in one folder. The file names what it offers in a literal ``SCHEMA``: a mapping from the name used in
the configuration to the JSON schema of each of its options. Reading that literal with :mod:`ast` keeps torch out of
the Snakefile, which every cluster job parses again, and makes adding one a matter of adding one file.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

from infoadv.execution.errors import InfoadvError

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def _literals(folder: str, variable: str) -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    for path in sorted((PACKAGE / folder).glob("*.py")):
        for name, value in literal(path, variable).items():
            if name in found:
                raise InfoadvError(f"{path}: {folder} already has {name!r}; choose another name.")
            found[name] = (path.stem, value)
    return found


def literal(path: Path, variable: str) -> dict[str, Any]:
    """Return the literal mapping that a file assigns to ``variable`` at its top, {} if it assigns none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if [getattr(target, "id", None) for target in targets] == [variable]:
                return ast.literal_eval(node.value)
    return {}


def literals(folder: str, variable: str) -> dict[str, Any]:
    """Return the union of the literal mappings called ``variable`` in the files of a folder; none is imported."""
    return {name: value for name, (_, value) in _literals(folder, variable).items()}


def schemas(folder: str) -> dict[str, dict[str, Any]]:
    """Return, for every name that a folder offers, the JSON schema of each of its options."""
    return literals(folder, "SCHEMA")


def source_file(folder: str, name: str) -> Path:
    """Return the file that offers ``name``: a rule's input, so that editing it reruns its users alone."""
    return PACKAGE / folder / f"{_lookup(folder, name)}.py"


def load(folder: str, name: str) -> Any:
    """Import the file that offers ``name`` and return the function of that name."""
    module = importlib.import_module(f"infoadv.{folder}.{_lookup(folder, name)}")
    return getattr(module, name)


def _lookup(folder: str, name: str) -> str:
    declared = _literals(folder, "SCHEMA")
    if name not in declared:
        raise InfoadvError(f"infoadv.{folder} has no {name!r}; it has: {', '.join(sorted(declared))}.")
    return declared[name][0]


def report_names(kind: str) -> list[str]:
    """Return what there is of ``kind``, "tables" or "figures": the names of the files in its folder."""
    return sorted(path.stem for path in (PACKAGE / "report" / kind).glob("[a-z]*.py"))


def report_file(kind: str, name: str) -> Path:
    """Return the file of one table or figure; raise ``InfoadvError`` if there is none of this name."""
    if name not in report_names(kind):
        raise InfoadvError(f"no {kind.removesuffix('s')} {name!r}; choose one of: {', '.join(report_names(kind))}.")
    return PACKAGE / "report" / kind / f"{name}.py"
