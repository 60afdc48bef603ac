"""The metrics stage: measures the stored images of an attack against the stored network, and writes a row an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

from infoadv import artifacts, data, metrics, models
from infoadv.execution.progress import Progress
from infoadv.metrics import LIBRARIES, MetricContext, about, column, evaluate
from infoadv.stages.looking import aimed, check_images, classified


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

    ``attacked`` in its provenance holds that of the attack artefact, by the role among the inputs.

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
    check_images(attack_path, arrays, dataset)
    if reference is not None:
        _check_inputs(Path(reference), artifacts.read_header(reference, "model"), {"data": data_path}, digests)

    names = {"dataset": header["dataset"], "model": header["model"], "attack": header["specification"]["name"]}
    target = torch.device(device)
    model, _ = models.load(model_path, target)
    network = models.load(reference, target)[0] if reference is not None else None
    seen: dict[str, Any] = {"classes": dataset.classes, "name": model_path, "device": target, "size": metrics.BATCH}
    truth = (arrays["label"], aimed(arrays["target"]))
    _, margins_float = classified(model, arrays["adversarial"], *truth, **seen)
    prediction, margins = classified(model, arrays["adversarial_8bit"], *truth, **seen)
    context = MetricContext(device=target, seed=seed, indices=torch.from_numpy(arrays["index"]), reference=network)
    clean = torch.from_numpy(dataset.x_test[arrays["index"]])
    rounded = torch.from_numpy(arrays["adversarial_8bit"])
    values = evaluate(clean, rounded, specification, context, Progress(len(clean), "images"))

    frame = pandas.DataFrame(
        {
            **names,
            "index": arrays["index"],
            "label": arrays["label"],
            "prediction": prediction,
            "success_float": margins_float > 0,
            "success": margins > 0,
            "margin": margins.astype(np.float64),
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
            # The images may be removed to save space: what made them stays known.
            attacked={"attack": header},
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
