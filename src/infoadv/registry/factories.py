"""A user's own network, built by calling a function of theirs: the one thing in a configuration that is code.

``package.module:function`` is imported and called. So that nobody runs a stranger's function by reading a model artefact,
whose header names one as well, a factory that only a file names is called if ``INFOADV_FACTORIES`` lists it. The workflow
sets that variable to what its configuration names. Nothing here imports torch: the Snakefile asks for the files.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path
from typing import Any

#: Environment variable with the factories that model artefacts may name, separated by commas.
ALLOWED = "INFOADV_FACTORIES"


def allowed(factory: str) -> bool:
    """Return whether a factory may be called that a model artefact names."""
    return factory in os.environ.get(ALLOWED, "").split(",")


def call(factory: str, options: dict[str, Any]) -> Any:
    """Import the module of ``factory``, call its function with ``options``, and say on stderr which code that is."""
    name, _, function = factory.partition(":")
    module = importlib.import_module(name)
    where = getattr(module, "__file__", None) or "no file"
    print(f"running code: {factory} from {where}", file=sys.stderr, flush=True)
    return getattr(module, function)(**options)


def sources(factory: str) -> list[Path]:
    """Return the files below the working directory that importing ``factory`` runs, sorted; [] if it lies elsewhere.

    These are its module, the packages above it, and what these import from the working directory.
    """
    found: set[Path] = set()
    waiting = [factory.partition(":")[0]]
    while waiting:
        parts = waiting.pop().split(".")
        for depth in range(1, len(parts) + 1):
            base = Path(*parts[:depth])
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.is_file() and path not in found:
                    found.add(path)
                    waiting += _imported(path, parts[: depth if path.name == "__init__.py" else depth - 1])
    return sorted(path.absolute() for path in found)


def _imported(path: Path, package: list[str]) -> list[str]:
    """Return the modules that a file of ``package`` names in its imports; a name from a module may be none itself."""
    modules: list[str] = []
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        # The job that imports it says what is wrong with it.
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            modules += [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
            if not base:
                modules += [alias.name for alias in node.names]
    return modules
