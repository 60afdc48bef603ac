"""Attacks: functions from a model, images and labels to adversarial images.

``from infoadv.attacks import masking, ddn`` gives the bare functions, :func:`names` lists them, and :func:`infoadv.attack` runs
one by its name and rounds its images to 8 bits.

An attack is a file with a literal ``SCHEMA`` that names it and a function of the same name,

    method(model, images, labels, *, targets=None, indices=None, seed=0, **options) -> AttackResult

whose keyword arguments are its options: their types and defaults stand in the signature, their bounds and descriptions in
``SCHEMA``, or in ``options.py`` where several attacks share them. A literal ``OPTIMISES`` names the metrics that an attack
minimises or is bounded in, which therefore cannot judge it, ``NEARLY_OPTIMISES`` those that its objective comes near to. An
option that an attack gets later is declared with ``"before"``, the value that leaves its results as they were. A specification
leaves the option out at that value, so that specifications of earlier results still match.

``images`` are float32 (N, C, H, W) in [0, 1], ``labels`` int64 (N,), ``indices`` int64 (N,) the places of the images in
the test part of the data set, ``targets`` int64 (N,) or None for an untargeted attack. All randomness comes from
``generator(seed, index)``, or from the seed alone where all images share the draw; nothing that happens to one image
may depend on the others of its batch. Whoever calls it brings the model into eval mode and turns off the gradients of its
parameters (:func:`infoadv.attacks.contract.as_found`). Counting passes, cutting into chunks and rounding to 8 bits are not an
attack's business either: :mod:`infoadv.attacks.harness` does that. An attack whose option ``backbone`` is "reference" is
given that network as ``reference``.
"""

from __future__ import annotations

import functools
from typing import Any

from infoadv.attacks.contract import AttackError, AttackResult, CountingModel, as_found, draw, generator, places
from infoadv.numerics.margins import batch_view, margin
from infoadv.registry import options as checking
from infoadv.registry import plugins

__all__ = [
    "AttackError",
    "AttackResult",
    "CountingModel",
    "batch_view",
    "draw",
    "generator",
    "margin",
    "names",
    "places",
]


def names() -> list[str]:
    """Return the attacks that there are, those of plugin folders included."""
    return plugins.names("attacks")


def __getattr__(name: str) -> Any:
    """Return the attack ``name`` as a function that checks its options and leaves the model as it found it.

    Its file is imported now.
    """
    if name.startswith("_") or name not in names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; attacks are {', '.join(names())}")
    function = plugins.load("attacks", name)

    @functools.wraps(function)
    def attack(model: Any, *arguments: Any, **options: Any) -> AttackResult:
        options = checking.check_call("attacks", name, function, options)
        with as_found(model):
            return function(model, *arguments, **options)

    # Found here from now on; it also takes the place of a submodule of this name.
    globals()[name] = attack
    return attack


def __dir__() -> list[str]:
    return sorted({*__all__, *names()})
