"""The interval of D between networks takes in that each clean spread is an estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom

from infoadv.report import flow, statistics
from infoadv.report.claims.spreads import interval


def side(clean: np.ndarray, moved: np.ndarray, images: list[int], made: list[int]) -> tuple[flow.Network, flow.Group]:
    """Return a network with clean profiles (n, K) of ``images``, and examples (m, K) of ``made``."""

    def group(values: np.ndarray, index: list[int], condition: str) -> flow.Group:
        table = pd.DataFrame({"index": index, "condition": condition, "counted": True})
        return flow.Group(table, {"oip": values})

    held = group(clean, images, "clean")
    return flow.Network("net", [], {"copula": held}, True, float("nan")), group(moved, made, "native")


def drawn(random: np.random.Generator, count: int, scale: float) -> tuple[flow.Network, flow.Group]:
    """Return a side whose examples are one true clean spread from their clean inputs in every layer."""
    clean = scale * random.standard_normal((count, 3))
    return side(clean, clean + scale, list(range(count)), list(range(count)))


def test_it_is_what_resampling_the_images_one_by_one_gives() -> None:
    random = np.random.default_rng(3)
    settings = statistics.Settings(resamples=40)
    images, made = [[4, 7, 9, 11, 12, 15], [7, 4, 12, 9, 20]], [[12, 4, 9], [9, 7, 12, 4]]
    clean = [random.standard_normal((len(index), 4)) for index in images]
    clean[0][2, 1] = np.nan
    clean[1][:, 3] = 0.5
    moved = [random.standard_normal((len(index), 4)) for index in made]
    moved[1][0, 0] = np.nan
    # D of image 12 is not defined on one side: it counts on neither.
    moved[0][0] = np.nan
    sides = [side(*parts) for parts in zip(clean, moved, images, made, strict=True)]

    every = sorted({*images[0], *images[1]})
    found = []
    for often in statistics.multiplicities(len(every), settings):
        times = dict(zip(every, often, strict=True))
        means = []
        for values, changed, index, of in zip(clean, moved, images, made, strict=True):
            again = [row for row, image in enumerate(index) for _ in range(times[image])]
            spread = flow.spreads(values[again])
            chosen = [image for image in (4, 9, 12) for _ in range(times[image])]
            pairs = [(of.index(image), index.index(image)) for image in chosen]
            means.append([flow.deviations(changed[[one]], values[[other]], spread)[0] for one, other in pairs])
        apart = np.array(means[0]) - np.array(means[1])
        found.append(apart[~np.isnan(apart)].mean() if np.isfinite(apart).any() else np.nan)
    expected = statistics.percentiles(np.array(found)[np.isfinite(found)], settings.confidence)
    np.testing.assert_allclose(interval(sides, "copula", "oip", settings), expected)


def test_networks_that_differ_by_chance_alone_are_rarely_told_apart() -> None:
    random, settings, draws = np.random.default_rng(8), statistics.Settings(resamples=200), 60
    wrong, naive = 0, 0
    for _ in range(draws):
        sides = [drawn(random, 40, scale) for scale in (1.0, 3.0)]
        low, high = interval(sides, "copula", "oip", settings)
        wrong += not low <= 0 <= high
        values = []
        for network, group in sides:
            own = network.clean("copula").values["oip"]
            values.append(flow.deviations(group.values["oip"], own, flow.spreads(own)))
        low, high = statistics.bootstrap(values[0] - values[1], settings)
        naive += not low <= 0 <= high
    # An interval of 95 % misses in one of twenty draws; that of the differences alone in more than half.
    assert wrong <= binom.ppf(0.999, draws, 0.05)
    assert naive > draws / 2
