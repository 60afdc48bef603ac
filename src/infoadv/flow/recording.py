"""Records the maps of a network's layers, of any network whose layers can be hooked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from infoadv.execution.errors import InfoadvError

#: Maps with fewer rows or columns hold too few positions for a dependence to be measured.
SMALLEST_SIDE = 4


class FlowError(InfoadvError):
    """A network or a set of images whose information flow cannot be measured as asked."""


def _hooked(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    if layers is None:
        found: dict[str, nn.Module] = {name: module for name, module in modules.items() if isinstance(module, nn.ReLU)}
        if not found:
            raise FlowError(
                "the network has no torch.nn.ReLU module to record; name the layers to take under flow.layers, "
                f"among: {', '.join(name for name in modules if name)}."
            )
        return found
    for name in layers:
        if name not in modules:
            raise FlowError(
                f"flow.layers: there is no layer {name!r}; the network has: {', '.join(filter(None, modules))}."
            )
    return {name: modules[name] for name in layers}


@contextmanager
def _watching(modules: dict[str, nn.Module], see: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """Call ``see(name, output)`` at each output, whose place its result takes; a module's second use is ``name:2``."""
    uses = dict.fromkeys(modules, 0)

    def hook(name: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def called(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
            if not isinstance(output, Tensor):
                raise FlowError(f"flow.layers: {name!r} gives a {type(output).__name__}; a layer must give one tensor.")
            uses[name] += 1
            return see(name if uses[name] == 1 else f"{name}:{uses[name]}", output)

        return called

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def record(model: nn.Module, images: Tensor, layers: Sequence[str] | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """Return the maps of each layer, in the order in which they are computed, and the logits (N, K).

    Parameters
    ----------
    model
        In eval mode.
    images
        (N, C, H, W) in [0, 1].
    layers
        Names as ``model.named_modules()`` gives them; None for the outputs of all ``torch.nn.ReLU`` modules that are maps of
        at least 4 x 4 positions.

    Returns
    -------
    maps, logits
        ``maps[name]`` is (N, C_k, H_k, W_k).

    Raises
    ------
    FlowError
        No such layer, no layer at all, or a layer that was named and is no map of at least 4 x 4 positions.
    """
    maps: dict[str, Tensor] = {}

    def see(name: str, output: Tensor) -> None:
        if output.ndim == 4 and min(output.shape[2:]) >= SMALLEST_SIDE:
            # A later layer may change its input in place.
            maps[name] = output.detach().clone()
        elif layers is not None:
            raise FlowError(
                f"flow.layers: {name!r} gives {tuple(output.shape[1:])} an image; a layer must give maps of at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE} positions."
            )

    with torch.no_grad(), _watching(_hooked(model, layers), see):
        logits = model(images)
    if not maps:
        raise FlowError(f"the network has no layer of maps of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} positions.")
    return maps, logits


def last_layer(model: nn.Module, images: Tensor, layers: Sequence[str] | None = None) -> str:
    """Return the layer of maps that is computed last, of all ReLU outputs and the ``layers`` named.

    The evidence for the classes is taken there, whichever layers are profiled.
    """
    every = dict(model.named_modules())
    candidates = [name for name, module in every.items() if isinstance(module, nn.ReLU) or name in (layers or ())]
    found: list[str] = []

    def see(name: str, output: Tensor) -> None:
        if output.ndim == 4 and min(output.shape[2:]) >= SMALLEST_SIDE:
            found.append(name)

    with torch.no_grad(), _watching({name: every[name] for name in candidates}, see):
        model(images)
    return found[-1]


def class_evidence(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return the class-evidence maps (N, K, H, W) of ``layer``: its maps weighted by the mean gradient of each logit.

    For a head of global average pooling and one dense layer these are class activation maps (Zhou et al. 2016) up to a
    factor; for any other head, Grad-CAM (Selvaraju et al. 2017) without its final ReLU. The layer is one that ``record``
    returns. Raises ``FlowError`` where the logits do not depend on it.
    """
    module, _, _ = layer.partition(":")
    leaves: list[Tensor] = []

    def see(name: str, output: Tensor) -> Tensor | None:
        if name != layer:
            return None
        leaves.append(output.detach().clone().requires_grad_(True))
        # A copy, because what follows may change it in place.
        return leaves[0].clone()

    with _watching(_hooked(model, [module]), see):
        logits = model(images)
    leaf = leaves[0]
    evidence = []
    for position in range(logits.shape[1]):
        if not logits.requires_grad:
            raise FlowError(f"flow.layers: the logits do not depend on {layer!r}, the last layer of maps; name others.")
        (gradient,) = torch.autograd.grad(logits[:, position].sum(), leaf, retain_graph=True)
        weights = gradient.mean((2, 3), keepdim=True)
        evidence.append((weights * leaf.detach()).sum(1))
    return torch.stack(evidence, 1)
