"""Measures inputs inside one network: a row for each estimator, input and layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from infoadv import data
from infoadv.execution.progress import Progress
from infoadv.flow import conditions
from infoadv.flow.conditions import Crafted
from infoadv.flow.probes import LinearProbes
from infoadv.flow.profiles import Profiles, profile
from infoadv.flow.recording import record
from infoadv.numerics.pixels import to_images

#: Images whose features the probes take at once.
_BATCH = 100


class Network:
    """The network in which the inputs are followed, with all that is measured of an input."""

    def __init__(
        self,
        model: nn.Module,
        dataset: data.Dataset,
        attacked: np.ndarray,
        specification: dict[str, Any],
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.dataset, self.device = model, dataset, device
        self.specification = specification
        self.layers = specification.get("layers")
        # What a network makes of its own training images is easier to read than what it makes of others: the probes are
        # fitted on test images that nobody attacked.
        spared = np.setdiff1d(np.arange(len(dataset.x_test)), attacked)
        chosen = np.random.default_rng(seed).permutation(spared)[: specification["probes"]]
        self.probes = LinearProbes(self._features(dataset.x_test[chosen]), dataset.y_test[chosen], dataset.classes)
        self.right = np.flatnonzero(self.predict(dataset.x_test) == dataset.y_test)

    def _features(self, pixels: np.ndarray) -> list[np.ndarray]:
        parts: list[list[np.ndarray]] = []
        for start in range(0, len(pixels), _BATCH):
            maps, _ = record(self.model, to_images(pixels[start : start + _BATCH], self.device), self.layers)
            parts.append([layer.mean((2, 3)).cpu().numpy() for layer in maps.values()])
        return [np.concatenate(layer) for layer in zip(*parts, strict=True)]

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the class (N,) of uint8 images (N, C, H, W)."""
        with torch.no_grad():
            parts = [
                self.model(to_images(pixels[start : start + _BATCH], self.device)).argmax(1).cpu().numpy()
                for start in range(0, len(pixels), _BATCH)
            ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def measure(self, pixels: np.ndarray, condition: str) -> dict[str, Profiles]:
        """Return the profiles of uint8 images (N, C, H, W) by estimator: of the many iterates by the first one alone."""
        estimators = self.specification["estimators"]
        return profile(
            self.model,
            to_images(pixels, self.device),
            layers=self.layers,
            estimators=estimators[:1] if condition in ("iterate", "noise_iterate") else estimators,
            evidence=self.specification["evidence"],
            shifts=self.specification["shifts"],
        )


def _rows(
    network: Network, pixels: np.ndarray, about: dict[str, Any], label: np.ndarray, adversarial_class: np.ndarray
) -> pd.DataFrame:
    """Return a row for each estimator, input and layer; ``about`` holds columns (N,) or scalars."""
    measured = network.measure(pixels, about["condition"])
    first = next(iter(measured.values()))
    count, layers = first.iip.shape
    bits = network.probes.information([layer.cpu().numpy() for layer in first.pooled])
    every = np.arange(count)
    adversarial = bits[every, :, np.maximum(adversarial_class, 0)]
    adversarial[adversarial_class < 0] = np.nan
    prediction = first.logits.argmax(1).cpu().numpy()
    columns = {**about, "label": label, "prediction": prediction, "success": prediction != label}
    frames = []
    for estimator, profiles in measured.items():
        frame = {
            "estimator": estimator,
            **{name: np.repeat(np.broadcast_to(value, count), layers) for name, value in columns.items()},
            "layer": np.tile(np.arange(layers), count),
            "layer_name": np.tile(np.array(profiles.layers), count),
            **{name: getattr(profiles, name).double().cpu().numpy().ravel() for name in ("iip", "oip", "ioc", "dead")},
            "v_true": bits[every, :, label].ravel(),
            "v_adversarial": adversarial.ravel(),
        }
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def clean_rows(network: Network, index: np.ndarray) -> pd.DataFrame:
    """Return the rows of the clean test images at the places ``index`` (N,)."""
    label = network.dataset.y_test[index]
    about = {
        "source": "",
        "attack": "",
        "condition": "clean",
        "index": index,
        "target": -1,
        "crafted": False,
        "l2": 0.0,
        "features": 0,
        "step": 0,
        "progress": 0.0,
    }
    return _rows(network, network.dataset.x_test[index], about, label, np.full(len(index), -1))


def attack_rows(
    network: Network,
    crafted: Crafted,
    wanted: list[str],
    matched_l2: float | None,
    iterates: int,
    seed: int,
    progress: Progress,
) -> list[pd.DataFrame]:
    """Return the rows of one attack under each condition ``wanted`` (:mod:`infoadv.flow.conditions`) that has images."""
    dataset = network.dataset
    native = network.predict(crafted.eight_bit)
    taken_for = np.where(native != crafted.label, native, -1)
    frames = []
    for inputs in conditions.build(
        crafted,
        wanted,
        dataset,
        taken_for=taken_for,
        known=network.right,
        matched_l2=matched_l2,
        iterates=iterates,
        seed=seed,
    ):
        if len(inputs.pixels) == 0:
            continue
        progress.alive(f"{crafted.attack} on {crafted.source}: {inputs.condition}")
        place = inputs.place
        clean = dataset.x_test[crafted.index[place]]
        about = {
            "source": crafted.source,
            "attack": crafted.attack,
            "condition": inputs.condition,
            "index": crafted.index[place],
            "target": crafted.target[place],
            "crafted": crafted.success[place],
            "l2": conditions.l2(inputs.pixels, clean),
            "features": (inputs.pixels != clean).sum((1, 2, 3)),
            "step": inputs.step,
            "progress": inputs.progress,
        }
        label = crafted.label[place]
        # A clean image of the adversarial class is no adversarial example: its own class is the true one.
        own = taken_for[place] if inputs.condition == "class" else label
        frames.append(_rows(network, inputs.pixels, about, own, taken_for[place]))
    return frames
