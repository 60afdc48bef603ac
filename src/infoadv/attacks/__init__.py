"""Attacks: functions from a model, images and labels to adversarial images.

An attack is a file with a literal ``SCHEMA`` and a function of the same name,

    method(model, images, labels, *, indices, seed, targets=None, **options) -> AttackResult

where an option with a default has it in both places, the literal and the signature.

``images`` are float32 (N, C, H, W) in [0, 1], ``labels`` int64 (N,), ``indices`` int64 (N,) the places of the images in
the test part of the data set, ``targets`` int64 (N,) or None for an untargeted attack. All randomness comes from
``generator(seed, index)``, or from the seed alone where all images share the draw; nothing that happens to one image
may depend on the others of its batch. Counting passes, cutting into chunks and rounding to 8 bits are not an attack's
business: :mod:`infoadv.attacks.harness` does that. An attack whose option ``backbone`` is "reference" is given that network
as ``reference``.
"""

from infoadv.attacks.contract import AttackError, AttackResult, CountingModel, draw, generator
from infoadv.numerics.margins import batch_view, margin

__all__ = ["AttackError", "AttackResult", "CountingModel", "batch_view", "draw", "generator", "margin"]
