"""Adversarial examples as pictures: which images are shown, what is written under them, and how perturbations are scaled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError

_SCALES = (1, 2, 3, 5, 10, 20, 30, 50, 100)

#: What ``artifacts.load_tensors`` returns of an attack artefact.
Loaded = tuple[dict[str, np.ndarray], dict[str, Any]]


@dataclass(frozen=True)
class Example:
    """One adversarial example: images (H, W, C) in [0,1], perturbation in [-1,1], and what is written under them.

    ``prediction`` is None and ``ssim`` NaN where they were not measured.
    """

    adversarial: np.ndarray
    perturbation: np.ndarray
    prediction: int | None
    success: bool
    l2: float
    ssim: float


def by_kind(inputs: Sequence[str], figure: str) -> tuple[str, list[str], list[str]]:
    """Return the data artefact, the attack artefacts and the metric artefacts among the inputs of ``figure``.

    Raises ``InfoadvError`` for an artefact of another kind, and unless there is one data artefact.
    """
    kinds: dict[str, list[str]] = {"data": [], "attack": [], "metrics": []}
    for path in inputs:
        kind = artifacts.read_header(path)["kind"]
        if kind not in kinds:
            raise InfoadvError(f"{path}: a {kind!r} artefact has no place in the {figure} figure.")
        kinds[kind].append(path)
    if len(kinds["data"]) != 1:
        raise InfoadvError(f"the {figure} figure needs one data artefact, {len(kinds['data'])} were given.")
    return kinds["data"][0], kinds["attack"], kinds["metrics"]


def first(index: Iterable[int], label: Iterable[int], count: int) -> tuple[list[int], list[int]]:
    """Return the first ``count`` images in such an order that no class repeats before all were shown, and their classes.

    >>> first([10, 11, 12, 13], [3, 3, 5, 3], 3)
    ([10, 12, 11], [3, 5, 3])
    """
    remaining = [(int(one), int(of)) for one, of in zip(index, label, strict=True)]
    chosen: list[tuple[int, int]] = []
    while remaining and len(chosen) < count:
        turn = {of: (one, of) for one, of in reversed(remaining)}
        chosen += [pair for pair in remaining if turn[pair[1]] == pair]
        remaining = [pair for pair in remaining if turn[pair[1]] != pair]
    return [one for one, _ in chosen[:count]], [of for _, of in chosen[:count]]


def require(path: str, indices: Sequence[int], labels: Sequence[int], images: int, classes: int) -> None:
    """Raise ``InfoadvError`` unless the data set at ``path``, of so many images and classes, holds these."""
    if max(indices) >= images or max(labels) >= classes:
        raise InfoadvError(f"{path}: the attacks are on images that it does not hold; give the data set they are on.")


def example(loaded: Loaded, x_test: np.ndarray, index: int, metrics: pd.DataFrame | None) -> Example:
    """Return what an attack artefact holds of test image ``index``; ``metrics`` are its rows, by index."""
    tensors = loaded[0]
    position = int(np.flatnonzero(tensors["index"] == index)[0])
    adversarial = tensors["adversarial_8bit"][position].astype(np.float64) / 255
    perturbation = adversarial - x_test[index].astype(np.float64) / 255
    row = None if metrics is None or index not in metrics.index else metrics.loc[index]
    return Example(
        np.moveaxis(adversarial, 0, -1),
        np.moveaxis(perturbation, 0, -1),
        None if row is None else int(row["prediction"]),
        bool(tensors["success"][position] if row is None else row["success"]),
        float(np.sqrt((perturbation**2).sum())),
        float("nan") if row is None or "ssim" not in row else float(row["ssim"]),
    )


def scale(attacks: Iterable[Iterable[Example]]) -> float:
    """Return the largest round factor at which the perturbations of the attack of median strength are hardly clipped."""
    strengths = [np.percentile(np.abs([shown.perturbation for shown in examples]), 99) for examples in attacks]
    fitting = [factor for factor in _SCALES if factor * float(np.median(strengths)) <= 0.5]
    return float(fitting[-1] if fitting else _SCALES[0])


def visible(perturbation: np.ndarray, factor: float) -> np.ndarray:
    """Return a perturbation as an image in [0,1]: multiplied by a factor, mid-grey being zero."""
    return np.clip(0.5 + factor * perturbation, 0, 1)
