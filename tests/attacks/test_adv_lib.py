"""The attacks of adv-lib against models whose optimum is known, foolbox's own, and the traps that the adapter closes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.linear import Linear, Problem, linear_problem
from helpers.toys import l2
from infoadv import InfoadvError, data, models
from infoadv.attacks import AttackResult, CountingModel, adv_lib, adv_lib_lpips, margin
from infoadv.metrics import MetricContext
from infoadv.metrics.colour import ciede2000
from infoadv.metrics.perceptual import ssim
from infoadv.numerics.pixels import to_images
from infoadv.registry import plugins
from infoadv.stages import attack as attack_stage

pytest.importorskip("adv_lib", reason="adv-lib is not installed (optional extra peers)")

L2_ATTACKS = ["alma_l2", "fmn_l2", "cw_l2_adv_lib", "ddn_adv_lib"]
ALMA = ["alma_l2", "alma_ssim", "alma_ciede2000"]
COLOUR = ["alma_ciede2000", "perc_al"]
#: Every attack, at fewer steps than its default, on colour images of 12 px.
ATTACKS = {
    "alma_l2": {"steps": 150, "smoothing": 0.5},
    "alma_ssim": {"steps": 100, "smoothing": 0.5},
    "alma_ciede2000": {"steps": 100, "smoothing": 0.5, "first_distance": 1.0},
    "perc_al": {"steps": 60},
    "fmn_l2": {},
    "fmn_linf": {},
    "cw_l2_adv_lib": {"binary_search_steps": 5},
    "ddn_adv_lib": {},
}
#: Attacks that amplify rounding step by step; see the docstring of attacks/adv_lib.py.
AMPLIFYING = [*ALMA, "perc_al"]
#: Their options under which rounding grows so slowly, or not at all, that in float64 it is invisible at every step. Steps
#: are short, so that images succeed at different times.
CALM = {
    "alma_l2": {"steps": 100, "smoothing": 0.9, "first_distance": 0.003},
    "alma_ssim": {"smoothing": 0.9, "first_distance": 1e-6},
    "alma_ciede2000": {"smoothing": 0.9, "first_distance": 0.05},
    "perc_al": {"step_size": 0.3, "colour_step_size": 0.15},
}
SHAPE = (3, 12, 12)


def run(name: str, problem: Problem, targets: Tensor | None = None, indices: Tensor | None = None, **options):
    """Run a method on a problem, with the indices 0, 1, ... unless others are given, and check its result."""
    indices = torch.arange(len(problem.images)) if indices is None else indices
    options = ATTACKS[name] | options
    attack = getattr(adv_lib, name)
    result = attack(problem.model, problem.images, problem.labels, indices=indices, seed=3, targets=targets, **options)
    check(result, problem.images)
    return result


def check(result: AttackResult, images: Tensor) -> None:
    """Assert what every result must be."""
    assert result.adversarial.shape == images.shape
    assert result.adversarial.dtype == torch.float32
    assert not result.adversarial.requires_grad
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    assert result.first_success.shape == (len(images),)
    assert result.first_success.dtype == torch.int64


class Curved(nn.Module):
    """A small colour network with curved boundaries, for what a linear model cannot show."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(11)
        self.first = nn.Parameter(torch.randn(6, 3, 3, 3, generator=draws) / 2)
        self.second = nn.Parameter(torch.randn(5, 6 * 100, generator=draws) / 10)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * torch.tanh(F.conv2d(images - 0.5, self.first)).flatten(1) @ self.second.T


def curved_problem(count: int, scale: float = 1.0) -> Problem:
    model = Curved(scale).eval()
    images = torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        labels = model(images).argmax(1)
    return Problem(model, images, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("count", "classes", "shape"), [(1, 4, SHAPE), (3, 4, (1, 7, 5)), (9, 5, (1, 7, 5))], ids=str)
@pytest.mark.parametrize("name", [*L2_ATTACKS, "fmn_linf"])
def test_near_the_optimum_of_a_linear_model(name, shape, count, classes, targeted):
    # A cross-entropy sees the nearest class alone only in a confident network.
    problem = linear_problem(count, shape, classes, seed=count, scale=30.0 if name == "ddn_adv_lib" else 1.0)
    order = torch.inf if name == "fmn_linf" else 2
    optimum, nearest = problem.nearest(order)
    targets = nearest if targeted else None
    result = run(name, problem, targets)
    assert (result.first_success >= 0).all()
    assert (margin(problem.model(result.adversarial), problem.labels, targets) > 0).all()
    ratio = (result.adversarial - problem.images).flatten(1).norm(p=order, dim=1) / optimum
    assert ratio.min() >= 0.999
    assert ratio.max() <= 1.25


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_curved_network_is_fooled_as_asked_and_the_passes_are_known(name, targeted):
    problem = curved_problem(6)
    targets = problem.model(problem.images).topk(2).indices[:, 1] if targeted else None
    counting = CountingModel(problem.model, 6)
    result = run(name, Problem(counting, problem.images, problem.labels), targets)  # type: ignore[arg-type]
    assert (result.first_success > 0).all()
    assert (margin(problem.model(result.adversarial), problem.labels, targets) > 0).all()
    steps = ATTACKS[name].get("steps", 100) * ATTACKS[name].get("binary_search_steps", 1)
    assert (counting.backwards == steps).all()
    assert (counting.forwards == (2 * steps + 1 if name == "perc_al" else steps)).all()


def test_each_perceptual_attack_is_ahead_of_ddn_in_its_own_distance():
    problem = curved_problem(6)
    context = MetricContext(device=torch.device("cpu"), seed=0, indices=torch.arange(6))
    plain = run("ddn_adv_lib", problem).adversarial
    for name, metric, sign in (("alma_ssim", ssim, -1), ("alma_ciede2000", ciede2000, 1), ("perc_al", ciede2000, 1)):
        own = run(name, problem).adversarial
        ours, theirs = (sign * metric(problem.images, x, context=context) for x in (own, plain))
        assert ours.mean() < theirs.mean(), name


@pytest.mark.parametrize("name", ATTACKS)
def test_a_failure_is_the_nearest_attempt_and_marked(name):
    problem = curved_problem(3)
    seen: list[Tensor] = []

    class Stubborn(nn.Module):
        """Keeps the label of the second image out of reach, whatever is done to it."""

        def forward(self, images: Tensor) -> Tensor:
            logits = problem.model(images)
            seen.append(images.detach()[1].clone())
            return logits + 1e3 * F.one_hot(problem.labels, 5) * torch.tensor([0.0, 1.0, 0.0])[:, None]

    result = run(name, Problem(Stubborn().eval(), problem.images, problem.labels))  # type: ignore[arg-type]
    assert (result.first_success[[0, 2]] >= 0).all()
    assert result.first_success[1] == -1
    attempts = torch.stack([images for images in seen if not torch.equal(images, problem.images[1])])
    with torch.no_grad():
        margins = margin(problem.model(attempts), problem.labels[1].expand(len(attempts)))
        reached = margin(problem.model(result.adversarial[1:2]), problem.labels[1:2])
    torch.testing.assert_close(reached[0], margins.max(), rtol=1e-3, atol=1e-3)


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Make adv-lib work in ``dtype``: in some places it names torch.float, in others it takes the default."""
    torch.set_default_dtype(dtype)
    try:
        with patch.object(torch, "float", dtype):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def traced(name, batches, dtype, *, layout=torch.contiguous_format, **options):
    """Attack six images in these ``batches``; return the L2 of each (N,) and what its gradient steps saw (N, K, ...)."""
    problem = curved_problem(6)
    model, images = problem.model.to(dtype), problem.images.to(dtype)
    seen: list[Tensor] = []

    def watch(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0].requires_grad:
            seen.append(inputs[0].detach().contiguous())

    model.register_forward_pre_hook(watch)
    attack, options = getattr(adv_lib, name), ATTACKS[name] | options
    distances = torch.empty(len(images), dtype=dtype)
    steps: dict[int, Tensor] = {}
    for batch in batches:
        seen.clear()
        chosen = images[batch].contiguous(memory_format=layout)
        with precision(dtype):
            result = attack(model, chosen, problem.labels[batch], indices=torch.tensor(batch), seed=3, **options)
        distances[batch] = l2(result.adversarial, chosen)
        steps |= dict(zip(batch, torch.stack(seen, 1), strict=True))
    return distances, torch.stack([steps[index] for index in range(len(images))])


def moved(name, dtype, **options):
    """Yield for other batches and another layout: what changed, how far L2 (N,) and the inputs of the steps (N, K) moved.

    Both are relative to the L2 of the image in one batch of all.
    """
    together = [list(range(6))]
    expected, steps = traced(name, together, dtype, **options)
    for change, batches, layout in (
        ("batch", [[5], [3, 0, 4, 1, 2]], torch.contiguous_format),
        ("layout", together, torch.channels_last),
    ):
        distances, others = traced(name, batches, dtype, layout=layout, **options)
        yield change, (distances / expected - 1).abs(), (others - steps).flatten(2).norm(dim=2) / expected[:, None]


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [(torch.float32, 5, 3e-4), (torch.float64, 20, 1e-9)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("name", ATTACKS)
def test_batch_and_layout_change_a_short_run_by_rounding_alone(name, dtype, steps, tolerance):
    if name == "alma_ssim" and dtype == torch.float32:
        # What single precision does to it depends on the processor: 5e-4 was seen where there is AVX2 and no AVX-512.
        tolerance = 1e-3
    for change, distances, inputs in moved(name, dtype, steps=steps):
        assert inputs.max() < tolerance, change
        assert distances.max() < tolerance, change


@pytest.mark.parametrize("name", ATTACKS)
def test_in_float64_batch_and_layout_do_not_matter_at_any_step(name):
    for change, distances, inputs in moved(name, torch.float64, **CALM.get(name, {})):
        assert inputs.max() < 1e-6, change
        assert distances.max() < 1e-8, change


def test_alma_s_search_for_the_first_step_does_not_look_at_the_batch():
    # So far that the first step has to be doubled, more often for some images than for others.
    for change, distances, inputs in moved("alma_l2", torch.float64, steps=2, first_distance=8.0):
        assert inputs.max() < 1e-9, change
        assert distances.max() < 1e-9, change


@pytest.mark.parametrize("name", ATTACKS)
def test_in_float32_batch_and_layout_move_most_images_little(name):
    for change, distances, _ in moved(name, torch.float32):
        if name in AMPLIFYING:
            assert distances.median() < 0.02, change
        else:
            assert distances.max() < 1e-4, change


@pytest.mark.parametrize("name", ALMA)
def test_alma_s_tolerance_is_on_the_right_side_of_the_boundary(name):
    # Logits so small that the tolerance is most of the way to the boundary.
    problem = linear_problem(4, SHAPE, 5, scale=1e-4)
    targets = problem.nearest(2)[1]
    result = run(name, problem, targets)
    assert (result.first_success >= 0).all()
    assert (margin(problem.model(result.adversarial), problem.labels, targets) > 0).all()


def test_alma_s_search_for_the_first_step_ends_where_no_pixel_can_move():
    # The only pixel that counts is at its bound, and the step leads out of the box.
    images = torch.full((2, *SHAPE), 0.5)
    images[1, 0, 0, 0] = 1.0
    weight = torch.zeros(4, images[0].numel())
    weight[1, 0] = 1.0
    problem = Problem(Linear(weight, torch.tensor([2.0, 0.9, 0.5, 0.2])).eval(), images, torch.zeros(2).long())
    result = run("alma_l2", problem, steps=5)
    assert (result.first_success == -1).all()
    assert torch.isfinite(result.adversarial).all()


@pytest.mark.parametrize("name", ["alma_l2", "ddn_adv_lib"])
def test_the_seed_and_the_index_decide_what_stands_in_for_a_zero_gradient(name):
    class Flat(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([3.0, 2.0, 1.0, 0.0]) + 0 * images.flatten(1)[:, :4]

    images = torch.full((2, *SHAPE), 0.5)
    problem = Problem(Flat().eval(), images, torch.zeros(2).long())  # type: ignore[arg-type]
    # The attempt of a flat network is its first: the direction drawn.
    different = run(name, problem, indices=torch.tensor([0, 1]), steps=2).adversarial
    assert (different[0] - different[1]).abs().max() > 1e-4
    same = run(name, problem, indices=torch.tensor([1, 1]), steps=2).adversarial
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(same[0], different[1])


@pytest.mark.parametrize("name", ["ddn_adv_lib", "perc_al"])
def test_a_confident_network_is_attacked_all_the_same(name):
    # Margins at which the cross-entropy underflows.
    problem = linear_problem(4, SHAPE, 4, distance=0.05, scale=30.0)
    assert (margin(problem.model(problem.images), problem.labels) < -200).all()
    result = run(name, problem, **({"steps": 200} if name == "perc_al" else {}))
    assert (result.first_success >= 0).all()
    assert (margin(problem.model(result.adversarial), problem.labels) > 0).all()


def test_cw_reaches_its_confidence():
    problem = linear_problem(4, (1, 7, 5), 3)
    result = run("cw_l2_adv_lib", problem, confidence=2.0)
    reached = margin(problem.model(result.adversarial), problem.labels)
    assert (reached > 2.0).all()
    assert (reached < 2.5).all()


@pytest.mark.parametrize("name", COLOUR)
def test_gray_images_are_refused_with_the_way_out(name):
    with pytest.raises(InfoadvError, match=rf"{name} works on colour images.*`datasets`"):
        run(name, linear_problem(1, (1, 12, 12), 4))


@pytest.mark.parametrize(("classes", "targeted"), [(2, False), (3, True)])
def test_alma_says_how_many_classes_it_needs(classes, targeted):
    problem = linear_problem(2, (1, 12, 12), classes)
    with pytest.raises(InfoadvError, match=rf"needs at least {classes + 1} classes.*has {classes}; use fmn_l2"):
        run("alma_ssim", problem, problem.nearest(2)[1] if targeted else None)


def test_without_adv_lib_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "adv_lib.attacks.fast_minimum_norm", None)
    with pytest.raises(InfoadvError, match=r"extra peers.*pip install"):
        run("fmn_l2", linear_problem(1, (1, 7, 5), 3))


class Maps(nn.Module):
    """Stands in for AlexNet: two maps of a colour image."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[int] = []

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        assert images.shape[1] == 3
        self.sides.append(images.shape[-1])
        filters = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
        first = F.conv2d(images - 0.5, filters, stride=2).relu()
        return first, F.avg_pool2d(first, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_alma_lpips_minimises_the_distance_of_the_maps(channels, monkeypatch):
    monkeypatch.setattr(adv_lib_lpips, "alexnet_features", lambda device: maps)
    maps = Maps()
    problem = linear_problem(4, (channels, 12, 12), 4)
    arguments = (problem.model, problem.images, problem.labels)
    options = {"indices": torch.arange(4), "seed": 0, "steps": 100, "smoothing": 0.5}
    result = adv_lib_lpips.alma_lpips(*arguments, **options)
    check(result, problem.images)
    assert (margin(problem.model(result.adversarial), problem.labels) > 0).all()
    assert set(maps.sides) == {64}
    if channels == 1:
        # Its first success comes after some 50 of the 100 steps: too late to be ahead of anything.
        return
    distance = adv_lib_lpips.lpips_distance(maps, problem.images)
    assert distance(result.adversarial).mean() < distance(run("ddn_adv_lib", problem).adversarial).mean()


def test_alma_lpips_without_weights_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    problem = linear_problem(1, SHAPE, 4)
    with pytest.raises(InfoadvError, match=r"alma_lpips.*no network.*infoadv fetch --source lpips"):
        adv_lib_lpips.alma_lpips(problem.model, problem.images, problem.labels, indices=torch.arange(1), seed=0)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("name", "tolerance"), [("ddn", 1e-3), ("cw_l2", 0.03)])
def test_foolbox_and_adv_lib_agree(name, tolerance, targeted, digits_data, trained_model):
    model, _ = models.load(trained_model, torch.device("cpu"))
    dataset, _ = data.load(digits_data)
    chosen = attack_stage.select(model, dataset, 16, 0, torch.device("cpu"), "small")
    images = to_images(dataset.x_test[chosen], "cpu")
    labels = torch.from_numpy(dataset.y_test[chosen])
    targets = (labels + 1) % 10 if targeted else None
    distances, first = [], []
    for method in (name, f"{name}_adv_lib"):
        attack = plugins.load("attacks", method)
        result = attack(model, images, labels, indices=torch.from_numpy(chosen), seed=0, targets=targets)
        first.append(result.first_success)
        distances.append(l2(result.adversarial, images))
    assert torch.equal(*first)
    reached = first[0] >= 0
    # One target is out of C&W's reach in 100 steps for each constant; in 300 it is not.
    assert (~reached).sum() <= (name == "cw_l2" and targeted)
    differences = (distances[0] / distances[1] - 1)[reached].abs()
    assert differences.median() < 1e-3
    assert differences.max() < tolerance
