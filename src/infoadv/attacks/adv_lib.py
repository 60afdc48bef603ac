"""Attacks of adv-lib: ALMA, PerC-AL, FMN, and its C&W and DDN as a cross-check of foolbox's.

adv-lib is the optional extra ``peers``. The steps are adv-lib's; what stands around them closes what would make them
unfit for a comparison:

- where they fail they return the clean image; here a failure is the attempt that came closest to success;
- ALMA and DDN draw a substitute for a zero gradient from torch's global generator; here it comes from (seed, index);
- the early abort of C&W looks at the loss of the whole batch; it is off;
- ALMA adds its tolerance with the wrong sign where there is a target, and takes images for successes that are none;
- ALMA's search for the first step never ends where the distance cannot reach its goal; here it ends;
- FMN projects a copy of the perturbation, and so not at all, where colour images lie channels last; here they do not;
- FMN aims at the boundary itself until its first success, and may come ever closer without one; here it aims a
  twentieth of the way past it until then;
- in float32 the cross-entropy of a confident network has a gradient of the wrong direction, or none, which PerC-AL turns
  into NaN (see ExactCrossEntropy);
- nothing is logged.

What is left as it is: FMN's step in L2 scales the perturbation to its norm where the paper only shortens it.

PerC-AL and ALMA amplify rounding. With the options of ``tests/attacks/test_adv_lib.py`` two runs that differ in the last place of
float32 drift apart by a factor of 1.3 to 1.5 a step, and by 1 % of the perturbation after 15 to 60 steps, whatever the
difference came from: another batch, another memory layout, or noise of 6e-8 on the image or on the logits. L2 then moves
by about 1 % or less in the middle image of 24, by up to half in the worst, and by at most 3 % in the mean. No dependence
on batch or layout was found beside it: in float64 the same runs start 2e-9 times as far apart, grow alike, and agree to
1e-8 after 20 steps. Shorter or smoother steps amplify less: PerC-AL with steps of 0.3 of the default grows by 1.05 a step,
ALMA with SSIM at the default smoothing not at all in 100 steps. The same chunk gives the same bytes. Compare these attacks
by means over images, not image by image; FMN, C&W and DDN agree to 1e-4 on every image.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, image_generators
from infoadv.attacks.gradients import ExactCrossEntropy, fill_vanishing
from infoadv.attacks.tracking import Tracker
from infoadv.numerics.margins import batch_view, margin

#: The metric columns that each attack minimises or is bounded in, which therefore cannot judge it.
OPTIMISES = {
    "alma_l2": ["l2", "psnr"],
    "alma_ssim": ["ssim"],
    "alma_ciede2000": ["ciede2000"],
    "perc_al": ["ciede2000"],
    "fmn_l2": ["l2", "psnr"],
    "fmn_linf": ["linf"],
    "cw_l2_adv_lib": ["l2", "psnr"],
    "ddn_adv_lib": ["l2", "psnr"],
}

SCHEMA: dict[str, dict] = {
    "alma_l2": {
        "steps": {"minimum": 2, "description": "gradient steps"},
        "first_distance": {"exclusiveMinimum": 0, "description": "distance that the first step covers, in L2"},
    },
    "alma_ssim": {
        "steps": {"minimum": 2, "description": "gradient steps"},
        "first_distance": {"exclusiveMinimum": 0, "description": "distance that the first step covers, in 1 - SSIM"},
    },
    "alma_ciede2000": {
        "steps": {"minimum": 2, "description": "gradient steps"},
        "first_distance": {
            "exclusiveMinimum": 0,
            "description": "distance that the first step covers, in CIEDE2000 (L2 norm over pixels)",
        },
    },
    "perc_al": {
        "steps": {"minimum": 1, "description": "gradient steps, each with a second forward pass on the rounded image"},
        "step_size": {
            "exclusiveMinimum": 0,
            "description": "first step, in L2, along the gradient of the cross-entropy",
        },
        "colour_step_size": {
            "exclusiveMinimum": 0,
            "description": "first step, in L2, against the gradient of the colour difference",
        },
    },
    "fmn_l2": {
        "steps": {"minimum": 2, "description": "gradient steps"},
        "step_size": {"exclusiveMinimum": 0, "description": "first step, in L2"},
        "gamma": {
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "share by which the norm first shrinks after a success and grows after a failure",
        },
    },
    "fmn_linf": {
        "steps": {"minimum": 2, "description": "gradient steps"},
        "step_size": {"exclusiveMinimum": 0, "description": "first step, in L2"},
        "gamma": {
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "share by which the norm first shrinks after a success and grows after a failure",
        },
    },
    "cw_l2_adv_lib": {
        "steps": {"minimum": 2, "description": "Adam steps for each constant c"},
        "confidence": {"minimum": 0, "description": "margin of the logits that counts as success"},
    },
    "ddn_adv_lib": {"steps": {"minimum": 2, "description": "gradient steps"}},
}

#: A distance (N,) of perturbed images (N, C, H, W) from the clean ones.
Distance = Callable[[Tensor], Tensor]

#: Times that ALMA's first step is doubled at most: every pixel that can move is then at a bound.
DOUBLINGS = 40
#: Norm up to which ALMA takes its first gradient for none.
_ALMA_VANISHING = 1e-6
#: Logits by which ALMA's successes are past the boundary.
_ALMA_TOLERANCE = 1e-4
#: How far past the boundary FMN aims until its first success, as a share of the clean image's margin.
_FMN_PAST = 0.05


def adv_lib(module: str) -> Any:
    """Import ``adv_lib.module``. Raises AttackError where adv-lib, or what it needs, is not installed."""
    try:
        return importlib.import_module(f"adv_lib.{module}")
    except ImportError as error:
        raise AttackError(
            f"the attacks of adv-lib need the optional extra peers ({error}); install it with `pip install "
            "'setuptools<81' && pip install --no-build-isolation '.[peers]'`, or take them out of attacks."
        ) from error


class _Watched(nn.Module):
    """Calls a model and remembers, for each image, what an attack has shown it.

    Attributes
    ----------
    step
        Calls so far whose inputs take a gradient: the gradient steps, one a call.
    tracker
        A success exceeds ``confidence``; with ``order`` its cost is the norm of that order. The clean image is no attempt.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        *,
        order: float | None = None,
        confidence: float = 0.0,
        first_gradient: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.images, self.labels, self.targets = model, images, labels, targets
        self.order, self.confidence, self.first_gradient = order, confidence, first_gradient
        self.step = 0
        self.tracker = Tracker(images)
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of ``images`` and remember what matters about them."""
        if self.step == 0 and images.requires_grad and self.first_gradient is not None:
            images = images.view_as(images)
            images.register_hook(self.first_gradient)
        logits: Tensor = self.model(images)
        with torch.no_grad():
            self._watch(images.detach(), margin(logits.detach(), self.labels, self.targets))
        self.step += int(images.requires_grad)
        return logits

    def _watch(self, inputs: Tensor, margins: Tensor) -> None:
        distance = None
        if self.order is not None:
            distance = (inputs - self.images).flatten(1).norm(p=self.order, dim=1)
        success = margins > self.confidence
        self.tracker.update(inputs, margins, success, self.step, cost=distance, attempt=self.step > 0)

    def smallest(self) -> AttackResult:
        """Return the closest success of each image or, without one, the attempt with the largest margin."""
        return AttackResult(self.tracker.best().detach().clamp(0, 1), self.tracker.first_success)

    def chosen(self, adversarial: Tensor) -> AttackResult:
        """Return the library's choice, or the attempt with the largest margin where that is the clean image."""
        moved = (adversarial != self.images).flatten(1).any(1)
        found = moved | (self.tracker.first_success == 0)
        images = torch.where(batch_view(found, adversarial), adversarial, self.tracker.attempt)
        return AttackResult(images.detach().clamp(0, 1), self.tracker.first_success)


def _aim(labels: Tensor, targets: Tensor | None) -> dict[str, Any]:
    """Return the arguments with which adv-lib is told what to reach."""
    return {"labels": labels if targets is None else targets, "targeted": targets is not None}


def _require_colour(method: str, images: Tensor) -> None:
    if images.shape[1] != 3:
        raise AttackError(
            f"{method} works on colour images, and these have {images.shape[1]} channel(s); name the colour data sets "
            f"in `datasets` of the attack, or use alma_ssim."
        )


def run_alma(
    method: str,
    distance: Callable[[Tensor, Tensor], Tensor],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    indices: Tensor | None,
    seed: int,
    targets: Tensor | None,
    steps: int,
    first_distance: float,
    smoothing: float,
) -> AttackResult:
    """Run ALMA (Rony et al. 2021) on any ``distance(images, perturbed)`` -> (N,), differentiable in the second.

    The result is the success with the smallest distance, else the input with the largest margin; ``first_success``
    counts gradient steps. The loss is the ratio of differences of logits, which needs three classes, four with a
    target: AttackError where there are fewer.
    """
    library = adv_lib("attacks.augmented_lagrangian")
    generators = image_generators(indices, images, seed)
    watched = _Watched(
        model,
        images,
        labels,
        targets,
        first_gradient=lambda gradient: fill_vanishing(gradient, generators, _ALMA_VANISHING),
    )
    left = DOUBLINGS

    def bounded(clean: Tensor, perturbed: Tensor) -> Tensor:
        # adv-lib doubles the first step until every image is far enough. Only this search asks without a gradient.
        nonlocal left
        value = distance(clean, perturbed)
        if left and not perturbed.requires_grad:
            left = 0 if bool((value > first_distance).all()) else left - 1
            if left == 0:
                return torch.full_like(value, torch.inf)
        return value

    def enough_classes(images: Tensor) -> Tensor:
        logits: Tensor = watched(images)
        least = 3 if targets is None else 4
        if logits.shape[1] < least:
            raise AttackError(
                f"{method} needs at least {least} classes{' with a target' if targets is not None else ''}, and the "
                f"network has {logits.shape[1]}; use fmn_l2 or ddn."
            )
        return logits

    greek = {
        "\N{GREEK SMALL LETTER ALPHA}": smoothing,
        "logit_tolerance": _ALMA_TOLERANCE if targets is None else -_ALMA_TOLERANCE,
    }
    # adv-lib draws a substitute gradient even if it is unused: keep the global generator as it was.
    devices = [images.device] if images.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        patch.dict(library._distances, {method: bounded}),
    ):
        adversarial = library.alma(
            enough_classes,
            images,
            **_aim(labels, targets),
            num_steps=steps,
            distance=method,
            init_lr_distance=first_distance,
            **greek,
        )
    return watched.chosen(adversarial)


def alma_l2(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 300,
    first_distance: float = 0.1,
    smoothing: float = 0.9,
) -> AttackResult:
    """Augmented Lagrangian attack (Rony et al. 2021) that minimises L2.

        minimise D(x, x') + P(m(x'), rho, mu),   D = |x' - x|,   m: difference-of-logits ratio, below 0 for a success

    P is a penalty whose parameters rho and mu follow m. The result is the success with the smallest D.
    """
    return run_alma(
        "alma_l2",
        adv_lib("distances.lp_norms").l2_distances,
        model,
        images,
        labels,
        indices=indices,
        seed=seed,
        targets=targets,
        steps=steps,
        first_distance=first_distance,
        smoothing=smoothing,
    )


def alma_ssim(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 300,
    first_distance: float = 0.0001,
    smoothing: float = 0.9,
) -> AttackResult:
    """Augmented Lagrangian attack (Rony et al. 2021) that minimises 1 - SSIM.

    As :func:`alma_l2`, with D = 1 - SSIM(x, x').
    """
    return run_alma(
        "alma_ssim",
        adv_lib("distances.structural_similarity").ssim_loss,
        model,
        images,
        labels,
        indices=indices,
        seed=seed,
        targets=targets,
        steps=steps,
        first_distance=first_distance,
        smoothing=smoothing,
    )


def alma_ciede2000(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 300,
    first_distance: float = 0.05,
    smoothing: float = 0.9,
) -> AttackResult:
    """Augmented Lagrangian attack (Rony et al. 2021) that minimises CIEDE2000.

    As :func:`alma_l2`, with D the L2 norm over pixels of the colour difference CIEDE2000. Raises AttackError on gray images.
    """
    _require_colour("alma_ciede2000", images)
    difference = adv_lib("distances.color_difference").ciede2000_loss
    # adv-lib's own constant, which keeps the gradient of a root finite.
    smallest = {"\N{GREEK SMALL LETTER EPSILON}": 1e-12}
    return run_alma(
        "alma_ciede2000",
        lambda clean, perturbed: difference(clean, perturbed, **smallest),
        model,
        images,
        labels,
        indices=indices,
        seed=seed,
        targets=targets,
        steps=steps,
        first_distance=first_distance,
        smoothing=smoothing,
    )


def perc_al(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 300,
    step_size: float = 1.0,
    colour_step_size: float = 0.5,
) -> AttackResult:
    """PerC-AL (Zhao, Liu and Larson 2020): cross-entropy steps until success, then steps of less colour difference.

        no success yet:   delta <- delta + a g / |g|,   g = grad of the cross-entropy
        after a success:  delta <- delta - b h / |h|,   h = grad of |CIEDE2000(x, x + delta)|

    The result is an 8-bit image, the success with the smallest CIEDE2000 (L2 norm over pixels), else the input with the
    largest margin; ``first_success`` counts gradient steps. Raises AttackError on gray images.
    """
    _require_colour("perc_al", images)
    library = adv_lib("attacks.perceptual_color_attacks.perceptual_color_distance_al")
    watched = _Watched(model, images, labels, targets)
    exact = ExactCrossEntropy(
        watched,
        labels if targets is None else targets,
        sign=1.0 if targets is None else -1.0,
        generators=image_generators(indices, images, seed),
    )
    adversarial = library.perc_al(
        exact,
        images,
        **_aim(labels, targets),
        # Used with a confidence only, which adv-lib fixes at 40 whatever is asked for.
        num_classes=0,
        max_iterations=steps,
        alpha_l_init=step_size,
        alpha_c_init=colour_step_size,
    )
    return watched.chosen(adversarial)


def _fmn(
    order: float,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    *,
    steps: int,
    step_size: float,
    gamma: float,
) -> AttackResult:
    library = adv_lib("attacks.fast_minimum_norm")
    # FMN projects `flatten(1)` in place, which is a copy in any other layout.
    images = images.contiguous()
    watched = _Watched(model, images, labels, targets, order=order)
    chosen = (labels if targets is None else targets)[:, None]
    past: Tensor | None = None

    def shifted(inputs: Tensor) -> Tensor:
        nonlocal past
        logits: Tensor = watched(inputs)
        if past is None:
            past = _FMN_PAST * margin(logits.detach(), labels, targets).abs()
        ahead = torch.where(watched.tracker.first_success < 0, past, 0)[:, None]
        return logits.scatter_add(1, chosen, ahead if targets is None else -ahead)

    greek = {
        "\N{GREEK SMALL LETTER ALPHA}_init": step_size,
        "\N{GREEK SMALL LETTER GAMMA}_init": gamma,
    }
    library.fmn(shifted, images, **_aim(labels, targets), norm=order, steps=steps, **greek)
    return watched.smallest()


def fmn_l2(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
) -> AttackResult:
    """Fast minimum norm (Pintor et al. 2021) in L2: gradient steps in a ball whose radius follows success.

        delta <- P(delta + a_k g / |g|),   P: onto the ball of radius epsilon_k
        epsilon_k <- (1 - gamma_k) epsilon_k after a success, else (1 + gamma_k) epsilon_k

    Before the first success epsilon_k is the estimated distance to the boundary.
    The result is the closest success, else the input with the largest margin. ``first_success`` counts gradient steps.
    """
    return _fmn(2, model, images, labels, targets, steps=steps, step_size=step_size, gamma=gamma)


def fmn_linf(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
) -> AttackResult:
    """Fast minimum norm (Pintor et al. 2021) in Linf; formula, result and ``first_success`` as in :func:`fmn_l2`."""
    return _fmn(torch.inf, model, images, labels, targets, steps=steps, step_size=step_size, gamma=gamma)


def cw_l2_adv_lib(
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
    """Carlini and Wagner (2017) in L2 by adv-lib; formula, options and result as in :func:`cw_l2`."""
    library = adv_lib("attacks.carlini_wagner.l2")
    watched = _Watched(model, images, labels, targets, order=2, confidence=confidence)
    library.carlini_wagner_l2(
        watched,
        images,
        **_aim(labels, targets),
        confidence=confidence,
        learning_rate=step_size,
        initial_const=initial_const,
        binary_search_steps=binary_search_steps,
        max_iterations=steps,
        # Its rule looks at the loss of the whole batch, and divides by zero below ten steps.
        abort_early=False,
    )
    return watched.smallest()


def ddn_adv_lib(
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
    """Decoupled direction and norm (Rony et al. 2019) by adv-lib; formula, options and result as in :func:`ddn`.

    Iterates are not rounded, as in foolbox, where adv-lib's default is 256 levels.
    """
    library = adv_lib("attacks.decoupled_direction_norm")
    watched = _Watched(model, images, labels, targets, order=2)
    exact = ExactCrossEntropy(
        watched,
        labels if targets is None else targets,
        sign=1.0 if targets is None else -1.0,
        generators=image_generators(indices, images, seed),
    )
    library.ddn(
        exact,
        images,
        **_aim(labels, targets),
        steps=steps,
        init_norm=initial_norm,
        levels=None,
        **{"\N{GREEK SMALL LETTER GAMMA}": gamma},
    )
    return watched.smallest()
