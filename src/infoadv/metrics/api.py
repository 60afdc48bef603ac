"""``infoadv.measure``: how far and how visibly images differ, a row an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from infoadv.metrics import MetricContext, column, evaluate, names
from infoadv.numerics.checks import check_images, checked_seed, integers
from infoadv.registry import options as checking
from infoadv.registry.options import OptionError

if TYPE_CHECKING:
    import pandas


def measure(
    clean: Tensor,
    adversarial: Tensor,
    metrics: Collection[str] | Mapping[str, Mapping[str, Any]] = ("l2", "linf", "ssim"),
    *,
    reference: nn.Module | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
) -> pandas.DataFrame:
    """Return the metrics of images and their adversarial copies, as a data frame with a row an image and a column a metric.

    Parameters
    ----------
    clean, adversarial
        (N, C, H, W) float32 in [0, 1], C being 1 (gray) or 3 (sRGB), on one device.
    metrics
        Names of :func:`infoadv.metrics.names`, or a mapping from names to options: ``{"lpips": {"backbone": "alex"}}``.
    reference
        The network that ``lpips`` with ``backbone: reference`` looks through.
    indices, seed
        (N,) integers, the places of the images in their data set (0, 1, ... by default), and the seed: where the randomness
        of metrics that are estimated comes from.

    Raises
    ------
    OptionError
        An argument is unknown, of the wrong type, shape or range; also a ``ValueError``.
    MetricError
        A metric cannot be computed on these images.

    Examples
    --------
    >>> import torch, infoadv
    >>> images = torch.zeros(2, 1, 16, 16)
    >>> infoadv.measure(images, images + 0.5, metrics=["l2", "linf"])
        l2  linf
    0  8.0   0.5
    1  8.0   0.5
    """
    import pandas

    check_images(clean, "clean")
    check_images(adversarial, "adversarial")
    if clean.shape != adversarial.shape:
        raise OptionError(
            f"adversarial: shape {tuple(adversarial.shape)} is not allowed; give that of clean, {tuple(clean.shape)}."
        )
    if clean.device != adversarial.device:
        raise OptionError(f"adversarial: on {adversarial.device}, clean on {clean.device}; bring both to one device.")
    if clean.shape[1] not in (1, 3):
        raise OptionError(f"clean: {clean.shape[1]} channels are not allowed; metrics take 1 (gray) or 3 (sRGB).")
    seed = checked_seed(seed)
    specification = _specification(metrics)
    looking = [name for name, given in specification.items() if column(name, given) == "lpips_reference"]
    if looking and reference is None:
        raise OptionError(
            f"{looking[0]}: looks through a network that is not attacked; give it as reference, or take backbone: alex."
        )
    if reference is not None and not looking:
        raise OptionError(
            "reference: no metric looks through it; ask for lpips with backbone: reference, or leave it out."
        )
    places = torch.arange(len(clean)) if indices is None else integers(indices, clean, "indices").cpu()
    context = MetricContext(device=clean.device, seed=seed, indices=places, reference=reference)
    values = evaluate(clean.detach(), adversarial.detach(), specification, context)
    return pandas.DataFrame({name: value.numpy() for name, value in values.items()})


def _specification(metrics: Collection[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the options of each metric asked for, checked."""
    if isinstance(metrics, str):
        raise OptionError(f"metrics: a text is not allowed; give a list, [{metrics!r}].")
    if not isinstance(metrics, Collection) or not metrics:
        raise OptionError(
            f"metrics: {metrics!r} is not allowed; give a list of names, or a mapping from names to options."
        )
    specification = {}
    for name in metrics:
        if name not in names():
            raise checking.unknown(name, names(), "metric")
        given = metrics[name] if isinstance(metrics, Mapping) else {}
        if not isinstance(given, Mapping):
            raise OptionError(f"metrics: {name}: {given!r} is not allowed; give a mapping of options, {{}} for none.")
        specification[name] = checking.check("metrics", name, given)
        if given.get("backbone", "reference") == "reference" and given.get("reference") is not None:
            raise OptionError(f"{name}: reference names a network of a configuration; give the network as reference.")
    return specification
