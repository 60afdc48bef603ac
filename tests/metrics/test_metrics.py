"""Every metric against its reference package, and the properties that all of them share."""

from __future__ import annotations

import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import nn

from infoadv import InfoadvError, metrics
from infoadv.metrics import MetricContext
from infoadv.registry import plugins
from infoadv.report.columns import SYMBOL
from infoadv.stages.calibrate import images_at

SHAPES = {"gray": (1, 28, 28), "colour": (3, 32, 32), "odd": (1, 17, 23), "odd colour": (3, 21, 19)}
#: Metrics of this part, with the value of identical images.
IDENTICAL = {
    "l0": 0,
    "l2": 0,
    "linf": 0,
    "psnr": np.inf,
    "ssim": 1,
    "haarpsi": 1,
    "gmsd": 0,
    "vif": 1,
    "nmi": 2,
    "ciede2000": 0,
    "lpips": 0,
}


def pair(shape: tuple[int, int, int], count: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return smooth clean images and noisy ones, both with the values of 8-bit images."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    y, x = np.mgrid[:height, :width] / 8
    phase = rng.uniform(0, 6, (2, count, channels, 1, 1))
    clean = 127.5 * (1 + np.sin(x + phase[0]) * np.cos(y + phase[1]))
    noisy = clean + rng.normal(0, 12, clean.shape)
    return tuple(torch.from_numpy(np.rint(np.clip(part, 0, 255))).float() / 255 for part in (clean, noisy))


def network(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    ).eval()


def context(count: int, channels: int = 1) -> MetricContext:
    return MetricContext(torch.device("cpu"), 0, torch.arange(count), network(channels))


def value(name: str, clean: torch.Tensor, adversarial: torch.Tensor, **options) -> np.ndarray:
    function = plugins.load("metrics", name)
    result = function(clean, adversarial, context=context(len(clean), clean.shape[1]), **options)
    assert result.dtype == torch.float64
    assert result.shape == (len(clean),)
    return result.numpy()


def enlarged(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return nn.functional.interpolate(images.double(), (height, width), mode="bilinear").clamp(0, 1)


@pytest.fixture(params=SHAPES, name="images")
def _images(request):
    return pair(SHAPES[request.param])


def test_distances(images):
    clean, adversarial = (part.double() for part in images)
    delta = (adversarial - clean).numpy()
    np.testing.assert_array_equal(value("l0", *images), (delta != 0).any(1).sum((1, 2)))
    np.testing.assert_allclose(value("l2", *images), [np.linalg.norm(part) for part in delta], rtol=1e-12)
    np.testing.assert_allclose(value("linf", *images), np.abs(delta).max((1, 2, 3)), rtol=1e-12)


def test_l0_counts_places():
    clean = torch.zeros(1, 3, 16, 16)
    adversarial = clean.clone()
    adversarial[0, :, 2, 3] = 0.5
    adversarial[0, 1, 4, 4] = 0.5
    assert value("l0", clean, adversarial) == [2]


def test_psnr(images):
    from skimage.metrics import peak_signal_noise_ratio

    both = zip(*(part.double().numpy() for part in images), strict=True)
    expected = [peak_signal_noise_ratio(clean, adversarial, data_range=1) for clean, adversarial in both]
    np.testing.assert_allclose(value("psnr", *images), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "function"), [("ssim", "ssim"), ("haarpsi", "haarpsi"), ("gmsd", "gmsd")])
def test_against_piq(images, name, function):
    import piq

    clean, adversarial = (part.double() for part in images)
    expected = getattr(piq, function)(adversarial, clean, data_range=1.0, reduction="none")
    np.testing.assert_allclose(value(name, *images), expected.numpy(), rtol=1e-10)


def test_vif_of_small_images_is_taken_at_64_px():
    import piq

    for shape, size in {(1, 28, 28): (64, 64), (3, 32, 32): (64, 64), (1, 20, 30): (64, 96), (1, 65, 70): None}.items():
        clean, adversarial = pair(shape, 2)
        sizes = size or shape[1:]
        expected = piq.vif_p(enlarged(adversarial, *sizes), enlarged(clean, *sizes), reduction="none")
        np.testing.assert_allclose(value("vif", clean, adversarial), expected.numpy(), rtol=1e-9)


def test_ssim_agrees_with_skimage_on_the_windows_inside_the_image():
    from skimage.metrics import structural_similarity

    clean, adversarial = pair((1, 28, 28), 1)
    _, full = structural_similarity(
        clean[0, 0].double().numpy(),
        adversarial[0, 0].double().numpy(),
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
        truncate=3.5,
        full=True,
    )
    np.testing.assert_allclose(value("ssim", clean, adversarial), full[5:-5, 5:-5].mean(), rtol=1e-6)


def test_ciede2000():
    from skimage.color import deltaE_ciede2000, rgb2lab

    clean, adversarial = pair((3, 21, 19))
    expected = [
        deltaE_ciede2000(*(rgb2lab(image.double().permute(1, 2, 0).numpy()) for image in both)).mean()
        for both in zip(clean, adversarial, strict=True)
    ]
    np.testing.assert_allclose(value("ciede2000", clean, adversarial), expected, rtol=1e-12)
    assert np.isnan(value("ciede2000", *pair((1, 20, 20)))).all()


def test_nmi_agrees_with_skimage_given_its_bins(images):
    from skimage.metrics import normalized_mutual_information

    edges = np.arange(0, 257, 16)
    levels = [(part * 255).round().numpy() for part in images]
    expected = [
        np.mean([normalized_mutual_information(a, b, bins=[edges, edges]) for a, b in zip(*both, strict=True)])
        for both in zip(*levels, strict=True)
    ]
    np.testing.assert_allclose(value("nmi", *images), expected, rtol=1e-12)


def test_nmi_has_a_fixed_range():
    clean, adversarial = pair((1, 28, 28), 1)
    # Half the contrast: the values move to other bins, and the score does not see that they shrank in number.
    dim, dim_adversarial = (torch.floor(part * 127) / 255 for part in (clean, adversarial))
    before = value("nmi", dim, dim_adversarial)
    # One far pixel in each must not move the bins of all others.
    dim[0, 0, 0, 0] = dim_adversarial[0, 0, 0, 0] = 1
    assert abs(value("nmi", dim, dim_adversarial) - before) < 0.05


def test_nmi_of_special_images():
    clean, _ = pair((1, 28, 28), 1)
    flat = torch.full_like(clean, 0.5)
    assert value("nmi", clean, 1 - clean) == pytest.approx(2)  # it sees a relation, not likeness
    assert value("nmi", flat, flat) == 2
    assert value("nmi", flat, clean) == pytest.approx(1)


def test_no_metric_fails_on_black_images():
    black, spot = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    spot[0, 0, 5, 5] = 1
    for name, expected in IDENTICAL.items():
        assert value(name, black, black) == pytest.approx(expected), name
        assert np.isfinite(value(name, black, spot)).all(), name


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("name", IDENTICAL)
def test_identical_images(name, shape):
    clean, _ = pair(shape)
    expected = np.nan if name == "ciede2000" and shape[0] == 1 else IDENTICAL[name]
    np.testing.assert_allclose(value(name, clean, clean.clone()), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", [*IDENTICAL, "mi_projection", "perturbation_information"])
def test_a_value_does_not_depend_on_the_batch(name):
    clean, adversarial = pair((3, 32, 32), 5)
    together = value(name, clean, adversarial)
    alone = np.concatenate([value(name, clean[i : i + 1], adversarial[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-5 if name == "lpips" else 1e-10)
    np.testing.assert_allclose(value(name, clean.flip(0), adversarial.flip(0))[::-1], together, rtol=1e-5)


@pytest.mark.parametrize(("name", "smallest"), [("ssim", 11), ("haarpsi", 16), ("gmsd", 3), ("vif", 3)])
def test_smallest_size(name, smallest):
    assert np.isfinite(value(name, *pair((1, smallest, smallest + 4)))).all()
    if name in ("ssim", "haarpsi"):
        with pytest.raises(InfoadvError, match=rf"{name}: .*at least {smallest} x {smallest}"):
            value(name, *pair((1, 40, smallest - 1)))


# ---------------------------------------------------------------------------------------------------------- information


def test_mi_projection_is_that_of_a_bivariate_normal(images):
    clean, adversarial = (part.double().flatten(1).numpy() for part in images)
    rho = (clean * adversarial).sum(1) / (np.linalg.norm(clean, axis=1) * np.linalg.norm(adversarial, axis=1))
    np.testing.assert_allclose(value("mi_projection", *images), -0.5 * np.log(1 - rho**2), rtol=1e-9)


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_perturbation_information_window_by_window(images, noise):
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def local(maps):
        return np.stack([[correlate(channel, window, mode="mirror") for channel in image] for image in maps])

    clean, adversarial = (part.double().numpy() for part in images)
    energy, texture = local((adversarial - clean) ** 2), local(clean**2) - local(clean) ** 2
    expected = 0.5 * np.log1p(energy / (texture + noise**2)).sum((1, 2, 3))
    found = value("perturbation_information", *images, noise=noise)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_mi_mine_is_the_mean_of_its_critics_near_the_closed_form():
    clean, adversarial = images_at([0.5, 0.87])
    both, one = (value("mi_mine", clean, adversarial, seeds=seeds) for seeds in (2, 1))
    np.testing.assert_allclose(both, -0.5 * np.log(1 - np.array([0.5, 0.87]) ** 2), rtol=0.2)
    assert (both != one).all()


# ---------------------------------------------------------------------------------------------------------------- LPIPS


def test_reference_lpips_by_hand():
    """One 1 x 1 convolution to two channels, ReLU, flatten: unit vectors can be written down."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
        net[0].bias.copy_(torch.tensor([0.0, -4.0]))
    clean, adversarial = torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
    clean[0, 0, 0, 1] = 2
    # Position 0 is equal. Position 1: clean (6, 4) / sqrt(52), adversarial (3, 0) / 3.
    function = plugins.load("metrics", "lpips")
    result = function(clean, adversarial, context=MetricContext(torch.device("cpu"), 0, torch.arange(1), net))
    expected = ((6 / 52**0.5 - 1) ** 2 + (4 / 52**0.5) ** 2) / 2
    assert result.item() == pytest.approx(expected, rel=1e-6)


def test_reference_lpips_has_the_form_of_the_package():
    import lpips

    clean, adversarial = pair((3, 20, 20))
    net, expected = network(3), 0
    with torch.no_grad():
        for depth in (2, 4):
            first, second = (lpips.normalize_tensor(net[:depth](images)) for images in (clean, adversarial))
            expected += lpips.spatial_average((first - second).square().sum(1, keepdim=True)).flatten()
    np.testing.assert_allclose(value("lpips", clean, adversarial), expected.numpy(), rtol=1e-5)


def test_reference_lpips_survives_a_network_that_works_in_place():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True)

        def forward(self, images):
            maps = self.relu(self.conv(images))
            maps += 1
            return self.relu(maps).flatten(1)

    function = plugins.load("metrics", "lpips")
    clean, adversarial = pair((1, 16, 16), 2)
    net = Residual()
    result = function(clean, adversarial, context=MetricContext(torch.device("cpu"), 0, torch.arange(2), net))
    # One channel: its normalised activation is 0 or 1, and in the second stage 1 everywhere.
    active = [(net.conv(images) > 0).double() for images in (clean, adversarial)]
    expected = (active[0] - active[1]).abs().mean((1, 2, 3))
    np.testing.assert_allclose(result.numpy(), expected.numpy(), atol=1e-6)
    assert not any(module._forward_hooks for module in net.modules())


def test_reference_lpips_refuses_what_it_cannot_look_through():
    function = plugins.load("metrics", "lpips")
    images = torch.zeros(1, 1, 16, 16)
    with pytest.raises(InfoadvError, match=r"lpips\.reference"):
        function(images, images, context=MetricContext(torch.device("cpu"), 0, torch.arange(1)))
    blind = MetricContext(torch.device("cpu"), 0, torch.arange(1), nn.Sequential(nn.Flatten(), nn.ReLU()))
    with pytest.raises(InfoadvError, match="ReLU"):
        function(images, images, context=blind)


@pytest.mark.parametrize("backbone", ["alex", "vgg", "squeeze"])
def test_without_network_and_cache_the_way_out_is_named(backbone, tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network in this test")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", offline)
    with pytest.raises(InfoadvError, match="snakemake --cores 1 fetch_lpips") as caught:
        value("lpips", *pair((1, 20, 20)), backbone=backbone)
    assert "lpips.backbone: reference" in str(caught.value)
    assert backbone in str(caught.value)
    assert not list(tmp_path.rglob("*.pth"))


def test_altered_weights_are_refused(tmp_path, monkeypatch):
    from infoadv.metrics.learned import fetch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the weights")
    with pytest.raises(InfoadvError, match="remove it"):
        fetch("squeeze")


def test_pretrained_lpips_is_the_packages(monkeypatch):
    """Random trunk, so that nothing is downloaded: the calibrated weights and the preparation of images are real."""
    import lpips

    from infoadv.metrics import learned as module

    torch.manual_seed(0)
    net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    monkeypatch.setattr(module, "_pretrained", lambda backbone, device: net)
    for shape in ((1, 28, 28), (3, 32, 32)):
        clean, adversarial = pair(shape, 2)
        repeated = [enlarged(part, 64, 64).float().expand(-1, 3, -1, -1) for part in (adversarial, clean)]
        with torch.no_grad():
            expected = net(*(2 * part - 1 for part in repeated)).flatten()
        np.testing.assert_allclose(value("lpips", clean, adversarial, backbone="alex"), expected.numpy(), rtol=1e-4)


@pytest.mark.network
def test_fetched_weights_are_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    clean, adversarial = pair((3, 32, 32), 2)
    assert (value("lpips", clean, adversarial, backbone="squeeze") > 0).all()
    assert value("lpips", clean, clean, backbone="squeeze") == pytest.approx([0, 0])


# -------------------------------------------------------------------------------------------------------- declarations


def test_columns_and_about_agree():
    schemas = plugins.schemas("metrics")
    columns = set()
    for name, options in schemas.items():
        for backbone in options.get("backbone", {}).get("enum", [None]):
            columns.add(metrics.column(name, {} if backbone is None else {"backbone": backbone}))
    assert columns == set(metrics.about())
    required, optional = (
        {"label", "better", "group", "description"},
        {"symbol", "short", "decimals", "order", "colour_only"},
    )
    # What some attacks are named after is what these metrics measure.
    attacks = plugins.schemas("attacks").keys() - {"masking", "projection", "mine", "observer"}
    for about in metrics.about().values():
        assert required <= about.keys() <= required | optional
        assert about["better"] in ("lower", "higher", "none")
        assert about["group"] in ("distance", "perceptual", "information")
        assert about["description"].endswith(".")
        assert SYMBOL.fullmatch(about.get("symbol", "$L$"))
        words = set(re.split(r"\W+", " ".join(map(str, about.values()))))
        assert not words & attacks, "an attack says what it optimises"


@pytest.mark.parametrize(("attack", "optimised"), sorted(plugins.literals("attacks", "OPTIMISES").items()))
def test_an_attack_optimises_columns_that_there_are(attack, optimised):
    assert attack in plugins.schemas("attacks")
    assert set(optimised) <= set(metrics.about())


def test_the_attacks_on_a_norm_say_so():
    optimises = plugins.literals("attacks", "OPTIMISES")
    assert optimises["cw_l2"] == optimises["ddn"] == optimises["alma_l2"] == ["l2", "psnr"]
    assert optimises["fgsm"] == optimises["fmn_linf"] == ["linf"]
    assert optimises["alma_lpips"] == ["lpips_reference", "lpips_alex"]


def test_about_and_piq_stay_light():
    """about() is called by the Snakefile, and piq's own __init__ would take longer to import than torch."""
    program = (
        "import sys; from infoadv import metrics; metrics.about(); assert 'torch' not in sys.modules;"
        "from infoadv.metrics import perceptual as p; p.piq_function('vif', 'vif_p'); p.piq_function('ssim', 'ssim');"
        "p.piq_function('ssim', 'ssim'); assert 'torchvision' not in sys.modules and 'piq' not in sys.modules;"
        "import types; assert isinstance(p.piq_function('gmsd', 'gmsd'), types.FunctionType)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_piq_is_whole_after_its_parts_were_used():
    value("ssim", *pair((1, 16, 16)))
    import piq

    assert isinstance(piq.ssim, types.FunctionType)
    assert piq.__version__
