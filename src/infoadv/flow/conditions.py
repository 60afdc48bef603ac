"""The inputs whose flow is measured: adversarial images, the same brought to one size, and the controls beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from infoadv.numerics.sizes import equalled, same_l2

#: What may be asked of one attack on one network, beside the conditions of :func:`infoadv.numerics.sizes.equal_to`.
CONDITIONS = ("native", "matched", "noise", "matched_noise", "class", "iterate", "noise_iterate")
#: Bisections of the factors of ``matched``, and the largest factor.
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


def features(pixels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Return how many features (N,) of two batches of 8-bit images (N, C, H, W) differ."""
    return (pixels != clean).sum((1, 2, 3))


def scaled_to(crafted: Crafted, clean: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Return uint8 images (N, C, H, W) whose perturbations are the attack's, each times the factor that gives it its L2.

    The factor of each image is found by bisection on the 8-bit image, so clipping and rounding are part of it. An attack
    that changes many values alike makes them jump to the next level together, and its L2 with them by several per cent. Of the
    values that jump at the factor found, as many do as bring the L2 nearest to ``wanted`` (N,), in random order, drawn from
    ``seed`` and the image's index. ``clean`` is uint8 (N, C, H, W). A size that
    no factor reaches, because every changed value is then at a bound, gives the largest; a perturbation of 0 stays 0.
    """
    start = clean.astype(np.float32) / 255
    change = crafted.adversarial - start

    def at(factor: np.ndarray) -> np.ndarray:
        scaled = start + factor.astype(np.float32)[:, None, None, None] * change
        return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)

    low, high = np.zeros(len(clean)), np.ones(len(clean))
    while (short := (l2(at(high), clean) < wanted) & (high < _LARGEST)).any():
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = l2(at(middle), clean) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    result = _flat(at(low))
    larger, origin = at(high).reshape(result.shape), clean.reshape(result.shape).astype(np.float64)
    for image, above, start_at, norm, index in zip(result, larger, origin, wanted, crafted.index, strict=True):
        jump = np.flatnonzero(image != above)
        jump = jump[torch.randperm(len(jump), generator=generator(seed, int(index))).numpy()]
        gains = (above[jump] - start_at[jump]) ** 2 - (image[jump] - start_at[jump]) ** 2
        squares = ((image - start_at) ** 2).sum() + np.concatenate([[0.0], gains.cumsum()])
        count = int(np.abs(np.sqrt(squares) / 255 - norm).argmin())
        image[jump[:count]] = above[jump[:count]]
    return result.reshape(clean.shape)


@dataclass(frozen=True)
class _Matched:
    """Images (N, C, H, W) uint8 at the L2 of the reference attack, and the L2 (N,) of the noise beside them."""

    pixels: np.ndarray
    noise: np.ndarray
    #: The images that the reference attacked as well.
    place: np.ndarray


def _matched(crafted: Crafted, clean: np.ndarray, reference: Crafted, dataset: Dataset, seed: int) -> _Matched:
    sizes = dict(zip(reference.index.tolist(), l2(reference.eight_bit, dataset.x_test[reference.index]), strict=True))
    wanted = np.array([sizes.get(int(index), 0.0) for index in crafted.index])
    # The reference has its own size, whatever its repair to 8 bits has done.
    same = crafted.source == reference.source and crafted.attack == reference.attack
    pixels = crafted.eight_bit if same else scaled_to(crafted, clean, wanted, seed)
    own = l2(pixels, clean)
    # Where the size is reached the noise is the same image for every attack.
    noise = np.where(same_l2(own, wanted), wanted, own)
    return _Matched(pixels, noise, np.flatnonzero(np.isin(crafted.index, reference.index)))


def _equal_noise(crafted: Crafted, clean: np.ndarray, norms: np.ndarray, seed: int) -> np.ndarray:
    noisy = noise_of_norm(
        torch.from_numpy(clean).double() / 255, torch.from_numpy(norms), torch.from_numpy(crafted.index), seed
    )
    return (noisy * 255).round().to(torch.uint8).numpy()


def _flat(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) as rows (N, D), also where N is 0."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _random_order(image: np.ndarray, index: int, seed: int) -> np.ndarray:
    """Return the features of one image that JSMA could choose, in random order."""
    free = np.flatnonzero(image.reshape(-1) < 255 * SATURATED)
    return free[torch.randperm(len(free), generator=generator(seed, index)).numpy()]


def _random_features(crafted: Crafted, clean: np.ndarray, seed: int) -> np.ndarray:
    """Set as many random features to 1 as JSMA did, among those that it could have chosen."""
    noisy = _flat(clean.copy())
    for row, (index, count) in enumerate(zip(crafted.index, features(crafted.eight_bit, clean), strict=True)):
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


def _cut(crafted: Crafted, clean: np.ndarray, beside: Crafted, dataset: Dataset, condition: str) -> Inputs:
    """Return JSMA's iterates that have as many features as the examples of ``beside``, of the images where these have fewer.

    Where they have as many or more, the native example is the one to compare, and there is no row.
    """
    counts = features(beside.eight_bit, dataset.x_test[beside.index])
    fewer = dict(zip(beside.index.tolist(), counts.tolist(), strict=True))
    own = features(crafted.eight_bit, clean)
    place = np.array(
        [row for row, index in enumerate(crafted.index.tolist()) if fewer.get(index, own[row]) < own[row]], np.int64
    )
    pixels = _flat(clean[place])
    assert crafted.path is not None
    for image, row in zip(pixels, place, strict=True):
        image[crafted.path[row].reshape(-1)[: fewer[int(crafted.index[row])]]] = 255
    return _whole(condition, pixels.reshape(len(place), *clean.shape[1:]), place)


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
    reference: Crafted | None,
    others: Mapping[str, Crafted],
    iterates: int,
    seed: int,
) -> list[Inputs]:
    """Return the images of each condition that is asked of one attack.

    Parameters
    ----------
    crafted
        The attack on its N images.
    conditions
        Some of ``CONDITIONS``: native, the 8-bit images of the attack; matched, each brought to the L2 that ``reference`` has
        on the same image; noise and matched_noise, Gaussian noise of the same L2 image by image (for JSMA as many random
        features set to 1); class, clean images of the class that each image is taken for; iterate, JSMA's iterates;
        noise_iterate, as many random features set to 1 as in each iterate; and ``equal_to(name)``, JSMA's iterates with as
        many features as the examples of ``others[name]``, where these have fewer.
    taken_for, known
        (N,) class that the network takes each native image for, -1 where it is still right; and the places of the test
        images that it classifies correctly.
    reference
        The attack whose L2 the others are brought to; without it there is no matched image.
    others
        The same attack on other networks, by their names.

    Raises
    ------
    FlowError
        Iterates of an attack that records none.
    """
    clean = dataset.x_test[crafted.index]
    wanted = reference is not None and {"matched", "matched_noise"} & set(conditions)
    matched = _matched(crafted, clean, reference, dataset, seed) if wanted and reference is not None else None
    result = []
    for condition in conditions:
        if condition == "native":
            result.append(_whole(condition, crafted.eight_bit))
        elif condition == "noise" and crafted.path is not None:
            result.append(_whole(condition, _random_features(crafted, clean, seed)))
        elif condition == "noise":
            norms = l2(crafted.eight_bit, clean)
            result.append(_whole(condition, _equal_noise(crafted, clean, norms, seed)))
        elif condition == "class":
            result.append(_of_class(crafted, dataset, taken_for, known, seed))
        elif condition in ("iterate", "noise_iterate") or equalled(condition) is not None:
            if crafted.path is None:
                raise FlowError(f"{crafted.attack} records no iterates; take an attack of method jsma for flow.jsma.")
            if (beside := equalled(condition)) is not None:
                result.append(_cut(crafted, clean, others[beside], dataset, condition))
            else:
                result.append(_iterates(crafted, clean, iterates, None if condition == "iterate" else seed))
        elif matched is not None:
            images = matched.pixels if condition == "matched" else _equal_noise(crafted, clean, matched.noise, seed)
            result.append(_whole(condition, images[matched.place], matched.place))
    return result
