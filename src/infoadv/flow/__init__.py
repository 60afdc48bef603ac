"""Information profiles of adversarial inputs: a reconstruction (:mod:`infoadv.flow.profiles`).

The stage measures, inside one network, every input that the study asks of it, and writes one row for each input and layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from infoadv import artifacts, data, models
from infoadv.attacks.harness import to_images
from infoadv.flow import conditions
from infoadv.flow.conditions import Crafted
from infoadv.flow.probes import LinearProbes
from infoadv.flow.profiles import Profiles, profile
from infoadv.flow.recording import FlowError, record
from infoadv.progress import Progress

#: Images whose features the probes take at once.
_BATCH = 100


class _Network:
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
    network: _Network, pixels: np.ndarray, about: dict[str, Any], label: np.ndarray, adversarial_class: np.ndarray
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


def _clean_rows(network: _Network, index: np.ndarray) -> pd.DataFrame:
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


def _attack_rows(
    network: _Network,
    crafted: Crafted,
    wanted: list[str],
    matched_l2: float | None,
    iterates: int,
    seed: int,
    progress: Progress,
) -> list[pd.DataFrame]:
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


def run(
    data_path: str | Path,
    model_path: str | Path,
    attack_paths: Sequence[str | Path],
    specification: dict[str, Any],
    *,
    seed: int,
    device: torch.device | str,
    out: str | Path,
) -> None:
    """Measure the profiles of clean and adversarial inputs inside one network, and write the flow artefact.

    Parameters
    ----------
    model_path
        ``.../{data set}/{model}.safetensors``, the network in which the inputs are followed.
    attack_paths
        Attack artefacts, on this network or others of the data set.
    specification
        ``studies``: a list of {source, attack, conditions}, one for each attack artefact (:mod:`infoadv.flow.conditions`);
        ``matched``: the attack whose mean L2 the others are brought to, or None; and ``estimators``, ``evidence``, ``shifts``,
        ``iterates``, ``probes`` and ``layers`` of the configuration.

    Raises
    ------
    FlowError
        A study without its attack artefact or of an unknown condition, or a network whose layers cannot be recorded.
    """
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    model, header = models.load(model_path, device)
    digest = artifacts.file_digest(data_path)
    if header["inputs"].get("data") != digest:
        raise artifacts.ArtifactError(
            f"{model_path}: was trained on another data set than {data_path}; remove it and run again."
        )
    attacks: dict[tuple[str, str], Crafted] = {}
    for path in attack_paths:
        crafted = conditions.read(path, digest)
        if crafted.index.max(initial=0) >= len(dataset.x_test) or crafted.eight_bit.shape[1:] != dataset.shape:
            raise artifacts.ArtifactError(f"{path}: its images do not fit the data set; remove it and run again.")
        if (crafted.source, crafted.attack) in attacks:
            raise FlowError(f"{path}: {crafted.attack!r} on {crafted.source!r} is given twice; give each attack once.")
        attacks[crafted.source, crafted.attack] = crafted
    for study in specification["studies"]:
        if (study["source"], study["attack"]) not in attacks:
            raise FlowError(
                f"{model_path}: the attack {study['attack']!r} on {study['source']!r} is not among the inputs."
            )
        for condition in study["conditions"]:
            if condition not in conditions.CONDITIONS:
                known = ", ".join(conditions.CONDITIONS)
                raise FlowError(
                    f"studies: there is no condition {condition!r} of {study['attack']!r}; choose of: {known}."
                )
    index = np.unique(np.concatenate([crafted.index for crafted in attacks.values()]))
    network = _Network(model, dataset, index, specification, seed, device)
    progress = Progress(len(specification["studies"]), "studies")
    frames = [_clean_rows(network, index)]
    for number, study in enumerate(specification["studies"], 1):
        crafted = attacks[study["source"], study["attack"]]
        matched = attacks.get((study["source"], specification["matched"]))
        matched_l2 = None
        if matched is not None:
            matched_l2 = float(conditions.l2(matched.eight_bit, dataset.x_test[matched.index]).mean())
        wanted = study["conditions"]
        frames += _attack_rows(network, crafted, wanted, matched_l2, specification["iterates"], seed, progress)
        progress.update(number, f"{study['attack']} on {study['source']}: {', '.join(wanted)}")
    layers = list(dict.fromkeys(frames[0]["layer_name"]))
    header = artifacts.provenance(
        "flow",
        specification,
        inputs={
            "data": data_path,
            "model": model_path,
            **{f"attack {Path(path).parent.name}/{Path(path).stem}": path for path in attack_paths},
        },
        libraries=("torch", "scikit-learn"),
        device=device.type,
        seed=seed,
        dataset=Path(model_path).parent.name,
        model=Path(model_path).stem,
        layers=layers,
        estimators=list(specification["estimators"]),
        features_count=int(np.prod(dataset.shape)),
    )
    artifacts.save_rows(out, pd.concat(frames, ignore_index=True), header)
