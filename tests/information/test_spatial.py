"""Spatial dependence: ranks and shifts by brute force, no bias without dependence, the truth where it is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from sklearn.metrics import mutual_info_score
from torch.nn.functional import avg_pool2d, pad

from infoadv.information import spatial

SIDES = (4, 8, 16, 32)
#: Truth of the dependent maps, in bits.
BITS = 0.32


def maps(count, channels, side, seed):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def smooth(values, width):
    """Average over ``width`` x ``width`` positions of the torus: neighbours are no independent samples any more."""
    return avg_pool2d(pad(values, (width // 2,) * 4, mode="circular"), width, 1)


def inputs_of(side):
    # Fewer positions, more maps: the mean is as well known at every size.
    return max(8, 16384 // side**2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_ranks_are_scipys(dtype):
    generator = torch.Generator().manual_seed(0)
    ties = torch.randint(-3, 4, (3, 5, 41), generator=generator).to(dtype) / 3
    ties[0, 0], ties[0, 1, :20] = -0.0, 0.0
    ties[0, 0, 5] = 0.0
    for values in (ties, torch.randn(2, 300, generator=generator).to(dtype), ties * torch.tensor(1e-42, dtype=dtype)):
        ranks, equal = spatial.mean_ranks(values)
        assert np.array_equal(ranks.numpy(), np.apply_along_axis(rankdata, -1, values.numpy()))
        assert torch.equal(equal, (values == values[..., :1]).all(-1))


@pytest.mark.parametrize(("height", "width", "count", "expected"), [(32, 32, 24, 24), (8, 8, 24, 24), (4, 4, 24, 15)])
def test_shifts_are_different_and_far(height, width, count, expected):
    chosen = spatial.shifts(height, width, count)
    assert len(set(chosen)) == len(chosen) == expected
    for row, column in chosen:
        assert min(row, height - row) >= height / 4 or min(column, width - column) >= width / 4
    assert chosen == spatial.shifts(height, width, count)


def test_copula_by_brute_force():
    first, second = maps(2, 3, 6, 1).relu(), maps(2, 2, 6, 2)
    offsets = spatial.shifts(6, 6, 20)

    def bits(a, b):
        u, v = (norm.ppf(rankdata(x.ravel()) / (x.size + 1)) for x in (a, b))
        r = np.corrcoef(u, v)[0, 1]
        r *= 1 + (1 - r**2) / (2 * (a.size - 4))
        return -0.5 * np.log2(1 - r**2)

    estimate = spatial.copula(first, second, offsets).numpy()
    for n, i, j in itertools.product(range(2), range(3), range(2)):
        a, b = first[n, i].double().numpy(), second[n, j].double().numpy()
        bias = np.mean([bits(a, np.roll(b, offset, (0, 1))) for offset in offsets])
        assert estimate[n, i, j] == pytest.approx(bits(a, b) - bias, abs=2e-5)


def test_quantile_by_brute_force():
    first, second = maps(2, 3, 6, 3).relu(), maps(2, 2, 6, 4)
    offsets = spatial.shifts(6, 6, 20)

    def bins(x):
        return np.minimum((rankdata(x.ravel()) - 0.5) * 5 / x.size, 4).astype(int)

    def bits(a, b):
        return mutual_info_score(bins(a), bins(b)) / np.log(2)

    estimate = spatial.quantile(first, second, offsets).numpy()
    for n, i, j in itertools.product(range(2), range(3), range(2)):
        a, b = first[n, i].numpy(), second[n, j].numpy()
        bias = np.mean([bits(a, np.roll(b, offset, (0, 1))) for offset in offsets])
        assert estimate[n, i, j] == pytest.approx(bits(a, b) - bias, abs=2e-5)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", spatial.ESTIMATORS)
def test_independent_maps_have_no_information(name, side):
    count = inputs_of(side)
    estimate = spatial.ESTIMATORS[name](
        maps(count, 8, side, 5).relu(), maps(count, 3, side, 6), spatial.shifts(side, side, 24)
    )
    assert abs(estimate.mean().item()) < 0.05


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", spatial.ESTIMATORS)
def test_smooth_independent_maps_have_no_information(name, side):
    count, width = inputs_of(side), 3 if side == 4 else 5
    first, second = smooth(maps(count, 8, side, 7), width), smooth(maps(count, 3, side, 8), width)
    estimate = spatial.ESTIMATORS[name](first, second, spatial.shifts(side, side, 24))
    assert abs(estimate.mean().item()) < 0.03


@pytest.mark.parametrize("side", SIDES)
def test_the_copula_finds_a_known_dependence(side):
    count = inputs_of(side)
    rho = (1 - 2 ** (-2 * BITS)) ** 0.5
    first, noise = maps(count, 6, side, 9), maps(count, 6, side, 10)
    second = rho * first + (1 - rho**2) ** 0.5 * noise
    # A monotone change of either map, as a ReLU-free layer would make, is invisible to ranks.
    estimate = spatial.copula(first.exp(), second**3, spatial.shifts(side, side, 24))
    assert 0.28 < torch.diagonal(estimate, dim1=1, dim2=2).mean().item() < 0.36


@pytest.mark.parametrize("side", SIDES[1:])
def test_quantile_reads_low_and_alike_at_every_size_but_the_smallest(side):
    count = inputs_of(side)
    rho = (1 - 2 ** (-2 * BITS)) ** 0.5
    first, noise = maps(count, 6, side, 9), maps(count, 6, side, 10)
    estimate = spatial.quantile(first, rho * first + (1 - rho**2) ** 0.5 * noise, spatial.shifts(side, side, 24))
    assert 0.22 < torch.diagonal(estimate, dim1=1, dim2=2).mean().item() < 0.27


def test_quantile_sees_what_ranks_do_not():
    first = maps(16, 2, 16, 11)
    offsets = spatial.shifts(16, 16, 24)
    squared = torch.diagonal(spatial.quantile(first, first**2, offsets), dim1=1, dim2=2).mean()
    assert squared > 0.5
    assert abs(torch.diagonal(spatial.copula(first, first**2, offsets), dim1=1, dim2=2).mean()) < 0.05


@pytest.mark.parametrize("name", spatial.ESTIMATORS)
def test_dead_maps_have_no_information_and_are_found(name):
    first, second = maps(3, 4, 8, 12), maps(3, 2, 8, 13)
    first[:, 1], second[1, 0] = 0.0, 0.7
    assert torch.equal(spatial.Ranked(first).dead, torch.tensor([[False, True, False, False]] * 3))
    estimate = spatial.ESTIMATORS[name](first, second, spatial.shifts(8, 8, 24))
    assert estimate[:, 1].abs().max() < 1e-6
    assert estimate[1, :, 0].abs().max() < 1e-6
    assert torch.isfinite(estimate).all()


def test_equal_maps_are_cut_at_ten_bits():
    first = maps(2, 1, 16, 14)
    assert 9.5 < spatial.copula(first, first, spatial.shifts(16, 16, 24)).min() <= 10


def test_no_image_has_no_dependence_and_any_precision_has_ranks():
    offsets = spatial.shifts(6, 6, 20)
    for estimate in spatial.ESTIMATORS.values():
        assert estimate(torch.empty(0, 3, 6, 6), torch.empty(0, 2, 6, 6), offsets).shape == (0, 3, 2)
    values = torch.tensor([[3.0, 1.0, 3.0, 2.0]])
    for dtype in (torch.float64, torch.bfloat16):
        assert spatial.mean_ranks(values.to(dtype).requires_grad_(True))[0].tolist() == [[3.5, 1.0, 3.5, 2.0]]
