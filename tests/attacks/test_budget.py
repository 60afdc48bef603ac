"""The search for the smallest budget, on attempts whose threshold is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from infoadv.attacks.budget import smallest_budget


class Threshold:
    """An attempt that succeeds from a budget of its own on, image by image, and writes down what it was asked."""

    def __init__(self, thresholds: Tensor) -> None:
        self.thresholds = thresholds
        self.asked: list[Tensor] = []

    def __call__(self, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(epsilon)
        step = torch.where(epsilon >= self.thresholds, 7, -1)
        return epsilon[:, None], step


THRESHOLDS = torch.tensor([1e-4, 0.02, 0.03, 0.0314, 0.2, 0.9])


@pytest.mark.parametrize("trials", [12, 16])
def test_the_smallest_budget_is_found_for_every_image(trials):
    attempt = Threshold(THRESHOLDS)
    search = smallest_budget(attempt, torch.zeros(6, 1), first=8 / 255, largest=1.0, trials=trials)
    assert len(attempt.asked) == trials
    assert (search.epsilon >= THRESHOLDS).all()
    # 1e-4 takes nine halvings to fail, which leaves few trials for the bisection.
    within = 1.2 if trials == 12 else 1.01
    assert (search.epsilon <= within * THRESHOLDS).all()
    assert torch.equal(search.adversarial[:, 0], search.epsilon)
    assert (search.step == 7).all()
    # 8/255 succeeds at once for the first three and doubles for the others.
    assert search.trial.tolist() == [0, 0, 0, 1, 3, 5]


def test_an_image_that_never_succeeds_ends_at_the_largest_budget():
    thresholds = torch.tensor([2.0, 0.5])
    search = smallest_budget(Threshold(thresholds), torch.zeros(2, 1), first=0.3, largest=1.0, trials=8)
    assert search.epsilon[0].isinf()
    assert search.trial.tolist() == [-1, 1]
    assert search.step.tolist() == [-1, 7]
    assert search.adversarial[0, 0] == 1.0
    assert 0.5 <= search.epsilon[1] <= 0.52


def test_an_image_follows_its_own_path():
    together = smallest_budget(Threshold(THRESHOLDS), torch.zeros(6, 1), first=0.03, largest=1.0, trials=9)
    for i, threshold in enumerate(THRESHOLDS):
        alone = smallest_budget(Threshold(threshold[None]), torch.zeros(1, 1), first=0.03, largest=1.0, trials=9)
        assert torch.equal(alone.epsilon, together.epsilon[i : i + 1])


def test_budgets_stay_within_the_largest():
    attempt = Threshold(torch.tensor([5.0]))
    smallest_budget(attempt, torch.zeros(1, 1), first=3.0, largest=1.0, trials=3)
    assert all(epsilon.item() == 1.0 for epsilon in attempt.asked)
