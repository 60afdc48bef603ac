"""Metrics: how far, and how visibly, an adversarial image is from its clean one.

A metric is a file with two literals, ``SCHEMA`` (its options) and ``ABOUT`` (its label, direction and meaning, for
tables and captions), and a function of the same name,

    metric(clean, adversarial, *, context, **options) -> Tensor

``clean`` and ``adversarial`` are float32 (N, C, H, W) in [0, 1] on ``context.device``, C being 1 (gray) or 3 (sRGB).
The result is float64 (N,), one value an image that does not depend on the others of its batch.

A metric computed with a pretrained network has the option ``backbone`` and one column a backbone, ``lpips_alex`` say:
numbers of different backbones cannot be compared, so they never share a name. ``ABOUT`` has one entry a column:

- ``label``: for tables and axes;
- ``better``: "lower" or "higher" where the images are more alike, "none" where the value says no such thing;
- ``home``: the estimators and attack methods, separated by commas, that optimise this very quantity or are bounded in
  it, so that it cannot judge them; "" if there is none;
- ``description``: a sentence, for captions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoadv import InfoadvError, artifacts, plugins
from infoadv.progress import Progress

if TYPE_CHECKING:
    # Only for the annotations: the Snakefile reads about() and must not import torch.
    import torch
    from torch import Tensor, nn

    from infoadv.data import Dataset

#: Images that are evaluated together. Fixed, so that the numbers do not depend on how many images there are.
BATCH = 64

#: Distributions whose version can change a value.
LIBRARIES = ("lpips", "piq", "scikit-image", "torch", "torchvision")


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


def about() -> dict[str, dict[str, str]]:
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
    clean: Tensor, adversarial: Tensor, specification: Mapping[str, Mapping[str, Any]], context: MetricContext
) -> dict[str, Tensor]:
    """Return {column: float64 (N,) on the CPU} for every metric that ``specification`` (name to options) asks for.

    ``clean`` and ``adversarial`` are uint8 (N, C, H, W) on the CPU; they are evaluated ``BATCH`` images at a time.
    """
    import torch

    values: dict[str, list[Tensor]] = {column(name, options): [] for name, options in specification.items()}
    functions = {name: plugins.load("metrics", name) for name in specification}
    progress = Progress(len(clean), "images")
    for start in range(0, len(clean), BATCH):
        part = slice(start, start + BATCH)
        images, attacked = (_to_float(pixels[part], context.device) for pixels in (clean, adversarial))
        batch_context = replace(context, indices=context.indices[part])
        for name, options in specification.items():
            progress.alive(name)
            result = functions[name](images, attacked, context=batch_context, **options)
            values[column(name, options)].append(result.cpu())
        progress.update(min(start + BATCH, len(clean)))
    empty = torch.empty(0, dtype=torch.float64)
    return {key: torch.cat([empty, *batches]) for key, batches in values.items()}


def _to_float(pixels: Tensor, device: torch.device) -> Tensor:
    return pixels.to(device).float() / 255


def run(
    data_path: str | Path,
    model_path: str | Path,
    attack_path: str | Path,
    specification: Mapping[str, Mapping[str, Any]],
    *,
    reference: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path,
) -> None:
    """Evaluate an attack artefact: one row an image, one column a metric, as a parquet artefact of kind ``metrics``.

    Every metric, ``prediction``, ``success`` and ``margin`` belong to the 8-bit image, because an adversarial example
    is an image file; ``success_float`` belongs to the image before rounding. ``margin`` is that of
    ``infoadv.attacks.margin``, towards the target class where the attack had one; success is a positive margin.

    Raises
    ------
    ArtifactError
        A file is missing or damaged, or the three do not belong together.
    InfoadvError
        The model returns NaN, or a metric cannot be computed on these images.
    """
    import pandas
    import torch

    from infoadv import data, models

    data_path, model_path, attack_path = Path(data_path), Path(model_path), Path(attack_path)
    dataset, _ = data.load(data_path)
    arrays, header = artifacts.load_tensors(attack_path, "attack")
    inputs = {"data": data_path, "model": model_path}
    digests = {role: artifacts.file_digest(file) for role, file in inputs.items()}
    _check_inputs(attack_path, header, inputs, digests)
    _check_images(attack_path, arrays, dataset)
    if reference is not None:
        _check_inputs(Path(reference), artifacts.read_header(reference, "model"), {"data": data_path}, digests)

    names = {"dataset": header["dataset"], "model": header["model"], "attack": header["specification"]["name"]}
    target = torch.device(device)
    model, _ = models.load(model_path, target)
    network = models.load(reference, target)[0] if reference is not None else None
    index, label = (torch.from_numpy(arrays[key]) for key in ("index", "label"))
    goal = torch.from_numpy(arrays["target"])
    targets = goal if bool((goal >= 0).all()) else None
    rounded = torch.from_numpy(arrays["adversarial_8bit"])
    clean = torch.from_numpy(dataset.x_test[arrays["index"]])

    floats = torch.from_numpy(arrays["adversarial"])
    _, margins_float = _classify(model, floats, label, targets, dataset.classes, model_path, target)
    prediction, margins = _classify(model, rounded, label, targets, dataset.classes, model_path, target)
    context = MetricContext(device=target, seed=seed, indices=index, reference=network)
    values = evaluate(clean, rounded, specification, context)

    frame = pandas.DataFrame(
        {
            **names,
            "estimator": header.get("estimator", ""),
            "index": arrays["index"],
            "label": arrays["label"],
            "prediction": prediction.numpy(),
            "success_float": (margins_float > 0).numpy(),
            "success": (margins > 0).numpy(),
            "margin": margins.double().numpy(),
            **{key: arrays[key] for key in ("first_success", "forwards", "backwards")},
            **{key: value.numpy() for key, value in values.items()},
        }
    )
    descriptions = about()
    inputs["attack"] = attack_path
    if reference is not None:
        inputs["reference"] = Path(reference)
    artifacts.save_rows(
        out,
        frame,
        artifacts.provenance(
            "metrics",
            specification,
            inputs=inputs,
            libraries=LIBRARIES,
            device=device,
            seed=seed,
            **names,
            metrics={
                column(name, options): {**descriptions[column(name, options)], "options": dict(options)}
                for name, options in specification.items()
            },
        ),
    )


def _check_inputs(
    path: Path, header: Mapping[str, Any], expected: Mapping[str, Path], digests: Mapping[str, str]
) -> None:
    for role, file in expected.items():
        if header["inputs"].get(role) != digests[role]:
            raise artifacts.ArtifactError(
                f"{path}: was not made from {file} (its {role} is another file, or that file has changed); "
                f"remove {path} and run again, or give the {role} it was made from."
            )


def _check_images(path: Path, arrays: Mapping[str, Any], dataset: Dataset) -> None:
    # The digests agree, so this fails only for an artefact that another program wrote.
    index = arrays["index"]
    shape = (len(index), *dataset.shape)
    fits = (
        (index.size == 0 or (index.min() >= 0 and index.max() < len(dataset.y_test)))
        and arrays["adversarial"].shape == shape
        and arrays["adversarial_8bit"].shape == shape
        and (arrays["label"] == dataset.y_test[index]).all()
    )
    if not fits:
        raise artifacts.ArtifactError(f"{path}: its images or labels do not fit the data set; remove it and run again.")


def _classify(
    model: nn.Module,
    images: Tensor,
    label: Tensor,
    targets: Tensor | None,
    classes: int,
    name: Path,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return prediction int64 (N,) and margin float32 (N,), on the CPU, of uint8 images or floats in [0, 1]."""
    import torch

    from infoadv.attacks import margin
    from infoadv.models import check_logits

    predictions, margins = [], []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        batch = images[part]
        batch = _to_float(batch, device) if batch.dtype == torch.uint8 else batch.to(device)
        # The layout in which the harness looked for success: another one rounds differently.
        batch = batch.contiguous(memory_format=torch.channels_last)
        logits = check_logits(model, batch, classes, name).float()
        predictions.append(logits.argmax(1).cpu())
        aimed = None if targets is None else targets[part].to(device)
        margins.append(margin(logits, label[part].to(device), aimed).cpu())
    return torch.cat(predictions), torch.cat(margins)
