"""The observer's form against automatic differentiation of its exact objective, and its whitening against its inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from infoadv.information.masking import OPPONENT, masking_weights, perturbation_information, to_opponent
from infoadv.information.observer import FrontEnd, Observer, cosine_transform, luminance_sensitivity


def observed(channels: int, sensitivity: float = 0.5, shape: tuple[int, int] = (7, 9)) -> Observer:
    clean = torch.rand(2, channels, *shape, generator=torch.Generator().manual_seed(channels), dtype=torch.float64)
    return Observer.of(clean, 0.1, 0.2, 7.5, sensitivity)


def draws(like: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_whitening_is_the_hessian_of_the_exact_objective(channels):
    view = observed(channels)
    alone = Observer.of(view.clean[:1], 0.1, 0.2, 7.5, 0.5)
    values = alone.clean.numel()

    def objective(delta):
        return alone.information(alone.clean + delta.view_as(alone.clean)).sum()

    hessian = torch.autograd.functional.hessian(objective, torch.zeros(values, dtype=torch.float64))
    whitened = torch.stack(
        [alone.whiten(unit.view_as(alone.clean)).flatten() for unit in torch.eye(values, dtype=torch.float64)], 1
    )
    form = whitened.T @ whitened
    # The whitening is scaled to a mean square of 1, and the information is half of the form.
    scale = masking_weights(alone.seen, alone.noise).mean()
    torch.testing.assert_close(hessian, form * scale, rtol=1e-9, atol=1e-9 * float(hessian.abs().max()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sensitivity", [0.0, 0.25, 1.0])
def test_the_transform_its_inverse_and_their_adjoints_agree(channels, sensitivity):
    view = observed(channels, sensitivity)
    delta, other = draws(view.clean, 1), draws(view.clean, 2)
    torch.testing.assert_close(view.unwhiten(view.whiten(delta)), delta, rtol=0, atol=1e-12)
    torch.testing.assert_close(view.whiten(view.unwhiten(delta)), delta, rtol=0, atol=1e-12)
    # <T^-T g, z> = <g, T^-1 z>
    torch.testing.assert_close((view.pull_back(delta) * other).sum(), (delta * view.unwhiten(other)).sum())


def test_a_gray_observer_without_sensitivity_is_masking():
    view = observed(1, sensitivity=0.0)
    perturbed = view.clean + 0.05 * draws(view.clean, 3)
    torch.testing.assert_close(view.information(perturbed), perturbation_information(view.clean, perturbed, 0.1))


def test_the_front_end_is_opponent_colours_and_a_filter_of_luminance():
    images = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    front = FrontEnd.of(images, 10.0, 1.0)
    seen = front.see(images)
    maps = np.einsum("oc,chw->ohw", OPPONENT.double().numpy(), images[0].numpy())
    np.testing.assert_allclose(seen[0, 1:].numpy(), maps[1:], atol=1e-12)
    spectrum = dctn(maps[0], norm="ortho") * luminance_sensitivity(6, 8, 10.0).numpy()
    np.testing.assert_allclose(dctn(seen[0, 0].numpy(), norm="ortho"), spectrum, atol=1e-12)


def test_the_sensitivity_peaks_at_four_cycles_per_degree():
    # The derivative of f^0.8 exp(-0.2 f) is 0 at 0.8 / 0.2.
    values = luminance_sensitivity(1, 400, 20.0)[0]
    assert values.argmax() * 20.0 / 800 == pytest.approx(4.0)
    assert values.max() == 1
    # A constant is seen, if hardly.
    assert 0 < values[0] < values[1]
    transform = cosine_transform(5)
    torch.testing.assert_close(transform @ transform.T, torch.eye(5, dtype=torch.float64))


def test_the_axes_are_luma_and_the_red_and_blue_difference():
    luma = torch.tensor([0.299, 0.587, 0.114])
    rows = torch.stack([luma, torch.eye(3)[0] - luma, torch.eye(3)[2] - luma])
    assert torch.allclose(OPPONENT, rows / rows.norm(dim=1, keepdim=True), atol=1e-5)
    clean = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    perturbed = clean + 0.1 * draws(clean, 1)
    seen = perturbation_information(to_opponent(clean), to_opponent(perturbed), 0.1)
    assert torch.allclose(perturbation_information(clean, perturbed, 0.1, "opponent"), seen)
