"""The information attacks: adversarial examples that keep information with, or hide it from, the clean image.

    minimise over delta   c f(x + delta) - alpha I(x, x + delta)     with x + delta in [0, 1]^D, |delta_i| <= epsilon
    f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -kappa)

(Hsu, Chen and Yu 2020, section II.) Three estimators stand for I: :func:`mine`, theirs, a bound by a critic trained along;
:func:`projection`, its closed form; :func:`masking`, minus the information that x' carries about delta (ours). Beside them
stands :func:`weighted_l2`, minus a weighted norm of earlier work, so that it is compared under the same search. The
constant c is found by binary search or follows a primal-dual rule; for the closed forms the search ``decoupled`` separates
the direction of the perturbation from its norm (Rony et al. 2019), in coordinates in which the objective is a plain L2.

The functions ``uae_*`` are recipes of the authors' follow-up (AAAI 2022): projections redrawn at each step and standardised by
row, or the maps of the first convolution; plain Donsker-Varadhan; stochastic gradient descent on delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, places
from infoadv.attacks.critics import Critic, MineInformation
from infoadv.attacks.searches import Information, Penalty, decoupled, penalised
from infoadv.information.masking import masking_weights, perturbation_information
from infoadv.information.projection import projection_information
from infoadv.information.visibility_weights import WEIGHTS, weighted_norm

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
    "weighted_l2": {"weights": {"description": "whose weights (see information/visibility_weights.py)"}},
    "mine": {},
    "uae_projection": {},
    "uae_conv": {},
    "uae_binary": {},
}
#: Each records its run: margin, estimate and closed form in the trace of its result. Here is what figures call the estimate.
TRACES = {
    "masking": "attack's estimate",
    "projection": "attack's estimate",
    "weighted_l2": "attack's estimate",
    "mine": "MINE estimate",
    "uae_projection": "MINE estimate",
    "uae_conv": "MINE estimate",
    "uae_binary": "MINE estimate",
}
OPTIMISES = {
    "masking": ["perturbation_information"],
    "projection": ["l2", "psnr", "mi_projection", "mi_mine"],
    "weighted_l2": [],
    "mine": ["mi_projection", "mi_mine"],
    "uae_projection": ["mi_projection", "mi_mine"],
    "uae_conv": ["mi_projection", "mi_mine"],
    "uae_binary": ["mi_projection", "mi_mine"],
}


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
    quantize: bool,
    indices: Tensor | None,
    seed: int,
) -> AttackResult:
    """Keep ``information`` under one of the searches; ``weights`` (N, C, H, W) make it a plain L2, None where none do."""
    if search == "decoupled":
        if weights is None:
            raise AttackError(
                "search: decoupled needs colour: rgb (the weights of opponent axes are not diagonal in RGB)."
            )
        root = (weights / weights.mean((1, 2, 3), keepdim=True)).sqrt()
        best, trace = decoupled(
            model,
            images,
            labels,
            targets,
            information,
            root,
            steps=penalty.steps,
            confidence=confidence,
            epsilon=epsilon,
            quantize=quantize,
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
        decoupled: iterates are judged after rounding to 8 bits.
    exponent, colour
        decoupled: power of the weights of a step. Windows in each channel, or in luminance and chrominance.
    search_steps, initial_c, alpha, optimizer, learning_rate
        binary and primal_dual: see :class:`infoadv.attacks.searches.Penalty`.

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
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate),
        confidence=confidence,
        epsilon=epsilon,
        quantize=quantize,
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
    search: Literal["decoupled", "binary", "primal_dual"] = "decoupled",
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
) -> AttackResult:
    """Keep the projected information of Hsu, Chen and Yu (2020) in its closed form.

        I = -1/2 ln(1 - rho^2),   rho = <x, x'> / (|x| |x'|)

    What :func:`mine` estimates, without a critic (:func:`infoadv.information.projection.projection_information`); it sees
    only the angle between the images, so with ``decoupled`` this is an L2 attack. Parameters, result and errors as in
    :func:`masking`.
    """
    return _closed_form(
        model,
        images,
        labels,
        targets,
        lambda perturbed: projection_information(images, perturbed),
        images.new_ones(images.shape),
        search=search,
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate),
        confidence=confidence,
        epsilon=epsilon,
        quantize=quantize,
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
    weights: Literal["inverse_deviation", "sigma_map", "just_noticeable_difference"] = "inverse_deviation",
    search: Literal["decoupled", "binary", "primal_dual"] = "decoupled",
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
) -> AttackResult:
    """Minimise a weighted L2 norm of earlier work under the search of :func:`masking`, to compare objectives alone.

        sum_p W_p(x) delta_p^2

    The weights are those of Luo et al. 2018 (``inverse_deviation``), of Croce and Hein 2019 (``sigma_map``) and of Chou and
    Li 1995 (``just_noticeable_difference``).
    ``weights`` names one of :mod:`infoadv.information.visibility_weights`; the other parameters, result and errors are those
    of :func:`masking`.
    """
    of_pixels = WEIGHTS[weights](images)
    return _closed_form(
        model,
        images,
        labels,
        targets,
        lambda perturbed: -weighted_norm(images, perturbed, of_pixels),
        of_pixels,
        search=search,
        penalty=Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate),
        confidence=confidence,
        epsilon=epsilon,
        quantize=quantize,
        indices=indices,
        seed=seed,
    )


def _with_critics(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    critic: Critic,
    penalty: Penalty,
    *,
    confidence: float,
    epsilon: float,
    indices: Tensor | None,
    seed: int,
) -> AttackResult:
    best, trace = penalised(
        model,
        images,
        labels,
        targets,
        lambda number: MineInformation(model, images, 2 * (seed * 1009 + number), critic),
        penalty,
        confidence=confidence,
        epsilon=epsilon,
        indices=places(indices, images),
        seed=seed,
    )
    return AttackResult(best.best(), best.first_success, trace.tensors())


def mine(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    search: Literal["binary", "primal_dual"] = "binary",
    steps: int = 200,
    search_steps: int = 5,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
    batch: Literal["projection", "conv"] = "projection",
    sampling: Literal["pairs", "matrix"] = "pairs",
    dimension: int = 1,
    samples: int = 256,
    redraw: bool = True,
    standardize: Literal["norm", "row", "none"] = "norm",
    hidden: int = 32,
    critic_learning_rate: float = 0.01,
    critic_steps: int = 1,
    marginal: Literal["derangement", "offdiagonal", "permutation"] = "derangement",
    clip: float | None = None,
    moving_average: float = 0.1,
) -> AttackResult:
    """Keep the information that a critic finds between random projections of x and of x' (Hsu, Chen and Yu 2020).

        minimise over delta   c f(x') - alpha I,   I = max over T of E[T(u, v)] - ln E[exp T(u, v~)]
        u = A x,   v = A x',   v~ of another projection,   f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -confidence)

    T is a small network (MINE, Belghazi et al. 2018).

    ``search``, ``steps``, ``search_steps``, ``initial_c``, ``alpha``, ``confidence``, ``epsilon``, ``optimizer`` and
    ``learning_rate`` are those of :func:`masking`, as are the other parameters, the result and the errors.

    Parameters
    ----------
    batch, sampling
        One image becomes a batch by random projections, or by the maps of the first convolution; projected pairs are drawn
        from their exact distribution, or formed by Gaussian matrices as published.
    dimension, samples, redraw, standardize
        Rows d' of a projection, projections K of a step, whether they are new at every step, and whether pairs are divided by
        their exact standard deviation, standardised row by row, or neither.
    hidden, critic_learning_rate, critic_steps
        Units of the critic, Adam's learning rate on it, and its steps for a step of delta.
    marginal, clip, moving_average
        How pairs are broken; the clip of T inside the logarithm (SMILE), None for none; rate of the moving average in the
        critic's gradient, 1 for plain Donsker-Varadhan.

    Raises
    ------
    AttackError
        ``batch`` is conv and the model has no Conv2d layer, or ``search`` is decoupled.
    """
    if search not in ("binary", "primal_dual"):
        raise AttackError(
            f"mine: search {search!r} needs a closed form; use search: binary or primal_dual, or the attack projection or "
            "masking."
        )
    critic = Critic(
        batch,
        sampling,
        dimension,
        samples,
        redraw,
        standardize,
        hidden,
        critic_learning_rate,
        critic_steps,
        marginal,
        clip,
        moving_average,
    )
    penalty = Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate)
    limits = {"confidence": confidence, "epsilon": epsilon}
    return _with_critics(model, images, labels, targets, critic, penalty, **limits, indices=indices, seed=seed)


def uae_projection(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 1000,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    learning_rate: float = 0.01,
    sampling: Literal["pairs", "matrix"] = "matrix",
    dimension: int = 128,
    samples: int = 500,
    hidden: int = 10,
    critic_learning_rate: float = 1.5e-5,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) with 500 projections to 128 rows and the primal-dual rule for c.

    Formula, parameters, result and errors as in :func:`mine`.
    """
    critic = Critic(
        "projection",
        sampling,
        dimension,
        samples,
        True,
        "row",
        hidden,
        critic_learning_rate,
        1,
        "permutation",
        None,
        1.0,
    )
    penalty = Penalty("primal_dual", steps, 1, initial_c, alpha, "sgd", learning_rate)
    limits = {"confidence": confidence, "epsilon": epsilon}
    return _with_critics(model, images, labels, targets, critic, penalty, **limits, indices=indices, seed=seed)


def uae_conv(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 1000,
    initial_c: float = 1.0,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    learning_rate: float = 0.01,
    hidden: int = 10,
    critic_learning_rate: float = 1.5e-5,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) whose batch is the maps of the target's first convolution.

    Formula, parameters, result and errors as in :func:`mine`.
    """
    critic = Critic("conv", "matrix", 1, 2, True, "row", hidden, critic_learning_rate, 1, "permutation", None, 1.0)
    penalty = Penalty("primal_dual", steps, 1, initial_c, alpha, "sgd", learning_rate)
    limits = {"confidence": confidence, "epsilon": epsilon}
    return _with_critics(model, images, labels, targets, critic, penalty, **limits, indices=indices, seed=seed)


def uae_binary(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    steps: int = 1000,
    search_steps: int = 9,
    initial_c: float = 1e-3,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    learning_rate: float = 0.01,
    sampling: Literal["pairs", "matrix"] = "matrix",
    dimension: int = 128,
    samples: int = 500,
    hidden: int = 10,
    critic_learning_rate: float = 1.5e-5,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) with a binary search of nine steps over c, from 0.001.

    Formula, parameters, result and errors as in :func:`mine`.
    """
    critic = Critic(
        "projection",
        sampling,
        dimension,
        samples,
        True,
        "row",
        hidden,
        critic_learning_rate,
        1,
        "permutation",
        None,
        1.0,
    )
    penalty = Penalty("binary", steps, search_steps, initial_c, alpha, "sgd", learning_rate)
    limits = {"confidence": confidence, "epsilon": epsilon}
    return _with_critics(model, images, labels, targets, critic, penalty, **limits, indices=indices, seed=seed)
