"""What the stages share that show images to a network: the network, whether images fit the data set, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from infoadv import artifacts, data, models
from infoadv.numerics.margins import margin
from infoadv.numerics.pixels import to_images


def load_network(
    path: str | Path, data_path: str | Path, digest: str, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model artefact as :func:`infoadv.models.load` does; ``digest`` is that of the data artefact at ``data_path``.

    Raises
    ------
    ArtifactError
        The network was trained on another data set.
    """
    network, header = models.load(path, device)
    if header["inputs"].get("data") != digest:
        raise artifacts.ArtifactError(
            f"{path}: was trained on another data set than {data_path}; remove it and run again."
        )
    return network, header


def check_images(path: str | Path, arrays: Mapping[str, np.ndarray], dataset: data.Dataset) -> None:
    """Raise ``ArtifactError`` unless the images and labels of the attack artefact at ``path`` are of ``dataset``.

    Digests tell files apart, so this fails only for an artefact that another program wrote.
    """
    index = arrays["index"]
    shape = (len(index), *dataset.shape)
    fits = (
        index.max(initial=0) < len(dataset.y_test)
        and arrays["adversarial"].shape == arrays["adversarial_8bit"].shape == shape
        and (arrays["label"] == dataset.y_test[index]).all()
    )
    if not fits:
        raise artifacts.ArtifactError(f"{path}: its images or labels do not fit the data set; remove it and run again.")


def aimed(target: np.ndarray) -> np.ndarray | None:
    """Return the target classes (N,) of an attack artefact, or None where it aims at none."""
    return target if len(target) and (target >= 0).all() else None


def classified(
    network: nn.Module,
    images: np.ndarray,
    label: np.ndarray,
    target: np.ndarray | None,
    *,
    classes: int,
    name: str | Path,
    device: torch.device,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction int64 (N,) and margin float32 (N,) of images (N, C, H, W), uint8 or float32 in [0, 1].

    The margin is towards the ``target`` class where there is one, away from the ``label`` elsewhere. The network sees ``size``
    images at once; ``name`` is what errors call it.

    Raises
    ------
    ModelError
        The logits are not (N, classes), or not finite.
    """
    predictions, margins = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        # The layout in which the harness looked for success: another one rounds differently.
        if images.dtype == np.uint8:
            batch = to_images(images[part], device)
        else:
            batch = torch.from_numpy(images[part]).to(device).contiguous(memory_format=torch.channels_last)
        logits = models.check_logits(network, batch, classes, name).float()
        truth = torch.from_numpy(label[part]).to(device)
        goal = None if target is None else torch.from_numpy(target[part]).to(device)
        predictions.append(logits.argmax(1).cpu().numpy())
        margins.append(margin(logits, truth, goal).cpu().numpy())
    return np.concatenate(predictions), np.concatenate(margins)
