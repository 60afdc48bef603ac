"""The foolbox baselines against models whose optimum is known, and the traps that the adapter closes."""

from __future__ import annotations

from functools import partial

import foolbox
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.linear import Linear, Problem, linear_problem
from infoadv import InfoadvError
from infoadv.attacks import AttackResult, margin
from infoadv.attacks import foolbox as baselines
from infoadv.attacks.noise import gaussian_noise

L2_ATTACKS = ["cw_l2", "deepfool", "ddn", "pgd_l2"]
LINF_ATTACKS = ["fgsm", "bim", "pgd_linf"]
UNTARGETED = {"fgsm", "deepfool"}
SHAPES = [(1, 7, 5), (3, 9, 8), (1, 12, 12)]
CHEAP = {"cw_l2": {"binary_search_steps": 5}, "pgd_l2": {"steps": 20, "relative_step": 0.2}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def attack(name: str, problem: Problem, targets: Tensor | None = None, indices: Tensor | None = None, **options):
    """Run a method on a problem, with the indices 0, 1, ... unless others are given."""
    indices = torch.arange(len(problem.images)) if indices is None else indices
    run = getattr(baselines, name)
    options = CHEAP.get(name, {}) | options
    result = run(problem.model, problem.images, problem.labels, indices=indices, seed=3, targets=targets, **options)
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


def distances(result: AttackResult, images: Tensor, order: float) -> Tensor:
    return (result.adversarial - images).flatten(1).norm(p=order, dim=1)


class Curved(nn.Module):
    """A small network with curved boundaries, for what a linear model cannot show."""

    def __init__(self, channels: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(11)
        self.first = nn.Parameter(torch.randn(6, channels, 3, 3, generator=draws))
        self.second = nn.Parameter(torch.randn(4, 6 * 36, generator=draws) / 6)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * torch.tanh(F.conv2d(images - 0.5, self.first)).flatten(1) @ self.second.T


def curved_problem(count: int, scale: float = 1.0) -> Problem:
    model = Curved(scale=scale).eval()
    images = torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        labels = model(images).argmax(1)
    return Problem(model, images, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(
    ("count", "classes", "shape"),
    [(1, 2, (1, 7, 5)), (3, 2, (3, 9, 8)), (1, 3, (3, 9, 8)), (4, 3, (1, 12, 12)), (9, 5, (1, 7, 5))],
    ids=str,
)
@pytest.mark.parametrize("name", L2_ATTACKS + LINF_ATTACKS)
def test_near_the_optimum_of_a_linear_model(name, shape, count, classes, targeted):
    if targeted and name in UNTARGETED:
        pytest.skip("untargeted attack")
    # A cross-entropy sees the nearest class alone only in a confident network; the others follow the logits.
    scale = 1.0 if name in ("cw_l2", "deepfool") else 30.0
    problem = linear_problem(count, shape, classes, seed=count, scale=scale)
    order = 2 if name in L2_ATTACKS else torch.inf
    optimum, nearest = problem.nearest(order)
    targets = nearest if targeted else None
    result = attack(name, problem, targets)
    assert (result.first_success >= 0).all()
    assert (margin(problem.model(result.adversarial), problem.labels, targets) > 0).all()
    ratio = distances(result, problem.images, order) / optimum
    assert ratio.min() >= 0.999
    assert ratio.max() <= (1.02 if classes == 2 and name in LINF_ATTACKS else 1.25)


@pytest.mark.parametrize("distance", [0.005, 0.08])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_cw_is_near_the_optimum_whatever_the_scale(distance, scale):
    problem = linear_problem(4, (1, 12, 12), 5, seed=3, distance=distance, scale=scale)
    result = attack("cw_l2", problem, binary_search_steps=9)
    assert (distances(result, problem.images, 2) <= 1.25 * problem.nearest(2)[0]).all()


def test_cw_reaches_its_confidence():
    problem = linear_problem(4, (1, 7, 5), 3)
    result = attack("cw_l2", problem, confidence=2.0)
    reached = margin(problem.model(result.adversarial), problem.labels)
    assert (reached > 2.0).all()
    assert (reached < 2.5).all()


def test_fgsm_is_the_clipped_signed_gradient():
    problem = curved_problem(5)
    images = problem.images.clone().requires_grad_()
    F.cross_entropy(problem.model(images), problem.labels, reduction="sum").backward()
    assert images.grad is not None
    expected = (problem.images + 0.1 * images.grad.sign()).clamp(0, 1)
    result = attack("fgsm", problem, epsilon=0.1)
    torch.testing.assert_close(result.adversarial, expected, rtol=0, atol=1e-6)
    library = foolbox.attacks.LinfFastGradientAttack()
    wrapped = foolbox.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(problem.labels)
    assert torch.equal(result.adversarial, library.run(wrapped, problem.images, criterion, epsilon=0.1))
    success = problem.model(expected).argmax(1) != problem.labels
    assert torch.equal(result.first_success, torch.where(success, 1, -1))


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("cw_l2", foolbox.attacks.L2CarliniWagnerAttack(5, 100, 0.1, 0, 1.0, abort_early=False)),
        ("deepfool", foolbox.attacks.L2DeepFoolAttack()),
        ("ddn", foolbox.attacks.DDNAttack()),
    ],
)
def test_successes_are_the_library_s_own(name, library):
    problem = curved_problem(6)
    result = attack(name, problem)
    wrapped = foolbox.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")
    _, theirs, success = library(wrapped, problem.images, problem.labels, epsilons=None)
    assert success.all()
    assert (result.first_success >= 0).all()
    ours = distances(result, problem.images, 2)
    theirs = (theirs - problem.images).flatten(1).norm(dim=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["bim", "pgd_linf", "pgd_l2"])
def test_a_budget_is_kept_and_without_random_start_equals_the_library(name):
    problem = curved_problem(6)
    order = 2 if name == "pgd_l2" else torch.inf
    epsilon = 0.4 if name == "pgd_l2" else 0.03
    options = {"epsilon": epsilon, "steps": 7, "relative_step": 0.3}
    if name != "bim":
        random = attack(name, problem, **options)
        assert (distances(random, problem.images, order) <= epsilon + 1e-6).all()
        options["random_start"] = False
    result = attack(name, problem, **options)
    assert (distances(result, problem.images, order) <= epsilon + 1e-6).all()
    kind = foolbox.attacks.L2PGD if name == "pgd_l2" else foolbox.attacks.LinfPGD
    wrapped = foolbox.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(problem.labels)
    library = kind(rel_stepsize=0.3, steps=7, random_start=False)
    theirs = library.run(wrapped, problem.images, criterion, epsilon=epsilon)
    succeeds = problem.model(theirs).argmax(1) != problem.labels
    assert succeeds.any()
    torch.testing.assert_close(result.adversarial[succeeds], theirs[succeeds], rtol=0, atol=1e-5)


def test_bim_takes_an_absolute_step():
    problem = linear_problem(3, (1, 7, 5), 2, distance=0.5)
    result = attack("bim", problem, epsilon=0.1, steps=5, absolute_step=1 / 255)
    torch.testing.assert_close(distances(result, problem.images, torch.inf), torch.full((3,), 5 / 255))


@pytest.mark.parametrize("name", L2_ATTACKS + LINF_ATTACKS)
def test_a_failure_is_an_attempt_and_marked(name):
    problem = linear_problem(3, (1, 7, 5), 3)
    # The second image cannot be made to fail its label: that logit is out of reach.
    stubborn = Linear(problem.model.weight.detach().clone(), problem.model.bias.detach().clone())
    hidden = stubborn.forward

    def forward(images: Tensor) -> Tensor:
        logits = hidden(images)
        return logits + 1e4 * F.one_hot(problem.labels, 3) * torch.tensor([0.0, 1.0, 0.0])[:, None]

    stubborn.forward = forward  # type: ignore[method-assign]
    result = attack(name, Problem(stubborn.eval(), problem.images, problem.labels))
    assert (result.first_success[[0, 2]] >= 0).all()
    assert result.first_success[1] == -1
    failure = result.adversarial[1]
    assert failure.abs().sum() > 1
    assert (failure - problem.images[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["pgd_linf", "pgd_l2"])
def test_the_seed_and_the_index_decide_the_random_start(name):
    problem = linear_problem(2, (1, 7, 5), 2, distance=0.4)
    twins = Problem(problem.model, problem.images[[0, 0]], problem.labels[[0, 0]])
    run = partial(attack, name, twins, epsilon=0.1, steps=1, relative_step=0.01)
    different = run(indices=torch.tensor([0, 1])).adversarial
    assert not torch.allclose(different[0], different[1], atol=1e-4)
    same = run(indices=torch.tensor([1, 1])).adversarial
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(same[0], different[1])


def test_the_start_in_the_l2_ball_is_uniform():
    images = torch.full((400, 1, 1, 3), 0.5)
    model = Linear(torch.zeros(2, 3), torch.tensor([1.0, 0.0])).eval()
    problem = Problem(model, images, torch.zeros(400, dtype=torch.int64))
    result = attack("pgd_l2", problem, epsilon=0.4, steps=1, relative_step=1e-6)
    inner = (distances(result, images, 2) < 0.2).float().mean()
    # The ball of half the radius holds 1 / 8 of the volume of three dimensions.
    assert 0.06 < inner < 0.2


@pytest.mark.parametrize("name", ["ddn", "pgd_l2", "fgsm", "bim"])
def test_a_confident_network_is_attacked_all_the_same(name):
    # Margins near 60: the squares of the cross-entropy's gradient underflow.
    problem = linear_problem(4, (1, 7, 5), 2, distance=0.05, scale=30.0)
    confidence = -margin(problem.model(problem.images), problem.labels)
    assert confidence.min() > 50
    assert confidence.max() < 100
    result = attack(name, problem)
    assert (distances(result, problem.images, 2) <= 1.25 * problem.nearest(2)[0]).all()


@pytest.mark.parametrize("name", sorted(UNTARGETED))
def test_an_untargeted_attack_says_what_to_use_for_a_target(name):
    problem = linear_problem(1, (1, 7, 5), 2)
    with pytest.raises(InfoadvError, match="use "):
        attack(name, problem, targets=1 - problem.labels)


@pytest.mark.parametrize("epsilon", [0, -0.1, "small", 8.0, 8])
def test_a_budget_that_is_none_is_refused(epsilon):
    with pytest.raises(InfoadvError, match="epsilon"):
        attack("bim", linear_problem(1, (1, 7, 5), 2), epsilon=epsilon)


def test_first_success_counts_gradient_steps():
    problem = linear_problem(3, (1, 7, 5), 2, distance=0.1)
    result = attack("bim", problem, epsilon=0.2, steps=10, relative_step=0.1)
    # Steps of 0.02 toward a boundary at 0.1; the float of the fifth step may fall on either side of it.
    assert set(result.first_success.tolist()) <= {5, 6}
    assert (attack("bim", problem, epsilon=0.05).first_success == -1).all()
    assert (attack("deepfool", problem).first_success == 1).all()
    searched = attack("bim", problem, steps=5)
    # The trials 8/255 and 16/255 fail; the third, 32/255, reaches 0.1 in its fourth step of 0.025.
    assert (searched.first_success == 14).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_noise_has_the_norm_asked_for(shape):
    images = (torch.rand((5, *shape), generator=torch.Generator().manual_seed(2)) * 255).round() / 255
    images[1] = 0.0
    norms = torch.tensor([0.0, 0.5, 0.01, 1.5, 1e6])
    model = Linear(torch.randn(3, images[0].numel()), torch.zeros(3)).eval()
    labels = model(images).argmax(1)
    run = partial(gaussian_noise, model, seed=1)
    result = run(images, labels, indices=torch.arange(5), norms=norms)
    check(result, images)
    levels = (result.adversarial - images).double() * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    # Rounding leaves steps: one value of the image that moves by one level is the least that can change.
    excess = levels.square().sum((1, 2, 3)) - (norms.double() * 255) ** 2
    assert (excess[:4] >= -1e-3).all()
    assert (excess[:4] <= 2 * levels.abs().amax((1, 2, 3))[:4] + 1).all()
    # No amplitude reaches the last norm: every pixel is then at a bound.
    assert ((result.adversarial[4] == 0) | (result.adversarial[4] == 1)).all()
    success = model(result.adversarial).argmax(1) != labels
    assert torch.equal(result.first_success >= 0, success)
    alone = run(images[3:4], labels[3:4], indices=torch.tensor([3]), norms=norms[3:4])
    assert torch.equal(alone.adversarial[0], result.adversarial[3])


@pytest.mark.parametrize("norms", [[1.0], [1.0, float("inf")], [1.0, -1.0], [[1.0, 1.0]]])
def test_noise_refuses_norms_that_are_none(norms):
    problem = linear_problem(2, (1, 7, 5), 2)
    with pytest.raises(InfoadvError, match="norm"):
        gaussian_noise(
            problem.model,
            problem.images,
            problem.labels,
            indices=torch.arange(2),
            seed=0,
            norms=torch.tensor(norms),
        )
