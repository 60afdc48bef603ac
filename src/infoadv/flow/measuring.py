"""Measures inputs inside one network: a row for each estimator, input and layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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


@dataclass(frozen=True)
class Readings:
    """What one estimator says of n images in K layers: arrays (n, K), the probes' bits (n, K, classes), classes (n,)."""

    iip: np.ndarray
    oip: np.ndarray
    ioc: np.ndarray
    dead: np.ndarray
    bits: np.ndarray
    prediction: np.ndarray

    @classmethod
    def of(cls, profiles: Profiles, bits: np.ndarray) -> Readings:
        measured = (profiles.iip, profiles.oip, profiles.ioc, profiles.dead)
        iip, oip, ioc, dead = (values.double().cpu().numpy() for values in measured)
        return cls(iip, oip, ioc, dead, bits, profiles.logits.argmax(1).cpu().numpy())

    @classmethod
    def gathered(cls, places: Sequence[tuple[Readings, int]]) -> Readings:
        """Return the rows at these places of readings."""
        return cls(*(np.stack([getattr(held, part.name)[row] for held, row in places]) for part in fields(cls)))


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
        self.names: tuple[str, ...] = ()
        self._known: dict[str, dict[bytes, tuple[Readings, int]]] = {name: {} for name in specification["estimators"]}

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

    def measure(self, pixels: np.ndarray, condition: str) -> dict[str, Readings]:
        """Return what is measured of uint8 images (N, C, H, W) by estimator: of the many iterates by the first one alone.

        An image that was measured before, as the last iterate and the noise of attacks of one size are, is looked up.
        """
        names = self.specification["estimators"]
        if condition in ("iterate", "noise_iterate"):
            names = names[:1]
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels]
        known = [self._known[name] for name in names]
        fresh = {key: place for place, key in enumerate(keys) if not all(key in held for held in known)}
        if fresh:
            found = profile(
                self.model,
                to_images(pixels[list(fresh.values())], self.device),
                layers=self.layers,
                estimators=names,
                evidence=self.specification["evidence"],
                shifts=self.specification["shifts"],
            )
            first = found[names[0]]
            self.names = first.layers
            bits = self.probes.information([layer.cpu().numpy() for layer in first.pooled])
            for name, held in zip(names, known, strict=True):
                readings = Readings.of(found[name], bits)
                held.update({key: (readings, row) for row, key in enumerate(fresh)})
        return {name: Readings.gathered([held[key] for key in keys]) for name, held in zip(names, known, strict=True)}


def _rows(
    network: Network, pixels: np.ndarray, about: dict[str, Any], label: np.ndarray, adversarial_class: np.ndarray | None
) -> pd.DataFrame:
    """Return a row for each estimator, input and layer; ``about`` holds columns (N,) or scalars.

    ``adversarial_class`` (N,) is -1 where there is none; None stands for the class that each image is taken for itself.
    """
    measured = network.measure(pixels, about["condition"])
    first = next(iter(measured.values()))
    count, layers = first.iip.shape
    prediction = first.prediction
    if adversarial_class is None:
        adversarial_class = np.where(prediction != label, prediction, -1)
    every = np.arange(count)
    adversarial = first.bits[every, :, np.maximum(adversarial_class, 0)]
    adversarial[adversarial_class < 0] = np.nan
    columns = {**about, "label": label, "prediction": prediction, "success": prediction != label}
    frames = []
    for estimator, readings in measured.items():
        frame = {
            "estimator": estimator,
            **{name: np.repeat(np.broadcast_to(value, count), layers) for name, value in columns.items()},
            "layer": np.tile(np.arange(layers), count),
            "layer_name": np.tile(np.array(network.names), count),
            **{name: getattr(readings, name).ravel() for name in ("iip", "oip", "ioc", "dead")},
            "v_true": first.bits[every, :, label].ravel(),
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
    reference: Crafted | None,
    others: Mapping[str, Crafted],
    iterates: int,
    seed: int,
    progress: Progress,
) -> list[pd.DataFrame]:
    """Return the rows of one attack under each condition ``wanted`` that has images; see ``conditions.build``."""
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
        reference=reference,
        others=others,
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
            "features": conditions.features(inputs.pixels, clean),
            "step": inputs.step,
            "progress": inputs.progress,
        }
        label = crafted.label[place]
        # A clean image of the adversarial class is no adversarial example: its own class is the true one.
        own = taken_for[place] if inputs.condition == "class" else label
        # At another size an example can be taken for another class, or be no longer one.
        towards = None if inputs.condition == "matched" else taken_for[place]
        frames.append(_rows(network, inputs.pixels, about, own, towards))
    return frames
