"""Learned perceptual image patch similarity (Zhang et al. 2018): distance between the activations of a network.

Two kinds that share a form and no scale. ``alex``, ``vgg`` and ``squeeze`` are the lpips package's, with its calibrated
weights, on networks pretrained on ImageNet, which are downloaded. ``reference`` is a network of the same data set that
nobody attacks, without calibrated weights, as Laidlaw et al. (2021) do on CIFAR-10; it needs no download. Which one was
used is in the name of the column, and none ever stands in for another.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn

from infoadv import artifacts
from infoadv.metrics import MetricContext, MetricError
from infoadv.metrics.perceptual import enlarge

SCHEMA: dict[str, dict] = {
    "lpips": {
        "backbone": {
            "enum": ["reference", "alex", "vgg", "squeeze"],
            "description": "network whose activations are compared: one of the lpips package (downloaded), "
            "or `reference`, a network of the same data set",
        },
        "reference": {
            "description": "with `backbone: reference`, the name of the model to use, which must not be attacked; "
            "needed where there are several such models"
        },
    }
}

ABOUT = {
    "lpips_reference": {
        "label": "LPIPS (reference net)",
        "better": "lower",
        "group": "perceptual",
        "order": 80,
        "description": (
            "LPIPS form without calibrated weights on a network of the same data set that is not attacked (Laidlaw et "
            "al. 2021): squared difference of channel-normalised activations after every ReLU, mean over positions, "
            "sum over layers; images at their own size."
        ),
    },
    "lpips_alex": {
        "label": "LPIPS (AlexNet)",
        "better": "lower",
        "group": "perceptual",
        "order": 80,
        "description": "LPIPS 0.1 (Zhang et al. 2018) on AlexNet, images in [-1, 1] brought to at least 64 px.",
    },
    "lpips_vgg": {
        "label": "LPIPS (VGG-16)",
        "better": "lower",
        "group": "perceptual",
        "order": 80,
        "description": "LPIPS 0.1 (Zhang et al. 2018) on VGG-16, images in [-1, 1] brought to at least 64 px.",
    },
    "lpips_squeeze": {
        "label": "LPIPS (SqueezeNet)",
        "better": "lower",
        "group": "perceptual",
        "order": 80,
        "description": "LPIPS 0.1 (Zhang et al. 2018) on SqueezeNet 1.1, images in [-1, 1] brought to at least 64 px.",
    },
}

#: The torchvision weights that the lpips package builds each backbone on, and the sha256 of their file.
WEIGHTS = {
    "alex": (
        "AlexNet_Weights.IMAGENET1K_V1",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg": (
        "VGG16_Weights.IMAGENET1K_V1",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "squeeze": (
        "SqueezeNet1_1_Weights.IMAGENET1K_V1",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
}

#: Modules whose outputs are compared in a reference network.
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU)

#: Keeps a position at which no channel is active from dividing by zero, as in the lpips package.
_EPSILON = 1e-10

#: Seconds without an answer after which a download is given up.
_TIMEOUT = 30


def fetch(backbone: str) -> Path:
    """Return the file of a backbone's weights in torch's hub cache (``TORCH_HOME``), downloaded if it is not there.

    The file's sha256 is checked after a download and on every later use; torchvision pins but eight digits of it.

    Raises
    ------
    MetricError
        The file is damaged, or is not there and cannot be downloaded.
    """
    from torchvision.models import get_weight

    name, digest = WEIGHTS[backbone]
    url = get_weight(name).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, HTTPException) as error:
            raise MetricError(
                f"lpips: the weights of backbone {backbone} are not in {path.parent} and cannot be downloaded "
                f"({error}); run `snakemake --cores 1 fetch_lpips` where there is a network, or set "
                "lpips.backbone: reference."
            ) from error
        finally:
            socket.setdefaulttimeout(before)
    if artifacts.file_digest(path) != digest:
        raise MetricError(
            f"{path}: truncated or altered (its sha256 is not the pinned one); remove it and run "
            "`snakemake --cores 1 fetch_lpips`."
        )
    return path


@cache
def _pretrained(backbone: str, device: torch.device) -> nn.Module:
    """Return the lpips package's network for ``backbone``."""
    weights = torch.load(fetch(backbone), map_location="cpu", weights_only=True)
    import lpips as package

    with warnings.catch_warnings():
        # lpips uses a spelling that torchvision has deprecated.
        warnings.simplefilter("ignore", UserWarning)
        # A trunk without weights: lpips would have torchvision unpickle the file without restriction.
        network = package.LPIPS(net=backbone, version="0.1", verbose=False, pnet_rand=True)
    # lpips cuts the trunk's features into slices, and keeps the number of each layer.
    trunk = network.net
    trunk.load_state_dict({name: weights[f"features.{name.partition('.')[2]}"] for name in trunk.state_dict()})
    return network.to(device).eval()


def _activations(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the maps (N, C, H, W) after each activation, in order, each position scaled to unit norm over channels.

    The network looks in eval mode, and is left in the mode that it was in.
    """
    if not isinstance(network, nn.Module):
        raise MetricError(f"reference: a {type(network).__name__} is not allowed; give a torch.nn.Module.")
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim == 4:
            # Normalised here and not later: a following module may work in place.
            maps.append(output / (output.norm(dim=1, keepdim=True) + _EPSILON))

    handles = [module.register_forward_hook(keep) for module in network.modules() if isinstance(module, ACTIVATIONS)]
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return maps


def differences(network: nn.Module, clean: Tensor) -> Callable[[Tensor], list[Tensor]]:
    """Return a function of perturbed images: their activations' difference from those of ``clean``, layer by layer.

    Each is float64 (N, C, H, W) over the root of its positions, so that LPIPS with backbone ``reference`` is the sum of
    their squares. Raises ``MetricError`` where the network has no activations to compare.
    """
    with torch.no_grad():
        before = _activations(network, clean)
    if not before:
        raise MetricError(
            "lpips: the reference network has no ReLU-like module (torch.nn.ReLU, LeakyReLU, ELU, SiLU, GELU) "
            "with maps N x C x H x W; choose another model in lpips.reference."
        )

    def of(images: Tensor) -> list[Tensor]:
        pairs = zip(before, _activations(network, images), strict=True)
        return [(one - other).double() / one[0, 0].numel() ** 0.5 for one, other in pairs]

    return of


@torch.inference_mode()
def lpips(
    clean: Tensor,
    adversarial: Tensor,
    *,
    context: MetricContext,
    backbone: str = "reference",
    reference: str | None = None,
) -> Tensor:
    """Return LPIPS, 0 for identical images.

        sum over layers of the mean over places of |w (a(x) - a(x'))|^2,   a: activations, scaled to unit length

    With ``reference`` it is the square of the distance of Laidlaw et al. (2021), that is Zhang et al.'s form with all
    weights 1. The images keep their size, at which the network was trained; the workflow turns the option
    ``reference``, a model's name, into ``context.reference``. The other backbones were calibrated on 64-px patches, so
    smaller images are brought to 64 px bilinearly, and gray ones become three equal channels.
    """
    if backbone == "reference":
        if context.reference is None:
            raise MetricError(
                "lpips: backbone reference needs a reference network and none was given; name a model of the data set "
                "in lpips.reference (--reference FILE on the command line)."
            )
        layers = differences(context.reference, clean)(adversarial)
        return torch.stack([layer.square().sum((1, 2, 3)) for layer in layers]).sum(0)
    images, attacked = (enlarge(batch.expand(-1, 3, -1, -1)) for batch in (clean, adversarial))
    return _pretrained(backbone, context.device)(images, attacked, normalize=True).flatten().double()
