"""Layer-sequential unit-variance initialisation (LSUV), Mishkin and Matas 2016, algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infoadv.execution.errors import InfoadvError

#: Each layer is scaled until the variance of its output is within this of 1 ...
TOLERANCE = 0.02
#: ... or this many times: the output is linear in the weights, so one time is enough but for rounding.
TRIES = 10


def _output(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    caught: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: caught.append(output.detach().clone()))
    try:
        model(images)
    finally:
        handle.remove()
    return caught[0]


def lsuv(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Initialise the convolutions and dense layers of ``model`` in place; return the output variance of each, by name.

    Weights become orthonormal (Saxe et al. 2014), drawn from torch's global generator, and biases 0. Then, in the order
    in which the layers are defined, each is scaled until its output on ``images`` (N, C, H, W) in [0, 1] has unit variance.
    Raises ``InfoadvError`` where a layer's output is constant.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    variances: dict[str, float] = {}
    training = model.training
    model.eval()  # dropout would add a variance of its own
    with torch.no_grad():
        for layer in layers.values():
            layer.weight.copy_(nn.init.orthogonal_(torch.empty(layer.weight.shape)))
            if layer.bias is not None:
                layer.bias.zero_()
        for name, layer in layers.items():
            for _ in range(TRIES):
                variances[name] = float(_output(model, layer, images).double().var())
                if abs(variances[name] - 1) <= TOLERANCE or variances[name] == 0:
                    break
                layer.weight /= variances[name] ** 0.5
            if abs(variances[name] - 1) > TOLERANCE:
                raise InfoadvError(
                    f"LSUV: the output of layer {name} has variance {variances[name]:.3g} and cannot be scaled to 1; check "
                    "the images, or set training.initialization to default."
                )
    model.train(training)
    return variances
