"""A user's own network, built by calling a function of theirs: the one thing in a configuration that is code.

``package.module:function`` is imported and called. So that nobody runs a stranger's function by reading a model artefact,
whose header names one as well, a factory that only a file names is called if ``INFOADV_FACTORIES`` lists it. The workflow
sets that variable to what its configuration names. Nothing here imports torch: the Snakefile asks for the files.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from infoadv.registry import source_code

#: Environment variable with the factories that model artefacts may name, separated by commas.
ALLOWED = "INFOADV_FACTORIES"


def allowed(factory: str) -> bool:
    """Return whether a factory may be called that a model artefact names."""
    return factory in os.environ.get(ALLOWED, "").split(",")


def call(factory: str, options: dict[str, Any]) -> Any:
    """Import the module of ``factory``, call its function with ``options``, and say on stderr which code that is."""
    name, _, function = factory.partition(":")
    source_code.import_from_working_directory()
    module = importlib.import_module(name)
    where = getattr(module, "__file__", None) or "no file"
    print(f"running code: {factory} from {where}", file=sys.stderr, flush=True)
    return getattr(module, function)(**options)


def sources(factory: str) -> list[Path]:
    """Return the files below the working directory that importing ``factory`` runs, sorted; [] if it lies elsewhere.

    These are its module, the packages above it, and what these import from the working directory.
    """
    module = factory.partition(":")[0]
    return source_code.code(*source_code.below(Path.cwd(), module.split(".")), without=(source_code.PACKAGE,))
