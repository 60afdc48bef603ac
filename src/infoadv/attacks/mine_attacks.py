"""The information attacks whose information is found by a critic: that of Hsu, Chen and Yu (2020) and recipes that followed.

    minimise over delta   c f(x + delta) - alpha I(x, x + delta)     with x + delta in [0, 1]^D, |delta_i| <= epsilon
    f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -kappa)

I is a bound by a critic that is trained along (MINE, Belghazi et al. 2018); its closed form is
:func:`infoadv.attacks.information.projection`. The constant c is found by binary search or follows a primal-dual rule.

The functions ``uae_*`` are recipes of the authors' follow-up (AAAI 2022): projections redrawn at each step and standardised by
row, or the maps of the first convolution; plain Donsker-Varadhan; stochastic gradient descent on delta.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, places
from infoadv.attacks.critics import Critic, MineInformation
from infoadv.attacks.penalised import Penalty, penalised

SCHEMA: dict[str, dict] = {
    "mine": {},
    "uae_projection": {},
    "uae_conv": {},
    "uae_binary": {},
}
#: Each records its run: margin, estimate and closed form in the trace of its result. Here is what figures call the estimate.
TRACES = {
    "mine": "MINE estimate",
    "uae_projection": "MINE estimate",
    "uae_conv": "MINE estimate",
    "uae_binary": "MINE estimate",
}
OPTIMISES = {
    "mine": ["mi_projection", "mi_mine"],
    "uae_projection": ["mi_projection", "mi_mine"],
    "uae_conv": ["mi_projection", "mi_mine"],
    "uae_binary": ["mi_projection", "mi_mine"],
}


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
    ``learning_rate`` are those of :func:`infoadv.attacks.information.masking`, as are the other parameters, the result and
    the errors.

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
