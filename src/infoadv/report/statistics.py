"""Intervals, paired tests and the sets of images that attacks are compared on.

Everything random is seeded by sizes of the data and, but for ``sign_flip``, the seed of the run, so a result depends neither on
the order in which rows are worked through nor on what else is in the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

#: Level of the corrected tests.
ALPHA = 0.05
#: Permutations of a permutation test, without the identity.
PERMUTATIONS = 4999
#: The metrics that judge where the configuration says nothing: no setting was chosen by them.
JUDGES = ("jod", "flip", "mdsi", "fsim", "dss")
#: An attack whose failures take images out of a comparison succeeds at least this often, in shares of the success of the most
#: successful compared attack. One that fails more often would choose the images of all others.
RELIABLE = 0.95
#: With fewer images than this information profiles are not tested, and no mean of them is drawn.
MINIMUM = 10
#: Values up to which the signed-rank test with ties is exact.
_FEW = 13


@dataclass(frozen=True)
class Settings:
    """The ``statistics`` section: resamples of the bootstrap, confidence of its intervals, seed, reference attack, judges,
    the attacks that are claimed to be less visible, and the pairs of attacks that are tested against one another."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0
    reference: str = ""
    judges: tuple[str, ...] = JUDGES
    claimed: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, specification: Mapping[str, Any]) -> Settings:
        """Read the settings from the specification of a table or figure."""
        section = specification.get("statistics") or {}
        return cls(
            int(section.get("bootstrap", 2000)),
            float(section.get("confidence", 0.95)),
            int(specification.get("seed", 0)),
            str(section.get("reference") or ""),
            tuple(section.get("judges", JUDGES)),
            tuple(section.get("claimed", ())),
            tuple((first, second) for first, second in section.get("pairs", ())),
        )


def _resampled(count: int, settings: Settings) -> np.ndarray:
    generator = np.random.default_rng([settings.seed, count])
    return generator.integers(0, count, size=(settings.resamples, count))


@lru_cache(maxsize=8)
def multiplicities(count: int, settings: Settings) -> np.ndarray:
    """Return how often each of ``count`` values is drawn in each resample, integers (resamples, count), not to be written to."""
    chosen = _resampled(count, settings)
    chosen += np.arange(settings.resamples)[:, None] * count
    drawn = np.bincount(chosen.ravel(), minlength=settings.resamples * count).reshape(-1, count)
    drawn.flags.writeable = False
    return drawn


def percentiles(statistics: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the limits (low, high) between which the middle ``confidence`` of resampled statistics lie."""
    # Order statistics, not interpolations: between a finite value and infinity there is nothing to interpolate.
    tail = (1 - confidence) / 2
    low = np.quantile(statistics, tail, method="lower")
    high = np.quantile(statistics, 1 - tail, method="higher")
    return float(low), float(high)


def bootstrap(values: np.ndarray, settings: Settings, statistic: str = "mean") -> tuple[float, float]:
    """Return the percentile bootstrap interval (low, high) of the mean or median of values (n,).

    NaN, a value that is not defined, is left out; infinity is a value. Without values the interval is (NaN, NaN).
    Source: Efron and Tibshirani 1993, chapter 13.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    samples = values[_resampled(values.size, settings)]
    reduced = samples.mean(axis=1) if statistic == "mean" else np.median(samples, axis=1)
    return percentiles(reduced, settings.confidence)


def bootstrap_means(values: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return ``bootstrap`` of the mean of each column of values (n, m) as two arrays (m,), in one matrix product."""
    values = np.asarray(values, dtype=np.float64)
    low, high = np.full((2, values.shape[1]), np.nan)
    finite = np.isfinite(values).all(axis=0) if len(values) else np.zeros(values.shape[1], dtype=bool)
    if finite.any():
        means = multiplicities(len(values), settings) @ values[:, finite] / len(values)
        limits = [percentiles(column, settings.confidence) for column in means.T]
        low[finite], high[finite] = np.array(limits).T
    for column in np.flatnonzero(~finite):
        low[column], high[column] = bootstrap(values[:, column], settings)
    return low, high


def crossed_bootstrap(
    values: np.ndarray, networks: np.ndarray, images: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals (low, high), each (m,), of means of values (n, m) that are meant for other networks and other images.

    A row is one of ``images`` (n,) on one of ``networks`` (n,), codes from 0. The mean is that over networks of each one's
    mean over images. Networks and images are resampled, each with all its rows: networks of a data set share images, so
    their rows are not independent. NaN, a value that is not defined, is left out. Source: Owen 2007, "The pigeonhole
    bootstrap".
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    count = int(networks.max()) + 1
    of_networks = multiplicities(count, settings).astype(float)
    # Another stream than that of the networks, also where there are as many images as networks.
    shifted = replace(settings, seed=settings.seed + 1)
    of_images = multiplicities(int(images.max()) + 1, shifted).astype(float)
    total, weight = np.zeros((2, settings.resamples, values.shape[1]))
    for network in range(count):
        rows = networks == network
        drawn, own = of_images[:, images[rows]], values[rows]
        sums, counts = drawn @ np.nan_to_num(own), drawn @ ~np.isnan(own)
        known = counts > 0
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=known)
        total += of_networks[:, [network]] * means
        weight += of_networks[:, [network]] * known
    low, high = np.full((2, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        known = weight[:, column] > 0
        if known.any():
            low[column], high[column] = percentiles(total[known, column] / weight[known, column], settings.confidence)
    return low, high


def sign_flip(differences: np.ndarray) -> float:
    """Return the exact two-sided p value of a mean of differences (n,): the share of all 2^n choices of signs that reach it.

    NaN without differences. It is at least 2 / 2^n: fewer than six networks cannot go below 0.05. Above 16 differences signs are
    drawn. Source: Fisher 1935, "The Design of Experiments", section 21.
    """
    differences = np.asarray(differences, dtype=np.float64)
    differences = differences[~np.isnan(differences)]
    n = differences.size
    if n == 0:
        return float("nan")
    if n <= 16:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        drawn = np.random.default_rng([n]).choice([-1, 1], size=(PERMUTATIONS, n))
        signs = np.vstack([np.ones((1, n)), drawn])
    # A hair of tolerance: sums of equal terms in another order are equal.
    return float((np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-9)).mean())


def proportion(success: np.ndarray, settings: Settings) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) of a share, success (n,) bool; (NaN, NaN) without images.

    A bootstrap of a share of 0 or 1 has no width, however few images there are. Source: Wilson 1927.
    """
    from scipy.stats import binomtest

    if len(success) == 0:
        return float("nan"), float("nan")
    interval = binomtest(int(np.sum(success)), len(success)).proportion_ci(settings.confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are defined (not NaN), or NaN if there is none."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def median_with_failures(values: np.ndarray, success: np.ndarray, settings: Settings) -> tuple[float, float, float]:
    """Return the median of values (n,) where a failed attack counts as infinitely far, and its bootstrap interval.

    >>> median_with_failures(np.array([1.0, 1.0, 0.1]), np.array([True, True, True]), Settings(confidence=0.1))
    (1.0, 1.0, 1.0)
    """
    if len(values) == 0:
        return float("nan"), float("nan"), float("nan")
    reached = np.where(np.asarray(success, dtype=bool), values, np.inf)
    return float(np.median(reached)), *bootstrap(reached, settings, "median")


def common_successes(rows: pd.DataFrame, attacks: Sequence[str]) -> set[int]:
    """Return the data-set indices on which every one of ``attacks`` succeeds, among the rows of one target model."""
    if not attacks:
        return set()
    won = rows[rows["success"].astype(bool)]
    sets = [set(won.loc[won["attack"] == attack, "index"].astype(int)) for attack in attacks]
    return set.intersection(*sets)


@dataclass(frozen=True)
class Paired:
    """Attack minus reference over n images: mean, its bootstrap interval, Wilcoxon p, rank-biserial correlation."""

    n: int
    difference: float
    low: float
    high: float
    p: float
    effect: float


def paired(attack: np.ndarray, reference: np.ndarray, settings: Settings) -> Paired:
    """Compare two attacks on the same images, values (n,) each; pairs without a defined difference are left out.

    The test is Wilcoxon's signed-rank test, two-sided. The effect in [-1, 1] is the matched-pairs rank-biserial
    correlation (Kerby 2014), positive where the attack's values are the larger ones.
    """
    with np.errstate(invalid="ignore"):
        difference = np.asarray(attack, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    low, high = bootstrap(difference, settings)
    return replace(signed_rank(difference), low=low, high=high)


def signed_rank(difference: np.ndarray) -> Paired:
    """Return ``paired`` of differences (n,), without its interval; NaN is left out."""
    from scipy.stats import rankdata, wilcoxon

    difference = np.asarray(difference, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    missing = float("nan")
    if difference.size == 0:
        return Paired(0, *[missing] * 5)
    moved = difference[difference != 0]
    if moved.size == 0:
        p, effect = 1.0, 0.0
    else:
        ranks = rankdata(np.abs(moved))
        tied = len(np.unique(ranks)) < moved.size
        p = _signs(ranks, moved > 0) if tied and moved.size <= _FEW else float(wilcoxon(moved).pvalue)
        effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    return Paired(difference.size, float(difference.mean()), missing, missing, p, effect)


def _signs(ranks: np.ndarray, positive: np.ndarray) -> float:
    """Return the exact two-sided p of the signed-rank test over all assignments of signs to ``ranks`` (n,).

    scipy has it for equal ranks as well, a thousand times slower, and takes it up to ``_FEW`` values.
    """
    sums = (np.arange(2**ranks.size)[:, None] >> np.arange(ranks.size) & 1) @ ranks
    observed = ranks[positive].sum()
    return float(min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean())))


def unpaired(attack: np.ndarray, reference: np.ndarray, settings: Settings) -> Paired:
    """Compare values (n,) with values (m,) of other images; ``n`` of the result counts the smaller side.

    The test is Mann and Whitney's, two-sided; the interval resamples each side by itself. The effect in [-1, 1] is the
    rank-biserial correlation, positive where the attack's values are the larger ones. NaN is left out.
    """
    from scipy.stats import mannwhitneyu

    sides = [np.asarray(values, dtype=np.float64) for values in (attack, reference)]
    sides = [values[~np.isnan(values)] for values in sides]
    n, m = (values.size for values in sides)
    if min(n, m) == 0:
        return Paired(0, *[float("nan")] * 5)
    generator = np.random.default_rng([settings.seed, n, m])
    means = [values[generator.integers(0, values.size, (settings.resamples, values.size))].mean(1) for values in sides]
    low, high = percentiles(means[0] - means[1], settings.confidence)
    found = mannwhitneyu(*sides)
    effect = float(2 * found.statistic / (n * m) - 1)
    return Paired(min(n, m), float(sides[0].mean() - sides[1].mean()), low, high, float(found.pvalue), effect)


def within(values: np.ndarray, flags: np.ndarray, cells: np.ndarray, images: np.ndarray, settings: Settings) -> Paired:
    """Compare values (n,) with and without a flag (n,) bool inside cells, so that levels of the cells play no part.

    Values and flags are centred within their cell, and one is regressed on the other (fixed effects): the mean over the
    cells of the difference with less without, weighted by what each cell tells of it. The interval resamples images with
    all their rows. The test permutes the flags within cells, those of an image together, among the images that are in the
    same cells; two-sided. Cells in which all flags are equal tell nothing and are left out; a cell holds an image at most
    once. ``n`` of the result counts the images on the smaller side; ``effect`` is the correlation of the centred flags and
    values. NaN is left out. Source: Good 2005, permutation within blocks.
    """
    frame = pd.DataFrame({"value": values, "flag": np.asarray(flags, dtype=float), "cell": cells, "image": images})
    frame = frame.dropna(subset="value")
    frame = frame[frame.groupby("cell")["flag"].transform("nunique") == 2]
    if frame.empty:
        return Paired(0, *[float("nan")] * 5)
    n = int(frame.groupby("flag")["image"].nunique().min())
    # Arrays (images, cells); what is not there is 0 in all of them.
    present = frame.assign(present=1.0).pivot(index="image", columns="cell", values="present").fillna(0.0).to_numpy()
    value, flag = (
        frame.pivot(index="image", columns="cell", values=name).fillna(0.0).to_numpy() for name in ("value", "flag")
    )

    def centred(array: np.ndarray) -> np.ndarray:
        return present * (array - array.sum(axis=0) / present.sum(axis=0))

    value, flag = centred(value), centred(flag)
    difference = float((value * flag).sum() / (flag**2).sum())
    drawn = multiplicities(len(present), settings).astype(float)
    counts = np.maximum(drawn @ present, 1.0)
    shared = drawn @ (value * flag) - (drawn @ value) * (drawn @ flag) / counts
    squares = drawn @ flag**2 - (drawn @ flag) ** 2 / counts
    known = squares.sum(axis=1) > 0
    low, high = percentiles(shared.sum(axis=1)[known] / squares.sum(axis=1)[known], settings.confidence)

    generator = np.random.default_rng([settings.seed, *present.shape])
    stratum = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1)
    place = np.argsort(stratum, kind="stable")
    products = value[place] @ flag[place].T
    # Sorted by stratum and a random number, images change places inside their stratum only.
    order = np.argsort(stratum[place] + generator.random((PERMUTATIONS, len(place))), axis=1)
    observed = float(np.trace(products))
    reached = np.abs(products[np.arange(len(place)), order].sum(axis=1))
    # A hair of tolerance: sums of equal terms in another order are equal.
    p = float((1 + (reached >= abs(observed) * (1 - 1e-9)).sum()) / (PERMUTATIONS + 1))
    effect = float(observed / np.sqrt((value**2).sum() * (flag**2).sum())) if value.any() else 0.0
    return Paired(n, difference, low, high, p, effect)


def mcnemar(attack: np.ndarray, reference: np.ndarray, settings: Settings) -> Paired:
    """Compare two attacks' successes (n,) bool on the same images: the difference of rates, McNemar's exact test.

    The effect in [-1, 1] is the share of the images on which they differ that go to the attack, less the other share.
    Source: McNemar 1947.
    """
    from scipy.stats import binomtest

    one, other = np.asarray(attack, dtype=bool), np.asarray(reference, dtype=bool)
    if one.size == 0:
        return Paired(0, *[float("nan")] * 5)
    difference = one.astype(float) - other
    low, high = bootstrap(difference, settings)
    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    differing = gained + lost
    p = float(binomtest(gained, differing).pvalue) if differing else 1.0
    return Paired(one.size, float(difference.mean()), low, high, p, (gained - lost) / max(differing, 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Return the p values (m,) corrected for the whole family after Holm (1979); NaN stays NaN and counts for nothing.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return corrected
