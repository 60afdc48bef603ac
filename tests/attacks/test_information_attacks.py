"""The mutual-information attack on linear models, where the optimum is known, and its independence of the batch."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.linear import linear_problem
from infoadv.attacks import AttackError, CountingModel, margin
from infoadv.information.masking import masking_weights, perturbation_information
from infoadv.registry import plugins

QUICK = {
    "projection decoupled": {"estimator": "projection", "search": "decoupled", "steps": 60},
    "masking decoupled": {"estimator": "masking", "search": "decoupled", "steps": 60},
    "masking binary": {"estimator": "masking", "search": "binary", "steps": 60, "search_steps": 3},
    "weighted decoupled": {"estimator": "weighted_l2", "search": "decoupled", "steps": 60},
    "observer": {"estimator": "observer", "steps": 60},
    "projection primal-dual": {"estimator": "projection", "search": "primal_dual", "steps": 150},
    "mine binary": {"estimator": "mine", "steps": 60, "search_steps": 3, "samples": 64, "hidden": 8},
    "mine conv": {"estimator": "mine", "batch": "conv", "steps": 80, "search_steps": 3},
    "mine fixed projections": {"estimator": "mine", "redraw": False, "steps": 60, "search_steps": 3, "samples": 64},
}


class ConvModel(torch.nn.Module):
    """A random convolutional model of four classes."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Conv2d(channels, 8, 3, padding=1)
        self.head = torch.nn.Linear(8 * size[0] * size[1], 4)
        # Centred on random images, so that every class has some of them.
        typical = torch.rand(200, channels, *size, generator=torch.Generator().manual_seed(99))
        self.head.bias.data -= self(typical).mean(0).detach() / 20

    def forward(self, images):
        # Scaled to logits as large as a trained network's.
        return 20 * self.head(self.features(images).relu().flatten(1))


def conv_problem(count=4, channels=1, size=(9, 11), seed=0):
    images = torch.randint(0, 256, (count, channels, *size), generator=torch.Generator().manual_seed(seed)) / 255
    model = ConvModel(channels, size).eval().requires_grad_(False)
    return model, images, model(images).argmax(1)


def steep_problem(*args, seed):
    """A linear problem whose softmax names one class, as a trained network's does."""
    problem = linear_problem(*args, seed=seed)
    problem.model.weight.data *= 30
    problem.model.bias.data *= 30
    return problem


def run(model, images, labels, *, estimator, **options):
    return plugins.load("attacks", estimator)(model, images, labels, **options)


@pytest.mark.parametrize("name", list(QUICK))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_estimator_and_search_succeeds_inside_the_box(name, channels):
    model, images, labels = conv_problem(channels=channels)
    counting = CountingModel(model, len(images))
    result = run(counting, images, labels, **QUICK[name])
    assert (margin(model(result.adversarial), labels) > 0).all()
    assert (result.first_success >= 0).all()
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    chosen = {"search": "decoupled" if name == "observer" else "binary"} | QUICK[name]
    rounds = chosen["search_steps"] if chosen["search"] == "binary" else 1
    assert (counting.forwards == rounds * chosen["steps"]).all()
    assert (counting.backwards == rounds * chosen["steps"]).all()
    assert result.trace["margin"].shape == (len(images), len(result.trace["step"]))
    assert len(result.trace["step"]) <= 100


@pytest.mark.parametrize("options", [{"estimator": "projection"}, {"estimator": "masking", "exponent": 0.0}])
@pytest.mark.parametrize(("count", "shape"), [(1, (1, 7, 7)), (6, (3, 8, 5))])
@pytest.mark.parametrize("targeted", [False, True])
def test_decoupled_search_reaches_the_optimal_l2_of_a_linear_model(options, count, shape, targeted):
    problem = steep_problem(count, shape, 5, seed=count)
    optimum, nearest = problem.nearest(2)
    targets = nearest if targeted else None
    result = run(
        problem.model,
        problem.images,
        problem.labels,
        search="decoupled",
        quantize=False,
        steps=100,
        targets=targets,
        **options,
    )
    distance = (result.adversarial - problem.images).flatten(1).norm(dim=1)
    assert (margin(problem.model(result.adversarial), problem.labels, targets) > 0).all()
    assert (distance / optimum).max() < 1.25


@pytest.mark.parametrize("estimator", ["masking", "projection", "weighted_l2", "observer"])
def test_several_classes_find_the_near_one_behind_a_far_one_with_the_larger_logit(estimator):
    # Class 1 has the larger logit, by which an untargeted search goes, but so flat a one that class 2 is ten times nearer.
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    draws = torch.Generator().manual_seed(1)
    model[1].weight.data = torch.stack(
        [torch.zeros(64), torch.randn(64, generator=draws), 40 * torch.randn(64, generator=draws)]
    )
    images = torch.full((3, 1, 8, 8), 0.5)
    with torch.no_grad():
        model[1].bias.data = torch.tensor([0.0, -5.0, -20.0]) - model[1].weight @ images[0].flatten()
    model.requires_grad_(False)
    labels = torch.zeros(3, dtype=torch.int64)
    distances = {}
    for classes in (1, 2, 5):
        counting = CountingModel(model, 3)
        result = run(counting, images, labels, estimator=estimator, steps=60, classes=classes, quantize=False)
        assert (counting.forwards == 60 * classes).all()
        assert (counting.backwards == 60 * classes).all()
        assert (margin(model(result.adversarial), labels) > 0).all()
        assert len(result.trace["step"]) <= 100
        distances[classes] = (result.adversarial - images).flatten(1).norm(dim=1)
    assert (distances[2] < 0.75 * distances[1]).all()
    assert torch.equal(distances[5], distances[2])
    # Each search begins at the norm at which a linear model reaches its own class, so that the second is at its boundary at once.
    first = run(model, images, labels, estimator=estimator, steps=2, classes=2, quantize=False)
    assert first.trace["margin"][:, 3].abs().max() < 1
    # A target is a class already.
    aimed = {"estimator": estimator, "steps": 20, "targets": torch.full((3,), 2)}
    assert torch.equal(
        run(model, images, labels, **aimed, classes=2).adversarial, run(model, images, labels, **aimed).adversarial
    )


def test_masking_reaches_the_optimum_in_its_own_coordinates():
    # In whitened coordinates the model is linear too, so the least weighted norm to the boundary is known.
    problem = steep_problem(5, (1, 9, 9), 4, seed=3)
    result = run(
        problem.model,
        problem.images,
        problem.labels,
        estimator="masking",
        search="decoupled",
        quantize=False,
        steps=100,
    )
    root = masking_weights(problem.images).sqrt()
    delta = result.adversarial - problem.images
    reached = (delta * root).flatten(1).norm(dim=1)
    logits, weight = problem.model(problem.images), problem.model.weight
    slopes = (weight[problem.labels][:, None] - weight) / root.flatten(1)[:, None]
    margins = logits.gather(1, problem.labels[:, None]) - logits
    optimum = torch.where(margins > 0, margins / slopes.norm(dim=2), torch.inf).amin(1)
    assert (reached / optimum).max() < 1.25


def test_epsilon_confidence_and_failure_are_honoured():
    model, images, labels = conv_problem()
    epsilon = 0.02
    for search in ("decoupled", "binary"):
        result = run(
            model, images, labels, estimator="masking", search=search, steps=20, epsilon=epsilon, quantize=False
        )
        assert (result.adversarial - images).abs().max() <= epsilon + 1e-6
    confident = run(model, images, labels, estimator="masking", search="decoupled", steps=80, confidence=2.0)
    reached = margin(model(confident.adversarial), labels)
    assert (reached[confident.first_success >= 0] >= 2.0).all()
    assert (confident.first_success >= 0).any()
    hopeless = run(model, images, labels, estimator="masking", search="decoupled", steps=5, epsilon=1e-6)
    assert (hopeless.first_success == -1).all()


def test_an_image_alone_and_in_another_order_gives_the_same_distance():
    model, images, labels = conv_problem(6)
    indices = torch.tensor([4, 7, 9, 12, 13, 20])
    for name in ("masking decoupled", "mine binary"):

        def distances(order, options=QUICK[name]):
            result = run(model, images[order], labels[order], indices=indices[order], seed=1, **options)
            return (result.adversarial - images[order]).flatten(1).norm(dim=1)

        together = distances(torch.arange(6))
        alone = torch.cat([distances(torch.tensor([number])) for number in range(6)])
        backwards = distances(torch.arange(6).flip(0)).flip(0)
        assert (alone / together - 1).abs().median() < 0.01
        assert (backwards / together - 1).abs().median() < 0.01


def test_masking_beats_plain_l2_on_its_objective():
    model, images, labels = conv_problem(8, size=(12, 12))
    images[:, :, :, :6] = 0.5
    labels = model(images).argmax(1)
    ours = run(model, images, labels, estimator="masking", search="decoupled", steps=80)
    plain = run(model, images, labels, estimator="masking", exponent=0.0, search="decoupled", steps=80)
    ours, plain = (perturbation_information(images, r.adversarial) for r in (ours, plain))
    assert ours.mean() < plain.mean()


def test_pairs_give_a_smaller_perturbation_than_matrices():
    # Same estimate, less noisy gradient: Adam turns the noise of drawn matrices into perturbation.
    model, images, labels = conv_problem(4)
    options = {"estimator": "mine", "search": "primal_dual", "steps": 120, "samples": 64, "dimension": 4, "hidden": 8}
    results = {sampling: run(model, images, labels, sampling=sampling, **options) for sampling in ("pairs", "matrix")}
    size = {name: (result.adversarial - images).flatten(1).norm(dim=1).mean() for name, result in results.items()}
    assert all((result.first_success >= 0).all() for result in results.values())
    assert size["pairs"] < size["matrix"]


def test_impossible_combinations_say_what_to_do():
    model, images, labels = conv_problem(channels=3)
    with pytest.raises(AttackError, match="search: binary"):
        run(model, images, labels, estimator="mine", search="decoupled")
    with pytest.raises(AttackError, match="colour: rgb"):
        run(model, images, labels, estimator="masking", search="decoupled", colour="opponent")
    problem = linear_problem(2, (1, 7, 7), 3)
    with pytest.raises(AttackError, match="batch: projection"):
        run(problem.model, problem.images, problem.labels, estimator="mine", batch="conv", steps=2)


@pytest.mark.parametrize("sampling", ["pairs", "matrix"])
@pytest.mark.parametrize("bound", ["donsker_varadhan", "nwj", "infonce"])
def test_targeted_mine_with_several_rows_reaches_its_target(sampling, bound):
    model, images, labels = conv_problem(3)
    targets = (labels + 1) % 4
    options = {"steps": 60, "search_steps": 3, "samples": 16, "dimension": 3, "hidden": 8}
    result = run(model, images, labels, estimator="mine", targets=targets, sampling=sampling, bound=bound, **options)
    assert (margin(model(result.adversarial), labels, targets) > 0).all()


@pytest.mark.parametrize("name", ["projection", "masking", "weighted_l2", "mine"])
def test_penalised_iterates_are_judged_in_8_bits_unless_told_otherwise(name):
    model, images, labels = conv_problem(3)
    options = {"estimator": name, "search": "binary", "steps": 40, "search_steps": 2, "epsilon": 0.2}
    rounded = run(model, images, labels, **options).adversarial
    assert torch.allclose(rounded * 255, (rounded * 255).round(), atol=1e-4)
    assert (margin(model(rounded), labels) > 0).all()
    assert (rounded - images).abs().max() <= 0.2 + 1e-6
    floats = run(model, images, labels, quantize=False, **options).adversarial
    assert (floats * 255 - (floats * 255).round()).abs().max() > 0.01


def test_the_information_changes_what_the_recipe_finds():
    model, images, labels = conv_problem(3)
    # Fewer steps than published, so a faster critic, and c from 1.
    options = {"steps": 40, "initial_c": 1.0, "critic_learning_rate": 1e-3}
    options |= {"sampling": "pairs", "dimension": 16, "samples": 64}
    found = [run(model, images, labels, estimator="uae_projection", alpha=alpha, **options) for alpha in (0.0, 1.0)]
    assert all((result.first_success >= 0).all() for result in found)
    without, kept = ((result.adversarial - images).flatten(1).norm(dim=1) for result in found)
    assert ((kept - without).abs() / without).median() > 0.005


def test_more_steps_do_not_enlarge_what_is_found():
    model, images, labels = conv_problem(4)

    def size(estimator, steps, **options):
        result = run(
            model, images, labels, estimator=estimator, search="binary", steps=steps, search_steps=3, **options
        )
        assert (result.first_success >= 0).all()
        return (result.adversarial - images).flatten(1).norm(dim=1).mean()

    small = {"samples": 64, "hidden": 16}
    for estimator, options in (("projection", {}), ("masking", {}), ("mine", small)):
        assert size(estimator, 240, **options) <= 1.03 * size(estimator, 60, **options)


def test_a_fixed_gain_charges_brightness():
    model, images, labels = conv_problem(4)
    model.head.bias.data[labels[0]] -= 3.0
    labels = model(images).argmax(1)

    def gain(kind):
        options = {"estimator": "projection", "search": "binary", "steps": 300, "search_steps": 3, "gain": kind}
        found = run(model, images, labels, **options).adversarial
        scale = (found * images).sum((1, 2, 3)) / images.square().sum((1, 2, 3))
        return (scale - 1).abs().mean(), (found - images).flatten(1).norm(dim=1).mean()

    (free_scale, free_size), (fixed_scale, fixed_size) = gain("free"), gain("fixed")
    assert fixed_scale < free_scale
    assert fixed_size <= free_size


def test_options_of_the_critic_that_exclude_each_other_say_so():
    model, images, labels = conv_problem(2)
    with pytest.raises(AttackError, match="leave clip out"):
        run(model, images, labels, estimator="mine", bound="nwj", clip=2.0)
    with pytest.raises(AttackError, match="gain: free"):
        run(model, images, labels, estimator="mine", standardize="row")


@pytest.mark.parametrize("name", ["uae_projection", "uae_conv", "uae_binary"])
def test_recipes_of_the_follow_up_run_and_can_be_shortened(name):
    model, images, labels = conv_problem(2)
    counting = CountingModel(model, len(images))
    extra = {"search_steps": 2, "critic_steps": 2} if name == "uae_binary" else {}
    result = run(counting, images, labels, estimator=name, steps=5, **extra)
    assert (counting.forwards == 5 * extra.get("search_steps", 1)).all()
    assert result.adversarial.shape == images.shape
    assert (result.adversarial != images).flatten(1).any(1).all()


def test_without_indices_and_seed_an_attack_takes_the_first_places_and_seed_0():
    model, images, labels = conv_problem(3)
    options = QUICK["mine binary"]
    plain = run(model, images, labels, **options)
    told = run(model, images, labels, indices=torch.arange(3), seed=0, **options)
    other = run(model, images, labels, indices=torch.arange(3), seed=1, **options)
    assert torch.equal(plain.adversarial, told.adversarial)
    assert not torch.equal(plain.adversarial, other.adversarial)


def test_masking_with_exponent_0_steps_like_the_closed_form():
    model, images, labels = conv_problem()
    ours = run(model, images, labels, estimator="masking", exponent=0.0, steps=2)
    theirs = run(model, images, labels, estimator="projection", steps=2)
    # The first step comes before any ranking of iterates.
    assert torch.allclose(ours.trace["margin"][:, 1], theirs.trace["margin"][:, 1], atol=1e-4)


def test_other_schedules_take_another_way_to_the_nearest_boundary():
    problem = linear_problem(4, (3, 9, 11), 5, seed=5, distance=0.05)
    nearest, _ = problem.nearest(2)
    runs = [
        run(problem.model, problem.images, problem.labels, estimator="projection", quantize=False, **schedule)
        for schedule in ({}, {"first_step": 1.0}, {"norm_change": 0.2}, {"momentum": 0.6})
    ]
    assert all(not torch.equal(runs[0].adversarial, other.adversarial) for other in runs[1:])
    for result in runs:
        size = (result.adversarial - problem.images).flatten(1).norm(dim=1)
        assert (size >= nearest - 1e-5).all()
        assert torch.allclose(size, nearest, rtol=0.03)


@pytest.mark.parametrize("estimator", ["projection", "masking", "observer", "weighted_l2"])
def test_a_falling_temperature_finds_the_nearest_class_where_logits_are_close(estimator):
    # With logits this small, all classes pull at temperature 1, and none of them by the shortest way.
    problem = linear_problem(8, (3, 9, 11), 6, seed=1, scale=0.1)
    plain = {"exponent": 0.0} if estimator == "masking" else {}
    sizes = []
    for temperature in (1.0, 0.003):
        more = {"estimator": estimator, "quantize": False, "temperature": temperature} | plain
        result = run(problem.model, problem.images, problem.labels, **more)
        assert (margin(problem.model(result.adversarial), problem.labels) > 0).all()
        sizes.append((result.adversarial - problem.images).flatten(1).norm(dim=1))
    if estimator in ("projection", "masking"):
        nearest, _ = problem.nearest(2)
        assert (sizes[1] / nearest).max() < 1.05
        assert (sizes[0] / nearest).mean() > 1.2
    assert sizes[1].mean() < 0.9 * sizes[0].mean()


def test_momentum_smooths_the_zigzag_across_a_boundary_with_an_edge():
    # Two planes meet in an edge, which is the nearest point of the boundary: the gradient is that of one or of the other.
    images = torch.full((4, 1, 6, 6), 0.5)
    draws = torch.Generator().manual_seed(3)
    normal = torch.nn.functional.normalize(torch.randn(36, generator=draws), dim=0)
    tilt = torch.nn.functional.normalize(torch.randn(36, generator=draws), dim=0)
    planes = torch.stack([normal + 2 * tilt, normal - 2 * tilt])

    class Edge(torch.nn.Module):
        def forward(self, x):
            reached = ((x - 0.5).flatten(1) @ planes.T).amin(1)
            return 20 * torch.stack([torch.full_like(reached, 0.6), reached], 1)

    labels = torch.zeros(4, dtype=torch.int64)
    # Long steps and small changes of the norm are where it zigzags.
    slow = {"estimator": "projection", "steps": 30, "first_step": 1.0, "norm_change": 0.1, "quantize": False}
    runs = [run(Edge(), images, labels, momentum=momentum, **slow) for momentum in (0.0, 0.6)]
    plain, smooth = ((result.adversarial - images).flatten(1).norm(dim=1) for result in runs)
    assert (smooth < 0.98 * plain).all()


_SCHEDULE = [("first_step", 1.0), ("norm_change", 0.3), ("momentum", 0.6), ("temperature", 0.3)]
_PENALTY = [("alpha", 5.0), ("initial_c", 5.0), ("optimizer", "sgd"), ("learning_rate", 0.1)]
#: Options of the information attacks, each with a value that is not the one of the short run beside it.
OTHER_VALUES = {
    "masking": [("noise", 0.3), ("exponent", 0.5), *_SCHEDULE],
    "weighted_l2": [
        ("floor", 0.5),
        *(("weights", name) for name in ("sigma_map", "just_noticeable_difference", "noise_visibility")),
        *_SCHEDULE,
    ],
    "observer": [
        *(("luminance_noise", 0.3), ("chrominance_noise", 0.6), ("sensitivity", 1.0), ("pixels_per_degree", 60.0)),
        *_SCHEDULE,
    ],
    "masking binary": [("colour", "opponent"), *_PENALTY],
    "mine": [
        *(("batch", "conv"), ("sampling", "matrix"), ("dimension", 2), ("samples", 32), ("redraw", False)),
        *(("standardize", "none"), ("gain", "free"), ("hidden", 8), ("critic_start", "glorot"), ("critic_steps", 2)),
        *(("critic_learning_rate", 0.1), ("bound", "nwj"), ("bound", "infonce"), ("marginal", "offdiagonal")),
        *(("marginal", "permutation"), ("clip", 0.1), ("moving_average", 1.0), *_PENALTY),
    ],
}
SHORT = {
    "masking binary": {"search": "binary", "steps": 6, "search_steps": 2},
    "mine": {"search": "primal_dual", "steps": 8, "samples": 64, "hidden": 16},
    # Without a filter the size of the image does not matter.
    "observer": {"steps": 12, "sensitivity": 0.25},
}


@pytest.mark.parametrize(
    ("name", "option", "value"), [(name, *other) for name, others in OTHER_VALUES.items() for other in others]
)
def test_no_option_is_lost_on_its_way(name, option, value):
    model, images, labels = conv_problem(2, channels=3)
    given = {"estimator": name.partition(" ")[0], "quantize": False} | SHORT.get(name, {"steps": 12})
    plain, other = (run(model, images, labels, **options) for options in (given, given | {option: value}))
    assert not torch.equal(plain.trace["margin"], other.trace["margin"])


def two_classes(margin, black=None):
    """A linear model of two classes and one gray image at this margin, whose gradient is 1 or -1 in each of 64 values."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).requires_grad_(False)
    slope = torch.ones(64) if black is None else torch.where(black, -1.0, 1.0)
    images = torch.full((1, 1, 8, 8), 0.5)
    if black is not None:
        images = torch.where(black.view(1, 1, 8, 8), 0.0, images)
    model[1].weight.data = torch.stack([torch.zeros(64), slope])
    model[1].bias.data = torch.tensor([0.0, margin - float(images.flatten() @ slope)])
    return model, images, torch.zeros(1, dtype=torch.int64)


#: Without information in the loss, a step of plain descent moves the margin of ``two_classes`` by 64 times rate and c.
PLAIN = {"estimator": "projection", "optimizer": "sgd", "alpha": 0.0, "steps": 10, "quantize": False}


def test_c_rises_tenfold_until_a_success_and_is_bisected_then():
    rate = 0.004
    more = {"search": "binary", "initial_c": 1.0, "learning_rate": rate, "search_steps": 6}
    margins = run(*two_classes(-5.0), **PLAIN, **more).trace["margin"][0].double()
    first = (margins[1::10] - margins[0::10]) / (64 * rate)
    # Nine steps reach the boundary from c = 2.17 on.
    assert first.tolist() == pytest.approx([1, 10, 5.5, 3.25, 2.125, 2.6875], rel=1e-3)


def test_the_primal_dual_rule_is_the_published_one():
    rate, c = 1e-3, 0.5
    more = {"search": "primal_dual", "initial_c": c, "learning_rate": rate}
    margins = run(*two_classes(-5.0), **PLAIN, **more).trace["margin"][0].double().tolist()
    for step in range(9):
        assert margins[step + 1] - margins[step] == pytest.approx(64 * rate * c, rel=1e-3)
        c = (1 - 0.1 / (step + 1) ** 0.25) * c - 0.1 * margins[step]


@pytest.mark.parametrize("norm_change", [0.1, 0.3])
def test_the_norm_changes_by_shares_that_fall_to_a_hundredth(norm_change):
    # The direction is always the same, so the margin tells the norm; the gradient of the margin is 8 long.
    more = {"steps": 50, "norm_change": norm_change, "quantize": False}
    margins = run(*two_classes(-4.0), estimator="projection", **more).trace["margin"][0].double()
    norms = ((margins - margins[0]) / 8).tolist()
    assert norms[1] == pytest.approx(0.5, rel=1e-4)
    for step in range(1, 49):
        share = norm_change * (0.01 / norm_change) ** (step / 50)
        expected = 1 - share if margins[step] > 0 else 1 + share
        assert norms[step + 1] / norms[step] == pytest.approx(expected, rel=1e-4)


def test_pixels_at_the_edge_of_their_range_take_nothing_from_the_others():
    # 48 of 64 pixels are black, and the way to the boundary would make them darker.
    problem = two_classes(-4.0, black=torch.arange(64) % 4 > 0)
    result = run(*problem, estimator="projection", steps=2, quantize=False)
    assert (result.adversarial - problem[1]).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_recipes_start_in_glorots_range_and_pixels_that_leave_the_box_stay_at_its_edge():
    images, labels = torch.full((2, 3, 8, 4), 0.1), torch.zeros(2, dtype=torch.int64)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(96, 2)).requires_grad_(False)
    model[1].weight.data = torch.stack([torch.zeros(96), torch.ones(96)])
    model[1].bias.data = torch.tensor([0.0, -100.0])
    options = {"estimator": "uae_projection", "sampling": "pairs", "dimension": 2, "samples": 8, "hidden": (4,)}
    options |= {"alpha": 0.0, "initial_c": 1.0}
    first, last = (run(model, images, labels, steps=steps, **options).adversarial for steps in (1, 4))
    limit = math.sqrt(6 / (8 * 4 + 3 * 8))
    assert 0.9 * limit < (first - images).max() <= limit + 1e-6
    gone = first == 0
    assert gone.any()
    assert (last[gone] == 0).all()
    assert (last[~gone] > first[~gone]).all()
    near = run(model, images, labels, steps=1, start="near", **options).adversarial
    assert (near - images).abs().max() < 0.01
