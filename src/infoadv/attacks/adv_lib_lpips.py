"""ALMA with LPIPS, by adv-lib; apart from the other peers because it reads metrics.

LPIPS looks through a pretrained AlexNet, which is downloaded, or through a network of the same data set that nobody
attacks, as the metric ``lpips`` with backbone ``reference``.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from infoadv.attacks.adv_lib import Distance, adv_lib, run_alma
from infoadv.attacks.contract import AttackError, AttackResult
from infoadv.metrics import MetricError
from infoadv.metrics.learned import differences, fetch
from infoadv.metrics.perceptual import enlarge

#: The metric columns that the attack minimises, which therefore cannot judge it.
OPTIMISES = {"alma_lpips": ["lpips_reference", "lpips_alex"]}

SCHEMA: dict[str, dict] = {
    "alma_lpips": {
        "backbone": {
            "enum": ["alex", "reference"],
            "description": "network whose activations are compared: AlexNet (downloaded), or `reference`, the network "
            "that metrics.lpips.reference names, or else the only one that nobody attacks",
        },
        "steps": {"minimum": 2, "description": "gradient steps"},
        "first_distance": {
            "exclusiveMinimum": 0,
            "description": "distance that the first step covers, in LPIPS (not squared)",
        },
    }
}


def alexnet_features(device: torch.device) -> nn.Module:
    """Return adv-lib's AlexNet, which takes (N, 3, H, W) in [0, 1] to five maps.

    Its weights are those of ``infoadv.metrics.learned``, with their digest checked; AttackError where they are neither
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


def reference_distance(network: nn.Module, images: Tensor) -> Distance:
    """Return the distance of perturbed images (N, C, H, W) from ``images`` in the activations of a reference network.

    Its square is the metric ``lpips`` with backbone ``reference``; the images keep their size.
    """
    layers = differences(network, images)
    return lambda perturbed: torch.cat([layer.flatten(1) for layer in layers(perturbed)], 1).norm(dim=1)


def alma_lpips(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    backbone: str = "alex",
    reference: nn.Module | None = None,
    steps: int = 300,
    first_distance: float = 0.01,
    smoothing: float = 0.9,
) -> AttackResult:
    """Augmented Lagrangian attack (Rony et al. 2021) that minimises LPIPS.

    As :func:`alma_l2`, with D = LPIPS(x, x').

    ``reference`` is the network for backbone ``reference``, which the workflow gives. Passes through AlexNet or the
    reference are not counted: they are no passes through the model. Raises AttackError where the weights of AlexNet are
    neither there nor to be downloaded, or a reference is missing or not asked for.
    """
    if backbone != "reference" and reference is not None:
        raise AttackError("alma_lpips: reference goes with backbone reference; leave it out, or set the backbone.")
    if backbone == "alex":
        distance = lpips_distance(alexnet_features(images.device), images)
    elif reference is None:
        raise AttackError(
            "alma_lpips: backbone reference needs a reference network; give --reference FILE, from Python reference=NETWORK."
        )
    else:
        distance = reference_distance(reference, images)
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
