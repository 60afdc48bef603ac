"""``infoadv.attack``: one attack on images in memory, with its arguments checked and its images rounded to 8 bits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackResult, CountingModel, as_found
from infoadv.attacks.harness import Attacked, budget, check_signature, choose_targets, run_batch
from infoadv.execution.progress import Progress
from infoadv.numerics.checks import check_images, checked_seed, integers, numbers
from infoadv.registry import options as checking
from infoadv.registry import plugins
from infoadv.registry.options import OptionError

#: Images of the first look at a model: its classes, its gradient.
_PROBE = 2
_AIMS = ("next", "least_likely")


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str | Callable[..., AttackResult],
    *,
    targets: Tensor | str | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Attacked:
    """Attack ``model`` on ``images`` and return adversarial images on the 8-bit grid, with what they cost.

    Parameters
    ----------
    model
        Any network that takes images in [0, 1] and returns logits (N, classes); it holds its own normalisation. It is
        attacked in eval mode and left as it was found.
    images
        (N, C, H, W) float32 in [0, 1], on the device of the model.
    labels
        (N,) integers, the true classes.
    name
        An attack of :func:`infoadv.attacks.names`, or a function of the same contract.
    targets
        None for an untargeted attack; (N,) integers, the class aimed at; or "next", the label plus one, or "least_likely",
        the class with the smallest logit.
    indices
        (N,) integers: the places of the images in their data set, from which randomness comes; 0, 1, ... by default.
    seed
        Seed of everything random, from 0 to 2^32 - 1.
    batch_size
        Images that run together, all by default; it bounds memory, and changes results by floating-point noise only.
    progress
        Show a progress bar on standard error.
    **options
        Options of the attack, as its function takes them.

    Returns
    -------
    Attacked
        ``images``, ``success``, ``float_images``, ``factor``, ``forwards``, ``backwards`` and more, in the order given.

    Raises
    ------
    OptionError
        An argument is unknown, of the wrong type, shape or range, or the model cannot be attacked; also a ``ValueError``.
    AttackError
        The attack cannot run as asked.

    Examples
    --------
    >>> import torch, infoadv
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    >>> images = torch.rand(4, 1, 8, 8)
    >>> result = infoadv.attack(model, images, model(images).argmax(1), "ddn", steps=20)
    >>> result.images.shape, result.success.dtype
    (torch.Size([4, 1, 8, 8]), torch.bool)
    """
    seed = checked_seed(seed)
    function, method, offered = _function(name, options)
    labels = _checked(model, images, labels, method)
    with as_found(model):
        classes = _probed(model, images)
    _check_classes(labels, classes, "labels")
    if isinstance(targets, Tensor):
        targets = integers(targets, images, "targets")
        _check_classes(targets, classes, "targets")
        if bool((targets == labels).any()):
            raise OptionError("targets: a target equals its label; aim at another class.")
    elif targets is not None and targets not in _AIMS:
        raise checking.unknown(str(targets), _AIMS, "choice of targets")
    places = torch.arange(len(images)) if indices is None else integers(indices, images, "indices").cpu()
    size = len(images) if batch_size is None else batch_size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise OptionError(f"batch_size: {batch_size!r} is not allowed; give an integer of at least 1, or None.")
    shown = Progress(len(images), "images") if progress else None
    if "norms" in options:
        options["norms"] = numbers(options["norms"], images, "norms")
    limits = budget(options, method) if offered or "norms" in options else {}
    parts = []
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        batch, truth = images[part], labels[part]
        if isinstance(targets, Tensor):
            aims: Tensor | None = targets[part]
        else:
            with as_found(model):
                aims = choose_targets(targets or "untargeted", model, batch, truth, classes)
        own = {key: value[part] if key == "norms" else value for key, value in options.items()}
        parts.append(
            run_batch(
                function,
                model,
                batch,
                truth,
                targets=aims,
                indices=places[part],
                seed=seed,
                options=own,
                limits=limits,
                name=method,
                on_pass=None if shown is None else partial(_say_passes, shown),
            )
        )
        if shown is not None:
            done = torch.cat([one.success for one in parts])
            shown.update(len(done), f"success {done.float().mean():.1%}")
    return parts[0] if len(parts) == 1 else _joined(parts)


def _say_passes(progress: Progress, model: CountingModel) -> None:
    if progress.due():
        progress.alive(f"{int(model.forwards.max())} forward passes")


def _function(name: str | Callable[..., AttackResult], options: dict[str, Any]) -> tuple[Callable[..., Any], str, bool]:
    """Return the attack, what errors call it, and whether it is one that is offered, after checking its ``options``.

    Numbers of numpy among them become Python's own.
    """
    if not isinstance(name, str):
        if not callable(name):
            raise OptionError(f"name: a {type(name).__name__} is not allowed; give an attack's name or a function.")
        function, method = inspect.unwrap(name), getattr(name, "__name__", "the attack")
        if method not in plugins.names("attacks") or plugins.load("attacks", method) is not function:
            check_signature(name, method, options)
            return name, method, False
        # As infoadv.attacks gives it out.
        name = method
    if name not in plugins.names("attacks"):
        raise checking.unknown(name, plugins.names("attacks"), "attack")
    function = plugins.load("attacks", name)
    options |= checking.check_call("attacks", name, function, options)
    return function, name, True


def _checked(model: nn.Module, images: Tensor, labels: Tensor, method: str) -> Tensor:
    """Return the labels as int64 beside the images, after checking what can be known without a pass."""
    if not isinstance(model, nn.Module):
        raise OptionError(f"model: a {type(model).__name__} is not allowed; give a torch.nn.Module.")
    check_images(images, "images")
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), images.device)
    if device != images.device:
        raise OptionError(f"images: on {images.device}, the model on {device}; bring both to one device.")
    return integers(labels, images, "labels")


def _probed(model: nn.Module, images: Tensor) -> int:
    """Return the number of classes, after checking that the model returns finite logits with a gradient."""
    seen = images[:_PROBE].detach().clone().requires_grad_(True)
    logits = model(seen)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(seen) or logits.shape[1] < 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise OptionError(f"model: returns {found} for {len(seen)} images; it must return logits (N, classes).")
    if not torch.isfinite(logits).all():
        raise OptionError("model: returns NaN or infinite logits; check its weights and the range of the images.")
    if not logits.requires_grad:
        raise OptionError(
            "model: its logits have no gradient; remove torch.no_grad, detach and numpy from its forward pass."
        )
    return logits.shape[1]


def _check_classes(values: Tensor, classes: int, name: str) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise OptionError(f"{name}: {low} to {high} are not allowed; the model has classes 0 to {classes - 1}.")


def _joined(parts: list[Attacked]) -> Attacked:
    def join(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    trace = {
        key: value if key == "step" else torch.cat([part.trace[key] for part in parts])
        for key, value in parts[0].trace.items()
    }
    per_image = (
        "images",
        "success",
        "float_images",
        "float_success",
        "factor",
        "forwards",
        "backwards",
        "first_success",
    )
    targets = None if parts[0].targets is None else join("targets")
    return Attacked(**{name: join(name) for name in per_image}, targets=targets, trace=trace)
