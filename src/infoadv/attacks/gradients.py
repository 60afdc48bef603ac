"""Gradients as an attack of another library should see them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Norm below which a gradient is taken for none.
VANISHING = 1e-12


class ExactCrossEntropy(nn.Module):
    """Give the cross-entropy's gradient its exact direction, for attacks that use nothing else of it.

    For a margin above about 17 the float32 probability of the label is 1: the label's own part of the gradient
    vanishes, and the direction is wrong by more than half; farther on all of it underflows. The cross-entropy to a
    class c is softplus(u) with u the logsumexp of the other logits minus that of c, so its gradient has the direction
    of u's, softmax over the others minus the one-hot of c, whatever the margin. ``sign`` is that of the cross-entropy
    in the attack's loss.

    With ``generators``, one an image, a random direction stands in where the network's own gradient vanishes.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Tensor,
        *,
        sign: float = 1.0,
        generators: list[torch.Generator] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.classes, self.sign, self.generators = model, classes[:, None], sign, generators
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits."""
        if not images.requires_grad:
            return self.model(images)
        if self.generators is not None:
            images = images.view_as(images)
            generators = self.generators
            images.register_hook(lambda gradient: fill_vanishing(gradient, generators))
        logits: Tensor = self.model(images)
        others = logits.detach().scatter(1, self.classes, -torch.inf).softmax(1)
        direction = self.sign * others.scatter(1, self.classes, -1.0)
        logits.register_hook(lambda gradient: direction)
        return logits


def fill_vanishing(gradient: Tensor, generators: list[torch.Generator], norm: float = VANISHING) -> Tensor:
    """Replace each gradient (N, ...) of at most this ``norm`` by a direction from the image's own generator."""
    filled = gradient.clone()
    for i in (gradient.flatten(1).norm(dim=1) <= norm).nonzero().flatten().tolist():
        noise = torch.randn(gradient.shape[1:], generator=generators[i])
        filled[i] = (noise / noise.norm()).to(gradient.device, gradient.dtype)
    return filled
