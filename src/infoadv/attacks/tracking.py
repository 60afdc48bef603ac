"""The best that an attack has shown of each image, whatever library the attack is from."""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.numerics.margins import batch_view


class Tracker:
    """Remembers, image by image, the success of least cost and the attempt nearest to success.

    Attributes
    ----------
    first_success
        (N,) int64: the step of the first success, -1 if there was none.
    cheapest, cost
        (N, C, H, W) the success with the smallest cost, and that cost (N,); the clean image and infinity without one.
    attempt, attempt_margin
        (N, C, H, W) the input with the largest margin among those that count as attempts, and that margin (N,).
    """

    def __init__(self, images: Tensor) -> None:
        count, device = len(images), images.device
        self.first_success = torch.full((count,), -1, dtype=torch.int64, device=device)
        self.cheapest = self.attempt = images
        self.cost = torch.full((count,), torch.inf, device=device)
        self.attempt_margin = torch.full((count,), -torch.inf, device=device)

    def update(
        self,
        inputs: Tensor,
        margins: Tensor,
        success: Tensor,
        step: int,
        *,
        cost: Tensor | None = None,
        attempt: bool = True,
    ) -> None:
        """Take over what is better in ``inputs`` (N, C, H, W), with ``margins`` and ``success`` (N,) at this ``step``.

        Without ``cost`` (N,) no success is kept; ``attempt`` says whether the inputs count as attempts.
        """
        self.first_success = torch.where(success & (self.first_success < 0), step, self.first_success)
        if cost is not None:
            better = success & (cost < self.cost)
            self.cheapest = torch.where(batch_view(better, inputs), inputs, self.cheapest)
            self.cost = torch.where(better, cost, self.cost)
        if attempt:
            better = margins > self.attempt_margin
            self.attempt = torch.where(batch_view(better, inputs), inputs, self.attempt)
            self.attempt_margin = torch.where(better, margins, self.attempt_margin)

    def best(self) -> Tensor:
        """Return (N, C, H, W) the cheapest success of each image or, without one, the attempt with the largest margin."""
        return torch.where(batch_view(self.first_success >= 0, self.cheapest), self.cheapest, self.attempt)
