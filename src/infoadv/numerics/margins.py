"""How far an image is past the decision boundary."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_view(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``values`` (N,) so that it multiplies ``like`` (N, ...) image by image."""
    return values.view(-1, *[1] * (like.ndim - 1))


def margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return (N,) how far each image is past the boundary: positive where the attack succeeds.

    Untargeted: the largest other logit minus that of the label. Targeted: the logit of the target minus the largest
    other one. This is -f of Carlini and Wagner (2017) at confidence 0.
    """
    chosen = labels if targets is None else targets
    own = logits.gather(1, chosen[:, None]).squeeze(1)
    other = logits.scatter(1, chosen[:, None], -torch.inf).amax(1)
    return other - own if targets is None else own - other


def smooth_margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Return (N,) the margin with a log-sum-exp of this ``temperature`` in place of its maximum.

    At 1 its gradient has the direction of the cross-entropy's, but not its factor 1 - p, which underflows on confident models.
    The lower the temperature, the closer it is to the margin, and the less count other classes than the nearest.
    """
    chosen = labels if targets is None else targets
    own = logits.gather(1, chosen[:, None]).squeeze(1)
    others = (logits.scatter(1, chosen[:, None], -torch.inf) / temperature).logsumexp(1) * temperature
    return others - own if targets is None else own - others
