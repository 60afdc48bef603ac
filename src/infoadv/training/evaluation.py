"""What a trained network is worth: accuracy on clean images, under PGD, and under Auto-PGD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from infoadv.numerics.margins import batch_view
from infoadv.numerics.pixels import batch_size, to_images
from infoadv.training.recipes import stepped

#: Test images on which the PGD accuracy is measured.
PGD_IMAGES = 1000
PGD_STEPS = 20
#: Auto-PGD: the share of steps that must raise the loss between two checkpoints, and the weight of the new direction.
_RISING, _NEW = 0.75, 0.75
_BATCH = 250


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray, device: torch.device) -> float:
    """Return the share of uint8 ``images`` (N, C, H, W) that ``model`` classifies correctly."""
    correct = 0
    size = batch_size(_BATCH, images.shape[1:])
    with torch.no_grad():
        for start in range(0, len(images), size):
            logits = model(to_images(images[start : start + size], device))
            correct += int((logits.argmax(1).cpu().numpy() == labels[start : start + size]).sum())
    return correct / len(images)


def pgd_accuracy(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, device: torch.device, epsilon: float, seed: int
) -> float:
    """Return the accuracy under PGD in the L-infinity ball (Madry et al. 2018): random start, step epsilon / 8.

    An image stands if no step turned it, the clean image being one of the ball. One that has fallen is looked at no more.
    """
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    size = batch_size(_BATCH, images.shape[1:])
    for start in range(0, len(images), size):
        batch = to_images(images[start : start + size], device)
        truth = torch.from_numpy(labels[start : start + size]).to(device)
        noise = torch.rand(batch.shape, generator=generator).to(device)
        delta = (batch + (2 * noise - 1) * epsilon).clamp(0, 1) - batch
        with torch.no_grad():
            standing = model(batch).argmax(1) == truth
        for step in range(PGD_STEPS):
            batch, truth, delta = batch[standing], truth[standing], delta[standing]
            if not len(truth):
                break
            points = (batch + delta).requires_grad_(True)
            logits = model(points).float()
            (gradient,) = torch.autograd.grad(cross_entropy(logits, truth), points)
            delta = stepped(batch, delta, gradient, epsilon, epsilon / 8)
            # What it says of this step's images is of the last step's; of the start it does not count.
            standing = (logits.argmax(1) == truth) | (step == 0)
        else:
            with torch.no_grad():
                standing &= model(batch + delta).argmax(1) == truth
            correct += int(standing.sum())
    return correct / len(images)


def apgd_accuracy(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    device: torch.device,
    epsilon: float,
    seed: int,
    steps: int,
) -> float:
    """Return the accuracy under Auto-PGD in the L-infinity ball with ``steps`` steps, first of the cross-entropy and then, on
    what still stands, of the difference of logits ratio.

    The second loss does not change where all logits are scaled, so a network whose softmax saturates does not look robust. It
    needs three classes. Each image starts at a point drawn from (seed, its place). Source: Croce and Hein 2020, algorithm 1.
    """
    correct = 0
    size = batch_size(_BATCH, images.shape[1:])
    for start in range(0, len(images), size):
        batch = to_images(images[start : start + size], device)
        truth = torch.from_numpy(labels[start : start + size]).to(device)
        with torch.no_grad():
            logits = model(batch)
        standing = logits.argmax(1) == truth
        losses = (_cross_entropy, _logits_ratio) if logits.shape[1] > 2 else (_cross_entropy,)
        for number, loss in enumerate(losses):
            (left,) = torch.nonzero(standing, as_tuple=True)
            starts = [_start(images.shape[1:], epsilon, [seed, start + int(place), number]) for place in left]
            if len(left):
                beginning = batch[left] + torch.from_numpy(np.stack(starts)).to(device)
                standing[left] = ~_falls(model, batch[left], truth[left], beginning, epsilon, steps, loss)
        correct += int(standing.sum())
    return correct / len(images)


def _start(shape: tuple[int, ...], epsilon: float, seed: list[int]) -> np.ndarray:
    """Return a random perturbation whose largest value is ``epsilon``."""
    noise = np.random.default_rng(seed).uniform(-1, 1, shape)
    return (noise * (epsilon / np.abs(noise).max())).astype(np.float32)


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return cross_entropy(logits, truth, reduction="none")


def _logits_ratio(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the difference of logits ratio (N,): the largest other logit less the true one, by the first less the third."""
    top = logits.topk(3, dim=1).values
    own = logits.gather(1, truth[:, None])
    other = logits.scatter(1, truth[:, None], -torch.inf).amax(1, keepdim=True)
    return ((other - own) / (top[:, :1] - top[:, 2:] + 1e-12))[:, 0]


def _falls(
    model: nn.Module,
    clean: Tensor,
    truth: Tensor,
    beginning: Tensor,
    epsilon: float,
    steps: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return whether Auto-PGD turns each image (N,) bool. An image that has fallen is looked at no more."""
    fallen = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    lower, upper = (clean - epsilon).clamp(0, 1), (clean + epsilon).clamp(0, 1)

    def look(points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss and gradient, and which points are classified wrongly."""
        points = points.detach().requires_grad_(True)
        logits = model(points).float()
        values = loss(logits, classes)
        (slope,) = torch.autograd.grad(values.sum(), points)
        return values.detach(), slope, logits.argmax(1) != classes

    now = beginning.clamp(lower, upper)
    value, slope, wrong = look(now, truth)
    fallen |= wrong
    step = torch.full((len(clean), 1, 1, 1), 2 * epsilon, device=clean.device)
    state = {
        "place": torch.arange(len(clean), device=clean.device),
        "truth": truth,
        "lower": lower,
        "upper": upper,
        "now": now,
        "before": now,
        "slope": slope,
        "value": value,
        "best": now,
        "best_slope": slope,
        "best_value": value,
        "checked": value,
        "halved": torch.zeros_like(wrong),
        "rises": torch.zeros_like(value),
        "step": step,
    }
    state = {name: tensor[~wrong].clone() for name, tensor in state.items()}
    window, shorter, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    checkpoint = window
    for number in range(1, steps + 1):
        if not len(state["place"]):
            break
        at, limits = state["now"], (state["lower"], state["upper"])
        ahead = (at + state["step"] * state["slope"].sign()).clamp(*limits)
        if number > 1:
            ahead = (at + _NEW * (ahead - at) + (1 - _NEW) * (at - state["before"])).clamp(*limits)
        value, slope, wrong = look(ahead, state["truth"])
        fallen[state["place"][wrong]] = True
        better = value > state["best_value"]
        state["rises"] += value > state["value"]
        state |= {"before": at, "now": ahead, "value": value, "slope": slope}
        for name in ("now", "slope", "value"):
            key = "best" if name == "now" else f"best_{name}"
            state[key] = torch.where(batch_view(better, state[name]), state[name], state[key])
        if number == checkpoint:
            # The step is halved where the loss rarely rose, or where its best has not moved since the last checkpoint.
            stuck = ~state["halved"] & (state["checked"] >= state["best_value"])
            halved = (state["rises"] <= _RISING * window) | stuck
            state |= {"halved": halved, "checked": state["best_value"], "rises": torch.zeros_like(value)}
            state["step"] = torch.where(batch_view(halved, step), state["step"] / 2, state["step"])
            for name, key in (("now", "best"), ("slope", "best_slope")):
                state[name] = torch.where(batch_view(halved, state[name]), state[key], state[name])
            window = max(window - shorter, shortest)
            checkpoint += window
        state = {name: tensor[~wrong] for name, tensor in state.items()}
    return fallen
