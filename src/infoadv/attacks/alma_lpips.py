"""ALMA with LPIPS, by adv-lib, through a pretrained network; apart from the other peers because it reads metrics."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from infoadv.attacks import AttackError, AttackResult
from infoadv.attacks.peers import Distance, adv_lib, run_alma
from infoadv.metrics import MetricError
from infoadv.metrics.lpips import fetch
from infoadv.metrics.perceptual import enlarge

SCHEMA = {
    "alma_lpips": {
        "steps": {"type": "integer", "minimum": 2, "default": 300, "description": "gradient steps"},
        "first_distance": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": 0.01,
            "description": "distance that the first step covers, in LPIPS (AlexNet, not squared)",
        },
        "smoothing": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.9,
            "description": "of the gradient and of the multiplier, by moving averages; 0.5 for 100 steps",
        },
    }
}


def alexnet_features(device: torch.device) -> nn.Module:
    """Return adv-lib's AlexNet, which takes (N, 3, H, W) in [0, 1] to five maps.

    Its weights are those of ``infoadv.metrics.lpips``, with their digest checked; AttackError where they are neither
    there nor to be downloaded.
    """
    try:
        fetch("alex")
    except MetricError as error:
        raise AttackError(
            f"alma_lpips looks through a pretrained AlexNet. {error.__cause__ or error} Run `infoadv fetch --source lpips` "
            "where there is a network, or take alma_lpips out of attacks."
        ) from error
    with warnings.catch_warnings():
        # adv-lib uses a spelling that torchvision has deprecated.
        warnings.simplefilter("ignore", UserWarning)
        return adv_lib("distances.lpips").AlexNetFeatures().to(device)


def lpips_distance(features: nn.Module, images: Tensor) -> Distance:
    """Return the distance of perturbed images (N, C, H, W) from ``images``, as maps of ``features`` see them.

    It is adv-lib's LPIPS, without the learned weights: the L2 norm of the difference of all maps, each position scaled to
    unit norm over channels. Images smaller than 64 px are enlarged and gray ones repeated, as for the metric.
    """

    def prepared(images: Tensor) -> Tensor:
        return enlarge(images.expand(-1, 3, -1, -1))

    with torch.no_grad():
        lpips = adv_lib("distances.lpips").LPIPS(model=features, target=prepared(images))
    return lambda perturbed: lpips(prepared(perturbed))


def alma_lpips(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    indices: Tensor,
    seed: int,
    targets: Tensor | None = None,
    steps: int = 300,
    first_distance: float = 0.01,
    smoothing: float = 0.9,
) -> AttackResult:
    """Augmented Lagrangian attack (Rony et al. 2021) that minimises LPIPS on AlexNet; see ``peers.run_alma``.

    Passes through AlexNet are not counted: they are no passes through the model. Raises AttackError where the weights
    of AlexNet are neither there nor to be downloaded.
    """
    distance = lpips_distance(alexnet_features(images.device), images)
    return run_alma(
        "alma_lpips",
        lambda clean, perturbed: distance(perturbed),
        model,
        images,
        labels,
        indices=indices,
        seed=seed,
        targets=targets,
        steps=steps,
        first_distance=first_distance,
        smoothing=smoothing,
    )
