"""Small things that several tests build on: specifications, a model factory, a linear model set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.linear import Linear
from infoadv import artifacts, data
from infoadv.training import COMMON


def specification(width: int = 4, **changed: Any) -> dict[str, Any]:
    """Return what the configuration makes of a small_cnn and ``changed`` training options."""
    training = {"recipe": "standard"} | {name: option["default"] for name, option in COMMON.items()}
    training |= {"epochs": 3, "batch_size": 20} | changed
    return {"architecture": "small_cnn", "options": {"width": width}, "training": training}


def linear_factory(values: int, classes: int) -> nn.Module:
    """Build a linear model of flattened images; its weights come from an artefact."""
    return Linear(torch.zeros(classes, values), torch.zeros(classes))


def linear_artifacts(
    folder: Path, *, classes: int = 3, count: int = 40, shape: tuple[int, int, int] = (1, 6, 6), seed: int = 0
) -> tuple[Path, Path]:
    """Write a data set of random images and a linear model set by hand; return their paths.

    The model is wrong on every fifth test image, whose label is moved on by one, and right on the others.
    """
    draws = torch.Generator().manual_seed(seed)
    values = int(np.prod(shape))
    weight = torch.randn(classes, values, generator=draws)
    # Zero at mid-gray, so that no class swallows the others; as steep as a trained network.
    model = Linear(10 * weight, -5 * weight.sum(1))
    images = torch.randint(60, 196, (count, *shape), generator=draws, dtype=torch.uint8)
    with torch.no_grad():
        labels = model(images.float() / 255).argmax(1)
    labels[::5] = (labels[::5] + 1) % classes
    parts = (images.numpy(), labels.numpy())
    names = tuple(str(number) for number in range(classes))
    data_path, model_path = folder / "toy.safetensors", folder / "linear.safetensors"
    data.save(data_path, data.Dataset(*parts, *parts, names), {"source": "toy"})
    header = artifacts.provenance(
        "model",
        {"factory": "helpers.toys:linear_factory", "options": {"values": values, "classes": classes}},
        inputs={"data": data_path},
        dataset_shape=list(shape),
        classes=classes,
    )
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    artifacts.save_tensors(model_path, weights, header)
    return data_path, model_path


def l2(one: Tensor, other: Tensor) -> Tensor:
    """Return the L2 distance (N,) image by image."""
    return (one - other).flatten(1).norm(dim=1)


def own_network() -> nn.Module:
    """Build a network as a user might: functional ReLUs, so that its layers have to be named."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.neck = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3, stride=2, padding=1)
            self.head = nn.Linear(256, 10)

        def forward(self, images: Tensor) -> Tensor:
            maps = torch.relu(self.neck(torch.relu(self.body(images))))
            return self.head(maps.flatten(1))

    return Own()
