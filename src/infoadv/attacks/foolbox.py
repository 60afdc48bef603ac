"""The baselines of foolbox: FGSM, BIM, PGD, C&W, DeepFool and DDN, behind the suite's contract.

The steps are foolbox's. What stands around them closes what would make them unfit for a comparison:

- foolbox's C&W returns a black image and DDN the clean image where they fail; here a failure is the attempt that came
  closest to success;
- random starts and DDN's substitute for a zero gradient come from torch's global generator, so that an image depends on
  its place in the batch; here they come from (seed, index);
- the early abort of C&W looks at the loss of the whole batch; it is off;
- a budget is one number for a batch; here it is one for each image, which the search for the smallest needs;
- in float32 the cross-entropy of a confident network has a gradient of the wrong direction, or none (see ExactCrossEntropy).

One coupling is left, in cost alone: DeepFool goes on until every image of its batch has succeeded. The images that are
done stay as they are, but their passes are counted.
"""

from __future__ import annotations

import math
from typing import Any

import eagerpy as ep
import foolbox
import torch
from foolbox.attacks import DDNAttack, L2CarliniWagnerAttack, L2DeepFoolAttack
from foolbox.attacks.gradient_descent_base import L2BaseGradientDescent, LinfBaseGradientDescent
from torch import Tensor, nn

from infoadv.attacks.budget import smallest_budget
from infoadv.attacks.contract import AttackError, AttackResult, draw, image_generators, places
from infoadv.attacks.gradients import ExactCrossEntropy
from infoadv.attacks.tracking import Tracker
from infoadv.numerics.margins import batch_view, margin

#: The metric columns that each attack minimises or is bounded in, which therefore cannot judge it.
OPTIMISES = {
    "fgsm": ["linf"],
    "bim": ["linf"],
    "pgd_linf": ["linf"],
    "pgd_l2": ["l2", "psnr"],
    "cw_l2": ["l2", "psnr"],
    "deepfool": ["l2", "psnr"],
    "ddn": ["l2", "psnr"],
}

#: Attacks that take no target, and what does: a configuration that gives them one is refused.
UNTARGETED = {
    "fgsm": "foolbox has no targeted form of it; use bim with steps: 1 and relative_step: 1",
    "deepfool": "it has no targeted form; use cw_l2 or ddn",
}

SCHEMA: dict[str, dict] = {
    "fgsm": {
        "epsilon": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"const": "smallest"}],
            "description": "Linf budget, of the [0, 1] range; smallest: the least that succeeds, searched per image",
        }
    },
    "bim": {
        "epsilon": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"const": "smallest"}],
            "description": "Linf budget, of the [0, 1] range; smallest: the least that succeeds, searched per image",
        },
        "absolute_step": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}],
            "description": "length of a step, of the [0, 1] range, in place of relative_step (1/255 in the paper)",
        },
    },
    "pgd_linf": {
        "epsilon": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"const": "smallest"}],
            "description": "Linf budget, of the [0, 1] range; smallest: the least that succeeds, searched per image",
        }
    },
    "pgd_l2": {
        "epsilon": {
            "norm": "l2",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "smallest"}],
            "description": "L2 budget over all values of an image; smallest: the least that succeeds, per image",
        }
    },
    "cw_l2": {
        "steps": {"minimum": 2, "description": "Adam steps for each constant c"},
        "confidence": {"minimum": 0, "description": "margin of the logits that counts as success"},
    },
    "deepfool": {
        "steps": {"minimum": 1, "description": "linearisations at most"},
        "candidates": {"minimum": 2, "description": "most likely classes whose boundaries are considered"},
        "overshoot": {"minimum": 0, "description": "share by which the perturbation goes past the linearised boundary"},
    },
    "ddn": {},
}

# The first budget that a search tries. It need not fit the data set: each trial doubles or halves it.
FIRST_LINF = 8 / 255
FIRST_L2 = 0.5


class _Watched(foolbox.PyTorchModel):
    """A foolbox model that remembers, for each image, what an attack has shown it.

    An attack calls it once a step with the whole batch, so the first success and the best attempt are known without
    further passes. DeepFool calls it once, and then once a step for every candidate class but the first: it says so by
    ``candidates``.

    Attributes
    ----------
    tracker
        Steps are gradient steps, a success exceeds ``confidence``, its cost is the L2 distance; the starting point (the first
        call) is no attempt.
    last_margin
        (N,) margin at the last call.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        *,
        confidence: float = 0.0,
        candidates: int | None = None,
    ) -> None:
        # Without a device foolbox moves the model to the first GPU.
        super().__init__(model, bounds=(0, 1), device=images.device)
        self.images, self.labels, self.targets = images, labels, targets
        self.confidence, self.candidates = confidence, candidates
        self.calls = 0
        self.tracker = Tracker(images)
        self.last_margin = self.tracker.attempt_margin

    def __call__(self, inputs: Any) -> Any:
        """Return the logits of ``inputs`` and remember what matters about them."""
        inputs_, restore = ep.astensor_(inputs)
        logits = super().__call__(inputs_)
        self._watch(inputs_.raw.detach(), logits.raw.detach())
        return restore(logits)

    def _watch(self, inputs: Tensor, logits: Tensor) -> None:
        step = self.calls
        if self.candidates is not None:
            step = max(self.calls - 1, 0) // (min(self.candidates, logits.shape[1]) - 1)
        self.last_margin = margin(logits, self.labels, self.targets)
        distance = (inputs - self.images).flatten(1).norm(dim=1)
        success = self.last_margin > self.confidence
        self.tracker.update(inputs, self.last_margin, success, step, cost=distance, attempt=self.calls > 0)
        self.calls += 1

    def smallest(self) -> AttackResult:
        """Return the closest success of each image or, without one, the attempt with the largest margin."""
        return AttackResult(self.tracker.best().clamp(0, 1), self.tracker.first_success)


class _LinfDescent(LinfBaseGradientDescent):
    """foolbox's steps in the Linf ball, with a budget (N, 1, 1, 1) for each image and given starting directions."""

    def __init__(self, start: Tensor | None, **options: Any) -> None:
        super().__init__(random_start=start is not None, **options)
        self.start = start

    def get_random_start(self, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        return x0 + epsilon * ep.astensor(self.start)

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        return x0 + ep.maximum(ep.minimum(x - x0, epsilon), -epsilon)


class _L2Descent(L2BaseGradientDescent):
    """foolbox's steps in the L2 ball, with a budget (N, 1, 1, 1) for each image and given starting directions."""

    def __init__(self, start: Tensor | None, **options: Any) -> None:
        super().__init__(random_start=start is not None, **options)
        self.start = start

    def get_random_start(self, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        return x0 + epsilon * ep.astensor(self.start)

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        delta = (x - x0).raw
        norm = batch_view(delta.flatten(1).norm(dim=1), delta)
        return x0 + ep.astensor(delta * (epsilon.raw / norm.clamp(min=1e-12)).clamp(max=1))


def _criterion(labels: Tensor, targets: Tensor | None) -> foolbox.criteria.Criterion:
    if targets is None:
        return foolbox.criteria.Misclassification(labels)
    return foolbox.criteria.TargetedMisclassification(targets)


def _within_budget(
    descent: _LinfDescent | _L2Descent,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    *,
    epsilon: float | str,
    first: float,
    largest: float,
    trials: int,
) -> AttackResult:
    """Run a budget attack at ``epsilon``, or at each image's smallest successful one, searched from ``first``."""
    if not (epsilon == "smallest" if isinstance(epsilon, str) else epsilon > 0):
        raise AttackError(f"epsilon must be a number above 0 or 'smallest', not {epsilon!r}.")
    if not isinstance(epsilon, str) and isinstance(descent, _LinfDescent) and epsilon > 1:
        raise AttackError(f"epsilon is a share of the [0, 1] range, at most 1, not {epsilon:g}; 8/255 is 0.0314.")

    exact = ExactCrossEntropy(model, labels if targets is None else targets)

    def attempt(budgets: Tensor) -> tuple[Tensor, Tensor]:
        watched = _Watched(exact, images, labels, targets)
        # foolbox says float; the descents above take a tensor.
        epsilons: Any = ep.astensor(batch_view(budgets, images))
        last: Any = descent.run(watched, images, _criterion(labels, targets), epsilon=epsilons)
        with torch.no_grad():
            watched(last)
        adversarial = torch.where(batch_view(watched.last_margin > 0, images), last, watched.tracker.attempt)
        return adversarial, torch.where(watched.tracker.attempt_margin > 0, watched.tracker.first_success, -1)

    if isinstance(epsilon, str):
        search = smallest_budget(attempt, images, first=first, largest=largest, trials=trials)
        iteration = search.trial * descent.steps + search.step
        return AttackResult(search.adversarial, torch.where(search.trial < 0, -1, iteration))
    return AttackResult(*attempt(torch.full_like(labels, epsilon, dtype=images.dtype)))


def fgsm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    epsilon: float | str = "smallest",
    trials: int = 12,
) -> AttackResult:
    """Fast gradient sign method (Goodfellow, Shlens and Szegedy 2015): one signed step of length epsilon.

        x' = clip(x + epsilon sign(grad_x J(x, y)), 0, 1)          J: cross-entropy

    ``first_success`` is 1, or with ``epsilon="smallest"`` the number of the first trial that succeeded; a failure is
    the image at the largest budget tried. Raises AttackError if ``targets`` is given: foolbox has no targeted FGSM.
    """
    if targets is not None:
        raise AttackError(f"fgsm takes no target: {UNTARGETED['fgsm']}.")
    descent = _LinfDescent(None, rel_stepsize=1.0, steps=1)
    return _within_budget(
        descent, model, images, labels, None, epsilon=epsilon, first=FIRST_LINF, largest=1.0, trials=trials
    )


def bim(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    epsilon: float | str = "smallest",
    steps: int = 10,
    relative_step: float = 0.2,
    absolute_step: float | None = None,
    trials: int = 12,
) -> AttackResult:
    """Basic iterative method (Kurakin, Goodfellow and Bengio 2017): signed steps from the image, in a Linf ball.

        x_0 = x,   x_{k+1} = clip(x_k + a sign(grad J(x_k, y)), x - epsilon, x + epsilon), in [0, 1]

    The result is the last iterate if it succeeds, else the iterate with the largest margin. ``first_success`` counts
    gradient steps, over all trials with ``epsilon="smallest"``.
    """
    descent = _LinfDescent(None, rel_stepsize=relative_step, abs_stepsize=absolute_step, steps=steps)
    return _within_budget(
        descent, model, images, labels, targets, epsilon=epsilon, first=FIRST_LINF, largest=1.0, trials=trials
    )


def pgd_linf(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    epsilon: float | str = "smallest",
    steps: int = 40,
    relative_step: float = 0.1,
    random_start: bool = True,
    trials: int = 12,
) -> AttackResult:
    """Projected gradient descent (Madry et al. 2018) in a Linf ball, from a random point of it.

        x_{k+1} = clip(x_k + a sign(grad J(x_k, y)), x - epsilon, x + epsilon), in [0, 1]

    Result and ``first_success`` as in :func:`bim`. The start is uniform in the ball and, but for its scale, the same in
    every trial of a search.
    """
    start = None
    if random_start:
        start = 2 * draw(torch.rand, tuple(images.shape[1:]), seed, places(indices, images)).to(images) - 1
    descent = _LinfDescent(start, rel_stepsize=relative_step, steps=steps)
    return _within_budget(
        descent, model, images, labels, targets, epsilon=epsilon, first=FIRST_LINF, largest=1.0, trials=trials
    )


def pgd_l2(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    epsilon: float | str = "smallest",
    steps: int = 40,
    relative_step: float = 0.1,
    random_start: bool = True,
    trials: int = 12,
) -> AttackResult:
    """Projected gradient descent (Madry et al. 2018) in an L2 ball, from a random point of it.

        x_{k+1} = P(x_k + a g / |g|),   g = grad J(x_k, y),   P: onto the ball |x' - x| <= epsilon, then into [0, 1]

    Result and ``first_success`` as in :func:`bim`. The start is uniform in the ball and, but for its scale, the same in
    every trial of a search.
    """
    values = images[0].numel()
    start = None
    if random_start:
        # The first `values` of `values + 2` coordinates of a point of the sphere are uniform in the ball.
        sphere = draw(torch.randn, (values + 2,), seed, places(indices, images))
        start = (sphere / sphere.norm(dim=1, keepdim=True))[:, :values].view(images.shape).to(images)
    descent = _L2Descent(start, rel_stepsize=relative_step, steps=steps)
    return _within_budget(
        descent,
        model,
        images,
        labels,
        targets,
        epsilon=epsilon,
        first=FIRST_L2,
        largest=math.sqrt(values),
        trials=trials,
    )


def cw_l2(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 100,
    binary_search_steps: int = 9,
    step_size: float = 0.1,
    confidence: float = 0.0,
    initial_const: float = 1.0,
) -> AttackResult:
    """Carlini and Wagner (2017) in L2: Adam on the squared norm and the margin, with a binary search over c.

        minimise over w   |x' - x|^2 + c max(Z(x')_y - max_{i != y} Z(x')_i + confidence, 0),   x' = (tanh(w) + 1) / 2

    The result is the closest input with a margin above ``confidence``, else the one with the largest margin.
    ``first_success`` counts Adam steps over all constants.

    The paper starts at c = 0.001 with a step of 0.01. Adam's first step has the full length whatever c is, about
    ``step_size`` / 2 in a mid-gray pixel; where that alone crosses the boundary every constant "succeeds", the search
    drives c to 0, and the result stays far from the nearest. Starting from a large c, the first constants converge.
    """
    attack = L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps,
        steps=steps,
        stepsize=step_size,
        confidence=confidence,
        initial_const=initial_const,
        # Its rule looks at the loss of the whole batch.
        abort_early=False,
    )
    watched = _Watched(model, images, labels, targets, confidence=confidence)
    attack.run(watched, images, _criterion(labels, targets))
    return watched.smallest()


def deepfool(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 50,
    candidates: int = 10,
    overshoot: float = 0.02,
) -> AttackResult:
    """DeepFool (Moosavi-Dezfooli, Fawzi and Frossard 2016) in L2: step to the nearest linearised boundary, repeat.

        f_k = Z_k - Z_y,   w_k = grad f_k,   k* = argmin_k |f_k| / |w_k|,   x <- x + |f_k*| w_k* / |w_k*|^2
        x' = x_0 + (1 + overshoot) sum of the steps

    A failure is the iterate with the largest margin. ``first_success`` counts linearisations; each takes a forward
    and a backward pass for every candidate class but the first, until the slowest image of the batch is done. Raises
    AttackError if ``targets`` is given.
    """
    if targets is not None:
        raise AttackError(f"deepfool takes no target: {UNTARGETED['deepfool']}.")
    attack = L2DeepFoolAttack(steps=steps, candidates=candidates, overshoot=overshoot)
    watched = _Watched(model, images, labels, None, candidates=candidates)
    last = attack.run(watched, images, _criterion(labels, None))
    with torch.no_grad():
        watched(last)
    return watched.smallest()


def ddn(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 100,
    initial_norm: float = 1.0,
    gamma: float = 0.05,
) -> AttackResult:
    """Decoupled direction and norm (Rony et al. 2019): cross-entropy steps on a sphere whose radius follows success.

        delta <- delta + a g / |g|,   r <- (1 - gamma) r after a success, else (1 + gamma) r,   x' = x + r delta / |delta|

    The result is the closest success, else the input with the largest margin. ``first_success`` counts gradient steps.
    """
    attack = DDNAttack(init_epsilon=initial_norm, steps=steps, gamma=gamma)
    exact = ExactCrossEntropy(
        model,
        labels if targets is None else targets,
        sign=1.0 if targets is None else -1.0,
        generators=image_generators(indices, images, seed),
    )
    watched = _Watched(exact, images, labels, targets)
    # foolbox draws a substitute gradient at every step, even if unused: keep the global generator as it was.
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        attack.run(watched, images, _criterion(labels, targets))
    return watched.smallest()
