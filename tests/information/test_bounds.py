"""The bounds against the closed form of Gaussian pairs at the best critic, and the published critic against the small one."""

from __future__ import annotations

import math

import pytest
import torch

from infoadv.information.bounds import donsker_varadhan, infonce, nwj
from infoadv.information.critic_networks import Critics
from infoadv.information.mine import measure
from infoadv.information.projection import difference_information, projection_information
from infoadv.stages.calibrate import along, images_at


def log_ratio(u, v, rho):
    """Return ln p(u, v) / (p(u) p(v)) of a bivariate normal pair."""
    return -0.5 * math.log(1 - rho**2) - (rho**2 * (u**2 + v**2) - 2 * rho * u * v) / (2 * (1 - rho**2))


@pytest.mark.parametrize("rho", [0.5, 0.87])
def test_at_the_best_critic_every_bound_is_the_information(rho):
    draws = torch.randn(2, 1, 200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, v = draws[0], rho * draws[0] + math.sqrt(1 - rho**2) * draws[1]
    joint, marginal = log_ratio(u, v, rho), log_ratio(u, v.roll(1, 1), rho)
    truth = -0.5 * math.log(1 - rho**2)
    assert donsker_varadhan(joint, marginal).item() == pytest.approx(truth, abs=0.01)
    assert nwj(joint + 1, marginal + 1).item() == pytest.approx(truth, abs=0.01)
    # Another constant moves NWJ, but not Donsker-Varadhan.
    assert donsker_varadhan(joint + 3, marginal + 3).item() == pytest.approx(truth, abs=0.01)
    assert nwj(joint + 3, marginal + 3).item() < truth - 1
    groups_u, groups_v = (sample[:, :100_000].view(250, 400) for sample in (u, v))
    scores = log_ratio(groups_u[:, :, None], groups_v[:, None], rho)
    assert infonce(scores).mean().item() == pytest.approx(truth, abs=0.02)


def test_infonce_never_exceeds_ln_k():
    scores = torch.randn(50, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = scores + 1000 * torch.eye(16)
    # To the rounding of double precision.
    assert infonce(scores).max() <= math.log(16) + 1e-12
    assert infonce(scores).min() == pytest.approx(math.log(16))
    clean, perturbed = images_at([0.9999])
    estimate = measure(clean, perturbed, dimension=4, samples=16, steps=60, bound="infonce", hidden=16)
    assert 1.0 < estimate.item() <= math.log(16)
    assert projection_information(clean, perturbed, 4).item() > 2 * math.log(16)


@pytest.mark.parametrize("bound", ["nwj", "infonce"])
def test_trained_bounds_come_near_the_closed_form(bound):
    clean, perturbed = images_at([0.5, 0.87])
    estimate = measure(clean, perturbed, samples=128, steps=200, bound=bound)
    assert torch.allclose(estimate, projection_information(clean, perturbed), rtol=0.2)


def test_a_critic_of_the_difference_estimates_what_the_difference_shows():
    clean = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))
    perturbed = clean + noise * torch.tensor([0.05, 0.15, 0.3]).view(3, 1, 1, 1)
    truth = difference_information(clean.double(), perturbed.double())
    assert (truth < projection_information(clean.double(), perturbed.double())).all()
    estimate = measure(clean, perturbed, difference=True).double()
    assert torch.allclose(estimate, truth, rtol=0.15, atol=0.03)
    # A change of brightness costs, though the information does not fall.
    dimmed = torch.stack([0.5 * image for image in clean])
    assert (difference_information(clean, dimmed) < 1.0).all()
    assert (projection_information(clean, 0.5 * clean + 1e-4 * noise) > 4.0).all()


def test_difference_information_is_the_divergence_of_two_normals():
    clean = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    perturbed = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    joint = torch.distributions.Normal(0.0, (perturbed - clean).norm())
    apart = torch.distributions.Normal(0.0, (clean.square().sum() + perturbed.square().sum()).sqrt())
    expected = torch.distributions.kl_divergence(joint, apart).item()
    assert difference_information(clean, perturbed).item() == pytest.approx(expected)
    assert difference_information(clean, perturbed, 5).item() == pytest.approx(5 * expected)


@pytest.mark.parametrize("difference", [False, True])
def test_linear_layers_of_a_branch_are_multiplied_first(difference):
    generator = torch.Generator().manual_seed(0)
    critics = Critics(2, 6, 6, [7, 4], generator, difference=difference).double()
    u, v = torch.randn(2, 2, 9, 6, generator=generator, dtype=torch.float64)
    (first, second), (bias, last) = critics.a, critics.biases
    left = (u @ first + bias) @ second + last
    right = -(v @ first @ second) if difference else (v @ critics.b[0] + critics.b_biases[0]) @ critics.b[1]
    assert all(
        torch.allclose(found, expected) for found, expected in zip(critics.branches(u, v), (left, right), strict=True)
    )


def test_critics_of_maps_are_filters_and_layers_of_one_image_each():
    generator = torch.Generator().manual_seed(0)
    critics = Critics(2, 30, 30, [5, 3], generator, start="glorot", maps=(5, 6)).double()
    with torch.no_grad():
        for parameter in critics.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    u, v = torch.randn(2, 2, 4, 30, generator=generator, dtype=torch.float64)
    left, _ = critics.branches(u, v)
    for image in range(2):
        weight, bias = critics.filters[0][image], critics.filters[1][image]
        maps = torch.nn.functional.conv2d(u[image].view(4, 1, 5, 6), weight, bias).flatten(1)
        expected = (maps @ critics.a[0][image] + critics.biases[0][image]) @ critics.a[1][image] + critics.biases[1][
            image
        ]
        assert torch.allclose(left[image], expected)


def test_maps_as_small_as_short_samples_are_filtered():
    generator = torch.Generator().manual_seed(0)
    critics = Critics(2, 4, 4, [5], generator, maps=(2, 2)).double()
    u, v = torch.randn(2, 2, 6, 4, generator=generator, dtype=torch.float64)
    left, right = critics.branches(u, v)
    order = torch.arange(6).roll(1)
    joint, broken = critics.scores(u, v, order)
    for found, other in ((joint, right), (broken, right[:, order])):
        assert torch.allclose(found, ((left + other).relu() @ critics.w)[..., 0])


def test_glorot_start_has_its_range_and_no_bias():
    critics = Critics(1, 128, 128, [512, 10], torch.Generator().manual_seed(0), start="glorot")
    assert critics.a[0].abs().max().item() == pytest.approx(math.sqrt(6 / (128 + 512)), rel=0.01)
    assert all(not bias.any() for bias in (*critics.biases, *critics.b_biases))


def test_the_published_critic_learns_at_its_rate_and_the_small_one_does_not():
    # The follow-up's learning rate, 500 pairs of 128 rows: one layer of 10 units hardly moves in so many steps.
    clean, perturbed = images_at([0.95])
    options = {"dimension": 128, "samples": 500, "steps": 150, "learning_rate": 2e-4, "start": "glorot", "held_out": 5}
    published = measure(clean, perturbed, hidden=(512, 10), **options)
    small = measure(clean, perturbed, hidden=10, **options)
    assert published.item() > 2 * max(small.item(), 0.01)


def test_the_critic_along_an_attack_lags_behind_the_truth():
    mean, spread = along([0.5, 0.986], dimension=1, samples=128, steps=80, seed=0)
    truth = projection_information(*images_at([0.5, 0.986]))
    assert (spread > 0).all()
    assert (mean - truth).abs()[0] < 0.3
    assert mean[1] < truth[1]
