"""JSMA, the Jacobian-based saliency map attack (Papernot et al. 2016, "The limitations of deep learning in adversarial
settings", algorithm 3 and equation 8), batched over images and target classes.

With a = dF_t/dx and b = sum_{j != t} dF_j/dx, each step sets the pair of features (p, q) to 1 that maximises
-(a_p + a_q)(b_p + b_q) among the pairs with a_p + a_q > 0 and b_p + b_q < 0. The adaptive attack of Carlini and Wagner
2016 ("Defensive distillation is not robust to adversarial examples") takes the gradients of softmax(Z / T).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, AttackResult, CountingModel
from infoadv.numerics.margins import margin

SCHEMA: dict[str, dict] = {
    "jsma": {
        "gamma": {
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "share of the features that may be changed, at most",
        },
        "outputs": {"enum": ["logits", "softmax"], "description": "F, whose gradients make the saliency map"},
        "temperature": {
            "exclusiveMinimum": 0,
            "description": "with outputs: softmax, T of softmax(Z / T); that of a distilled network makes the attack adaptive",
        },
        "exhaustive": {
            "description": "go on after the first class that is reached until every class is reached or given up"
        },
    }
}

#: A feature this close to 1 is left out of the search: what its gradient promises, the step that is left cannot bring.
SATURATED = 0.99
#: Rows that go through the network and the pair search together.
_ROWS = 128


def best_pairs(target: Tensor, others: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most salient pair of features of each row, (R, 2) int64, and whether there is one, (R,) bool.

    Parameters
    ----------
    target, others
        (R, D): a = dF_t/dx and b = sum_{j != t} dF_j/dx.
    free
        (R, D) bool: the features that may still be changed.

    Notes
    -----
    Seen as points (a, -b), a pair's score is the product of the two coordinates of its sum, which grows in both. A
    feature that two others dominate can therefore be left out of the search: in any pair, one of those two is at least
    as good in its place. What remains, the first two layers of the Pareto front, is tens of features out of thousands,
    and the search over its pairs is exact.
    """
    rows = len(target)
    first = torch.where(free, target, -torch.inf)
    first, order = first.sort(dim=1, descending=True)
    second = torch.where(free, -others, -torch.inf).gather(1, order)
    # In this order a feature is dominated by those before it whose -b is no smaller: by two, if the second largest is.
    largest = second.cummax(dim=1).values
    minus = torch.full_like(second[:, :1], -torch.inf)
    largest_before = torch.cat([minus, largest[:, :-1]], 1)
    second_largest = torch.minimum(second, largest_before).cummax(dim=1).values
    kept = (second > torch.cat([minus, second_largest[:, :-1]], 1)) & first.isfinite()

    width = max(2, int(kept.sum(1).max()))
    row, column = kept.nonzero(as_tuple=True)
    place = (kept.cumsum(1) - 1)[row, column]
    points = torch.full((2, rows, width), -torch.inf, dtype=target.dtype, device=target.device)
    features = torch.zeros((rows, width), dtype=torch.int64, device=target.device)
    points[0, row, place], points[1, row, place] = first[row, column], second[row, column]
    features[row, place] = order[row, column]

    towards = points[0][:, :, None] + points[0][:, None, :]
    away = points[1][:, :, None] + points[1][:, None, :]
    apart = torch.ones(width, width, dtype=torch.bool, device=target.device).triu(1)
    valid = (towards > 0) & (away > 0) & apart
    score, chosen = torch.where(valid, towards * away, -torch.inf).flatten(1).max(1)
    pairs = torch.stack([chosen // width, chosen % width], 1)
    return features.gather(1, pairs), score > -torch.inf


def _gradients(
    call: Callable[[Tensor], Tensor], rows: Tensor, classes: Tensor, outputs: str, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (R, K) of ``rows`` and a and b (R, D) for the target ``classes`` (R,)."""
    points = rows.detach().requires_grad_(True)
    logits = call(points)
    values = torch.softmax(logits / temperature, 1) if outputs == "softmax" else logits
    own = values.gather(1, classes[:, None]).sum()
    (towards,) = torch.autograd.grad(own, points, retain_graph=outputs == "logits")
    if outputs == "softmax":
        # The outputs sum to 1, so what the others lose is what the target gains: no second pass.
        others = -towards
    else:
        (everything,) = torch.autograd.grad(values.sum(), points)
        others = everything - towards
    return logits.detach(), towards.flatten(1), others.flatten(1)


def jsma(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    gamma: float = 0.145,
    outputs: str = "logits",
    temperature: float = 1.0,
    exhaustive: bool = False,
) -> AttackResult:
    """Set pairs of features to 1 until the network gives the target class (JSMA, Papernot et al. 2016).

        a = dF_t/dx,   b = sum_{j != t} dF_j/dx,   set (p, q) = argmax -(a_p + a_q)(b_p + b_q)   to 1
        among the pairs with a_p + a_q > 0 and b_p + b_q < 0

    Untargeted, every image runs towards each other class in step, and the class reached first, with the fewest changed
    features, is kept (the larger margin decides between equals). Without success the attempt with the largest margin is
    kept. A feature is changed once; one that is nearly 1 is not. An attempt ends as failed where no pair
    has a positive score, as with softmax outputs whose gradient underflows: no arbitrary features are changed.

    Parameters
    ----------
    model, images, labels, indices, seed, targets
        As for every attack (see :mod:`infoadv.attacks`); nothing is random.
    gamma
        Share of the features that may be changed: at most floor(D gamma / 2) steps.
    outputs, temperature
        F: the logits Z, or softmax(Z / T).
    exhaustive
        Go on with the other classes after the first success, for ``features`` of every class; the image returned is the same.

    Returns
    -------
    AttackResult
        ``trace`` holds ``aim`` (N,) int64, the class of the attempt returned; ``path`` (N, S, 2) int64, the features that
        it set to 1 in each step, places in the flattened (C, H, W), -1 after the last: iterate i is the clean image
        with the first i pairs set; and ``features`` (N, K) int64, the number of features changed when class k was
        reached, -1 where it was not or the attempt was stopped by an earlier success.

    Raises
    ------
    AttackError
        A temperature without softmax outputs, or too few features for one pair.
    """
    if outputs == "logits" and temperature != 1:
        raise AttackError("jsma: temperature has no meaning with outputs: logits; set outputs to softmax.")
    count, values = len(images), images[0].numel()
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    steps = int(values * gamma / 2)
    if steps < 1:
        raise AttackError(f"jsma: gamma {gamma} of {values} features is less than one pair; raise gamma.")
    with torch.no_grad():
        logits = model(images)
    classes = logits.shape[1]
    owners, aims = _attempts(labels, targets, classes)
    current = images.flatten(1)[owners].clone()
    free = current < SATURATED
    path = torch.full((len(owners), steps, 2), -1, dtype=torch.int64, device=images.device)
    reached = torch.full((len(owners),), -1, dtype=torch.int64, device=images.device)
    score = margin(logits[owners], labels[owners], aims)
    running = torch.ones(len(owners), dtype=torch.bool, device=images.device)

    for step in range(steps + 1):
        active = running.nonzero().squeeze(1)
        for rows in active.split(_ROWS):

            def call(points: Tensor, rows: Tensor = rows) -> Tensor:
                shaped = points.view(-1, *images.shape[1:]).contiguous(memory_format=layout)
                return model.of_rows(shaped, owners[rows]) if isinstance(model, CountingModel) else model(shaped)

            if step == steps:
                with torch.no_grad():
                    now = call(current[rows])
            else:
                now, towards, others = _gradients(call, current[rows], aims[rows], outputs, temperature)
            score[rows] = margin(now, labels[owners[rows]], aims[rows])
            won = score[rows] > 0
            reached[rows[won]] = step
            running[rows[won]] = False
            if step == steps:
                continue
            pairs, found = best_pairs(towards, others, free[rows])
            running[rows[~found]] = False
            moving = found & ~won
            moved, chosen = rows[moving], pairs[moving]
            path[moved, step] = chosen
            current[moved[:, None], chosen] = 1
            free[moved[:, None], chosen] = False
        if not exhaustive:
            done = torch.zeros(count, dtype=torch.bool, device=images.device)
            done[owners[reached >= 0]] = True
            running &= ~done[owners]
        if not bool(running.any()):
            break
    return _best(images, owners, aims, current, path, reached, score, classes)


def _attempts(labels: Tensor, targets: Tensor | None, classes: int) -> tuple[Tensor, Tensor]:
    """Return the image (R,) and the class aimed at (R,) of every attempt."""
    owners = torch.arange(len(labels), device=labels.device)
    if targets is not None:
        return owners, targets
    every = torch.arange(classes, device=labels.device).expand(len(labels), -1)
    others = every != labels[:, None]
    return owners.repeat_interleave(classes - 1), every[others]


def _best(
    images: Tensor,
    owners: Tensor,
    aims: Tensor,
    current: Tensor,
    path: Tensor,
    reached: Tensor,
    score: Tensor,
    classes: int,
) -> AttackResult:
    """Keep the attempt of each image that was reached first; of equals, or if none was, the one with the largest margin."""
    count, attempts = len(images), len(owners) // len(images)
    first = torch.where(reached >= 0, reached, torch.iinfo(reached.dtype).max).view(count, attempts)
    tied = first == first.amin(1, keepdim=True)
    chosen = torch.where(tied, score.view(count, attempts), -torch.inf).argmax(1)
    rows = torch.arange(count, device=images.device) * attempts + chosen
    features = torch.full((count, classes), -1, dtype=torch.int64, device=images.device)
    features[owners, aims] = torch.where(reached >= 0, 2 * reached, -1)
    return AttackResult(
        adversarial=current[rows].view_as(images),
        first_success=reached[rows],
        trace={"aim": aims[rows], "path": path[rows], "features": features},
    )
