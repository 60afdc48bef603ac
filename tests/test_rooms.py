"""The rooms of the package: what lies where, and that imports run downwards only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from infoadv.registry.plugins import PACKAGE

#: From the top to the ground: a module imports from its own room and from those below it.
ROOMS = (
    *("cli", "stages", "flow", "report", "pipeline", "config", "training", "attacks", "metrics", "information"),
    *("models", "data", "numerics", "registry", "artifacts", "execution"),
)
#: The public interface imports from everywhere, when a name is asked for; ``python -m infoadv`` is the command line.
DOORS = ("__init__", "__main__")
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def for_types_alone(node: ast.AST) -> bool:
    """Return whether a statement is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Yield what the code below ``node`` imports at run time, anywhere in it, as dotted names from the root."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        base = ".".join([*above, *filter(None, [node.module])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    for child in node.orelse if for_types_alone(node) else ast.iter_child_nodes(node):
        yield from imported(child, package)


def own_imports(path: Path) -> set[str]:
    """Return what a module imports from the package, as dotted names below its root."""
    package = ("infoadv", *path.relative_to(PACKAGE).parent.parts)
    names = imported(ast.parse(path.read_text(encoding="utf-8")), package)
    return {name.removeprefix("infoadv").removeprefix(".") for name in names if name.split(".")[0] == "infoadv"}


def test_nothing_lies_loose_at_the_root():
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"cli", *DOORS}


def test_every_folder_is_a_room():
    assert {room_of(path) for path in MODULES} == {*ROOMS, *DOORS}


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) not in DOORS], ids=name_of)
def test_imports_run_downwards(path):
    allowed = ROOMS[ROOMS.index(room_of(path)) :]
    assert {name for name in own_imports(path) if name.split(".")[0] not in allowed} == set()


def test_imports_are_found_wherever_they_stand():
    code = """
import infoadv.cli
from infoadv import report, InfoadvError
from ..execution import locks
from . import sibling
if TYPE_CHECKING:
    from infoadv.config import Config
else:
    import infoadv.data
def late():
    from infoadv.stages.train import run
"""
    assert set(imported(ast.parse(code), ("infoadv", "metrics"))) == {
        "infoadv.cli",
        "infoadv.report",
        "infoadv.InfoadvError",
        "infoadv.execution.locks",
        "infoadv.metrics.sibling",
        "infoadv.data",
        "infoadv.stages.train.run",
    }
