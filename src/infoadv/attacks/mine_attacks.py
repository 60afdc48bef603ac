"""The information attacks whose information is found by a critic: that of Hsu, Chen and Yu (2020) and recipes that followed.

    minimise over delta   c f(x + delta) - alpha I(x, x + delta)     with x + delta in [0, 1]^D, |delta_i| <= epsilon
    f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -kappa)

I is a bound by a critic that is trained along (MINE, Belghazi et al. 2018); its closed form is
:func:`infoadv.attacks.information.projection`. The constant c is found by binary search or follows a primal-dual rule.

The functions ``uae_*`` are recipes of the authors' follow-up (Hsu et al. 2022, whose code is public): projections redrawn at
each step and standardised by row, or the maps of the first convolution; branches of 512 and 10 units that begin as Glorot's;
plain Donsker-Varadhan; stochastic gradient descent on delta. They keep the successful iterate with the largest estimate of its
own step, and clip what the network sees instead of delta. One thing is left out: in the code of the binary search, Adam moves
delta beside the critics, by at most 20 steps of 0.00002 for one of delta's own.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def _layers(hidden: int | Sequence[int]) -> tuple[int, ...]:
    return (hidden,) if isinstance(hidden, int) else tuple(hidden)


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
        lambda number: MineInformation(model, images, seed, number, critic),
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
    quantize: bool = True,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float = 0.01,
    batch: Literal["projection", "conv"] = "projection",
    sampling: Literal["pairs", "matrix"] = "pairs",
    dimension: int = 1,
    samples: int = 256,
    redraw: bool = True,
    standardize: Literal["norm", "row", "none"] = "norm",
    gain: Literal["fixed", "free"] = "fixed",
    hidden: int | Sequence[int] = 32,
    critic_start: Literal["uniform", "glorot"] = "uniform",
    critic_learning_rate: float = 0.01,
    critic_steps: int = 1,
    bound: Literal["donsker_varadhan", "nwj", "infonce"] = "donsker_varadhan",
    marginal: Literal["derangement", "offdiagonal", "permutation"] = "derangement",
    clip: float | None = None,
    moving_average: float = 0.1,
    ranking: Literal["fixed", "step"] = "fixed",
) -> AttackResult:
    """Keep the information that a critic finds between random projections of x and of x' (Hsu, Chen and Yu 2020).

        minimise over delta   c f(x') - alpha I,   I = max over T of E[T(u, v)] - ln E[exp T(u, v~)]
        u = A x,   v = A x',   v~ of another projection,   f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -confidence)

    T is a small network (MINE, Belghazi et al. 2018). Published are ``gain`` free and ``ranking`` step.

    ``search``, ``steps``, ``search_steps``, ``initial_c``, ``alpha``, ``confidence``, ``epsilon``, ``quantize``, ``optimizer``
    and ``learning_rate`` are those of :func:`infoadv.attacks.information.masking`, as are the other parameters, the result and
    the errors.

    Parameters
    ----------
    batch, sampling
        One image becomes a batch by random projections, or by the maps of the first convolution; projected pairs are drawn
        from their exact distribution, or formed by Gaussian matrices as published.
    dimension, samples, redraw, standardize
        Rows d' of a projection, projections K of a step, whether they are new at every step, and whether pairs are divided by
        their exact standard deviation, standardised row by row, or neither.
    gain
        ``free``: T(u, v), which sees the angle between the images alone, so an attack that is given time dims the image.
        ``fixed``: T(u - v) of pairs divided by the clean image's deviation, so a change of brightness costs. Both bound the
        same information (:func:`infoadv.information.projection.difference_information`).
    hidden, critic_start, critic_learning_rate, critic_steps
        Units of the critic, or of each linear layer of its branches; how its weights begin; Adam's learning rate on it, and its
        steps for a step of delta.
    bound, marginal, clip, moving_average
        The bound (:mod:`infoadv.information.bounds`). How pairs are broken. Of Donsker-Varadhan alone: the clip of T inside the
        logarithm (SMILE), None for none, and the rate of the moving average in the critic's gradient, 1 for none.
    ranking
        What says which successful iterate is the best: the critic's estimate on pairs that are the same at all steps, or that
        on the pairs of the step, the largest of which is a lucky one.

    Raises
    ------
    AttackError
        ``batch`` is conv and the model has no Conv2d layer; ``search`` is decoupled; ``clip`` is set beside another bound than
        Donsker-Varadhan; or ``gain`` is fixed and ``standardize`` row, which takes every gain away.
    """
    if search not in ("binary", "primal_dual"):
        raise AttackError(
            f"mine: search {search!r} needs a closed form; use search: binary or primal_dual, or the attack projection or "
            "masking."
        )
    if clip is not None and bound != "donsker_varadhan":
        raise AttackError(f"mine: clip is of bound: donsker_varadhan (SMILE), this is {bound}; leave clip out.")
    if gain == "fixed" and standardize == "row":
        raise AttackError("mine: standardize: row takes every gain away; use gain: free with it.")
    critic = Critic(
        batch=batch,
        sampling=sampling,
        dimension=dimension,
        samples=samples,
        redraw=redraw,
        standardize=standardize,
        gain=gain,
        hidden=_layers(hidden),
        critic_start=critic_start,
        critic_learning_rate=critic_learning_rate,
        critic_steps=critic_steps,
        bound=bound,
        marginal=marginal,
        clip=clip,
        moving_average=moving_average,
        ranking=ranking,
    )
    penalty = Penalty(search, steps, search_steps, initial_c, alpha, optimizer, learning_rate, quantize)
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
    initial_c: float = 1e-3,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    start: Literal["glorot", "near"] = "glorot",
    learning_rate: float = 0.01,
    sampling: Literal["pairs", "matrix"] = "matrix",
    dimension: int = 128,
    samples: int = 500,
    hidden: int | Sequence[int] = (512, 10),
    critic_start: Literal["uniform", "glorot"] = "glorot",
    critic_learning_rate: float = 1.5e-5,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) with 500 projections to 128 rows and the primal-dual rule for c.

    Formula, parameters, result and errors as in :func:`mine`, but ``start``: delta begins a thousandth beside the image, or as
    published (:class:`infoadv.attacks.penalised.Penalty`).
    """
    critic = Critic(
        batch="projection",
        sampling=sampling,
        dimension=dimension,
        samples=samples,
        hidden=_layers(hidden),
        critic_start=critic_start,
        critic_learning_rate=critic_learning_rate,
    )
    penalty = Penalty("primal_dual", steps, 1, initial_c, alpha, "sgd", learning_rate, start=start, box="clipped")
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
    initial_c: float = 1e-3,
    alpha: float = 1.0,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    start: Literal["glorot", "near"] = "glorot",
    learning_rate: float = 0.01,
    hidden: int | Sequence[int] = (512, 10),
    critic_start: Literal["uniform", "glorot"] = "glorot",
    critic_learning_rate: float = 1.5e-5,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) whose batch is the maps of the target's first convolution.

    The critic reads a map, after a ReLU, by 16 filters of 2 x 2 pixels before the layers ``hidden``: ten million weights and,
    with Adam's, 160 MB an image at 28 x 28 pixels.

    Formula, parameters, result and errors as in :func:`mine`, but ``start``: delta begins a thousandth beside the image, or as
    published (:class:`infoadv.attacks.penalised.Penalty`).
    """
    critic = Critic(
        batch="conv",
        hidden=_layers(hidden),
        critic_start=critic_start,
        critic_learning_rate=critic_learning_rate,
        convolutional=True,
    )
    penalty = Penalty("primal_dual", steps, 1, initial_c, alpha, "sgd", learning_rate, start=start, box="clipped")
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
    start: Literal["glorot", "near"] = "glorot",
    learning_rate: float = 0.01,
    sampling: Literal["pairs", "matrix"] = "matrix",
    dimension: int = 128,
    samples: int = 500,
    hidden: int | Sequence[int] = (512, 10),
    critic_start: Literal["uniform", "glorot"] = "glorot",
    critic_learning_rate: float = 2e-5,
    critic_steps: int = 20,
) -> AttackResult:
    """Recipe of the authors' follow-up (Hsu et al. 2022) with a binary search of nine steps over c, from 0.001.

    Formula, parameters, result and errors as in :func:`mine`, but ``start``: delta begins a thousandth beside the image, or as
    published (:class:`infoadv.attacks.penalised.Penalty`).
    """
    critic = Critic(
        batch="projection",
        sampling=sampling,
        dimension=dimension,
        samples=samples,
        hidden=_layers(hidden),
        critic_start=critic_start,
        critic_learning_rate=critic_learning_rate,
        critic_steps=critic_steps,
    )
    penalty = Penalty("binary", steps, search_steps, initial_c, alpha, "sgd", learning_rate, start=start, box="clipped")
    limits = {"confidence": confidence, "epsilon": epsilon}
    return _with_critics(model, images, labels, targets, critic, penalty, **limits, indices=indices, seed=seed)
