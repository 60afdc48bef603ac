"""The inputs whose flow is measured: adversarial images, the same brought to one size, and the controls beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from infoadv import artifacts
from infoadv.attacks import generator
from infoadv.attacks.noise import noise_of_norm
from infoadv.attacks.saliency_map import SATURATED
from infoadv.data import Dataset
from infoadv.flow.recording import FlowError

#: What may be asked of one attack on one network.
CONDITIONS = ("native", "matched", "noise", "matched_noise", "class", "iterate", "noise_iterate")
#: Bisections of the common factor of ``matched``, and the largest factor.
_BISECTIONS = 60
_LARGEST = 1e4


@dataclass(frozen=True)
class Crafted:
    """An attack artefact: what was attacked, and what came of it."""

    source: str
    attack: str
    index: np.ndarray
    label: np.ndarray
    #: Class aimed at, -1 where there was none.
    target: np.ndarray
    #: float32 (N, C, H, W) as the attack returned it, and as 8-bit levels.
    adversarial: np.ndarray
    eight_bit: np.ndarray
    success: np.ndarray
    #: JSMA's pairs of features (N, S, 2), or None for an attack without iterates.
    path: np.ndarray | None


@dataclass(frozen=True)
class Inputs:
    """Images (N, C, H, W) uint8 of one condition of one attack, and which image of the attack each belongs to."""

    condition: str
    pixels: np.ndarray
    #: Place (N,) in the arrays of the attack.
    place: np.ndarray
    #: Iterations applied, and the share of all that is.
    step: np.ndarray
    progress: np.ndarray


def read(path: str | Path, data_digest: str) -> Crafted:
    """Read an attack artefact. Raises ``ArtifactError`` where it is of another data set than that with this digest."""
    tensors, header = artifacts.load_tensors(path, "attack")
    if header["inputs"].get("data") != data_digest:
        raise artifacts.ArtifactError(f"{path}: attacks images of another data set; remove it and run again.")
    return Crafted(
        source=header["model"],
        attack=header["specification"]["name"],
        index=tensors["index"],
        label=tensors["label"],
        target=tensors.get("trace_aim", tensors["target"]),
        adversarial=tensors["adversarial"],
        eight_bit=tensors["adversarial_8bit"],
        success=tensors["success"],
        path=tensors.get("trace_path"),
    )


def l2(pixels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Return the L2 distance (N,) of two batches of 8-bit images, in units of the [0, 1] range."""
    change = pixels.astype(np.float64) - clean
    return np.sqrt((change**2).sum((1, 2, 3))) / 255


def scaled_to(crafted: Crafted, clean: np.ndarray, wanted: float) -> np.ndarray:
    """Return uint8 images whose perturbations are the attack's times one common factor, of mean L2 ``wanted``.

    One factor for all keeps what the attack spends on each image relative to the others. It is found by bisection on the
    8-bit images, so clipping and rounding are part of it; ``clean`` is uint8 (N, C, H, W). A size that no factor reaches,
    because every changed value is then at a bound, gives the largest.
    """
    start = clean.astype(np.float32) / 255
    change = crafted.adversarial - start

    def at(factor: float) -> np.ndarray:
        return (np.clip(start + np.float32(factor) * change, 0, 1) * 255).round().astype(np.uint8)

    low, high = 0.0, 1.0
    while l2(at(high), clean).mean() < wanted and high < _LARGEST:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if l2(at(middle), clean).mean() < wanted:
            low = middle
        else:
            high = middle
    return at(high)


def _equal_noise(crafted: Crafted, clean: np.ndarray, pixels: np.ndarray, seed: int) -> np.ndarray:
    noisy = noise_of_norm(
        torch.from_numpy(clean).double() / 255,
        torch.from_numpy(l2(pixels, clean)),
        torch.from_numpy(crafted.index),
        seed,
    )
    return (noisy * 255).round().to(torch.uint8).numpy()


def _random_order(image: np.ndarray, index: int, seed: int) -> np.ndarray:
    """Return the features of one image that JSMA could choose, in random order."""
    free = np.flatnonzero(image.reshape(-1) < 255 * SATURATED)
    return free[torch.randperm(len(free), generator=generator(seed, index)).numpy()]


def _random_features(crafted: Crafted, clean: np.ndarray, seed: int) -> np.ndarray:
    """Set as many random features to 1 as JSMA did, among those that it could have chosen."""
    noisy = clean.copy().reshape(len(clean), -1)
    changed = (crafted.eight_bit != clean).reshape(len(clean), -1).sum(1)
    for row, (index, count) in enumerate(zip(crafted.index, changed, strict=True)):
        noisy[row, _random_order(clean[row], int(index), seed)[:count]] = 255
    return noisy.reshape(clean.shape)


def _of_class(crafted: Crafted, dataset: Dataset, taken_for: np.ndarray, known: np.ndarray, seed: int) -> Inputs:
    """Return, for each image of the attack that is misclassified, a test image of the class that it is taken for.

    ``taken_for`` (N,) is that class, -1 where there is none; ``known`` are the test images to choose from, those that the
    network classifies correctly.
    """
    places = np.flatnonzero(taken_for >= 0)
    # A class of which the network knows no image has no control.
    places = places[np.isin(taken_for[places], dataset.y_test[known])]
    chosen = np.empty(len(places), dtype=np.int64)
    for row, place in enumerate(places):
        candidates = known[dataset.y_test[known] == taken_for[place]]
        draw = torch.randint(len(candidates), (1,), generator=generator(seed, int(crafted.index[place])))
        chosen[row] = candidates[int(draw)]
    return _whole("class", dataset.x_test[chosen], places)


def _iterates(crafted: Crafted, clean: np.ndarray, count: int, seed: int | None = None) -> Inputs:
    """Return up to ``count`` iterates of each image that JSMA changed, evenly spaced, the last one included.

    With a ``seed``, what random features in the place of JSMA's would have given at the same steps.
    """
    assert crafted.path is not None
    pixels, place, step, progress = [], [], [], []
    for row, path in enumerate(crafted.path):
        total = int((path[:, 0] >= 0).sum())
        order = path.reshape(-1)
        if seed is not None:
            order = _random_order(clean[row], int(crafted.index[row]), seed)
        for done in sorted({round(total * part / count) for part in range(1, count + 1)} - {0}):
            image = clean[row].copy().reshape(-1)
            image[order[: 2 * done]] = 255
            pixels.append(image.reshape(clean[row].shape))
            place.append(row)
            step.append(done)
            progress.append(done / total)
    images = np.stack(pixels) if pixels else np.empty((0, *clean.shape[1:]), np.uint8)
    condition = "iterate" if seed is None else "noise_iterate"
    return Inputs(condition, images, np.array(place, np.int64), np.array(step, np.int64), np.array(progress))


def _whole(condition: str, pixels: np.ndarray, place: np.ndarray | None = None) -> Inputs:
    if place is None:
        place = np.arange(len(pixels))
    return Inputs(condition, pixels, place, np.zeros(len(place), np.int64), np.ones(len(place)))


def build(
    crafted: Crafted,
    conditions: list[str],
    dataset: Dataset,
    *,
    taken_for: np.ndarray,
    known: np.ndarray,
    matched_l2: float | None,
    iterates: int,
    seed: int,
) -> list[Inputs]:
    """Return the images of each condition that is asked of one attack.

    Parameters
    ----------
    crafted
        The attack on its N images.
    conditions
        Some of ``CONDITIONS``: native, the 8-bit images of the attack; matched, brought to the mean L2 ``matched_l2`` by one
        common factor; noise and matched_noise, Gaussian noise of the same L2 image by image (for JSMA as many random
        features set to 1); class, clean images of the class that each image is taken for; iterate, JSMA's iterates;
        noise_iterate, as many random features set to 1 as in each iterate.
    taken_for, known
        (N,) class that the network takes each native image for, -1 where it is still right; and the places of the test
        images that it classifies correctly.

    Raises
    ------
    FlowError
        ``iterate`` of an attack that records none.
    """
    clean = dataset.x_test[crafted.index]
    wanted = matched_l2 is not None and {"matched", "matched_noise"} & set(conditions)
    matched = scaled_to(crafted, clean, matched_l2) if wanted and matched_l2 is not None else None
    result = []
    for condition in conditions:
        if condition == "native":
            result.append(_whole(condition, crafted.eight_bit))
        elif condition == "noise" and crafted.path is not None:
            result.append(_whole(condition, _random_features(crafted, clean, seed)))
        elif condition == "noise":
            result.append(_whole(condition, _equal_noise(crafted, clean, crafted.eight_bit, seed)))
        elif condition == "class":
            result.append(_of_class(crafted, dataset, taken_for, known, seed))
        elif condition in ("iterate", "noise_iterate"):
            if crafted.path is None:
                raise FlowError(f"{crafted.attack} records no iterates; take an attack of method jsma for flow.jsma.")
            result.append(_iterates(crafted, clean, iterates, None if condition == "iterate" else seed))
        elif matched is not None:
            images = matched if condition == "matched" else _equal_noise(crafted, clean, matched, seed)
            result.append(_whole(condition, images))
    return result
