"""The information attacks with a closed form: adversarial examples that keep information with, or hide it from, the clean image.

    minimise over delta   c f(x + delta) - alpha I(x, x + delta)     with x + delta in [0, 1]^D, |delta_i| <= epsilon
    f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -kappa)

(Hsu, Chen and Yu 2020, section II.) Their own estimate of I is :func:`infoadv.attacks.mine_attacks.mine`. Here stand
:func:`projection`, the closed form of it; :func:`masking`, minus the information that x' carries about delta (ours); and
:func:`weighted_l2`, minus a weighted norm of earlier work, so that it is compared under the same search. The constant c is
found by binary search or follows a primal-dual rule; the search ``decoupled`` separates the direction of the perturbation
from its norm (Rony et al. 2019), in coordinates in which the objective is a plain L2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, places
from infoadv.attacks.decoupled import Diagonal, Schedule, decoupled
from infoadv.attacks.penalised import Penalty, penalised
from infoadv.attacks.searches import Information
from infoadv.information.masking import masking_weights, perturbation_information
from infoadv.information.projection import difference_information, projection_information
from infoadv.information.visibility_weights import visibility_weights, weighted_norm

SCHEMA = {
    "masking": {
        "noise": {
            "type": ["number", "array"],
            "items": {"type": "number", "exclusiveMinimum": 0},
            "minItems": 1,
            "exclusiveMinimum": 0,
            "description": "the observer's noise s_n, one number or one a channel",
        },
        "exponent": {
            "minimum": 0,
            "maximum": 1,
            "description": "decoupled: power of the weights of a step; 1/2 is close to weighted_l2, 0 steps as plain L2",
        },
        "colour": {"description": "windows in each channel, or in luminance and chrominance (not with decoupled)"},
    },
    "projection": {},
    "weighted_l2": {
        "weights": {"description": "whose weights (see information/visibility_weights.py)"},
        "floor": {
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "inverse_deviation and sigma_map: least deviation, of the [0, 1] range",
        },
    },
}
#: Each records its run: margin, estimate and closed form in the trace of its result. Here is what figures call the estimate.
TRACES = {
    "masking": "attack's estimate",
    "projection": "attack's estimate",
    "weighted_l2": "attack's estimate",
}
OPTIMISES = {
    "masking": ["perturbation_information"],
    "projection": ["l2", "psnr", "mi_projection", "mi_mine"],
    "weighted_l2": [],
}
#: In one window, not over an image: benchmarks/ssim_and_masking.py. The table `ranking` ranks with and without.
NEARLY_OPTIMISES = {"masking": ["ssim"]}


def _closed_form(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    information: Information,
    weights: Tensor | None,
    *,
    search: Literal["decoupled", "binary", "primal_dual"],
    penalty: Penalty,
    confidence: float,
    epsilon: float,
    classes: int,
    schedule: Schedule,
    indices: Tensor | None,
    seed: int,
) -> AttackResult:
    """Keep ``information`` under one of the searches; ``weights`` (N, C, H, W) make it a plain L2, None where none do."""
    if search == "decoupled":
        if weights is None:
            raise AttackError(
                "search: decoupled needs colour: rgb (the weights of opponent axes are not diagonal in RGB)."
            )
        best, trace = decoupled(
            model,
            images,
            labels,
            targets,
            information,
            Diagonal.of(weights),
            schedule,
            confidence=confidence,
            epsilon=epsilon,
            quantize=penalty.quantize,
            classes=classes,
        )
    else:
        best, trace = penalised(
            model,
            images,
            labels,
            targets,
            lambda number: information,
            penalty,
            confidence=confidence,
            epsilon=epsilon,
            indices=places(indices, images),
            seed=seed,
        )
    return AttackResult(best.best(), best.first_success, trace.tensors())


def masking(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    noise: float | Sequence[float] = 0.1,
    search: Literal["decoupled", "binary", "primal_dual"] = "decoupled",
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    classes: int = 1,
    first_step: float = 0.5,
    norm_change: float = 0.4,
    momentum: float = 0.0,
    temperature: float = 0.03,
    exponent: float = 1.0,
    colour: Literal["rgb", "opponent"] = "rgb",
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
) -> AttackResult:
    """Hide the perturbation in the image's own texture: minimise the information that x' carries about delta.

        I(delta; x') = 1/2 sum over windows and channels of ln(1 + s_d^2 / (s_x^2 + s_n^2))

    s_d^2 is the local energy of the perturbation, s_x^2 the local variance of the clean image, s_n the observer's ``noise``
    (:func:`infoadv.information.masking.perturbation_information`). This project's attack.

    Parameters
    ----------
    model
        Takes images in [0, 1] and returns logits (N, classes).
    images, labels
        (N, C, H, W) float in [0, 1] and (N,) int64.
    targets
        (N,) int64: the class aimed at; None for any other class.
    indices, seed
        (N,) int64, the places of the images in their data set (default 0, 1, ...), and the seed: where randomness comes from.
    noise
        s_n, of the [0, 1] range: one number, or one a channel.
    search, steps
        ``decoupled`` moves direction and norm apart, in ``steps`` iterations and without c. ``binary`` and ``primal_dual``
        descend c f - alpha I, with ``steps`` iterations of each of ``search_steps`` values of c, or of one that follows f.
    confidence, epsilon
        Margin to be reached, in logits; radius of the L-infinity ball, 1 for none.
    quantize
        The network sees iterates rounded to 8 bits, and these are judged.
    classes
        decoupled, untargeted: number of nearest classes that are searched one by one, each with ``steps``, for the best.
    first_step, norm_change, momentum, temperature
        decoupled: see :class:`infoadv.attacks.decoupled.Schedule`.
    exponent, colour
        decoupled: power of the weights of a step. Windows in each channel, or in luminance and chrominance.
    search_steps, initial_c, alpha, optimizer, learning_rate
        binary and primal_dual: see :class:`infoadv.attacks.penalised.Penalty`.

    Returns
    -------
    AttackResult
        The successful iterate with the least information, else the one nearest to success; the trace holds margin, estimate
        and the closed form of the projected information.

    Raises
    ------
    AttackError
        ``search`` is decoupled and ``colour`` opponent, of colour images.
    """
    weights = None
    if search == "decoupled" and not (colour == "opponent" and images.shape[1] == 3):
        weights = masking_weights(images, noise, exponent)
    return _closed_form(
        model,
        images,
        labels,
        targets,
        lambda perturbed: -perturbation_information(images, perturbed, noise, colour),
        weights,
        search=search,
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate, quantize),
        confidence=confidence,
        epsilon=epsilon,
        classes=classes,
        schedule=Schedule(steps, first_step, norm_change, momentum, temperature),
        indices=indices,
        seed=seed,
    )


def projection(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    gain: Literal["fixed", "free"] = "fixed",
    search: Literal["decoupled", "binary", "primal_dual"] = "decoupled",
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    classes: int = 1,
    first_step: float = 0.5,
    norm_change: float = 0.4,
    momentum: float = 0.0,
    temperature: float = 0.03,
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
) -> AttackResult:
    """Keep the projected information of Hsu, Chen and Yu (2020) in its closed form.

        free:   I = -1/2 ln(1 - rho^2),      rho = <x, x'> / (|x| |x'|)
        fixed:  I = 1/2 (r - 1 - ln r),      r = |x' - x|^2 / (|x|^2 + |x'|^2)

    What :func:`infoadv.attacks.mine_attacks.mine` estimates, without a critic
    (:func:`infoadv.information.projection.projection_information` and
    :func:`~infoadv.information.projection.difference_information`). With ``decoupled`` this is an L2 attack. Returns the
    successful iterate that keeps the most information, else the one nearest to success. Other parameters as in :func:`masking`.

    Parameters
    ----------
    gain
        ``free`` is the published quantity. It sees the angle between the images alone, so a change of brightness is free:
        an attack that is given time dims the image. With ``fixed`` it costs: what is kept is the part of the information that
        an observer has who takes x' for x plus noise.
    """
    kept = difference_information if gain == "fixed" else projection_information
    return _closed_form(
        model,
        images,
        labels,
        targets,
        lambda perturbed: kept(images, perturbed),
        images.new_ones(images.shape),
        search=search,
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate, quantize),
        confidence=confidence,
        epsilon=epsilon,
        classes=classes,
        schedule=Schedule(steps, first_step, norm_change, momentum, temperature),
        indices=indices,
        seed=seed,
    )


def weighted_l2(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    weights: Literal[
        "inverse_deviation", "sigma_map", "just_noticeable_difference", "noise_visibility"
    ] = "inverse_deviation",
    floor: float = 0.00392156862745098,
    search: Literal["decoupled", "binary", "primal_dual"] = "decoupled",
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    classes: int = 1,
    first_step: float = 0.5,
    norm_change: float = 0.4,
    momentum: float = 0.0,
    temperature: float = 0.03,
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
) -> AttackResult:
    """Minimise a weighted L2 norm of earlier work under the search of :func:`masking`, to compare objectives alone.

        sum_p W_p(x) delta_p^2

    The weights are those of Luo et al. 2018 (``inverse_deviation``), of Croce and Hein 2019 (``sigma_map``), of Chou and Li
    1995 (``just_noticeable_difference``) and of Voloshynovskiy et al. 1999 (``noise_visibility``).
    ``weights`` names one of :mod:`infoadv.information.visibility_weights`; ``floor`` is the least deviation that the first two
    divide by, of the [0, 1] range. Returns the successful iterate of the smallest norm, else the one nearest to success. Other
    parameters are those of :func:`masking`.
    """
    of_pixels = visibility_weights(weights, images, floor)
    return _closed_form(
        model,
        images,
        labels,
        targets,
        lambda perturbed: -weighted_norm(images, perturbed, of_pixels),
        of_pixels,
        search=search,
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate, quantize),
        confidence=confidence,
        epsilon=epsilon,
        classes=classes,
        schedule=Schedule(steps, first_step, norm_change, momentum, temperature),
        indices=indices,
        seed=seed,
    )
