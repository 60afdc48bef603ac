"""What code of this package a file runs: itself and what it imports, directly or through others.

Read from the sources by :mod:`ast`; nothing is imported, so the Snakefile can ask as well.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file, an empty one where there is no such file."""
    return ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])


def _module_file(module: str) -> Path | None:
    """Return the file of a module of this package, or None if there is no such module."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Return the files of this package that ``path``, one of them or a user's, imports itself, anywhere in it."""
    package = ("infoadv", *path.relative_to(PACKAGE).parent.parts) if path.is_relative_to(PACKAGE) else ()
    modules: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join((*package[: len(package) - node.level + 1], node.module or "") if node.level else ())
            base = parent.rstrip(".") if node.level else (node.module or "")
            modules.add(base)
            # `from infoadv.report import style` names a module, `from infoadv import InfoadvError` does not.
            modules.update(f"{base}.{alias.name}" for alias in node.names)
    files: set[Path] = set()
    for module in modules:
        parts = module.split(".")
        if parts[0] == "infoadv" and (len(parts) == 1 or _module_file(module) is not None):
            # Importing a module runs the __init__ of every package above it.
            above = (_module_file(".".join(parts[:depth])) for depth in range(1, len(parts) + 1))
            files.update(file for file in above if file is not None)
    return frozenset(files)


def code(*entries: Path, without: Sequence[Path] = ()) -> list[Path]:
    """Return ``entries`` and every file of this package that they import, directly or through others, sorted.

    Imports are not followed into the files and folders ``without``, unless one of the ``entries`` lies there.
    """
    found: set[Path] = set()
    waiting = list(entries)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for file in _imports(path) if not any(file.is_relative_to(part) for part in without)]
    return sorted(found)
