"""Calibration of MINE: its estimate beside the closed form, for several dimensions d' and batch sizes K."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from infoadv import artifacts
from infoadv.execution.progress import Progress
from infoadv.information.mine import measure
from infoadv.information.projection import projection_information


def images_at(rhos: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two batches (N, 1, 1, 2) of images whose angle has the given cosines."""
    first = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(len(rhos), -1, -1, -1).contiguous()
    second = torch.tensor([[rho, math.sqrt(1 - rho**2)] for rho in rhos]).view(-1, 1, 1, 2)
    return first, second


def run(specification: dict[str, Any], *, seed: int, out: str | Path) -> None:
    """Measure every combination of ``dimensions``, ``samples`` and ``rhos``, ``seeds`` times; write one row each."""
    clean, perturbed = images_at(specification["rhos"])
    rows = []
    done, settings = 0, len(specification["dimensions"]) * len(specification["samples"])
    progress = Progress(settings * specification["seeds"], "estimates")
    for dimension in specification["dimensions"]:
        truth = projection_information(clean.double(), perturbed.double(), dimension)
        for samples in specification["samples"]:
            for repeat in range(specification["seeds"]):
                estimate = measure(
                    clean,
                    perturbed,
                    dimension=dimension,
                    samples=samples,
                    steps=specification["steps"],
                    seed=seed * 1000 + repeat,
                )
                for rho, exact, value in zip(specification["rhos"], truth.tolist(), estimate.tolist(), strict=True):
                    rows.append((dimension, samples, rho, exact, value, repeat))
                done += 1
                progress.update(done, f"d' = {dimension}, K = {samples}")
    frame = pd.DataFrame(rows, columns=["dimension", "samples", "rho", "truth", "estimate", "seed"])
    artifacts.save_rows(out, frame, artifacts.provenance("calibration", specification, libraries=("torch",), seed=seed))
