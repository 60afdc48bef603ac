"""What a trained network is worth: accuracy on clean images and under PGD."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from infoadv.numerics.pixels import batch_size, to_images
from infoadv.training.recipes import linf_step

#: Test images on which the PGD accuracy is measured.
PGD_IMAGES = 1000
PGD_STEPS = 20
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
    """Return the accuracy under PGD in the L-infinity ball (Madry et al. 2018): random start, step epsilon / 8."""
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    size = batch_size(_BATCH, images.shape[1:])
    for start in range(0, len(images), size):
        batch = to_images(images[start : start + size], device)
        truth = torch.from_numpy(labels[start : start + size]).to(device)
        noise = torch.rand(batch.shape, generator=generator).to(device)
        delta = (batch + (2 * noise - 1) * epsilon).clamp(0, 1) - batch
        # The clean image lies in the ball as well.
        with torch.no_grad():
            standing = model(batch).argmax(1) == truth
        for _ in range(PGD_STEPS):
            delta = linf_step(model, batch, truth, delta, epsilon, epsilon / 8)
            with torch.no_grad():
                standing &= model(batch + delta).argmax(1) == truth
        correct += int(standing.sum())
    return correct / len(images)
