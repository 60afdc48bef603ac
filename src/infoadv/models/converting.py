"""Weights that were saved as ``.pt`` or ``.pth``, or under other names, as ``.safetensors`` that fit a network.

A checkpoint is a pickle. It is read with ``weights_only=True``, which builds tensors and plain containers and runs no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infoadv import artifacts
from infoadv.models import ModelError, bare, set_weights, weights_of

#: Names that an error lists; a wrong network can lack hundreds.
_LISTED = 6


@dataclass(frozen=True)
class Converted:
    """Arrays by the names of the network, and the prefixes that were taken off and put on to get there."""

    arrays: dict[str, Any]
    removed: str
    added: str


def read(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint: the file itself, or the one mapping of tensors in it, or that under ``key``.

    Reads ``.safetensors`` as well. Raises ``ModelError`` where there is none, where there are several and no ``key``, and
    where the file holds more than tensors and plain values.
    """
    if Path(path).suffix == ".safetensors":
        return {name: torch.from_numpy(array) for name, array in artifacts.load_foreign_tensors(path).items()}
    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises what zipfile, pickle or its own reader happen to raise; before the reason, its own reader says at
        # length how to run the code in the file.
        text = str(error)
        reason = text.partition("WeightsUnpickler error:")[2] or text
        detail = reason.strip().split("\n")[0].partition(". Please")[0][:200]
        raise ModelError(
            f"{path}: cannot be read as a file of tensors alone ({type(error).__name__}: {detail}); whoever has the network "
            "writes one with torch.save(model.state_dict(), FILE)."
        ) from error
    found = dict(_state_dicts(content))
    if key is None and len(found) > 1:
        raise ModelError(f"{path}: holds several state dicts ({', '.join(found)}); choose one with --key.")
    if not found or (key is not None and key not in found):
        there = f"it has {', '.join(found)}" if found else "write one with torch.save(model.state_dict(), FILE)"
        raise ModelError(f"{path}: holds no state dict{f' named {key!r}' if key else ''}; {there}.")
    return found[key] if key is not None else next(iter(found.values()))


def _state_dicts(content: Any) -> Iterable[tuple[str, dict[str, Tensor]]]:
    """Yield the mappings of tensors in a checkpoint by key; the checkpoint itself where nothing in it is one."""

    def tensors(value: Any) -> dict[str, Tensor]:
        named = value.items() if isinstance(value, Mapping) else ()
        return {name: tensor for name, tensor in named if isinstance(name, str) and isinstance(tensor, Tensor)}

    inside = [(str(key), tensors(value)) for key, value in content.items()] if isinstance(content, Mapping) else []
    inside = [(key, value) for key, value in inside if value]
    yield from inside or ([("", tensors(content))] if tensors(content) else [])


def convert(
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    path: str | Path,
    *,
    renames: Sequence[tuple[str, str]] = (),
    dropped: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> Converted:
    """Bring a state dict to the names and types of ``network``.

    ``renames`` are pairs of a prefix and what stands in its place, ``dropped`` prefixes of tensors to leave out. Tensors of the
    network with a prefix of ``kept``, such as those of its normalisation, stay as it is built where the state dict lacks them.
    A prefix that all names share and the network does not have, such as the ``module.`` of ``DataParallel``, is taken off, and
    one that all names of the network have and these do not is put on. Raises ``ModelError`` that names what is missing, what
    is too much, and what has another shape; ``path`` says where the tensors are from.
    """
    wanted = network.state_dict()
    chosen = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(dropped))}
    renamed = {_renamed(name, renames): tensor for name, tensor in chosen.items()}
    removed, added = _prefixes(renamed, wanted)
    named = {added + name.removeprefix(removed): tensor for name, tensor in renamed.items()}
    named |= {name: value for name, value in wanted.items() if name.startswith(tuple(kept)) and name not in named}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = [f"{name} {tuple(wanted[name].shape)}" for name in wanted if name not in named.keys() | optional]
    surplus = [f"{name} {tuple(value.shape)}" for name, value in named.items() if name not in wanted]
    if missing or surplus:
        parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(surplus)} too much"] * bool(surplus)
        raise ModelError(
            f"{path}: {'; '.join(parts)}; name another network or other options, or use --rename OLD=NEW, --drop PREFIX and "
            "--keep PREFIX."
        )
    wrong = [
        f"{name} {tuple(named[name].shape)} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in named and named[name].shape != value.shape
    ]
    if wrong:
        raise ModelError(f"{path}: has other shapes than the network: {_listed(wrong)}; correct the network's options.")
    set_weights(network, {name: tensor.to(wanted[name].dtype).numpy() for name, tensor in named.items()}, path)
    return Converted(weights_of(network), removed, added)


def run(
    checkpoint: str | Path,
    specification: Mapping[str, Any],
    out: str | Path,
    *,
    shape: Sequence[int] = (),
    classes: int = 0,
    key: str | None = None,
    renames: Sequence[tuple[str, str]] = (),
    dropped: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> str:
    """Write the weights of ``checkpoint`` for the ``factory`` or ``architecture`` of a specification; return what was done.

    An architecture is built for images of ``shape`` (C, H, W) and so many ``classes``. The file names the digest of the
    checkpoint. Raises ``ModelError`` as :func:`read` and :func:`convert` do.
    """
    if Path(out).suffix != ".safetensors":
        raise ModelError(f"{out}: the weights are written as .safetensors; give a name that ends so.")
    tensors = read(checkpoint, key)
    try:
        network = bare(specification, shape, classes)
    except TypeError as error:
        raise ModelError(f"options {specification.get('options')}: {error}; see config/README.md.") from error
    converted = convert(tensors, network, checkpoint, renames=renames, dropped=dropped, kept=kept)
    header = artifacts.provenance("weights", specification, inputs={"checkpoint": checkpoint}, libraries=("torch",))
    artifacts.save_tensors(out, converted.arrays, header)
    changes = [f"took off the prefix {converted.removed!r}"] * bool(converted.removed)
    changes += [f"put on the prefix {converted.added!r}"] * bool(converted.added)
    values = sum(array.size for array in converted.arrays.values())
    return f"{out}: {len(converted.arrays)} tensors, {values:,} values{''.join(f'; {change}' for change in changes)}"


def _renamed(name: str, renames: Sequence[tuple[str, str]]) -> str:
    for old, new in renames:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _prefixes(names: Iterable[str], wanted: Iterable[str]) -> tuple[str, str]:
    """Return the shared prefix of ``names`` to take off and that of ``wanted`` to put on for most names to agree."""
    names, wanted = list(names), set(wanted)

    def agreeing(pair: tuple[str, str]) -> int:
        return sum(pair[1] + name.removeprefix(pair[0]) in wanted for name in names)

    # The first of those that are equally good is the one that changes least.
    pairs = [(removed, added) for removed in _shared(names) for added in _shared(wanted)]
    return max(pairs, key=agreeing)


def _shared(names: Iterable[str]) -> list[str]:
    """Return the dotted prefixes that all ``names`` share, from none to the longest."""
    names = list(names)
    found = [""]
    for part in names[0].split(".")[:-1] if names else ():
        prefix = f"{found[-1]}{part}."
        if not all(name.startswith(prefix) for name in names):
            break
        found.append(prefix)
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
