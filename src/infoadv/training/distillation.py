"""Training at a temperature: defensive distillation, Papernot et al. 2016, "Distillation as a defense to adversarial
perturbations against deep neural networks".

The teacher learns the labels, the student the teacher's outputs, both through softmax(Z / T); both are used at T = 1,
where the softmax is so sharp that its gradients vanish in 32-bit numbers. An attack that follows them, such as the one
of the PGD accuracy, then stands still: a high robust accuracy of these networks is no robustness (Carlini and Wagner 2017).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

SCHEMA: dict[str, dict] = {
    "tempered": {
        "temperature": {
            "exclusiveMinimum": 0,
            "description": "T: the labels are learnt through softmax(Z / T); the teacher of defensive distillation",
        }
    },
    "distillation": {
        "temperature": {
            "exclusiveMinimum": 0,
            "description": "T: the teacher's softmax(Z / T) is learnt through softmax(Z / T)",
        }
    },
}
#: Keys of the model's entry that a recipe cannot do without.
NEEDS = {"distillation": ["teacher"]}


def prepare(
    model: nn.Module, architecture: str, options: dict[str, Any], *, temperature: float = 100.0, **_others: Any
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Multiply the last layer of ``model`` by T before training, so that softmax(Z / T) begins as what softmax(Z) was.

    Left as it is, the network begins with logits T times too small: their gradients are T times too small as well, and
    the steps that overcome that are too large once the logits have grown (measured: no ordinary learning rate trains).
    """
    last = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(temperature)
    return model, options, {"last_layer_times": temperature}


def tempered(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    temperature: float = 100.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of softmax(Z / T) against the labels. Returns the loss and the logits Z (N x classes)."""
    logits = model(images).float()
    return cross_entropy(logits / temperature, labels, label_smoothing=smoothing), logits


def distillation(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    teacher: nn.Module,
    temperature: float = 100.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of softmax(Z / T) against the teacher's softmax(Z / T) on the same images.

    ``teacher`` takes images in [0, 1] and returns logits. Returns the loss and the logits Z of ``model`` (N x classes).
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        targets = (teacher(images).float() / temperature).softmax(1)
    logits = model(images).float()
    return cross_entropy(logits / temperature, targets, label_smoothing=smoothing), logits
