"""Intervals, tests and sets of the report, against numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infoadv.report import statistics
from infoadv.report.statistics import Settings

SETTINGS = Settings(resamples=400, confidence=0.95, seed=3)


def test_bootstrap_holds_the_mean_and_repeats() -> None:
    values = np.random.default_rng(0).lognormal(size=40)
    low, high = statistics.bootstrap(values, SETTINGS)
    assert low < values.mean() < high
    assert (low, high) == statistics.bootstrap(values, SETTINGS)
    assert (low, high) != statistics.bootstrap(values, Settings(400, 0.95, 4))


def test_bootstrap_of_means_agrees_with_the_plain_one_column_by_column() -> None:
    values = np.random.default_rng(1).normal(size=(25, 4))
    values[3, 1] = np.nan
    values[:, 2] = np.nan
    values[5, 3] = np.inf
    low, high = statistics.bootstrap_means(values, SETTINGS)
    for column in range(4):
        expected = statistics.bootstrap(values[:, column], SETTINGS)
        np.testing.assert_allclose((low[column], high[column]), expected)
    assert np.isnan(low[2])
    assert high[3] == np.inf


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        low, high = statistics.bootstrap(generator.normal(size=30), Settings(200, 0.9, seed))
        hits += low <= 0 <= high
    assert 0.8 <= hits / 200 <= 0.97


def test_bootstrap_edge_cases() -> None:
    assert all(np.isnan(statistics.bootstrap(np.array([]), SETTINGS)))
    assert statistics.bootstrap(np.array([2.0]), SETTINGS) == (2.0, 2.0)
    low, high = statistics.bootstrap(np.array([1.0, 2.0, np.inf, np.inf]), SETTINGS, "median")
    assert low >= 1
    assert high == np.inf


@pytest.mark.parametrize(
    ("values", "success", "expected"),
    [
        ([1.0, 2.0, 3.0], [True, True, True], 2.0),
        ([1.0, 2.0, 0.1], [True, True, False], 2.0),
        ([1.0, 2.0, 0.1, 0.1], [True, True, False, False], np.inf),
        ([1.0, 0.1], [False, False], np.inf),
    ],
)
def test_median_counts_failures_as_infinitely_far(values: list[float], success: list[bool], expected: float) -> None:
    median, low, high = statistics.median_with_failures(np.array(values), np.array(success), SETTINGS)
    assert median == expected
    assert low <= median <= high


def test_a_share_of_all_or_none_has_an_interval_that_narrows_with_the_images() -> None:
    # Wilson's interval at 0 successes of n ends at z^2 / (n + z^2).
    for count in (8, 1000):
        low, high = statistics.proportion(np.zeros(count, dtype=bool), SETTINGS)
        assert low == pytest.approx(0, abs=1e-12)
        assert high == pytest.approx(1.959964**2 / (count + 1.959964**2))
    low, high = statistics.proportion(np.ones(8, dtype=bool), SETTINGS)
    assert (low, high) == pytest.approx((8 / (8 + 1.959964**2), 1))
    assert all(np.isnan(statistics.proportion(np.array([], dtype=bool), SETTINGS)))


def test_common_successes() -> None:
    rows = pd.DataFrame(
        {
            "attack": ["a"] * 3 + ["b"] * 3 + ["c"] * 3,
            "index": [5, 7, 9] * 3,
            "success": [True, True, False, True, True, True, False, False, False],
        }
    )
    assert statistics.common_successes(rows, ["a", "b"]) == {5, 7}
    assert statistics.common_successes(rows, ["b"]) == {5, 7, 9}
    assert statistics.common_successes(rows, ["a", "b", "c"]) == set()
    assert statistics.common_successes(rows, []) == set()


def test_holm_by_hand() -> None:
    # Sorted: 0.005 * 4, 0.01 * 3, max(0.03, 0.03 * 2), max(0.06, 0.04 * 1).
    corrected = statistics.holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(corrected, [0.03, 0.06, np.nan, 0.06, 0.02])
    assert statistics.holm(np.array([0.9, 0.8])).max() == 1.0


def test_paired_agrees_with_scipy_and_knows_the_direction() -> None:
    generator = np.random.default_rng(5)
    reference = generator.normal(size=20)
    attack = reference + generator.uniform(0.1, 1.0, 20)
    result = statistics.paired(attack, reference, SETTINGS)
    assert result.n == 20
    assert result.effect == 1.0
    assert result.p == pytest.approx(stats.wilcoxon(attack, reference).pvalue)
    assert 0 < result.low < result.difference < result.high


def test_the_signed_rank_test_of_few_values_with_ties_is_that_of_scipy() -> None:
    generator = np.random.default_rng(6)
    for count in (3, 7, 9):
        difference = generator.choice([-0.2, -0.1, 0.1, 0.2, 0.3], count)
        assert len(np.unique(np.abs(difference))) < count
        expected = stats.wilcoxon(difference).pvalue
        assert statistics.signed_rank(difference).p == pytest.approx(expected, abs=1e-12), difference


def test_paired_without_a_difference_or_a_pair() -> None:
    same = statistics.paired(np.ones(4), np.ones(4), SETTINGS)
    assert (same.n, same.difference, same.p, same.effect) == (4, 0.0, 1.0, 0.0)
    assert statistics.paired(np.array([np.nan]), np.array([1.0]), SETTINGS).n == 0
    assert np.isnan(statistics.paired(np.array([]), np.array([]), SETTINGS).p)
