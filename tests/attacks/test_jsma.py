"""JSMA: the pair search against all pairs, softmax against logits, what is recorded, and when it gives up."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from helpers.linear import Linear, linear_problem
from infoadv.attacks import AttackError, CountingModel
from infoadv.attacks import saliency_map as module
from infoadv.attacks.saliency_map import best_pairs, jsma


def best_by_brute_force(target, others, free):
    """Return the largest score over all pairs, 0 if no pair has one above."""
    best = 0.0
    for p, q in itertools.combinations([i for i in range(len(target)) if free[i]], 2):
        towards, away = target[p] + target[q], others[p] + others[q]
        if towards > 0 and away < 0:
            best = max(best, -towards * away)
    return best


@pytest.mark.parametrize("correlation", [-3.0, -1.0, 0.0, 1.0])
@pytest.mark.parametrize("levels", [None, 2.0])
def test_pair_search_is_brute_force(correlation, levels):
    """Correlations that make the Pareto front short and long; coarse levels, so that there are ties."""
    draws = torch.Generator().manual_seed(int(10 * correlation) + 50)
    for _ in range(20):
        size = int(torch.randint(2, 30, (1,), generator=draws))
        target = torch.randn(4, size, generator=draws, dtype=torch.float64)
        others = torch.randn(4, size, generator=draws, dtype=torch.float64) + correlation * target
        if levels:
            target, others = (target * levels).round(), (others * levels).round()
        free = torch.rand(4, size, generator=draws) < 0.8
        pairs, found = best_pairs(target, others, free)
        for row in range(4):
            best = best_by_brute_force(target[row].tolist(), others[row].tolist(), free[row].tolist())
            assert bool(found[row]) == (best > 0)
            if found[row]:
                p, q = pairs[row].tolist()
                assert p != q
                assert free[row, p]
                assert free[row, q]
                score = -(target[row, p] + target[row, q]) * (others[row, p] + others[row, q])
                assert score.item() == pytest.approx(best, rel=1e-12)


def test_on_softmax_the_pair_is_the_two_largest():
    target = torch.randn(50, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    free = torch.ones(50, 200, dtype=torch.bool)
    pairs, found = best_pairs(target, -target, free)
    assert found.all()
    assert torch.equal(pairs.sort(1).values, target.topk(2, dim=1).indices.sort(1).values)


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def images_of(count, seed=1):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 0.8


def run(model, images, **options):
    labels = options.pop("labels", None)
    if labels is None:
        labels = model(images).argmax(1)
    return labels, jsma(model, images, labels, indices=torch.arange(len(images)), seed=0, **options)


@pytest.mark.parametrize("outputs", ["logits", "softmax"])
def test_follows_the_paper_step_by_step(outputs):
    """Against a plain loop: full Jacobian by autograd, all pairs, one image and one class at a time."""
    model, images = network().double(), images_of(3).double()
    labels, result = run(model, images, outputs=outputs, gamma=0.5, exhaustive=True)

    def function(x):
        logits = model(x.view(1, 1, 8, 8)).squeeze(0)
        return torch.softmax(logits, 0) if outputs == "softmax" else logits

    for n, goal in itertools.product(range(3), range(5)):
        if goal == labels[n]:
            assert result.trace["features"][n, goal] == -1
            continue
        x, free, steps = images[n].flatten().clone(), [True] * 64, 0
        while int(function(x).argmax()) != goal and steps < 16:
            jacobian = torch.autograd.functional.jacobian(function, x)
            a, b = jacobian[goal].tolist(), (jacobian.sum(0) - jacobian[goal]).tolist()
            best, pair = 0.0, None
            for p, q in itertools.combinations([i for i in range(64) if free[i]], 2):
                if a[p] + a[q] > 0 and b[p] + b[q] < 0 and -(a[p] + a[q]) * (b[p] + b[q]) > best:
                    best, pair = -(a[p] + a[q]) * (b[p] + b[q]), (p, q)
            if pair is None:
                break
            for feature in pair:
                x[feature], free[feature] = 1.0, False
            steps += 1
        expected = 2 * steps if int(function(x).argmax()) == goal else -1
        assert result.trace["features"][n, goal] == expected


def test_keeps_the_class_with_the_fewest_features_and_its_iterates():
    model, images = network(), images_of(6)
    _, every = run(model, images, exhaustive=True)
    _, result = run(model, images)
    reached = every.trace["features"]
    won = (reached >= 0).any(1)
    assert won.sum() >= 3
    fewest = torch.where(reached >= 0, reached, 10**6).amin(1)
    assert torch.equal(2 * result.first_success[won], fewest[won])
    assert torch.equal(result.adversarial, every.adversarial)
    for n in won.nonzero().squeeze(1).tolist():
        steps = int(result.first_success[n])
        iterate = images[n].flatten().clone()
        for done in range(steps + 1):
            aimed = int(model(iterate.view(1, 1, 8, 8)).argmax()) == int(result.trace["aim"][n])
            assert aimed == (done == steps)
            if done < steps:
                iterate[result.trace["path"][n, done]] = 1
        assert torch.equal(iterate, result.adversarial[n].flatten())
        assert (result.trace["path"][n, steps:] == -1).all()
        assert ((result.adversarial[n] != images[n]).sum()) == 2 * steps


def test_rows_are_cut_without_effect(monkeypatch):
    model, images = network(), images_of(5)
    _, whole = run(model, images)
    monkeypatch.setattr(module, "_ROWS", 3)
    _, parts = run(model, images)
    assert torch.equal(whole.adversarial, parts.adversarial)


def test_targeted_at_one_class():
    model, images = network(), images_of(6)
    labels, every = run(model, images, exhaustive=True)
    targets = (labels + 1) % 5
    _, result = run(model, images, targets=targets)
    features = every.trace["features"].gather(1, targets[:, None]).squeeze(1)
    assert torch.equal(torch.where(result.first_success >= 0, 2 * result.first_success, -1), features)


def test_vanished_gradients_are_a_failure_and_change_nothing():
    """A distilled network's softmax is exactly one-hot in 32 bits: no pair has a positive score."""
    problem = linear_problem(8, (1, 6, 6), 4, scale=1e5)
    _, regular = run(problem.model, problem.images, outputs="softmax")
    assert (regular.first_success == -1).all()
    assert torch.equal(regular.adversarial, problem.images)
    assert (regular.trace["path"] == -1).all()
    _, adaptive = run(problem.model, problem.images, outputs="softmax", temperature=1e5)
    assert (adaptive.first_success >= 0).float().mean() > 0.5


def test_features_near_one_are_left_alone():
    model, images = network(), images_of(4)
    images[:, :, ::2] = 1.0
    images[:, :, 1, :4] = 0.995
    _, result = run(model, images)
    assert torch.equal(result.adversarial[:, :, ::2], images[:, :, ::2])
    assert torch.equal(result.adversarial[:, :, 1, :4], images[:, :, 1, :4])


def test_the_budget_is_kept():
    model = Linear(torch.stack([torch.full((36,), -1e-6), torch.full((36,), 1e-6)]), torch.tensor([10.0, 0.0])).eval()
    images = images_of(2)[:, :, :6, :6]
    _, result = run(model, images, gamma=0.3)
    # floor(36 * 0.3 / 2) = 5 pairs.
    assert ((result.adversarial != images).flatten(1).sum(1) == 10).all()
    assert (result.first_success == -1).all()


def test_passes_are_counted_by_image():
    model, images = network(), images_of(3)
    counting = CountingModel(model, 3)
    _, result = run(counting, images, labels=model(images).argmax(1))
    assert (counting.forwards > 1).all()
    # One forward of the clean image; then a forward for each attempt and step, and two backwards where it goes on.
    assert (counting.backwards <= 2 * (counting.forwards - 1)).all()
    slowest = result.first_success.argmax()
    assert counting.forwards[slowest] == counting.forwards.max()


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    model, images = network(), images_of(6)
    labels, here = run(model, images)
    _, there = run(model.cuda(), images.cuda(), labels=labels.cuda())
    assert torch.equal(there.adversarial.cpu(), here.adversarial)


def test_errors_say_what_to_change():
    model, images = network(), images_of(2)
    with pytest.raises(AttackError, match="set outputs to softmax"):
        run(model, images, temperature=10.0)
    with pytest.raises(AttackError, match="raise gamma"):
        run(model, images, gamma=0.01)
