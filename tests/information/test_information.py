"""Estimators against closed forms, numerical integration, a case worked by hand, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from infoadv.attacks.critics import Critic, MineInformation
from infoadv.information.bounds import donsker_varadhan
from infoadv.information.critic_networks import Critics
from infoadv.information.masking import (
    gaussian_window,
    local_mean,
    local_variance,
    masking_weights,
    perturbation_information,
)
from infoadv.information.mine import Mine, draw_normals, draw_pairs, measure, project_pairs, scores
from infoadv.information.projection import projection_information
from infoadv.stages.calibrate import images_at


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(7)
    clean = torch.rand(3, 3, 11, 9, generator=generator, dtype=torch.float64)
    delta = 0.1 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return clean, (clean + delta).clamp(0, 1)


@pytest.mark.parametrize("rho", [0.5, 0.87, 0.986])
def test_closed_form_equals_numerical_integration(rho):
    # I = double integral of p ln(p / (p_u p_v)) for the bivariate normal of one projection, on a fine grid.
    joint = stats.multivariate_normal(cov=[[1, rho], [rho, 1]])
    u = np.linspace(-7, 7, 401)
    across = np.sqrt(1 - rho**2) * u
    grid = np.stack([np.broadcast_to(u[:, None], (401, 401)), rho * u[:, None] + across], -1)
    gain = joint.logpdf(grid) - stats.norm.logpdf(grid[..., 0]) - stats.norm.logpdf(grid[..., 1])
    value = integrate.trapezoid(integrate.trapezoid(joint.pdf(grid) * gain, across, axis=1), u)
    clean, perturbed = images_at([rho])
    assert projection_information(clean.double(), perturbed.double()).item() == pytest.approx(value, abs=1e-6)


def test_closed_form_is_precise_for_tiny_perturbations_and_blind_to_brightness():
    clean = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    delta = 1e-4 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    exact = projection_information(clean.double(), clean.double() + delta.double())
    assert projection_information(clean, clean + delta).item() == pytest.approx(exact.item(), rel=0.02)
    perturbed = clean + 0.1 * torch.rand(clean.shape, generator=torch.Generator().manual_seed(2))
    scaled = projection_information(clean, 0.5 * perturbed)
    assert scaled.item() == pytest.approx(projection_information(clean, perturbed).item(), rel=1e-4)
    assert projection_information(clean, perturbed, 16).item() == pytest.approx(16 * scaled.item(), rel=1e-4)


@pytest.mark.parametrize("rho", [0.5, 0.87, 0.986])
def test_mine_on_held_out_projections_is_within_15_percent(rho):
    clean, perturbed = images_at([rho])
    estimate = torch.stack([measure(clean, perturbed, seed=seed, steps=200) for seed in range(2)]).mean()
    truth = -0.5 * math.log(1 - rho**2)
    assert estimate.item() == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("standardize", ["norm", "clean", "row", "none"])
def test_drawn_pairs_are_distributed_like_projections(standardize):
    generator = torch.Generator().manual_seed(3)
    clean = torch.rand(2, 1, 6, 5, generator=generator, dtype=torch.float64)
    perturbed = (clean + 0.3 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    samples, dimension = 4000, 6
    draws = draw_normals(samples, dimension, generator)
    drawn = draw_pairs(clean, perturbed, draws, standardize)
    projected = project_pairs(clean, perturbed, samples, dimension, generator, standardize)

    def moments(pair):
        both = torch.cat(pair, 2).double()  # (N, K, 2 d')
        return torch.einsum("nki,nkj->nij", both, both) / samples

    scale = moments(projected).diagonal(dim1=1, dim2=2).mean()
    assert torch.allclose(moments(drawn) / scale, moments(projected) / scale, atol=0.12)


def test_gradient_through_drawn_pairs_is_the_mean_of_the_projected_one():
    generator = torch.Generator().manual_seed(5)
    clean = torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    perturbed = (clean + 0.2 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)).requires_grad_(True)

    def gradient(pair):
        u, v = pair
        return torch.autograd.grad((u * v).mean() + 0.3 * (u * v**3).mean(), perturbed)[0]

    samples = 200_000
    drawn = gradient(draw_pairs(clean, perturbed, draw_normals(samples, 1, generator)))
    projected = gradient(project_pairs(clean, perturbed, samples, 1, generator))
    assert torch.allclose(drawn, projected, atol=0.05 * projected.abs().max().item() + 0.01)


def test_bounds_match_their_definitions():
    joint = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    marginal = torch.tensor([[0.0, 1.0, 5.0]], dtype=torch.float64)
    by_hand = 2.0 - math.log((1 + math.e + math.exp(5)) / 3)
    assert donsker_varadhan(joint, marginal).item() == pytest.approx(by_hand)
    clipped = 2.0 - math.log((1 + math.e + math.exp(2)) / 3)
    assert donsker_varadhan(joint, marginal, clip=2.0).item() == pytest.approx(clipped)


def by_hand(critics, u, v):
    """T(u, v) of critics of one layer for pairs (N, K, d), as its definition has it."""
    left = u @ critics.a[0] + critics.biases[0]
    right = -v @ critics.a[0] if critics.difference else v @ critics.b[0]
    return ((left + right).relu() @ critics.w)[..., 0]


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("dimension", [1, 8])
def test_marginals_break_every_pair(dimension, difference):
    generator = torch.Generator().manual_seed(0)
    critics = Critics(2, dimension, dimension, [5], generator, difference=difference).double()
    u, v = torch.randn(2, 2, 6, dimension, generator=generator, dtype=torch.float64)
    joint, every = scores(critics, u, v, "offdiagonal", 1)
    assert torch.allclose(joint, by_hand(critics, u, v))
    assert every.shape == (2, 30)
    brute = torch.cat([by_hand(critics, u[:, [i]], v[:, [j]]) for i in range(6) for j in range(6) if i != j], 1)
    assert torch.allclose(every.sort(1).values, brute.sort(1).values)
    for shift in range(1, 6):
        joint, deranged = scores(critics, u, v, "derangement", shift)
        partners = [(sample - shift) % 6 for sample in range(6)]
        assert torch.allclose(joint, by_hand(critics, u, v))
        assert torch.allclose(deranged, by_hand(critics, u, v[:, partners]))


def test_perturbation_information_of_a_case_worked_by_hand():
    # A flat image has no texture; one changed pixel far from the border leaves window x delta^2 around it.
    clean = torch.full((1, 1, 15, 15), 0.5, dtype=torch.float64)
    perturbed = clean.clone()
    perturbed[0, 0, 7, 7] += 0.2
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    expected = 0.5 * np.log(1 + window * 0.2**2 / 0.1**2).sum()
    assert perturbation_information(clean, perturbed, 0.1).item() == pytest.approx(expected, rel=1e-9)


def test_perturbation_information_hides_in_texture_and_charges_flat_regions():
    generator = torch.Generator().manual_seed(2)
    clean = torch.full((1, 1, 32, 32), 0.5)
    clean[..., 16:] += 0.4 * (torch.rand(32, 16, generator=generator) - 0.5)
    flat, textured = clean.clone(), clean.clone()
    flat[0, 0, 16, 6] += 0.1
    textured[0, 0, 16, 26] += 0.1
    # The texture's variance is 0.4^2 / 12, 33 times the noise of 0.02^2.
    in_flat, in_texture = (perturbation_information(clean, image, 0.02) for image in (flat, textured))
    assert in_flat > 5 * in_texture


def test_weights_are_the_small_perturbation_limit_and_the_gradient(images):
    clean, _ = images
    for noise in (0.05, [0.05, 0.1, 0.2]):
        weights = masking_weights(clean, noise)
        delta = 1e-4 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        quadratic = 0.5 * (weights * delta.square()).sum((1, 2, 3))
        assert torch.allclose(perturbation_information(clean, clean + delta, noise), quadratic, rtol=1e-3)


@pytest.mark.parametrize("colour", ["rgb", "opponent"])
def test_gradients_agree_with_finite_differences(images, colour):
    clean, perturbed = (image[:1, :, :8, :8].contiguous() for image in images)
    perturbed = perturbed.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: perturbation_information(clean, z, 0.1, colour), (perturbed,))
    assert torch.autograd.gradcheck(lambda z: projection_information(clean, z), (perturbed,))


def test_mine_gradient_agrees_with_finite_differences(images):
    clean, perturbed = images
    draws = draw_normals(20, 2, torch.Generator().manual_seed(0))
    draws = type(draws)(draws.first.double(), draws.second.double())
    critics = Critics(3, 2, 2, [4], torch.Generator().manual_seed(1)).double()

    def bound(z):
        return donsker_varadhan(*scores(critics, *draw_pairs(clean, z, draws), "derangement", 3))

    assert torch.autograd.gradcheck(bound, (perturbed.requires_grad_(True),), atol=1e-4)


def test_local_statistics_equal_brute_force(images):
    clean, _ = images
    window = gaussian_window(dtype=torch.float64)
    kernel = torch.outer(window, window)
    padded = torch.nn.functional.pad(clean, (3, 3, 3, 3), mode="reflect")
    row, column = 4, 0
    patch = padded[1, 2, row : row + 7, column : column + 7]
    mean = (kernel * patch).sum()
    assert local_mean(clean, window)[1, 2, row, column].item() == pytest.approx(mean.item())
    variance = (kernel * (patch - mean) ** 2).sum()
    assert local_variance(clean, window)[1, 2, row, column].item() == pytest.approx(variance.item())


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("dimension", [1, 8])
def test_the_critic_climbs_with_a_moving_average_of_the_marginal(dimension, difference):
    generator = torch.Generator().manual_seed(0)
    critics = Critics(2, dimension, dimension, [5], generator, difference=difference).double()
    average = None
    mine = Mine(critics, learning_rate=0.01, marginal="derangement", clip=None, moving_average=0.25)
    for _step in range(3):
        u, v = torch.randn(2, 2, 16, dimension, generator=generator, dtype=torch.float64).requires_grad_(True)
        bound, ascended = mine.objective(u, v, 1)
        joint, apart = by_hand(critics, u, v), by_hand(critics, u, v.roll(1, 1))
        now = apart.exp().mean(1).detach()
        average = now if average is None else 0.75 * average + 0.25 * now
        expected = joint.mean(1) - apart.exp().mean(1) / average
        # Of the samples as well, which an attack descends.
        every = [*mine.optimizer.parameters, u, v]
        found, wanted = (torch.autograd.grad(x.sum(), every, retain_graph=True) for x in (ascended, expected))
        assert all(torch.allclose(one, other) for one, other in zip(found, wanted, strict=True))
        assert torch.allclose(bound, donsker_varadhan(joint, apart))


@pytest.mark.parametrize("ranking", ["fixed", "step"])
def test_iterates_are_ranked_on_pairs_that_stay_or_by_the_estimate_of_the_step(ranking):
    draws = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 1, 6, 6, generator=draws)
    near, far = (clean + size * torch.randn(clean.shape, generator=draws) for size in (0.01, 0.3))
    options = {"sampling": "pairs", "samples": 32, "hidden": (8,), "critic_learning_rate": 0.01}
    critic = Critic(batch="projection", standardize="norm", marginal="derangement", ranking=ranking, **options)
    information = MineInformation(torch.nn.Identity(), clean, 0, 0, critic)
    last = information(near).detach()
    judged = information.judged(near), information.judged(far)
    if ranking == "step":
        assert all(torch.equal(one, last) for one in judged)
        return
    assert not torch.equal(*judged)
    # New pairs, and no training.
    information(far)
    assert torch.equal(information.judged(near), judged[0])


def test_a_permutation_takes_every_sample_once():
    critics = Critics(1, 1, 1, [64], torch.Generator().manual_seed(0))
    u, v = torch.randn(2, 1, 6, 1, generator=torch.Generator().manual_seed(1))
    every = critics.all_scores(u, v)[0]
    found = scores(critics, u, v, "permutation", 3)[1][0]
    partners = (every - found[:, None]).abs().argmin(1)
    assert sorted(partners.tolist()) == list(range(6)) != partners.tolist()
    assert torch.allclose(every[torch.arange(6), partners], found, atol=1e-6)
