"""Random linear models, whose nearest adversarial example is known in closed form.

For logits Wx + b the class j != y overtakes y at the L2 distance margin_j / |w_y - w_j|_2 and, by duality, at the
Linf distance margin_j / |w_y - w_j|_1, as long as the box [0, 1] does not stand in the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits of flattened images (N, C, H, W)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Problem:
    """A linear model and images with the labels that it gives them."""

    model: Linear
    images: Tensor
    labels: Tensor

    def nearest(self, order: float) -> tuple[Tensor, Tensor]:
        """Return the distances (N,) to the nearest class, in the norm of this ``order`` (2 or infinity), and that class.

        At the nearest point that class leads, so the distance is also the optimum of an attack targeted at it.
        """
        with torch.no_grad():
            logits = self.model(self.images)
            own = self.model.weight[self.labels]
            slopes = (own[:, None] - self.model.weight).norm(p=2 if order == 2 else 1, dim=2)
            margins = logits.gather(1, self.labels[:, None]) - logits
        nearest = torch.where(slopes > 0, margins / slopes, torch.inf).min(1)
        return nearest.values, nearest.indices


def linear_problem(
    count: int, shape: tuple[int, int, int], classes: int, *, seed: int = 0, distance: float = 0.02, scale: float = 1.0
) -> Problem:
    """Draw a linear model and ``count`` images, each ``distance`` from its nearest other class in Linf.

    ``scale`` multiplies the logits, which moves no boundary: small, the cross-entropy mixes all classes, so that its
    gradient points to none of them; large, it sees the nearest alone, and then nothing at all.
    All values of the images lie in [0.2, 0.8], farther from the box than the nearest adversarial image is away.
    """
    draws = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(classes, shape[0] * shape[1] * shape[2], generator=draws)
    model = Linear(weight, -0.5 * weight.sum(1)).eval()
    images = 0.35 + 0.3 * torch.rand((count, *shape), generator=draws)
    with torch.no_grad():
        labels = model(images).argmax(1)
    for _ in range(60):
        found, nearest = Problem(model, images, labels).nearest(torch.inf)
        away = (weight[labels] - weight[nearest]).view(images.shape)
        away = away / away.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
        images = (images + (distance - found).view(-1, 1, 1, 1) * away).clamp(0.2, 0.8)
    return Problem(model, images, labels)
