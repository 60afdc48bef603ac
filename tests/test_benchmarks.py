"""Benchmarks are run by hand: that they find what they import is all that a test asks of them."""

from __future__ import annotations

import ast
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest

from helpers import ROOT


def find(text: str) -> None:
    """Import what a program imports from the package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infoadv"):
            assert node.module
            for name in node.names:
                if not hasattr(import_module(node.module), name.name):
                    import_module(f"{node.module}.{name.name}")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(path.parent))
    # Whatever another folder calls so.
    monkeypatch.delitem(sys.modules, "common", raising=False)
    found = runpy.run_path(str(path), run_name="benchmark")
    # Programs that other processes run stand in texts.
    values = [part for value in found.values() for part in (value.values() if isinstance(value, dict) else [value])]
    for text in values:
        if isinstance(text, str) and text.lstrip().startswith(("from ", "import ")):
            find(text)
