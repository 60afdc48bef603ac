"""The judges JOD, FLIP, MDSI, FSIM and DSS against their own packages, and what all of them refuse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from infoadv import metrics
from infoadv.metrics import MetricContext, MetricError, human
from infoadv.metrics.viewing import factor, shown
from infoadv.registry import plugins

#: Every judge, with its value of identical images.
IDENTICAL = {"jod": 10.0, "flip": 0.0, "mdsi": 0.0, "fsim": 1.0, "dss": 1.0}


def photographs() -> torch.Tensor:
    """Return two photographs that scikit-image carries, uint8 (2, 3, 512, 512)."""
    from skimage import data

    pictures = [data.astronaut(), np.repeat(data.camera()[..., None], 3, axis=2)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def clean_images(kind: str) -> torch.Tensor:
    """Return two clean images (2, C, H, W) on the 8-bit grid, as large as the data sets' and the photographs'."""
    if kind == "random":
        return torch.randint(0, 256, (2, 3, 40, 29), generator=torch.Generator().manual_seed(1)).float() / 255
    if kind == "digits":
        from sklearn.datasets import load_digits

        digits = torch.from_numpy(load_digits().images[:2] / 16).float()[:, None]
        return (torch.nn.functional.interpolate(digits, (28, 28), mode="bilinear") * 255).round() / 255
    side = {"small photograph": 32, "photograph": 96, "large photograph": 224}[kind]
    smaller = torch.nn.functional.interpolate(photographs().float(), (side, side), mode="area")
    return smaller.round() / 255


def changed(clean: torch.Tensor, amplitude: float = 8) -> torch.Tensor:
    noise = amplitude * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return (clean * 255 + noise).round().clamp(0, 255) / 255


@pytest.fixture(params=["random", "digits", "small photograph", "photograph", "large photograph"], name="images")
def _images(request):
    clean = clean_images(request.param)
    return clean, changed(clean)


def value(name: str, clean: torch.Tensor, adversarial: torch.Tensor, **options) -> np.ndarray:
    context = MetricContext(clean.device, 0, torch.arange(len(clean)))
    result = plugins.load("metrics", name)(clean, adversarial, context=context, **options)
    assert result.dtype == torch.float64
    assert result.shape == (len(clean),)
    assert result.device == clean.device
    return result.cpu().numpy()


def large(images: torch.Tensor, times: int) -> np.ndarray:
    """Return each image as (H, W, 3) float32, every pixel a square, by another way than the package's."""
    pictures = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(np.kron(pictures, np.ones((1, times, times, 1), np.float32)))


def times_of(clean: torch.Tensor) -> int:
    return {28: 4, 29: 4, 32: 4, 96: 2, 224: 1}[min(clean.shape[-2:])]


def test_jod_agrees_with_cvvdp(images):
    import pycvvdp

    clean, adversarial = images
    geometry = pycvvdp.vvdp_display_geometry((3840, 2160), ppd=30)
    observer = pycvvdp.cvvdp("standard_4k", display_geometry=geometry, device=torch.device("cpu"))
    pairs = zip(*(large(part, times_of(clean)) for part in (adversarial, clean)), strict=True)
    expected = [float(observer.predict(test, reference, dim_order="HWC")[0]) for test, reference in pairs]
    np.testing.assert_allclose(value("jod", clean, adversarial), expected, atol=2e-6)
    assert all(0 < number < 10 for number in expected)


def test_the_default_conditions_are_nearly_those_of_the_display_itself():
    """standard_4k is looked at from 75 cm, at 75 pixels a degree: asking for just that gives cvvdp's own number."""
    import pycvvdp

    clean = clean_images("small photograph")
    adversarial = changed(clean)
    observer = pycvvdp.cvvdp("standard_4k", device=torch.device("cpu"))
    given = {"enlarge": 1, "pixels_per_degree": observer.pix_per_deg}
    expected = [float(observer.predict(*pair, dim_order="CHW")[0]) for pair in zip(adversarial, clean, strict=True)]
    np.testing.assert_allclose(value("jod", clean, adversarial, **given), expected, atol=2e-6)


def test_flip_agrees_with_its_package(images):
    import flip_evaluator

    clean, adversarial = images
    for options in ({}, {"enlarge": 1, "pixels_per_degree": 67}):
        times = options.get("enlarge", times_of(clean))
        pairs = zip(*(large(part, times) for part in (clean, adversarial)), strict=True)
        expected = [
            flip_evaluator.evaluate(*pair, "LDR", parameters={"ppd": float(options.get("pixels_per_degree", 30))})[1]
            for pair in pairs
        ]
        np.testing.assert_allclose(value("flip", clean, adversarial, **options), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["mdsi", "fsim", "dss"])
def test_piq_judges_agree_with_piq(images, name):
    import piq

    clean, adversarial = images
    gray = clean.shape[1] == 1
    pictures = [torch.from_numpy(large(part, times_of(clean))).permute(0, 3, 1, 2).double() for part in images[::-1]]
    if gray and name != "mdsi":
        pictures = [picture[:, :1] for picture in pictures]
    extra = {"chromatic": not gray} if name == "fsim" else {}
    expected = getattr(piq, name)(*pictures, data_range=1.0, reduction="none", **extra)
    np.testing.assert_allclose(value(name, clean, adversarial), expected.double().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", IDENTICAL)
def test_identical_images_are_best_and_more_noise_is_worse(name):
    clean = clean_images("digits")
    np.testing.assert_allclose(value(name, clean, clean.clone()), IDENTICAL[name], atol=1e-5)
    little, much = (value(name, clean, changed(clean, amplitude)) for amplitude in (4, 40))
    better = metrics.about()[name]["better"]
    assert (little > much).all() if better == "higher" else (little < much).all()


@pytest.mark.parametrize("name", IDENTICAL)
def test_black_images_have_a_value(name):
    black, spot = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    spot[0, 0, 5, 5] = 1
    assert value(name, black, black) == pytest.approx(IDENTICAL[name], abs=1e-5)
    assert np.isfinite(value(name, black, spot)).all()


@pytest.mark.parametrize("name", IDENTICAL)
def test_a_value_does_not_depend_on_the_batch(name):
    clean = clean_images("random").repeat(2, 1, 1, 1)
    adversarial = changed(clean)
    together = value(name, clean, adversarial, enlarge=2)
    alone = np.concatenate([value(name, clean[i : i + 1], adversarial[i : i + 1], enlarge=2) for i in range(4)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(value(name, clean.flip(0), adversarial.flip(0), enlarge=2)[::-1], together)


def test_the_map_of_flip_has_flip_as_its_mean():
    clean = clean_images("digits")
    adversarial = changed(clean, 30)
    maps = human.flip_map(clean, adversarial)
    assert maps.shape == (2, 112, 112)
    np.testing.assert_allclose(maps.mean((1, 2)), value("flip", clean, adversarial), rtol=1e-12)
    away = human.flip_map(clean, adversarial, pixels_per_degree=120).mean((1, 2))
    np.testing.assert_allclose(away, value("flip", clean, adversarial, pixels_per_degree=120), rtol=1e-12)


@pytest.mark.parametrize("function", [human.flip_map, human.jod_map])
def test_a_map_shows_where_and_under_which_conditions_a_change_is_seen(function):
    clean = torch.full((2, 3, 32, 32), 0.5)
    adversarial = clean.clone()
    adversarial[0, :, 4:8, 20:24] = 0.8
    maps = function(clean, adversarial)
    assert maps.shape == (2, 128, 128)
    assert maps.dtype == torch.float64
    assert (maps[1] == 0).all()
    assert maps.min() >= 0
    top, left = np.unravel_index(int(maps[0].argmax()), (128, 128))
    # In the square, or on its edge.
    assert 15 <= top < 33
    assert 79 <= left < 97
    assert maps[0, 80:, :48].max() < 0.05 * maps[0].max()
    assert not torch.equal(function(clean, adversarial, pixels_per_degree=240)[0], maps[0])


def test_pixels_become_squares_and_nothing_else():
    image = torch.rand(1, 3, 9, 8)
    picture = shown("jod", image, 4)
    assert picture.shape == (1, 3, 36, 32)
    for row in range(4):
        torch.testing.assert_close(picture[:, :, row::4, 3::4], image, rtol=0, atol=0)
    assert factor(image, 5) == 5


def test_the_viewing_conditions_change_the_number():
    clean = clean_images("small photograph")
    adversarial = changed(clean)
    near = value("jod", clean, adversarial, pixels_per_degree=15)
    assert (near < value("jod", clean, adversarial)).all()
    assert (value("jod", clean, adversarial) < value("jod", clean, adversarial, enlarge=2)).all()
    assert (value("jod", clean, adversarial) != value("jod", clean, adversarial, display="standard_phone")).all()
    assert (value("flip", clean, adversarial) > value("flip", clean, adversarial, enlarge=1)).all()


@pytest.mark.parametrize("name", IDENTICAL)
def test_bad_images_are_refused_by_name(name):
    pixel = torch.zeros(1, 3, 1, 1)
    with pytest.raises(MetricError, match=f"{name}: images of 1 x 1 px.*take {name} out of metrics"):
        value(name, pixel, pixel)
    clean = clean_images("digits")
    broken = clean.clone()
    broken[1, 0, 3, 4] = torch.nan
    with pytest.raises(MetricError, match=f"{name}: an image has values that are NaN"):
        value(name, clean, broken)
    with pytest.raises(MetricError, match=f"{name}: an image has values.*clip it"):
        value(name, clean * 255, clean)


def test_dss_needs_four_blocks_a_side():
    small = clean_images("digits")
    assert np.isfinite(value("dss", small, changed(small), enlarge=2)).all()
    with pytest.raises(MetricError, match=r"dss: images of 28 x 28 px after enlarging.*metrics\.dss\.enlarge"):
        value("dss", small, small, enlarge=1)


@pytest.mark.parametrize(("display", "why"), [("cinema", "is not a display"), ("standard_hdr_pq", "takes no sRGB")])
def test_a_display_that_cannot_show_the_image_is_refused(display, why):
    clean = clean_images("digits")
    with pytest.raises(MetricError, match=rf"jod: '{display}' {why}.*metrics\.jod\.display.*standard_4k"):
        value("jod", clean, clean, display=display)


@pytest.mark.parametrize(("name", "module"), [("jod", "pycvvdp"), ("flip", "flip_evaluator")])
def test_a_missing_package_is_named_with_its_extra(name, module, monkeypatch):
    from infoadv.metrics import human

    human._observer.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    clean = clean_images("digits")
    with pytest.raises(MetricError, match=rf"{name} needs the optional extra perception.*take {name} out of metrics"):
        value(name, clean, clean)


def test_the_packages_are_imported_by_their_users_alone():
    program = (
        "import sys; from infoadv.registry import plugins; plugins.load('metrics', 'jod'); plugins.load('metrics', 'dss');"
        "assert not {'pycvvdp', 'flip_evaluator', 'piq', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_jod_has_a_gradient_also_after_it_was_a_metric():
    from infoadv.metrics.human import jod_of

    clean = clean_images("digits")
    adversarial = changed(clean)
    expected = value("jod", clean, adversarial, enlarge=2)
    perturbed = adversarial.clone().requires_grad_(True)
    values = jod_of(clean, enlarge=2)(perturbed)
    np.testing.assert_allclose(values.detach(), expected, atol=2e-6)
    (gradient,) = torch.autograd.grad(values.sum(), perturbed)
    assert gradient.isfinite().all()
    with torch.no_grad():
        step = 1e-3 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert (jod_of(clean, enlarge=2)((adversarial + step).clamp(0, 1)) > values).all()


@pytest.mark.parametrize("name", IDENTICAL)
def test_the_global_generator_is_left_alone(name):
    clean = clean_images("digits")
    before = torch.get_rng_state()
    value(name, clean, changed(clean), enlarge=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.parametrize("name", IDENTICAL)
def test_cuda_agrees_with_the_cpu(images, name):
    on_cpu = value(name, *images)
    on_gpu = value(name, *(part.to("cuda:0") for part in images))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)
