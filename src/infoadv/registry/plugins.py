"""Finds what there is to choose from (attacks, metrics, architectures, ...) without importing it.

Each is one file in one folder: of this package, or of a folder of the user's that the configuration names under ``plugins``.
The file names what it offers in a literal ``SCHEMA``: a mapping from the name used in the configuration to what the signature
of the function of that name does not say of its options (:mod:`infoadv.registry.signatures`). Reading both with :mod:`ast`
keeps torch out of the Snakefile, which every cluster job parses again, and makes adding one a matter of adding one file.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from infoadv.execution.errors import InfoadvError
from infoadv.registry import signatures
from infoadv.registry.source_code import PACKAGE, tree

#: Environment variable with the user's plugin folders, separated as in PATH: jobs of the workflow know them by it.
VARIABLE = "INFOADV_PLUGINS"
#: What a stage passes to every function of a folder: no options.
_PASSED = {
    "attacks": ("indices", "seed", "targets"),
    "metrics": ("context",),
    "training": ("smoothing", "generator", "teacher"),
}
#: Where the package keeps what a plugin folder has in a folder of the same name.
_ROOMS = {"tables": "report/tables", "figures": "report/figures"}


def use(folders: Iterable[str | Path]) -> None:
    """Take ``folders`` as the user's plugin folders, in this process and those that it starts; their files are code.

    Each has folders like those of this package: ``attacks``, ``metrics``, ``models``, ``data``, ``training``, ``tables``,
    ``figures``.
    """
    os.environ[VARIABLE] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders)


def folders() -> tuple[Path, ...]:
    """Return the user's plugin folders."""
    return tuple(Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part)


def files(folder: str) -> list[Path]:
    """Return the Python files of one folder, the package's before the user's."""
    places = [PACKAGE / _ROOMS.get(folder, folder), *(own / folder for own in folders())]
    return [path for place in places for path in sorted(place.glob("[a-z]*.py"))]


@cache
def _literals(paths: tuple[Path, ...], folder: str, variable: str) -> dict[str, tuple[Path, Any]]:
    found: dict[str, tuple[Path, Any]] = {}
    for path in paths:
        for name, value in literal(path, variable).items():
            if name in found:
                raise InfoadvError(f"{path}: {folder} already has {name!r}; choose another name.")
            found[name] = (path, value)
    return found


def _declared(folder: str, variable: str) -> dict[str, tuple[Path, Any]]:
    return _literals(tuple(files(folder)), folder, variable)


def literal(path: Path, variable: str) -> dict[str, Any]:
    """Return the literal mapping that a file assigns to ``variable`` at its top, {} if it assigns none."""
    try:
        body = tree(path).body
    except SyntaxError as error:
        raise InfoadvError(f"{path}: line {error.lineno}: not Python ({error.msg}).") from error
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if [getattr(target, "id", None) for target in targets] == [variable]:
                try:
                    return ast.literal_eval(node.value)
                except ValueError as error:
                    raise InfoadvError(
                        f"{path}: line {node.lineno}: {variable} is no literal; it is read without running the file."
                    ) from error
    return {}


def literals(folder: str, variable: str) -> dict[str, Any]:
    """Return the union of the literal mappings called ``variable`` in the files of a folder; none is imported."""
    return {name: value for name, (_, value) in _declared(folder, variable).items()}


def schemas(folder: str) -> dict[str, dict[str, Any]]:
    """Return, for every name that a folder offers, the JSON schema of each of its options."""
    return _schemas(tuple(files(folder)), folder)


@cache
def _schemas(paths: tuple[Path, ...], folder: str) -> dict[str, dict[str, Any]]:
    shared = literal(PACKAGE / folder / "options.py", "SHARED")
    found = {}
    for name, (path, declared) in _literals(paths, folder, "SCHEMA").items():
        function = function_of(path, name)
        found[name] = (
            dict(declared)
            if function is None
            else signatures.options(function, declared, shared, _PASSED.get(folder, ()))
        )
    return found


def function_of(path: Path, name: str) -> ast.FunctionDef | None:
    """Return the function of this name that a file defines at its top, None if it defines none."""
    return next((node for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def names(folder: str) -> list[str]:
    """Return what a folder offers, sorted: the names of its literals, of tables and figures those of its files."""
    if folder in _ROOMS:
        return sorted(path.stem for path in files(folder))
    return sorted(_declared(folder, "SCHEMA"))


def source_file(folder: str, name: str) -> Path:
    """Return the file that offers ``name``: a rule's input, so that editing it reruns its users alone.

    Raises ``InfoadvError`` where there is none of this name.
    """
    offered = {path.stem: path for path in files(folder)} if folder in _ROOMS else None
    if offered is None:
        offered = {key: path for key, (path, _) in _declared(folder, "SCHEMA").items()}
    if name not in offered:
        near = difflib.get_close_matches(name, offered, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InfoadvError(f"{folder} has no {name!r}; {hint}it has: {', '.join(sorted(offered))}.")
    return offered[name]


def module(folder: str, name: str) -> ModuleType:
    """Import the file that offers ``name``."""
    path = source_file(folder, name)
    if path.is_relative_to(PACKAGE):
        return importlib.import_module(".".join(("infoadv", *path.relative_to(PACKAGE).with_suffix("").parts)))
    key = f"infoadv_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if key not in sys.modules:
        specification = importlib.util.spec_from_file_location(key, path)
        assert specification is not None
        assert specification.loader is not None
        loaded = importlib.util.module_from_spec(specification)
        sys.modules[key] = loaded
        try:
            specification.loader.exec_module(loaded)
        except BaseException:
            del sys.modules[key]
            raise
    return sys.modules[key]


def load(folder: str, name: str) -> Any:
    """Import the file that offers ``name`` and return the function of that name."""
    function = getattr(module(folder, name), name, None)
    if function is None:
        raise InfoadvError(
            f"{source_file(folder, name)}: declares {name!r} in SCHEMA and has no function of that name."
        )
    return function
