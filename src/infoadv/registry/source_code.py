"""What code a file runs: itself and what it imports, of this package and of the user's, directly or through others.

Read from the sources by :mod:`ast`; nothing is imported, so the Snakefile can ask as well.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from infoadv.execution.errors import InfoadvError

PACKAGE = Path(__file__).resolve().parents[1]
#: Folders of code that is not the user's: this package, the standard library, installed packages.
_FOREIGN = [PACKAGE, *(Path(sysconfig.get_path(key)) for key in ("stdlib", "purelib", "platlib"))]


def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file, an empty one where there is no such file.

    Raises ``InfoadvError``, whose message names file and line, where the file is not Python.
    """
    try:
        found = path.stat()
    except OSError:
        return ast.Module([], [])
    return _tree(path, found.st_mtime_ns, found.st_size)


@cache
def _tree(path: Path, changed: int, size: int) -> ast.Module:
    # A user's file may change while a session of Python goes on.
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        raise InfoadvError(f"{shown(path)}: {line}not Python ({error.msg}).") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InfoadvError(f"{shown(path)}: cannot be read as Python ({type(error).__name__}).") from error


def shown(path: Path) -> str:
    """Return a path as messages give it: from the working directory where it lies there."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def origin(error: BaseException) -> str | None:
    """Return file and line of the user's code that ``error`` came from, None where no code of the user's was running."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        # Of a file that cannot be read as Python no line has run.
        lines.append((error.filename, error.lineno))
    for name, line in reversed(lines):
        file = Path(name).absolute()
        if file.is_file() and not any(file.is_relative_to(folder) for folder in _FOREIGN):
            return f"{shown(file)}, line {line}"
    return None


def import_from_working_directory() -> None:
    """Let the user's code be imported from the working directory, as under ``python -m infoadv``.

    The command ``infoadv`` does not look there by itself. It is let only where code of the user's is run anyway, so that
    commands that run none, such as ``infoadv check``, take nothing from a folder of a stranger's.
    """
    here = str(Path.cwd())
    if not {"", here}.intersection(sys.path):
        sys.path.insert(0, here)


def function_of(path: Path, name: str) -> ast.FunctionDef | None:
    """Return the function of this name that a file defines at its top, None if it defines none."""
    return next((node for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that running the top of a file binds, ``*`` where it takes all of another module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.alias):
            yield (child.asname or child.name).partition(".")[0]
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        else:
            yield from bound(child)


# --- Imports ---------------------------------------------------------------------------------------------------------


def _named(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield what a file imports, anywhere in it, as pairs (dots before the name, parts of the name).

    Of ``from a import b`` both a and a.b: ``b`` may be a module or a name in one.
    """
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            yield node.level, base
            yield from ((node.level, [*base, alias.name]) for alias in node.names)


def _module_file(parts: Sequence[str]) -> Path | None:
    """Return the file of a module of this package, or None if there is no such module."""
    base = PACKAGE.joinpath(*parts[1:])
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _given_out(parts: Sequence[str]) -> Path | None:
    """Return the file of an attack or metric that its room gives out by name: `from infoadv.attacks import masking`."""
    *room, name = parts
    door = _module_file(room)
    if (
        door is None
        or door.name != "__init__.py"
        or function_of(door, "__getattr__") is None
        or name in bound(tree(door))
    ):
        return None
    return next((file for file in sorted(door.parent.glob("[a-z]*.py")) if function_of(file, name) is not None), None)


def _of_package(parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files of this package that importing one of its modules, or a name from one, runs."""
    if len(parts) == 1 or _module_file(parts) is not None:
        # Importing a module runs the __init__ of every package above it.
        above = (_module_file(parts[:depth]) for depth in range(1, len(parts) + 1))
        yield from (file for file in above if file is not None)
    else:
        given_out = _given_out(parts)
        if given_out is not None:
            yield given_out


def below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files below ``folder`` that importing the module ``parts`` from there runs: its own and the packages' above."""
    for depth in range(1, len(parts) + 1):
        base = folder.joinpath(*parts[:depth])
        yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())


@cache
def _imports_of_package(path: Path) -> frozenset[Path]:
    """Return the files of this package that ``path``, one of them, imports itself."""
    package = ("infoadv", *path.relative_to(PACKAGE).parent.parts)
    names = ([*package[: len(package) - level + 1], *parts] if level else parts for level, parts in _named(path))
    return frozenset(file for parts in names if parts[0] == "infoadv" for file in _of_package(parts))


def _imports_of_user(path: Path) -> frozenset[Path]:
    """Return the files that ``path``, one of the user's, imports itself.

    They are of this package, beside it (``from .helper import ...``), or below the working directory, from which jobs import.
    A file that is not Python imports nothing: the job that runs it says what is wrong with it.
    """
    try:
        names = list(_named(path))
    except InfoadvError:
        return frozenset()
    found: set[Path] = set()
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        found.add(folder / "__init__.py")
    for level, parts in names:
        if level:
            found.update(below(path.parents[level - 1], parts) if level <= len(path.parents) else ())
        elif parts[0] == "infoadv":
            found.update(_of_package(parts))
        else:
            found.update(below(Path.cwd(), parts))
    return frozenset(found)


@cache
def _within(path: Path, folders: tuple[Path, ...]) -> bool:
    """Return whether ``path`` is one of these files or in one of these folders; asked a million times for a large run."""
    return any(path.is_relative_to(folder) for folder in folders)


def code(*entries: Path, without: tuple[Path, ...] = ()) -> list[Path]:
    """Return ``entries`` and every file that they import, directly or through others, sorted.

    Files are those of this package and the user's; of libraries there are none. Imports are not followed into the files and
    folders ``without``, unless one of the ``entries`` lies there.
    """
    found: set[Path] = set()
    waiting = list(entries)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            imports = _imports_of_package(path) if _within(path, (PACKAGE,)) else _imports_of_user(path)
            waiting += [file for file in imports if not _within(file, without)]
    return sorted(found)
