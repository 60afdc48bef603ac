"""Artefacts that a run finds and builds on: each must be what the configuration asks for, made from what lies beside it.

Snakemake goes by times: a file that was put in the place of another one, from another run or of another network, is to it
a result like any other. Stages compare the digests of their inputs with each other; they cannot know what the
configuration meant to be there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infoadv import artifacts

#: Seconds by which the clocks of one network may differ.
_TOLERANCE = 60


def check(
    path: str | Path,
    *,
    specification: Mapping[str, Any],
    seed: int | None,
    names: Mapping[str, str],
    inputs: Sequence[str | Path],
    digest: Callable[[str | Path], str] = artifacts.file_digest,
) -> None:
    """Raise ``ArtifactError`` unless the artefact at ``path`` is the one that is meant to be there.

    ``names`` are data set, model and attack by role, ``inputs`` the files that the artefact's job reads; ``seed`` is the
    run's, None where the job has none. What the provenance does not tell is not asked, and inputs that were removed to
    save space cannot be compared. ``digest`` returns the digest of a file.
    """
    header = artifacts.read_header(path)
    # A network's own seed is added to that of the run.
    wanted_seed = None if seed is None else seed + specification.get("training", {}).get("seed", 0)
    wanted = {"specification": specification, "seed": wanted_seed, **names}
    for key, value in wanted.items():
        if header.get(key, value) != value:
            raise artifacts.ArtifactError(
                f"{path}: is not what the configuration asks for (its {key} is {header[key]}); something else put it "
                "there. Remove it and run again."
            )
    if not all(Path(file).is_file() for file in inputs):
        return
    present = {digest(file) for file in inputs}
    for role, made_from in header["inputs"].items():
        if made_from not in present:
            raise artifacts.ArtifactError(
                f"{path}: was made from another {role} than is there now; remove it and run again, or put the {role} back."
            )


def check_times(files: Iterable[str | Path]) -> None:
    """Raise ``ArtifactError`` if a file is dated in the future, as it is after the clock was set back.

    When a job has ended, Snakemake throws its result away if it is older than what it was made from.
    """
    now = time.time()
    for path in map(Path, files):
        if path.exists() and path.stat().st_mtime > now + _TOLERANCE:
            raise artifacts.ArtifactError(
                f"{path}: is dated in the future; if the clock was set back, set it right, or give all such files the "
                "present time: find . -newermt now -exec touch {} +"
            )
