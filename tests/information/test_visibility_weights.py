"""Weighted norms of earlier work, pixel by pixel as their papers write them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from infoadv.information import visibility_weights


@pytest.fixture
def images():
    return torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_inverse_deviation_of_a_pixel_is_that_of_its_window(images):
    weights = visibility_weights.inverse_deviation(images)
    window = images[1, 2, 3:6, 4:7].numpy()
    assert weights[1, 2, 4, 5].item() == pytest.approx(1 / window.var())


def test_sigma_map_takes_the_flatter_direction(images):
    weights = visibility_weights.sigma_map(images)
    across, along = images[0, 1, 4, 2:5].numpy().std(), images[0, 1, 3:6, 3].numpy().std()
    assert weights[0, 1, 4, 3].item() == pytest.approx(1 / min(across, along))


def test_at_the_border_the_image_is_mirrored(images):
    corner = np.array([[images[0, 0, abs(i), abs(j)].item() for j in (-1, 0, 1)] for i in (-1, 0, 1)])
    assert visibility_weights.inverse_deviation(images)[0, 0, 0, 0].item() == pytest.approx(1 / corner.var())


@pytest.mark.parametrize(("level", "threshold"), [(0, 20.0), (127, 3.0), (255, 6.0)])
def test_threshold_of_a_flat_background_is_the_published_one(level, threshold):
    weights = visibility_weights.just_noticeable_difference(torch.full((1, 1, 7, 7), level / 255, dtype=torch.float64))
    assert torch.allclose(weights, torch.full_like(weights, (255 / threshold) ** 2))


@pytest.mark.parametrize("turns", [0, 1])
def test_an_edge_masks(turns):
    """A step of 200 levels: the operators' side weights 1 + 3 + 8 + 3 + 1 make it 200 at the edge."""
    step = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    step[..., 6:] = 200 / 255
    weights = visibility_weights.just_noticeable_difference(step.rot90(turns, (2, 3)))
    levels = 255 / weights.sqrt().rot90(-turns, (2, 3))[0, 0]
    # The window of the pixel left of the edge has 5 + 2 + 2 + 2 + 1 + 1 + 1 - 1 = 13 of its 32 shares behind the edge.
    shares = visibility_weights._BACKGROUND.double()[:, 3:].sum().item()
    background = 200 * shares
    expected = 200 * (background * 0.0001 + 0.115) + 0.5 - 0.01 * background
    assert levels[6, 5].item() == pytest.approx(expected)
    assert levels[6, 1].item() == pytest.approx(20.0)


def test_jnd_of_colours_is_that_of_their_luminance(images):
    gray = (images * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)).sum(1, keepdim=True)
    weights = visibility_weights.just_noticeable_difference(images)
    assert torch.allclose(weights, visibility_weights.just_noticeable_difference(gray).expand_as(weights), rtol=1e-6)


@pytest.mark.parametrize("name", visibility_weights.NAMES)
def test_weights_are_finite_and_charge_flat_regions_more(name):
    clean = torch.full((1, 1, 16, 16), 0.5)
    clean[..., 8:] = torch.rand(16, 8, generator=torch.Generator().manual_seed(0))
    weights = visibility_weights.visibility_weights(name, clean)
    assert torch.isfinite(weights).all()
    assert weights[..., 2:6].mean() > 2 * weights[..., 10:14].mean()
    change = torch.full_like(clean, 0.1)
    assert visibility_weights.weighted_norm(clean, clean + change, weights).item() == pytest.approx(
        0.01 * weights.sum().item(), rel=1e-4
    )
    assert math.isfinite(weights.sum())


def test_noise_visibility_is_one_where_flat_and_small_where_the_texture_is_strongest(images):
    images[0, 0, :5, :5] = 0.5
    weights = visibility_weights.noise_visibility(images)
    assert weights[0, 0, 2, 2].item() == 1
    # The strongest texture of each channel has the smallest weight, and the others follow the variance of their windows.
    assert torch.allclose(weights.amin((2, 3)), torch.full((2, 3), 1 / 151, dtype=torch.float64))
    variances = [images[1, 2, i - 1 : i + 2, j - 1 : j + 2].numpy().var() for i, j in ((4, 3), (6, 5))]
    odds = [1 / weights[1, 2, i, j].item() - 1 for i, j in ((4, 3), (6, 5))]
    assert odds[0] / odds[1] == pytest.approx(variances[0] / variances[1])
    # A flat image has no texture to compare with.
    assert visibility_weights.noise_visibility(torch.full((1, 1, 5, 5), 0.3)).eq(1).all()


@pytest.mark.parametrize("name", ["inverse_deviation", "sigma_map"])
def test_a_floor_bounds_the_weights(images, name):
    images[0, 0, :5, :5] = 0.5
    largest = {floor: visibility_weights.visibility_weights(name, images, floor).max().item() for floor in (0.1, 0.01)}
    power = 2 if name == "inverse_deviation" else 1
    assert largest == pytest.approx({0.1: 10.0**power, 0.01: 100.0**power})


def test_the_operators_are_turns_of_each_other_and_see_no_flat_region():
    operators = visibility_weights._GRADIENTS
    assert torch.equal(operators[0].T, operators[3])
    assert torch.equal(operators[1].flip(1), operators[2])
    assert operators.sum((1, 2)).eq(0).all()
    assert operators.clamp_min(0).sum((1, 2)).eq(1).all()
    assert visibility_weights._BACKGROUND.sum() == 1
