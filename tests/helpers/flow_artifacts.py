"""Synthetic flow artefacts with a known effect: what the flow stage would write, made up in a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infoadv import artifacts

ATTACKS = ("fgsm_native", "igsm", "deepfool", "cw_l2")
NETWORKS = ("good_init", "vgg_like", "deep_conv")
_SIZE = {"fgsm_native": 1.6, "igsm": 0.9, "deepfool": 0.3, "cw_l2": 0.2}
_PROFILES = ("iip", "oip", "ioc")


def specification(figure: dict[str, Any] | None = None, **flow: Any) -> dict[str, Any]:
    """Return the specification of a table or figure; a key of ``flow`` set to None is left out."""
    section = {
        "dataset": "cifar10",
        "model": "good_init",
        "jsma": "jsma",
        "attacks": list(ATTACKS),
        "matched": "fgsm_native",
        "distilled": {"model": "distilled", "regular": "jsma_regular", "adaptive": "jsma_adaptive"},
        "trimmed": "trimmed",
        "transfer": ["vgg_like", "deep_conv"],
        "ensembles": {name: f"without_{name}" for name in NETWORKS},
        "isolated": "deep_conv",
        "untrained": "untrained",
        "estimators": ["copula", "quantile"],
    }
    section = {key: value for key, value in {**section, **flow}.items() if value is not None}
    labels = {"fgsm_native": "FGSM", "igsm": "IGSM", "deepfool": "DeepFool", "cw_l2": "C&W-L2", "jsma": "JSMA"}
    labels |= {"jsma_regular": "JSMA, regular", "jsma_adaptive": "JSMA, adaptive"}
    attacks = {name: {"label": label, "color_index": i} for i, (name, label) in enumerate(labels.items())}
    statistics = {"bootstrap": 200, "confidence": 0.95}
    return {"seed": 0, "statistics": statistics, "attacks": attacks, "flow": section, "figure": figure or {}}


def features_of(source: str, index: int) -> int:
    """Return how many features an example made on ``source`` changes: the same in whatever network it is followed."""
    return 2 * int(np.random.default_rng([sum(map(ord, source)), index]).integers(6, 40))


class _Builder:
    """Collects the inputs of one inference network; a layer's clean spread is about 1 in units of ``scale``."""

    def __init__(self, name: str, layers: int, images: int, effect: float) -> None:
        self.name, self.layers, self.images, self.effect = name, layers, images, effect
        self.random = np.random.default_rng([sum(map(ord, name)), layers, images])
        depth = np.linspace(0, 1, layers)
        self.scale = {"iip": 0.02, "oip": 0.03, "ioc": 0.1}
        self.mean = {"iip": 0.4 * np.exp(-3 * depth) + 0.02, "oip": 0.02 + 0.3 * depth**2, "ioc": 0.5 - 0.6 * depth}
        self.clean = {
            p: self.mean[p] + self.scale[p] * self.random.standard_normal((images, layers)) for p in _PROFILES
        }
        self.rows: list[dict[str, Any]] = []
        #: Strength, features and what else is told of JSMA's native examples, by source and image.
        self.made: dict[tuple[str, int], tuple[float, int, dict[str, Any]]] = {}
        for index in range(images):
            self.add(
                "",
                "",
                "clean",
                index,
                {p: self.clean[p][index] for p in _PROFILES},
                success=False,
                l2=0.0,
                progress=0.0,
            )

    def direction(self, attack: str) -> dict[str, np.ndarray]:
        """Return which way an attack moves each profile: smooth over the layers, of mean square 1."""
        random = np.random.default_rng(sum(map(ord, attack)))
        depth = np.linspace(0, 1, self.layers)
        ways = {p: np.sin(random.uniform(0, 6) + random.uniform(3, 8) * depth) for p in _PROFILES}
        return {p: way / np.sqrt((way**2).mean()) for p, way in ways.items()}

    def add(
        self,
        source: str,
        attack: str,
        condition: str,
        index: int,
        values: dict[str, np.ndarray],
        *,
        success: bool,
        crafted: bool | None = None,
        l2: float = 1.0,
        features: int = 0,
        step: int = 0,
        progress: float = 1.0,
    ) -> None:
        depth = np.linspace(0, 1, self.layers)
        turned = condition in ("native", "matched") and success
        about = {
            "source": source,
            "attack": attack,
            "condition": condition,
            "index": index,
            "label": index % 10,
            "target": -1,
            "prediction": (index + 1) % 10 if success else index % 10,
            "success": success,
            "crafted": success if crafted is None else crafted,
            "l2": l2,
            "features": features,
            "step": step,
            "progress": progress,
        }
        for layer in range(self.layers):
            record = about | {"layer": layer, "layer_name": f"features.{3 * layer}.relu", "dead": 0.1 * depth[layer]}
            record |= {p: float(values[p][layer]) for p in _PROFILES}
            record["v_true"] = float(3 * depth[layer] * (1 - 1.2 * turned * depth[layer] ** 2))
            record["v_adversarial"] = float(2.6 * depth[layer] ** 3 - 0.2) if turned else float("nan")
            self.rows.append(record)

    def perturb(
        self, source: str, attack: str, condition: str, index: int, strength: float, jitter: float = 0.3, **about: Any
    ) -> None:
        """Add an input moved by ``strength`` clean spreads along the attack's direction, and by a little noise."""
        if condition == "native" and attack == "jsma":
            self.made[source, index] = (strength, about.get("features", 0), about)
        way = self.direction(attack)
        values = {
            p: self.clean[p][index]
            + self.scale[p] * (self.effect * strength * way[p] + jitter * self.random.standard_normal(self.layers))
            for p in _PROFILES
        }
        self.add(source, attack, condition, index, values, **about)

    def equalise(self, one: str, other: str) -> None:
        """Cut the longer of two examples of each image to as many features as the shorter; what is left moves in proportion."""
        for index in range(self.images):
            for source, beside in ((one, other), (other, one)):
                (strength, own, about), least = self.made[source, index], self.made[beside, index][1]
                if least < own:
                    cut = about | {"features": least, "l2": about["l2"] * (least / own) ** 0.5}
                    cut |= {"crafted": about.get("crafted") or about["success"]}
                    self.perturb(source, "jsma", f"equal:{beside}", index, strength * least / own, **cut)

    def another(self, source: str, attack: str, index: int, *, crafted: bool) -> None:
        """Add the profile of another clean image, drawn by itself, as the control of an example that is one of a class."""
        values = {p: self.mean[p] + self.scale[p] * self.random.standard_normal(self.layers) for p in _PROFILES}
        self.add(source, attack, "class", index, values, success=False, crafted=crafted, l2=20.0)

    def save(self, folder: Path, estimators: tuple[str, ...]) -> str:
        once = pd.DataFrame(self.rows)
        # Iterates are measured by the first estimator alone.
        others = once[~once["condition"].isin(["iterate", "noise_iterate"])]
        frames = [once.assign(estimator=estimators[0]), *(others.assign(estimator=name) for name in estimators[1:])]
        frame = pd.concat(frames, ignore_index=True)
        header = artifacts.provenance(
            "flow",
            {"evidence": "class"},
            layers=[f"features.{3 * layer}.relu" for layer in range(self.layers)],
            estimators=list(estimators),
            dataset="cifar10",
            model=self.name,
            features_count=3072,
        )
        path = folder / f"{self.name}.parquet"
        # The order of the rows is not part of the contract.
        artifacts.save_rows(path, frame.sample(frac=1, random_state=0), header)
        return str(path)


def save_flow(
    folder: Path,
    *,
    images: int = 24,
    layers: int = 4,
    effect: float = 1.0,
    rate: float = 0.95,
    transfer: float = 0.5,
    idle: bool = False,
) -> list[str]:
    """Write the artefacts of all networks; return their paths.

    ``effect`` is the size of every planted difference, 0 none at all; ``rate`` and ``transfer`` are success rates;
    ``idle``: regular JSMA leaves all images of the distilled network as they are.
    """
    estimators = ("copula", "quantile")
    paths = []
    main = _Builder("good_init", layers, images, effect)
    wins = {a: main.random.uniform(size=images) < rate for a in (*ATTACKS, "jsma")}
    for index in range(images):
        norms = {attack: _SIZE[attack] * main.random.uniform(0.7, 1.3) for attack in ATTACKS}
        for attack in ATTACKS:
            won, l2, matched = bool(wins[attack][index]), norms[attack], norms["fgsm_native"]
            main.perturb("good_init", attack, "native", index, 1.5, success=won, l2=l2)
            main.perturb("good_init", attack, "noise", index, 0.0, success=False, crafted=won, l2=l2)
            main.perturb("good_init", attack, "matched", index, 2.0, success=won, l2=matched)
            main.perturb("good_init", attack, "matched_noise", index, 0.0, success=False, crafted=won, l2=matched)
            # Of a class that no other image has there is none.
            if index != 1:
                main.another("good_init", attack, index, crafted=won)
        _iterations(main, index, bool(wins["jsma"][index]))
        sources = [("trimmed", 1.4), ("vgg_like", 0.8), ("deep_conv", 0.8), ("without_good_init", 1.0)]
        _passed(main, index, sources, transfer, rate)
    _equalised(main)
    main.equalise("good_init", "trimmed")
    paths.append(main.save(folder, estimators))

    for name in NETWORKS[1:]:
        network = _Builder(name, layers + (name == "deep_conv"), images, effect)
        for index in range(images):
            _own(network, index, "jsma", rate, 1.5)
            _passed(
                network, index, [(n, 0.8) for n in NETWORKS if n != name] + [(f"without_{name}", 1.0)], transfer, rate
            )
        _equalised(network)
        paths.append(network.save(folder, estimators))

    trimmed = _Builder("trimmed", layers, images, effect)
    for index in range(images):
        _own(trimmed, index, "jsma", rate, 1.5)
        # Fewer than the other way round, where there is an effect.
        fools = trimmed.random.uniform() < (transfer * 0.1 if effect else transfer)
        about = {"success": bool(fools), "crafted": True, "features": features_of("good_init", index), "l2": 3.0}
        trimmed.perturb("good_init", "jsma", "native", index, 0.3, **about)
        trimmed.perturb("good_init", "jsma", "noise", index, 0.0, **about | {"success": False})
    trimmed.equalise("trimmed", "good_init")
    paths.append(trimmed.save(folder, estimators))

    distilled = _Builder("distilled", layers, images, effect)
    for index in range(images):
        for attack, strength in (("jsma_regular", 0.4), ("jsma_adaptive", 1.6)):
            still = idle and attack == "jsma_regular"
            won = not still and bool(distilled.random.uniform() < (0.3 if attack == "jsma_regular" else rate))
            l2 = 0.0 if still else 2.0
            if still:
                clean = {p: distilled.clean[p][index] for p in _PROFILES}
                distilled.add("distilled", attack, "native", index, clean, success=False, l2=0.0)
            else:
                distilled.perturb("distilled", attack, "native", index, strength, success=won, l2=l2, features=90)
            distilled.perturb("distilled", attack, "noise", index, 0.0, success=False, l2=l2, features=90)
    paths.append(distilled.save(folder, estimators))

    untrained = _Builder("untrained", layers, images, 0.0)
    for index in range(images):
        for attack in (*ATTACKS, "jsma"):
            for condition in ("native", "noise", *(("matched", "matched_noise") if attack != "jsma" else ())):
                untrained.perturb("good_init", attack, condition, index, 0.0, success=True, crafted=True, l2=1.0)
    paths.append(untrained.save(folder, estimators))
    return paths


def save_sized(
    folder: Path,
    median: Mapping[str, int],
    *,
    images: int,
    gain: Callable[[str, str], float] = lambda network, source: 1.0,
    bonus: float = 0.0,
    rate: Callable[[str, np.ndarray], np.ndarray] | None = None,
) -> list[str]:
    """Write artefacts of JSMA's examples whose profiles, and whose transfer, depend on L2 alone; return their paths.

    ``median`` says of how many features an example made on each network is, in the middle. L2 is the square root of their
    number, and the profile moves by ``gain(network, source)`` times L2, in proportion; 1 is no effect. Whether an example
    fools a network that it was not made on depends on the product as well, or is drawn with the share ``rate(source, L2)``.
    ``bonus`` is by how many clean spreads more an example moves the profile that fools such a network. Of every tenth image
    no cut example is there.
    """
    random = np.random.default_rng([images, *median.values()])
    spread = np.exp(0.6 * random.standard_normal((len(median), images)))
    counts = {
        name: 2 * np.clip(np.round(middle / 2 * own), 1, 500).astype(int)
        for (name, middle), own in zip(median.items(), spread, strict=True)
    }
    paths = []
    for name in median:
        # One clean spread for all: D is in its units, and what chance does to it would tell networks apart.
        network = _Builder("", 4, images, 1.0)
        network.name, network.random = name, np.random.default_rng([sum(map(ord, name)), images])
        for source in median:
            luck = network.random.uniform(size=images)
            beside = {"native": counts[source]}
            beside |= {f"equal:{other}": counts[other] for other in median if other != source}
            for condition, wanted in beside.items():
                norms = np.sqrt(wanted)
                moved = gain(name, source) * norms
                likely = 1 / (1 + np.exp(7 - moved)) if rate is None else rate(source, norms)
                fools = (luck < likely) | ((name == source) & (condition == "native"))
                strength = moved / 2 + bonus * (fools & (name != source))
                given = (wanted < counts[source]) & (np.arange(images) % 10 > 0) | (condition == "native")
                for index in np.flatnonzero(given):
                    about = {"success": bool(fools[index]), "crafted": True, "l2": float(norms[index])}
                    network.perturb(
                        source, "jsma", condition, index, strength[index], **about, features=int(wanted[index])
                    )
        paths.append(network.save(folder, ("copula",)))
    return paths


def _iterations(main: _Builder, index: int, won: bool) -> None:
    steps = features_of("good_init", index) // 2
    about = {"l2": 3.0, "features": 2 * steps}
    main.perturb("good_init", "jsma", "noise", index, 0.0, success=False, crafted=won, **about)
    main.another("good_init", "jsma", index, crafted=won)
    for step in np.unique(np.linspace(1, steps, 10).astype(int)):
        part = step / steps
        condition = {"success": won and step == steps, "step": int(step), "progress": float(part)}
        small = {"l2": 3.0 * part, "features": 2 * int(step)}
        main.perturb("good_init", "jsma", "iterate", index, 1.5 * part, 0.3 * part, **condition, **small)
        condition |= {"success": False, "crafted": won}
        main.perturb("good_init", "jsma", "noise_iterate", index, 0.0, 0.3 * part, **condition, **small)
    main.perturb("good_init", "jsma", "native", index, 1.5, success=won, **about)


def _own(network: _Builder, index: int, attack: str, rate: float, strength: float) -> None:
    won = bool(network.random.uniform() < rate)
    for condition, size in (("native", strength), ("noise", 0.0)):
        about = {"success": won and condition == "native", "crafted": won, "l2": 3.0}
        about["features"] = features_of(network.name, index)
        network.perturb(network.name, attack, condition, index, size, **about)


def _equalised(network: _Builder) -> None:
    """Bring all that is compared in a network of the transfer to one size, pair by pair."""
    others = [name for name in NETWORKS if name != network.name]
    for other in others:
        for beside in (network.name, f"without_{network.name}"):
            network.equalise(other, beside)


def _passed(network: _Builder, index: int, sources: list[tuple[str, float]], transfer: float, rate: float) -> None:
    for source, strength in sources:
        joint = source.startswith("without_") and network.effect > 0
        # Where there is an effect, the examples of the network that is said to be isolated do not transfer.
        often = rate if joint else 0.0 if source == "deep_conv" and network.effect > 0 else transfer
        fools = bool(network.random.uniform() < often)
        # Transferable examples deviate further, where there is an effect.
        size = strength * (1.0 if fools else 0.4)
        about = {"l2": 3.0, "features": features_of(source, index)}
        network.perturb(source, "jsma", "native", index, size, success=fools, crafted=True, **about)
        network.perturb(source, "jsma", "noise", index, 0.0, success=False, crafted=True, **about)
