"""Network trimming, Hu et al. 2016, "Network trimming: a data-driven neuron pruning approach towards efficient deep
architectures".

The average percentage of zeros (APoZ, their equation 1) of a channel is the share of zeros after its ReLU, over images and
positions. Channels whose APoZ is more than one standard deviation above the mean of their layer are removed, and the
network is trained again from the surviving weights. A model's entry is one such round; rounds are chained by ``start``.

The functions here take a ``torch.nn.Sequential``, alone or inside :class:`infoadv.models.Normalized`, in which a ReLU
follows each convolution and dense layer but the last. Layers below are these, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from infoadv import models
from infoadv.execution.errors import InfoadvError
from infoadv.training.recipes import standard

SCHEMA: dict[str, dict] = {
    "trimming": {
        "deviations": {
            "minimum": 0,
            "description": "a channel is removed where its APoZ (share of zeros after the ReLU) exceeds the layer's mean "
            "by more than this many standard deviations",
        },
        "apoz_images": {"minimum": 1, "description": "training images over which the APoZ is taken"},
    }
}
#: Keys of the model's entry that a recipe cannot do without.
NEEDS = {"trimming": ["start"]}
_UNCHANGED = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Flatten)
_BATCH = 250


class TrimmingError(InfoadvError):
    """A network that cannot be trimmed."""


def _weighted(model: nn.Module) -> list[tuple[int, nn.Conv2d | nn.Linear]]:
    """Return the convolutions and dense layers of the sequence with their places; raise ``TrimmingError`` for others."""
    network = model.network if isinstance(model, models.Normalized) else model
    if not isinstance(network, nn.Sequential):
        raise TrimmingError(
            f"a {type(network).__name__} cannot be trimmed, only a plain sequence of layers; use fitnet4 or deep_conv."
        )
    found: list[tuple[int, nn.Conv2d | nn.Linear]] = []
    for place, layer in enumerate(network):
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            found.append((place, layer))
        elif isinstance(layer, nn.ReLU):
            if not found or found[-1][0] != place - 1:
                raise TrimmingError(f"layer {place} is a ReLU that follows no convolution or dense layer.")
        elif not isinstance(layer, _UNCHANGED):
            raise TrimmingError(
                f"layer {place}, a {type(layer).__name__}, cannot be trimmed; use fitnet4 or deep_conv."
            )
    for place, _ in found[:-1]:
        if not isinstance(network[place + 1], nn.ReLU):
            raise TrimmingError(f"layer {place} has no ReLU after it, so it has no APoZ.")
    return found


def widths(model: nn.Module) -> list[int]:
    """Return the channels or units of each layer but the last."""
    return [layer.weight.shape[0] for _, layer in _weighted(model)[:-1]]


def apoz(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return, per layer, the share of zeros of each channel after its ReLU, over ``images`` (N, C, H, W) and positions.

    Float64 tensors (channels,) with values in [0, 1], in eval mode.
    """
    places = [place for place, _ in _weighted(model)[:-1]]
    network = model.network if isinstance(model, models.Normalized) else model
    zeros = [torch.zeros(width, dtype=torch.float64) for width in widths(model)]
    values = [0] * len(places)

    def count(number: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            maps = output.detach().transpose(0, 1).flatten(1)
            zeros[number] += (maps == 0).sum(1).double().cpu()
            values[number] += maps.shape[1]

        return hook

    handles = [network[place + 1].register_forward_hook(count(n)) for n, place in enumerate(places)]  # type: ignore[index]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in images.split(_BATCH):
                model(batch)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return [counts / max(1, count) for counts, count in zip(zeros, values, strict=True)]


def masks(shares: Sequence[Tensor], deviations: float = 1.0) -> list[Tensor]:
    """Return, per layer, which channels stay: those whose APoZ is at most the mean plus ``deviations`` standard deviations.

    Bool tensors (channels,), true for at least one channel of each layer.
    """
    kept = []
    for share in shares:
        # Without the margin, rounding of the mean could remove all channels of a layer in which all are alike.
        stays = share <= share.mean() + deviations * share.std(correction=0) + 1e-9
        stays[share.argmin()] = True
        kept.append(stays)
    return kept


def _check_masks(model: nn.Module, kept: Sequence[Tensor]) -> list[tuple[int, nn.Conv2d | nn.Linear]]:
    layers = _weighted(model)
    if [len(mask) for mask in kept] != widths(model) or not all(mask.any() for mask in kept):
        raise TrimmingError(
            f"masks of {[len(mask) for mask in kept]} channels do not fit layers of {widths(model)}, or leave one empty."
        )
    return layers


def masked(model: nn.Module, kept: Sequence[Tensor]) -> nn.Module:
    """Return a copy of the same size in which the weights and biases of the channels that do not stay are zero."""
    copy = deepcopy(model)
    with torch.no_grad():
        for (_, layer), mask in zip(_check_masks(copy, kept), kept, strict=False):
            layer.weight[~mask] = 0
            if layer.bias is not None:
                layer.bias[~mask] = 0
    return copy


def trim(model: nn.Module, kept: Sequence[Tensor]) -> nn.Module:
    """Return a copy without the channels that do not stay: it computes what :func:`masked` does, with smaller layers."""
    copy = deepcopy(model)
    before: Tensor | None = None
    for number, (_, layer) in enumerate(_check_masks(copy, kept)):
        weight, bias = layer.weight.detach(), layer.bias
        if before is not None:
            # A dense layer after the flattening sees every position of a channel, next to each other.
            inputs = before.repeat_interleave(weight.shape[1] // len(before))
            weight = weight[:, inputs.to(weight.device)]
        if number < len(kept):
            before = kept[number]
            stays = before.to(weight.device)
            weight = weight[stays]
            bias = bias if bias is None else nn.Parameter(bias.detach()[stays].clone())
        layer.weight, layer.bias = nn.Parameter(weight.clone()), bias
        if isinstance(layer, nn.Conv2d):
            layer.out_channels, layer.in_channels = weight.shape[:2]
        else:
            layer.out_features, layer.in_features = weight.shape
    return copy


def prepare(
    model: nn.Module,
    architecture: str,
    options: dict[str, Any],
    *,
    sample: Callable[[int], Tensor],
    measure: Callable[[nn.Module], float],
    deviations: float = 1.0,
    apoz_images: int = 2000,
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Trim ``model`` before the training of a round.

    ``sample`` gives a number of training images (N, C, H, W) in [0, 1], ``measure`` the accuracy of a network. Returns the
    trimmed network, the options with which ``architecture`` has its size, and what the artefact says of the round.
    """
    kept = masks(apoz(model, sample(apoz_images)), deviations)
    smaller = trim(model, kept)
    about = {
        "widths_before": widths(model),
        "widths_after": widths(smaller),
        "parameters_before": sum(parameter.numel() for parameter in model.parameters()),
        "parameters_after": sum(parameter.numel() for parameter in smaller.parameters()),
        "accuracy_before": measure(model),
        "accuracy_trimmed": measure(smaller),
    }
    return smaller, models.resized(architecture, options, widths(smaller)), about


def trimming(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    generator: torch.Generator,
    deviations: float = 1.0,
    apoz_images: int = 2000,
) -> tuple[Tensor, Tensor]:
    """Standard loss of the network that :func:`prepare` trimmed before. Returns the loss and the logits."""
    return standard(model, images, labels, smoothing=smoothing, generator=generator)
