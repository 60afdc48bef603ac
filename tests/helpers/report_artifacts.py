"""Synthetic artefacts for the tests of the report: what the pipeline would write, made up in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infoadv import artifacts, metrics
from infoadv.registry import plugins

#: Every metric there is, LPIPS with the network that needs no download; and the column that each fills.
SPECIFICATION: dict[str, dict[str, Any]] = {
    name: {"backbone": "reference"} if name == "lpips" else {} for name in plugins.schemas("metrics")
}
COLUMNS = {name: metrics.column(name, options) for name, options in SPECIFICATION.items()}


def about() -> dict[str, dict[str, Any]]:
    """Return what a metrics artefact declares of its columns, as the metrics stage writes it."""
    declared = plugins.literals("metrics", "ABOUT")
    return {column: {**declared[column], "options": SPECIFICATION[name]} for name, column in COLUMNS.items()}


def save_metrics(path: Path, frame: pd.DataFrame) -> str:
    """Write a metrics artefact of one attack; standard columns that are not in ``frame`` are filled in."""
    defaults = {"success_float": True, "success": True, "forwards": 10, "backwards": 10}
    defaults |= {"label": 0, "prediction": 1, "margin": 1.0, "first_success": 3}
    frame = frame.assign(**{name: value for name, value in defaults.items() if name not in frame})
    frame = frame.assign(**{name: np.nan for name in COLUMNS.values() if name not in frame})
    names = {key: str(frame[key].iloc[0]) for key in ("dataset", "model", "attack")}
    header = artifacts.provenance("metrics", SPECIFICATION, seed=0, **names, metrics=about())
    artifacts.save_rows(path, frame, header)
    return str(path)


def save_results(
    root: Path,
    attacks: dict[str, dict[str, Any]],
    targets: tuple[tuple[str, str, int], ...],
    *,
    images: int = 12,
    size: int = 16,
) -> dict[str, list[str]]:
    """Write data, attack and metrics artefacts; return their paths by kind.

    ``targets`` are (data set, model, channels). An attack's entry may hold ``strength`` (0 to 1, how visible it is),
    ``success`` (rate), ``cost``, ``method``, and ``traced`` (whether the run is recorded).
    """
    paths: dict[str, list[str]] = {"data": [], "attack": [], "metrics": []}
    for dataset in dict.fromkeys(name for name, *_ in targets):
        channels = next(channels for name, _, channels in targets if name == dataset)
        clean, labels, names = _images(dataset, channels, max(images, 12), size)
        data = root / "data" / f"{dataset}.safetensors"
        artifacts.save_tensors(
            data,
            {"x_train": clean, "y_train": labels, "x_test": clean, "y_test": labels},
            artifacts.provenance("data", {"source": dataset}, class_names=names),
        )
        paths["data"].append(str(data))
        for position, (_, model, _) in enumerate(target for target in targets if target[0] == dataset):
            for number, (name, entry) in enumerate(attacks.items()):
                made = _attack(clean, labels, name, number, position, entry, images)
                stem = Path(dataset) / model / name
                attack = root / "attacks" / f"{stem}.safetensors"
                specification = {
                    "name": name,
                    "method": entry.get("method", name),
                    "target": "untargeted",
                    "options": {},
                }
                header = artifacts.provenance(
                    "attack", specification, seed=0, chunk=images, dataset=dataset, model=model
                )
                artifacts.save_tensors(attack, made["tensors"], header)
                frame = made["frame"].assign(dataset=dataset, model=model, attack=name)
                if channels == 1:
                    frame["ciede2000"] = np.nan
                paths["attack"].append(str(attack))
                paths["metrics"].append(save_metrics(root / "metrics" / f"{stem}.parquet", frame))
    return paths


def _images(dataset: str, channels: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(sum(map(ord, dataset)))
    y, x = np.mgrid[0:size, 0:size] / size
    names = [str(digit) for digit in range(10)]
    if channels == 3:
        names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    images = []
    for _ in range(count):
        cx, cy, r = generator.uniform((0.35, 0.35, 0.15), (0.65, 0.65, 0.3))
        ring = np.exp(-((np.hypot(x - cx, y - cy) - r) ** 2) / 0.004)
        waves = 0.25 + 0.2 * np.sin(12 * x * generator.uniform(0.3, 1) + 9 * y) if channels == 3 else 0 * x
        images.append([np.clip(ring * generator.uniform(0.5, 1) + waves, 0, 1) for _ in range(channels)])
    return (np.array(images) * 255).astype(np.uint8), np.arange(count, dtype=np.int64) % 10, names


def _attack(
    clean: np.ndarray,
    labels: np.ndarray,
    name: str,
    number: int,
    position: int,
    entry: dict[str, Any],
    images: int,
) -> dict[str, Any]:
    generator = np.random.default_rng([number, position])
    strength = entry.get("strength", 0.05) * (1 + 2 * position)
    chosen = np.arange(images)
    x = clean[chosen % len(clean)] / 255.0
    adversarial = np.clip(
        x + strength * generator.standard_normal(x.shape) * generator.uniform(0.5, 1.5, (images, 1, 1, 1)), 0, 1
    )
    stored = np.round(adversarial * 255).astype(np.uint8)
    success = generator.uniform(size=images) < entry.get("success", 0.95)
    distance = np.sqrt(((stored / 255.0 - x) ** 2).sum(axis=(1, 2, 3)))
    lost = np.clip(strength * 0.4 * generator.lognormal(0, 0.5, images), 1e-4, 0.95)
    cost = entry.get("cost", 100)
    prediction = np.where(success, (labels[chosen % len(labels)] + 1 + number) % 10, labels[chosen % len(labels)])
    step = np.arange(0, 200, 10)
    truth = 4 + 3 * np.exp(-step / 40)[None] + 0.1 * generator.standard_normal((images, 1))
    truth[:, 0] = np.inf
    tensors = {
        "index": chosen.astype(np.int64),
        "label": labels[chosen % len(labels)],
        "adversarial": adversarial.astype(np.float32),
        "adversarial_8bit": stored,
        "success_float": success | (generator.uniform(size=images) < 0.05),
        "success": success,
        "factor": np.ones(images, dtype=np.float32),
        "forwards": np.full(images, cost, dtype=np.int64),
        "backwards": np.full(images, cost, dtype=np.int64),
        "first_success": np.where(success, 60, -1).astype(np.int64),
        "target": np.full(images, -1, dtype=np.int64),
    }
    if entry.get("traced"):
        tensors |= {
            "trace_step": step,
            "trace_margin": (2.2 - 8 * np.exp(-step / 50) + np.zeros_like(truth)).astype(np.float32),
            "trace_estimate": (3 - 2.6 * np.exp(-step / 60) + 0.15 * generator.standard_normal(truth.shape)).astype(
                np.float32
            ),
            "trace_truth": truth.astype(np.float32),
        }
    frame = pd.DataFrame(
        {
            "index": tensors["index"],
            "label": tensors["label"],
            "prediction": prediction,
            "success_float": tensors["success_float"],
            "success": success,
            "margin": np.where(success, 1, -1) * (entry.get("margin", 1.0) + generator.uniform(0, 0.5, images)),
            "first_success": tensors["first_success"],
            "forwards": tensors["forwards"],
            "backwards": tensors["backwards"],
            "l0": 200.0 + chosen,
            "l2": distance,
            "linf": np.abs(stored / 255.0 - x).max(axis=(1, 2, 3)),
            "psnr": 30 - 10 * lost,
            "ssim": 1 - lost,
            "haarpsi": np.clip(1 - 1.5 * lost * generator.lognormal(0, 0.3, images), 0.05, 1),
            "gmsd": 0.4 * lost,
            "lpips_reference": 0.7 * lost,
            "ciede2000": 12 * lost,
            "vif": 1 - 0.9 * lost,
            "nmi": 2 - lost,
            "mi_projection": -np.log(lost),
            "mi_mine": -0.8 * np.log(lost),
            "perturbation_information": 300 * lost,
        }
    )
    return {"tensors": tensors, "frame": frame}


def save_calibration(path: Path, dimensions: tuple[int, ...], samples: tuple[int, ...], seeds: int) -> str:
    """Write a calibration artefact whose estimates saturate near ln K."""
    rows = []
    for dimension in dimensions:
        for count in samples:
            for rho in (0.0, 0.3, 0.5, 0.7, 0.87, 0.95, 0.986):
                truth = -dimension / 2 * np.log(1 - rho**2)
                for seed in range(seeds):
                    noise = np.random.default_rng([dimension, count, int(1000 * rho), seed]).standard_normal()
                    estimate = 1 / (1 / (truth + 1e-9) + 1 / np.log(count)) + 0.5 * noise / np.sqrt(count)
                    if dimension == 64 and rho > 0.98:
                        estimate = -30.0
                    rows.append((dimension, count, rho, truth, estimate, seed))
    frame = pd.DataFrame(rows, columns=["dimension", "samples", "rho", "truth", "estimate", "seed"])
    artifacts.save_rows(path, frame, artifacts.provenance("calibration", {}))
    return str(path)


def save_model(path: Path, **extra: Any) -> str:
    """Write a model artefact with the header that the targets table reads."""
    values = {"clean_accuracy": 0.991, "pgd_accuracy": 0.02, "pgd_epsilon": 0.3, "parameters_count": 12345} | extra
    values |= {"dataset_shape": [1, 8, 8], "classes": 10, "pgd_images": 1000, "seed": 0}
    training = {"recipe": "standard", "epochs": 3}
    specification = {"architecture": "small_cnn", "options": {}, "training": training}
    header = artifacts.provenance("model", specification, **values)
    artifacts.save_tensors(path, {"weight": np.zeros(2, dtype=np.float32)}, header)
    return str(path)
