"""Target networks. Each takes images in [0, 1] and returns logits; it holds its own normalisation.

An architecture is a file with a literal ``SCHEMA`` and a function of the same name,
``architecture(shape, classes, **options) -> torch.nn.Module``, where ``shape`` is (C, H, W). If it can be trimmed, the
file also has ``resized(options, widths) -> options`` (:func:`resized`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import torch
from torch import Tensor, nn

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.numerics import gray_convolution
from infoadv.registry import factories, plugins
from infoadv.registry.options import Validator
from infoadv.registry.source_code import origin

#: Classes and pixels a side beyond which no artefact is believed.
_MAX_CLASSES, _MAX_SIDE = 100_000, 4_096


class ModelError(InfoadvError):
    """A model that cannot be built, does not fit its weights, or does not fit its data set."""


class Normalized(nn.Module):
    """Standardise each channel, then apply ``network``: attacks and users see images in [0, 1] only."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


class Ensemble(nn.Module):
    """Several networks as one: its logits are the log of the mean of their softmax outputs (Liu et al. 2017).

    So the softmax of these logits is the mean probability. The members take images in [0, 1] and return logits
    (N x classes), of the same classes.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        logs = torch.stack([member(images).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - math.log(len(self.members))


def build(
    architecture: str,
    options: dict[str, Any],
    shape: Sequence[int],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> nn.Module:
    """Build a named architecture for images of ``shape`` (C, H, W), with its normalisation, untrained."""
    network = plugins.load("models", architecture)(tuple(shape), classes, **options)
    # Not in networks of a user's factory, which stay as they are.
    gray_convolution.speed_up(network)
    return Normalized(network, mean, std)


def bare(specification: Mapping[str, Any], shape: Sequence[int], classes: int) -> nn.Module:
    """Build the network of a specification with weights of its own, by ``factory`` or ``architecture``, without either.

    What it returns has no normalisation but the network's own: its names are those of the weights.
    """
    if "factory" in specification:
        return from_factory(specification["factory"], specification.get("options", {}))
    build_network = plugins.load("models", specification["architecture"])
    return build_network(tuple(shape), classes, **specification.get("options", {}))


def with_weights(
    specification: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    path: str | Path,
    shape: Sequence[int],
    classes: int,
) -> nn.Module:
    """Build the network of a specification with ``weights``, whose ``tensors`` are from ``path``, and its normalisation.

    A network of an architecture is normalised by what the specification says, by nothing (mean 0, standard deviation 1)
    where it says nothing; one of a factory only where it says so.
    """
    network = bare(specification, shape, classes)
    set_weights(network, tensors, path)
    given = normalisation(specification, shape[0])
    if given is None and "factory" in specification:
        return network
    whole = Normalized(network, *(given or ([0.0] * shape[0], [1.0] * shape[0])))
    return whole if "factory" in specification else whole.to(memory_format=torch.channels_last)


def normalisation(specification: Mapping[str, Any], channels: int) -> tuple[list[float], list[float]] | None:
    """Return ``mean`` and ``std`` of a specification, a number for each channel; None where it has none."""
    if "mean" not in specification:
        return None
    found = []
    for key in ("mean", "std"):
        value = specification[key]
        values = list(value) if isinstance(value, list) else [value] * channels
        if len(values) != channels:
            raise ModelError(
                f"{key}: {len(values)} values, the images have {channels} channels; give one value or {channels}."
            )
        found.append([float(number) for number in values])
    return found[0], found[1]


def resized(architecture: str, options: dict[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    """Return the options that give ``architecture`` these widths: channels and units of its hidden layers, in order.

    Raises ``ModelError`` where the file of the architecture has no function ``resized``.
    """
    module = plugins.module("models", architecture)
    if not hasattr(module, "resized"):
        raise ModelError(
            f"{architecture} cannot be trimmed: its file has no function 'resized'; use fitnet4 or deep_conv, or add one."
        )
    return module.resized(options, widths)


def from_factory(path: str, options: dict[str, Any]) -> nn.Module:
    """Build a user's own model: call ``module:function`` with ``options``. This runs the user's code, and says so.

    The model is called with images in the layout that torch gives new tensors, whatever layout they come in: code of a
    user's may depend on it (``x.view(len(x), -1)``). Raises ``ModelError``, also for whatever the function raises.
    """
    try:
        model = factories.call(path, options)
    except Exception as error:
        where = origin(error)
        detail = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model factory {path!r} cannot be called ({type(error).__name__}{f' in {where}' if where else ''}: {detail}); "
            "give 'package.module:function', importable from the working directory or PYTHONPATH, that accepts the given "
            "options."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model factory {path!r} returned {type(model).__name__}; it must return a torch.nn.Module.")
    model.register_forward_pre_hook(_in_default_layout)
    return model


def _in_default_layout(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Bring the images that a model is called with into the default layout; a hook, so that its weights keep their names."""
    images, *others = inputs
    # Not contiguous(): the strides of one channel fit both layouts, and it returns the channels-last ones as they are.
    return images.flatten(1).view(images.shape), *others


def set_weights(model: nn.Module, tensors: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Load named arrays into ``model``; every name and shape must match.

    Only the counters of batch normalisation, which decide nothing, may lack: checkpoints of before 2018 have none.
    """
    own = model.state_dict()
    state = OrderedDict((name, value) for name, value in own.items() if name.endswith("num_batches_tracked"))
    state.update((name, torch.from_numpy(array)) for name, array in tensors.items())
    # Which version of each layer the names are of, without which some layers refuse them.
    state._metadata = getattr(own, "_metadata", None)  # type: ignore[attr-defined]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{path}: weights do not fit the model ({detail}); remove it or correct the options."
        ) from error


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights and buffers of ``model`` as contiguous arrays, by name."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in model.state_dict().items()}


def _checked(specification: dict[str, Any], header: dict[str, Any]) -> tuple[dict[str, Any], list[int], int]:
    """Return options, image shape and number of classes that the header of an artefact gives, within their schemas.

    The file may be a stranger's, so nothing is built from numbers that a configuration could not hold.
    """
    architecture = specification["architecture"]
    declared = plugins.schemas("models")
    if architecture not in declared:
        raise ModelError(
            f"holds a network of architecture {architecture!r}, which there is none of; if it is in a plugin folder whose code "
            f"you trust, set {plugins.VARIABLE} to that folder."
        )
    properties = {
        "shape": {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "integer", "minimum": 1}},
        "classes": {"type": "integer", "minimum": 2, "maximum": _MAX_CLASSES},
        "options": {
            "type": "object",
            "additionalProperties": False,
            "properties": declared[architecture],
        },
    }
    options = header.get("architecture_options", specification["options"])
    found = {"shape": header["dataset_shape"], "classes": header["classes"], "options": options}
    jsonschema.validate(found, {"properties": properties}, Validator)
    if found["shape"][0] not in (1, 3) or max(found["shape"]) > _MAX_SIDE:
        raise ModelError(f"its header asks for images of shape {found['shape']}; remove it and run again.")
    return options, found["shape"], found["classes"]


def _untrained(header: dict[str, Any], tensors: Mapping[str, np.ndarray], prefix: str = "") -> nn.Module:
    """Build the network that a model artefact with this provenance holds, without its weights.

    Raises ``ModelError`` where the header asks for a network whose weights ``tensors`` (their names begin with ``prefix``)
    does not hold: before memory is taken for it.
    """
    specification = header["specification"]
    if "members" in specification:
        members = enumerate(specification["members"])
        return Ensemble(
            [_untrained(header["members"][name], tensors, f"{prefix}members.{place}.") for place, name in members]
        )
    if "factory" in specification:
        path = specification["factory"]
        if not factories.allowed(path):
            raise ModelError(
                f"holds a network that is built by calling {path!r}, which is code; if you trust that code, set "
                f"{factories.ALLOWED}={path}."
            )
        network = from_factory(path, specification.get("options", {}))
        given = normalisation(specification, header["dataset_shape"][0]) if "mean" in specification else None
        return network if given is None else Normalized(network, *given)
    options, shape, classes = _checked(specification, header)
    channels = [0.0] * shape[0]
    arguments = (specification["architecture"], options, shape, classes, channels, channels)
    wanted: dict[str, tuple[int, ...]] = {}
    # A network that computes with tensors while it is built cannot be asked without taking the memory for it.
    with suppress(NotImplementedError), torch.device("meta"):
        wanted = {f"{prefix}{name}": tuple(value.shape) for name, value in build(*arguments).state_dict().items()}
    for name, size in wanted.items():
        # Artefacts of format 1 gave scalars (those of batch normalisation) one dimension.
        if name not in tensors or tensors[name].shape not in (size, size or (1,)):
            found = tensors[name].shape if name in tensors else "not there"
            raise ModelError(
                f"weights do not fit the model ({name} of shape {size}, which is {found}); remove it or correct the options."
            )
    # Channels-last convolutions are the faster ones on both CPU and GPU.
    return build(*arguments).to(memory_format=torch.channels_last)


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[nn.Module, dict[str, Any]]:
    """Read a model artefact; return the model in eval mode, its parameters frozen, and its provenance.

    ``architecture_options`` in the provenance are those that the network ended up with where training changed them,
    ``members`` the provenance of each member of an ensemble, by name.
    """
    tensors, header = artifacts.load_tensors(path, "model")
    try:
        model = _untrained(header, tensors)
    except InfoadvError as error:
        raise ModelError(f"{path}: {error}") from error
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path))
        raise ModelError(f"{path}: its header's {where} cannot be: {error.message[:200]}; remove it.") from error
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: its header describes no network ({type(error).__name__} {str(error)[:200]}); remove it and run again."
        ) from error
    set_weights(model, tensors, path)
    model.requires_grad_(False)
    return model.to(device).eval(), header


def check_logits(model: nn.Module, images: Tensor, classes: int, name: str | Path) -> Tensor:
    """Return ``model(images)`` after checking that it is finite and has one column a class."""
    try:
        with torch.no_grad():
            logits = model(images)
    except Exception as error:
        # A user's network raises what it likes.
        where = origin(error)
        detail = f"{type(error).__name__}{f' in {where}' if where else ''}: {' '.join(str(error).split())[:300]}"
        raise ModelError(
            f"{name}: cannot take images of shape {tuple(images.shape[1:])} ({detail}); correct the model's options, or "
            "the code of its factory."
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (len(images), classes):
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"{name}: returns {returned} for {len(images)} images, the data set has {classes} classes; "
            "the model must return logits N x classes."
        )
    if not torch.isfinite(logits).all():
        raise ModelError(f"{name}: returns NaN or infinite logits; train it again or check its weights.")
    return logits
