"""The interval of a difference in D between two networks, each of which is measured in clean spreads of its own.

Between two inputs of one network the spread cancels in the sign. Between networks it does not: a spread that was found too small
on the clean images at hand makes every D of that network too large, however many examples there are. So the interval resamples
the images with all that belongs to them, clean inputs and examples, and takes spreads and D anew in each resample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infoadv.report import flow, statistics


def interval(
    sides: Sequence[tuple[flow.Network, flow.Group]], estimator: str, profile: str, settings: statistics.Settings
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over images of D on the first side less D on the second.

    A side is a network and its examples, one for each image. Images that are on both sides count; clean inputs count all.
    """
    one, other = (set(group.images) for _, group in sides)
    paired = sorted(one & other)
    images = sorted({*paired, *(image for network, _ in sides for image in network.clean(estimator).images)})
    place = {image: number for number, image in enumerate(images)}
    drawn = statistics.multiplicities(len(images), settings).astype(float)
    weights = drawn[:, [place[image] for image in paired]]
    deviations = []
    for network, group in sides:
        clean = network.clean(estimator)
        spread = _spreads(clean.values[profile], drawn[:, [place[image] for image in clean.images]])
        deviations.append(_deviations(_rows(group, paired, profile), _rows(clean, paired, profile), spread))
    moved = deviations[0] - deviations[1]
    counted = weights * ~np.isnan(moved)
    total = counted.sum(1)
    if not total.any():
        return float("nan"), float("nan")
    means = (counted * np.nan_to_num(moved)).sum(1)[total > 0] / total[total > 0]
    return statistics.percentiles(means, settings.confidence)


def _rows(group: flow.Group, images: Sequence[int], profile: str) -> np.ndarray:
    """Return the profiles (n, K) of the inputs made from these images, in this order."""
    place = {image: row for row, image in enumerate(group.images)}
    return group.values[profile][[place[image] for image in images]]


def _spreads(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the standard deviation (n - 1) of each column of values (n, K) in each resample of weights (R, n), (R, K)."""
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    # Centred first: the moments of what lies far from 0 cancel.
    centred = np.where(defined, filled - filled.sum(0) / np.maximum(defined.sum(0), 1), 0.0)
    count = weights @ defined
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weights @ centred / count
        variance = (weights @ centred**2 - count * mean**2) / (count - 1)
    return np.sqrt(np.where(count > 1, np.maximum(variance, 0.0), np.nan))


def _deviations(values: np.ndarray, reference: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return D of inputs, as :func:`infoadv.report.flow.deviations` defines it, with each row of spreads (R, K), (R, n)."""
    used = spread > flow.STILL
    inverse = np.where(used, 1 / np.where(used, spread, 1.0) ** 2, 0.0)
    moved = values - reference
    squares = np.where(np.isnan(moved), 0.0, moved) ** 2
    count = used.astype(float) @ ~np.isnan(moved).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where(count > 0, inverse @ squares.T / count, np.nan))
