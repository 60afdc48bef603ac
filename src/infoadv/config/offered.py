"""What there is to choose from that fits a purpose: sources to download, architectures to trim, what results are made from."""

from __future__ import annotations

from typing import Any

from infoadv.registry import plugins


def fetchable() -> list[str]:
    """Return the data sources that can be downloaded: those whose file has a function ``fetch``."""
    return _with_function("data", "fetch")


def resizable() -> list[str]:
    """Return the architectures that can be trimmed: those whose file has a function ``resized``."""
    return _with_function("models", "resized")


def _with_function(folder: str, function: str) -> list[str]:
    return [
        name
        for name in plugins.schemas(folder)
        if plugins.function_of(plugins.source_file(folder, name), function) is not None
    ]


def stage_inputs(kind: str, name: str) -> dict[str, Any]:
    """Return what a table or figure (``kind``) is made from: ``stage``, and the keys of ``flow`` that it ``needs``.

    Its file says so in a literal ``INPUTS``; without one it is made from the metrics of every attack.
    """
    return {"stage": "metrics", **plugins.literal(plugins.source_file(kind, name), "INPUTS")}
