"""The smallest budget at which an attack with a fixed budget succeeds, image by image.

Rows of a table can be compared only at equal success. Attacks that take a budget (FGSM, BIM, PGD) are therefore
also run with the smallest one that succeeds. Every image has a bracket of its own, and all images of a batch run
together, each with its own budget; nothing is shared between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from infoadv.numerics.margins import batch_view


@dataclass(frozen=True)
class Search:
    """What the search found, image by image.

    Attributes
    ----------
    adversarial
        (N, ...) the outcome at the smallest successful budget; without any success, that of the last trial, whose
        budget is then the largest that was reached.
    epsilon
        (N,) the smallest budget that succeeded, infinite where none did.
    trial
        (N,) int64: the number of the first trial that succeeded, from 0; -1 where none did.
    step
        (N,) int64: what that trial returned as its ``step``; -1 where none succeeded.
    """

    adversarial: Tensor
    epsilon: Tensor
    trial: Tensor
    step: Tensor


def smallest_budget(
    attempt: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    *,
    first: float,
    largest: float,
    trials: int,
) -> Search:
    """Search, for each image, the smallest budget at which ``attempt`` succeeds.

    The first trial is at ``first``. While an image has only failed its budget doubles, up to ``largest``; while it
    has only succeeded it halves; once it is bracketed the next budget is the geometric mean of the bracket. Every
    image gets exactly ``trials`` trials, so its cost does not depend on the batch. With b trials spent on bracketing,
    the result is at most a factor 2^(1 / 2^(trials - b)) above a budget that fails: 12 trials, 5 of them bracketing,
    0.5 %. Success need not be monotone in the budget; the result is then the upper end of one bracket.

    Parameters
    ----------
    attempt
        Takes budgets (N,) and returns images (N, ...) and, int64 (N,), a step that is -1 where the image failed.
    images
        (N, ...) the clean images; only their shape, dtype and device are used.
    first, largest
        The first and the largest budget, above 0.
    trials
        Number of trials, at least 1.
    """
    count = len(images)
    low = torch.zeros(count, dtype=images.dtype, device=images.device)
    high = torch.full_like(low, torch.inf)
    adversarial = images
    first_trial = torch.full((count,), -1, dtype=torch.int64, device=images.device)
    first_step = first_trial.clone()
    for trial in range(trials):
        growing = torch.where(low > 0, 2 * low, first).clamp(max=largest)
        inside = torch.where(low > 0, (low * high).sqrt(), high / 2)
        epsilon = torch.where(high.isinf(), growing, inside)
        outcome, step = attempt(epsilon)
        success = step >= 0
        # An image that has succeeded before keeps that outcome when a smaller budget fails.
        adversarial = torch.where(batch_view(success | high.isinf(), images), outcome, adversarial)
        new = success & (first_trial < 0)
        first_trial = torch.where(new, trial, first_trial)
        first_step = torch.where(new, step, first_step)
        high = torch.where(success, epsilon, high)
        low = torch.where(success, low, epsilon)
    return Search(adversarial, high, first_trial, first_step)
