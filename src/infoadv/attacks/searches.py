"""What the two searches of the information attacks share: the quantity that is kept, the best iterate, the trace.

A search looks for an adversarial image that keeps the most of a quantity called information here, whatever estimates it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from infoadv.attacks.tracking import Tracker

#: Points of a trace: the whole run, thinned to this many.
TRACE_POINTS = 100


class Information(Protocol):
    """What an attack keeps: (N,), larger is better, from perturbed images (N, C, H, W)."""

    def __call__(self, perturbed: Tensor) -> Tensor: ...


class TrainedInformation(Information, Protocol):
    """An estimate by critics that are trained along."""

    def ascend(self) -> None:
        """Train the critics on the pairs of the last call, whose graph must still be there."""

    def judged(self, perturbed: Tensor) -> Tensor:
        """Return (N,) the estimate that iterates are ranked by."""

    def truth(self, perturbed: Tensor) -> Tensor:
        """Return (N,) the closed form of what is estimated."""


def edges(clean: Tensor, epsilon: float, quantize: bool) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest image of the ball and of [0, 1], each (N, C, H, W)."""
    low, high = (clean - epsilon).clamp_min(0), (clean + epsilon).clamp_max(1)
    if quantize:
        # Rounding must not leave the ball: its edges are moved in to whole levels.
        low, high = (low * 255 - 1e-3).ceil() / 255, (high * 255 + 1e-3).floor() / 255
    return low, high


def take_over(
    tracker: Tracker, images: Tensor, information: Tensor, margins: Tensor, confidence: float, step: int
) -> Tensor:
    """Show the tracker a step, at the cost of the information that is lost; return which images are successful now."""
    success = (margins > 0) & (margins >= confidence)
    tracker.update(images, margins, success, step, cost=-information)
    return success


class Trace:
    """Margin, estimate and closed form along the run, thinned to ``TRACE_POINTS``."""

    def __init__(self, total: int) -> None:
        self.stride = -(-total // TRACE_POINTS)
        self.rows: dict[str, list[Tensor]] = {"margin": [], "estimate": [], "truth": []}
        self.steps: list[int] = []

    def add(self, step: int, margins: Tensor, estimate: Tensor, truth: Callable[[], Tensor]) -> None:
        """Record a step, if its turn has come; ``truth`` is asked only then."""
        if step % self.stride == 0:
            self.steps.append(step)
            for name, values in (("margin", margins), ("estimate", estimate), ("truth", truth())):
                self.rows[name].append(values.detach().float().cpu())

    def tensors(self) -> dict[str, Tensor]:
        """Return ``step`` (P,) and (N, P) of everything else."""
        stacked = {name: torch.stack(rows, 1) for name, rows in self.rows.items()}
        return {"step": torch.tensor(self.steps, dtype=torch.int64), **stacked}
