"""A reproducible benchmark of information-theoretic adversarial examples.

>>> import infoadv
>>> infoadv.attacks.names()[:3], "ssim" in infoadv.metrics.names()
(['alma_ciede2000', 'alma_l2', 'alma_lpips'], True)

:func:`attack` attacks a network of yours, :func:`measure` says how far and how visibly images differ; :mod:`infoadv.attacks`
holds the attacks as functions, :mod:`infoadv.metrics` the metrics. The pipeline around them is run by Snakemake, or stage by
stage on the command line (``infoadv --help``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infoadv.execution.errors import InfoadvError
from infoadv.execution.version import __version__

if TYPE_CHECKING:
    from infoadv import attacks, metrics
    from infoadv.attacks.api import attack
    from infoadv.metrics.api import measure

__all__ = ["InfoadvError", "__version__", "attack", "attacks", "measure", "metrics"]


def __getattr__(name: str) -> Any:
    # Torch is imported with the first of these, not with the package: the Snakefile imports it too.
    from importlib import import_module

    if name in ("attacks", "metrics"):
        return import_module(f"infoadv.{name}")
    if name in ("attack", "measure"):
        room = import_module("infoadv.attacks.api" if name == "attack" else "infoadv.metrics.api")
        return getattr(room, name)
    raise AttributeError(f"module 'infoadv' has no attribute {name!r}")
