"""Shards: the images of one attack cut into several jobs, and joined again into the artefact of a single one.

Shards are cut between chunks, the unit in which an attack runs, so that they change no byte. Joining imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError

#: What one shard says of itself; in everything else the shards of an attack are alike, its code and not its commit.
_OF_ONE = frozenset({"shard", "chunks", "payload", "commit", "pieces"})
#: What a shard says beyond the attack artefact.
_OF_SHARDS = frozenset({"shard", "chunks", "shards", "images", "threads", "processor", "code"})


class ShardError(InfoadvError):
    """A shard that cannot be, or shards that do not belong together."""


def chunks_of(shard: int, shards: int, chunks: int) -> range:
    """Return the chunks of one shard, counted from 0: contiguous, and as many as every other shard has, or one more.

    Raises ``ShardError`` where there is no such shard, or more shards than chunks.
    """
    if not 0 <= shard < shards <= chunks:
        raise ShardError(
            f"shard {shard}/{shards}: there is none of an attack with {chunks} chunks; shards count from 0, give at most "
            f"{chunks} of them."
        )
    return range(shard * chunks // shards, (shard + 1) * chunks // shards)


def join(parts: Sequence[dict[str, np.ndarray]], count: int | None = None) -> dict[str, np.ndarray]:
    """Return the first ``count`` rows of all ``parts`` together, column by column (None for all of them).

    ``trace_step`` belongs to the run and not to an image: all parts have the same.
    """
    return {
        name: parts[0][name] if name == "trace_step" else np.concatenate([part[name] for part in parts])[:count]
        for name in parts[0]
    }


def header_of_shard(
    attack: dict[str, Any],
    shard: int,
    shards: int,
    *,
    chunks: int,
    images: int,
    threads: int,
    processor: str,
    code: str,
) -> dict[str, Any]:
    """Return the provenance of a shard of ``chunks`` chunks: that of the ``attack``, and what else makes its bytes.

    ``processor`` names what computes, ``code`` is the digest of the code: two of either do not give the same bytes.
    """
    return {
        **attack,
        "kind": "shard",
        "shard": shard,
        "chunks": chunks,
        "shards": shards,
        "images": images,
        "threads": threads,
        "processor": processor,
        "code": code,
    }


def gather(paths: Sequence[str | Path], out: str | Path) -> None:
    """Join the shards of one attack, in any order, into the attack artefact: to the byte that of the unsharded attack.

    Raises
    ------
    ArtifactError
        A file is damaged or no shard.
    ShardError
        A shard differs from the others in what made it, is there twice, or is missing.
    """
    tensors: dict[int, dict[str, np.ndarray]] = {}
    headers: dict[int, dict[str, Any]] = {}
    files: dict[int, str | Path] = {}
    for path in paths:
        arrays, header = artifacts.load_tensors(path, "shard")
        number = header["shard"]
        if files:
            _require_alike(path, header, *next(zip(files.values(), headers.values(), strict=True)))
        if number in files:
            raise ShardError(f"{path}: is shard {number} like {files[number]}; give each shard once.")
        tensors[number], headers[number], files[number] = arrays, header, path
    shards = next(iter(headers.values()))["shards"]
    # Not all of them: a header can say any number.
    missing = list(islice((str(number) for number in range(shards) if number not in files), 8))
    if missing:
        raise ShardError(
            f"{out}: shard {', '.join(missing)} of {shards} is missing; make it with --shard {missing[0]}/{shards}, or let "
            "snakemake make it."
        )
    # A commit between two shards did not touch the code of the attack: the last shard's is as good as any.
    header = {key: value for key, value in headers[shards - 1].items() if key not in _OF_SHARDS | {"payload", "pieces"}}
    pieces = {chunk: size for number in range(shards) for chunk, size in headers[number].get("pieces", {}).items()}
    columns = join([tensors[number] for number in range(shards)])
    artifacts.save_tensors(out, columns, {**header, "kind": "attack", **({"pieces": pieces} if pieces else {})})


def _require_alike(path: str | Path, header: dict[str, Any], other: str | Path, expected: dict[str, Any]) -> None:
    # What was attacked comes first: most other differences follow from it.
    keys = ["specification", "dataset", "model", *sorted((header.keys() | expected.keys()) - _OF_ONE)]
    for key in keys:
        if header.get(key) != expected.get(key):
            raise ShardError(
                f"{path}: {key} is {_shown(header.get(key))}, in {other} it is {_shown(expected.get(key))}; they are not "
                "shards of one attack: remove the one that is out of date and run again."
            )


def _shown(value: Any) -> str:
    text = artifacts.canonical_json(value)
    return text if len(text) <= 160 else text[:157] + "..."
