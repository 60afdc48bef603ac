"""Runs an attack on a batch: targets, counted passes, rounding to 8 bits. The library and the pipeline both come here.

An adversarial example is an image file. Attacks differ in how far past the boundary they happen to stop, so after any
attack the harness looks, per image, for the smallest factor s >= 1 at which round8(clip(x + s delta)) is still
adversarial; that 8-bit image is the result on which all metrics are taken.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, CountingModel, as_found
from infoadv.numerics.margins import batch_view, margin
from infoadv.numerics.pixels import on_levels
from infoadv.registry import plugins
from infoadv.registry.options import OptionError

#: Largest factor tried, and the ratio between the factors of the first sweep; BISECTIONS then refine.
MAX_FACTOR = 16.0
FACTOR_RATIO = 2**0.25
BISECTIONS = 8


@dataclass(frozen=True, repr=False)
class Attacked:
    """What came of an attack, image by image, on the device of the images unless it says otherwise.

    Attributes
    ----------
    images
        (N, C, H, W) float32 on the 8-bit grid (levels / 255): the adversarial images. All metrics are taken on these.
    success
        (N,) bool: whether ``images`` are classified as the attack asks.
    float_images
        (N, C, H, W) float32 in [0, 1]: what the attack returned, before rounding.
    float_success
        (N,) bool: whether ``float_images`` are classified so.
    factor
        (N,) float32: how many times the perturbation was enlarged so that it survives rounding, at least 1.
    forwards, backwards
        (N,) int64, on the CPU: passes of each image through the network that the attack made.
    first_success
        (N,) int64: iteration of the first success as the attack counts iterations, -1 for none.
    targets
        (N,) int64: the class aimed at, or None for an untargeted attack.
    trace
        What the attack recorded along its run (:class:`infoadv.attacks.AttackResult`).
    """

    images: Tensor
    success: Tensor
    float_images: Tensor
    float_success: Tensor
    factor: Tensor
    forwards: Tensor
    backwards: Tensor
    first_success: Tensor
    targets: Tensor | None
    trace: dict[str, Tensor]

    def __repr__(self) -> str:
        # That of a data class writes out every tensor, which fills a notebook.
        return f"<{type(self).__name__}: {int(self.success.sum())} of {len(self.images)} images succeed>"


def choose_targets(kind: str, model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Tensor | None:
    """Return the target class of each image (N,), or None for "untargeted".

    "next" is the label plus one, "least_likely" the class with the smallest logit of the clean image. Raises ``AttackError`` for
    any other ``kind``.
    """
    if kind == "untargeted":
        return None
    if kind == "next":
        return (labels + 1) % classes
    if kind != "least_likely":
        raise AttackError(f"target: {kind!r} is not allowed; choose one of: untargeted, next, least_likely.")
    with torch.no_grad():
        logits = model(images)
    return logits.scatter(1, labels[:, None], torch.inf).argmin(1)


def round_to_8_bits(
    clean: Tensor,
    adversarial: Tensor,
    is_adversarial: Callable[[Tensor], Tensor],
    linf: float | None = None,
    l2: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return 8-bit images (N, C, H, W) as float32 levels / 255, whether each is adversarial, and its factor s.

    Images whose float version is not adversarial are rounded as they are (s = 1). ``linf`` and ``l2`` are the budget of
    the attack: the scaled perturbation stays inside it (the L-infinity budget also after rounding).
    """
    delta = adversarial - clean
    limit = torch.full((len(clean),), MAX_FACTOR, device=clean.device)
    if l2 is not None:
        limit = (l2 / delta.flatten(1).norm(dim=1).clamp_min(1e-12)).clamp(1.0, MAX_FACTOR)

    def scaled(factor: Tensor) -> Tensor:
        change = batch_view(torch.minimum(factor, limit), delta) * delta
        if linf is not None:
            levels = math.floor(linf * 255 + 1e-6) / 255
            change = change.clamp(-levels, levels)
        return on_levels((clean + change).clamp(0, 1))

    one = torch.ones(len(clean), device=clean.device)
    factor, images = one, scaled(one)
    reached = is_adversarial(images)
    searching = is_adversarial(adversarial) & ~reached
    if bool(searching.any()):
        low, high = one.clone(), torch.full_like(one, torch.inf)
        trial = one
        while bool((searching & high.isinf()).any()) and float(trial[0]) < MAX_FACTOR:
            trial = trial * FACTOR_RATIO
            now = is_adversarial(scaled(trial)) & searching
            high = torch.where(now & high.isinf(), trial, high)
            low = torch.where(searching & high.isinf(), trial, low)
        found = searching & ~high.isinf()
        for _ in range(BISECTIONS):
            middle = torch.where(found, (low + high) / 2, one)
            now = is_adversarial(scaled(middle))
            high = torch.where(found & now, middle, high)
            low = torch.where(found & ~now, middle, low)
        factor = torch.where(found, high, one)
        images = torch.where(batch_view(found, images), scaled(factor), images)
        reached = reached | found
    return images, reached, factor


def check_signature(function: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
    """Raise ``OptionError`` unless the attack ``function``, which errors call ``name``, can be called with ``options``."""
    try:
        inspect.signature(function).bind(None, None, None, targets=None, indices=None, seed=0, **options)
    except TypeError as error:
        raise OptionError(f"{name}: cannot be called with these options ({error}).") from error


def budget(options: Mapping[str, Any], method: str) -> dict[str, float]:
    """Return the budget of an attack called with ``options`` as arguments of ``round_to_8_bits``; {} without a named one.

    ``epsilon`` is an L-infinity budget unless its schema says ``"norm": "l2"``.
    """
    if "norms" in options:
        # A control is not enlarged until it succeeds: its size is what it controls for.
        return {"l2": 0.0}
    declared = plugins.schemas("attacks").get(method, {}).get("epsilon", {})
    epsilon = options.get("epsilon", declared.get("default"))
    if not isinstance(epsilon, int | float):
        return {}
    return {declared.get("norm", "linf"): float(epsilon)}


def run_batch(
    function: Callable[..., AttackResult],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None,
    indices: Tensor,
    seed: int,
    options: Mapping[str, Any],
    limits: Mapping[str, float],
    name: str,
    on_pass: Callable[[CountingModel], None] | None = None,
) -> Attacked:
    """Run an attack on one batch, round its images to 8 bits, and say which succeed; the model is left as it was found.

    Parameters
    ----------
    function
        The attack (see :mod:`infoadv.attacks`).
    images, labels, targets, indices, seed
        As every attack takes them; ``targets`` is None for an untargeted attack.
    options
        What else the attack is called with.
    limits
        ``linf`` or ``l2``: the budget that rounding keeps to (:func:`round_to_8_bits`).
    name
        What errors call the attack.
    on_pass
        Called with the counting model before each forward pass.

    Raises
    ------
    AttackError
        The attack returned images that are none, or cannot run as asked.
    """
    with as_found(model):
        counting = CountingModel(model, len(images), on_pass)
        result = function(counting, images, labels, indices=indices, seed=seed, targets=targets, **options)
        if not isinstance(result, AttackResult):
            raise AttackError(
                f"{name} returned a {type(result).__name__}; it must return an infoadv.attacks.AttackResult(adversarial, "
                "first_success)."
            )
        adversarial = result.adversarial.detach()
        if adversarial.shape != images.shape:
            raise AttackError(
                f"{name} returned images of shape {tuple(adversarial.shape)}; it must keep that of those it was given, "
                f"{tuple(images.shape)}."
            )
        if not torch.isfinite(adversarial).all() or adversarial.min() < -1e-6 or adversarial.max() > 1 + 1e-6:
            raise AttackError(f"{name} returned images outside [0, 1] or not finite; it must clip them.")
        adversarial = adversarial.clamp(0, 1)

        def is_adversarial(candidates: Tensor) -> Tensor:
            with torch.no_grad():
                return margin(model(candidates), labels, targets) > 0

        eight_bit, success, factor = round_to_8_bits(images, adversarial, is_adversarial, **limits)
        return Attacked(
            images=eight_bit,
            success=success,
            float_images=adversarial,
            float_success=is_adversarial(adversarial),
            factor=factor,
            forwards=counting.forwards,
            backwards=counting.backwards,
            first_success=result.first_success.to(images.device),
            targets=targets,
            trace=result.trace,
        )
