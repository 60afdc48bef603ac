"""Architectures of torchvision by name, untrained; weights of theirs are given as a file.

They are made for pictures of 224 pixels: five halvings leave one cell of 32 pixels. With ``stem: small`` the first convolution
keeps the size and the pooling after it is left out, as is usual on CIFAR (He et al. 2016, section 4.2).
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from infoadv.execution.errors import InfoadvError

SCHEMA: dict[str, dict] = {
    "torchvision": {
        "name": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9_]*$(?!\\n)",
            "$comment": "give a classification network of torchvision.models, such as resnet18 or convnext_tiny",
            "description": "function of torchvision.models, such as resnet18",
        },
        "stem": {
            "description": "small: the first convolution and pooling keep the size, for images of 64 pixels and less"
        },
    }
}

#: Poolings that follow the first convolution, by their names.
_POOLINGS = ("maxpool", "maxpool1", "features.pool0")
#: Families whose network begins with a strided convolution.
_STRIDED = (
    *("densenet", "efficientnet", "googlenet", "mnasnet", "mobilenet", "regnet", "resnet", "resnext", "shufflenet"),
    "wide_resnet",
)


def torchvision(
    shape: tuple[int, int, int], classes: int, *, name: str, stem: Literal["default", "small"] = "default"
) -> nn.Module:
    """Build a network of torchvision for images of any size and of 1 or 3 channels."""
    from torchvision import models

    offered = models.list_models(module=models)
    if name not in offered:
        raise InfoadvError(f"torchvision has no classification network {name!r}; it has: {', '.join(offered)}.")
    try:
        network = models.get_model(name, weights=None, num_classes=classes, **_arguments(name, shape))
    except NotImplementedError:
        # A RuntimeError that is no fault of the size: the network cannot be built on the meta device.
        raise
    except (AssertionError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise InfoadvError(f"{name} cannot be built for images of {shape[1]} x {shape[2]} ({detail}).") from error
    if stem == "small":
        if not name.startswith(_STRIDED):
            raise InfoadvError(
                f"{name} has no small stem; leave out 'stem', or use a network of: {', '.join(_STRIDED)}."
            )
        _keep_size(network)
    if shape[0] != 3:
        place, first = _first_convolution(network)
        _put(network, place, _like(first, in_channels=shape[0]))
    return network


def _arguments(name: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return what a network has to be told beside the number of classes."""
    if name in ("googlenet", "inception_v3"):
        # Auxiliary classifiers would make it return more than logits in training; theirs is the slow initialisation.
        return {"aux_logits": False, "init_weights": False}
    if name.startswith(("vit_", "maxvit_")):
        height, width = shape[1:]
        if height != width:
            raise InfoadvError(f"{name} takes square images, these are {height} x {width}; choose another network.")
        return {"image_size": height} if name.startswith("vit_") else {"input_size": (height, width)}
    return {}


def _first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((place, layer) for place, layer in network.named_modules() if isinstance(layer, nn.Conv2d))


def _like(layer: nn.Conv2d, **changed: Any) -> nn.Conv2d:
    """Return a new convolution like ``layer`` but for what is ``changed``, initialised as torch does it."""
    kept = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    arguments = {key: getattr(layer, key) for key in kept} | {"bias": layer.bias is not None}
    return nn.Conv2d(**(arguments | changed))


def _put(network: nn.Module, place: str, layer: nn.Module) -> None:
    above, _, name = place.rpartition(".")
    setattr(network.get_submodule(above), name, layer)


def _keep_size(network: nn.Module) -> None:
    place, first = _first_convolution(network)
    _put(network, place, _like(first, kernel_size=3, stride=1, padding=1))
    present = dict(network.named_modules())
    for pooling in _POOLINGS:
        if pooling in present:
            _put(network, pooling, nn.Identity())
