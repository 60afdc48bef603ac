"""The metrics stage: measures the stored images of an attack against the stored network, and writes a row an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor, nn

from infoadv import artifacts, data, models
from infoadv.execution.progress import Progress
from infoadv.metrics import BATCH, LIBRARIES, MetricContext, about, column, evaluate
from infoadv.models import check_logits
from infoadv.numerics.margins import margin
from infoadv.numerics.pixels import to_images


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
    values = evaluate(clean, rounded, specification, context, Progress(len(clean), "images"))

    frame = pandas.DataFrame(
        {
            **names,
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


def _check_images(path: Path, arrays: Mapping[str, Any], dataset: data.Dataset) -> None:
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
    predictions, margins = [], []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        batch = images[part]
        # The layout in which the harness looked for success: another one rounds differently.
        if batch.dtype == torch.uint8:
            batch = to_images(batch, device)
        else:
            batch = batch.to(device).contiguous(memory_format=torch.channels_last)
        logits = check_logits(model, batch, classes, name).float()
        predictions.append(logits.argmax(1).cpu())
        aimed = None if targets is None else targets[part].to(device)
        margins.append(margin(logits, label[part].to(device), aimed).cpu())
    return torch.cat(predictions), torch.cat(margins)
