"""Metrics: how far, and how visibly, an adversarial image is from its clean one.

A metric is a file with two literals, ``SCHEMA`` (its options) and ``ABOUT`` (its label, direction and meaning, for
tables and captions), and a function of the same name,

    metric(clean, adversarial, *, context, **options) -> Tensor

``clean`` and ``adversarial`` are float32 (N, C, H, W) in [0, 1] on ``context.device``, C being 1 (gray) or 3 (sRGB).
The result is float64 (N,), one value an image that does not depend on the others of its batch.

A metric computed with a pretrained network has the option ``backbone`` and one column a backbone, ``lpips_alex`` say:
numbers of different backbones cannot be compared, so they never share a name. ``ABOUT`` has one entry a column:

- ``label``: its name in tables and on axes;
- ``symbol``: the same in mathematics, ``"$L_2$"``, where there is one: letters with an index or exponent;
- ``short``: its name at the head of a column that is too narrow for the label;
- ``better``: "lower" or "higher" where the images are more alike, "none" where the value says no such thing;
- ``group``: "distance" for the size of a perturbation whatever can be seen of it, "perceptual" for a similarity that counts
  when attacks are ranked, "information" for the rest;
- ``colour_only``: True where gray images have no value (default: False);
- ``decimals``: digits after the point in tables (default: 4);
- ``order``: its place among the columns that every table has, computed or not; without one it comes after these, where it was
  computed;
- ``description``: a sentence, for captions.

``label``, ``better``, ``group`` and ``description`` are required. ``ABOUT`` goes into the header of a metrics artefact, and
tables and figures read it there, so that they need no metric's file. It is part of that file, so another label measures again:
what an artefact declares is then always what its file declares. Which attacks minimise a metric, so that it cannot judge them,
is said by their files (``OPTIMISES``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from infoadv.execution.errors import InfoadvError
from infoadv.execution.progress import Progress
from infoadv.registry import options as checking
from infoadv.registry import plugins

if TYPE_CHECKING:
    # Only for the annotations: the Snakefile reads about() and must not import torch.
    import torch
    from torch import Tensor, nn


#: Images that are evaluated together. Fixed, so that the numbers do not depend on how many images there are.
BATCH = 64

#: Distributions whose version can change a value.
LIBRARIES = ("cvvdp", "flip-evaluator", "lpips", "piq", "scikit-image", "torch", "torchvision")


class MetricError(InfoadvError):
    """A metric that cannot be computed as asked."""


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need besides the images.

    Attributes
    ----------
    device
        Where the images are and the result is expected.
    seed
        Seed of the run. Randomness comes from it and the data-set index, or from it alone where every image is judged
        with the same random numbers; never from the place in the batch.
    indices
        (N,) int64 on the CPU: the places of the images in the test part of the data set.
    reference
        The network that ``lpips`` with ``backbone: reference`` looks through, in eval mode, or None.
    """

    device: torch.device
    seed: int
    indices: Tensor
    reference: nn.Module | None = None


def column(name: str, options: Mapping[str, Any]) -> str:
    """Return the column that metric ``name`` with these options fills.

    >>> column("ssim", {}), column("lpips", {"backbone": "alex"}), column("lpips", {})
    ('ssim', 'lpips_alex', 'lpips_reference')
    """
    schema = plugins.schemas("metrics").get(name, {})
    if "backbone" not in schema:
        return name
    return f"{name}_{options.get('backbone', schema['backbone']['default'])}"


def about() -> dict[str, dict[str, Any]]:
    """Return, for every column that a metric can fill, its ``ABOUT``; imports no metric and no torch."""
    return plugins.literals("metrics", "ABOUT")


def require_size(name: str, images: Tensor, smallest: int) -> None:
    """Raise ``MetricError`` unless both sides of ``images`` (N, C, H, W) have at least ``smallest`` pixels."""
    height, width = images.shape[-2:]
    if min(height, width) < smallest:
        raise MetricError(
            f"{name}: images of {height} x {width} px, it needs at least {smallest} x {smallest}; "
            f"take {name} out of metrics or use larger images."
        )


def evaluate(
    clean: Tensor,
    adversarial: Tensor,
    specification: Mapping[str, Mapping[str, Any]],
    context: MetricContext,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return {column: float64 (N,) on the CPU} for every metric that ``specification`` (name to options) asks for.

    ``clean`` and ``adversarial`` are (N, C, H, W), uint8 or float32 in [0, 1]; they are evaluated ``BATCH`` images at a time.
    """
    import torch

    values: dict[str, list[Tensor]] = {column(name, options): [] for name, options in specification.items()}
    functions = {name: plugins.load("metrics", name) for name in specification}
    for start in range(0, len(clean), BATCH):
        part = slice(start, start + BATCH)
        images, attacked = (_on_device(pixels[part], context.device) for pixels in (clean, adversarial))
        batch_context = replace(context, indices=context.indices[part])
        for name, options in specification.items():
            if progress is not None:
                progress.alive(name)
            result = functions[name](images, attacked, context=batch_context, **options)
            values[column(name, options)].append(result.cpu())
        if progress is not None:
            progress.update(min(start + BATCH, len(clean)))
    empty = torch.empty(0, dtype=torch.float64)
    return {key: torch.cat([empty, *batches]) for key, batches in values.items()}


def _on_device(pixels: Tensor, device: torch.device) -> Tensor:
    from infoadv.numerics.pixels import from_levels

    return pixels.to(device) if pixels.is_floating_point() else from_levels(pixels, device)


def names() -> list[str]:
    """Return the metrics that there are, those of plugin folders included."""
    return plugins.names("metrics")


def __getattr__(name: str) -> Any:
    """Return the metric ``name`` as a function that checks its options and needs no ``context``; its file is imported now."""
    if name.startswith("_") or name not in names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; metrics are {', '.join(names())}")
    import torch

    function = plugins.load("metrics", name)

    @functools.wraps(function)
    def metric(clean: Tensor, adversarial: Tensor, *, context: MetricContext | None = None, **options: Any) -> Tensor:
        options = checking.check_call("metrics", name, function, options)
        known = context or MetricContext(clean.device, 0, torch.arange(len(clean)))
        return function(clean, adversarial, context=known, **options)

    # Found here from now on; it also takes the place of a submodule of this name.
    globals()[name] = metric
    return metric


def __dir__() -> list[str]:
    return sorted({*globals(), *names()})
