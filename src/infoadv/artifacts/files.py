"""Every file that passes between stages is read and written here.

Tensors travel as safetensors, rows as parquet, nothing as pickle: loading a file that somebody else made runs no
code. A file carries one JSON document, its *provenance*: what made it (specification, seeds, package version and
commit, library versions, device) and the digests of its inputs. It holds no clock time and no host name, so equal
inputs give equal bytes. Two digests in it make damage known: of the content and of the provenance itself. Writes are
atomic: written beside the target, brought to the disk, then renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from infoadv.artifacts import schemas
from infoadv.execution import run_lock
from infoadv.execution.errors import InfoadvError
from infoadv.execution.version import __version__

#: Raised whenever the layout of an artefact changes, so that an old file is refused instead of misread.
FORMAT = 2
#: Written before provenance and rows had digests; still read.
_WITHOUT_DIGESTS = 1
_HEADER = "infoadv"
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


class ArtifactError(InfoadvError):
    """A file that is missing, truncated, altered, or not what the stage expects."""


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal values give equal strings, whatever the order of their keys.

    >>> canonical_json({"b": 1, "a": [1.0, "x"]})
    '{"a":[1.0,"x"],"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    # Snakemake's report holds the parameters of its jobs inside a script element, which "</script>" would close.
    return text.replace("<", "\\u003c")


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in blocks."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, algorithm).hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}).") from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` if the block succeeds.

    A reader therefore sees the old file or the new one, never half of one, also after a kill or a loss of power.

    Raises
    ------
    ArtifactError
        The disk is full, the folder is read-only, or the like.
    RunError
        This process belongs to a run that is over, and another one has begun in the working directory.
    """
    target = Path(path)
    # The suffix stays last, because writers choose a format by it.
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{run_lock.PARTIAL}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            run_lock.check()
            # Renamed before its content is on the disk, a loss of power could leave an empty file of this name.
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise ArtifactError(
            f"{path}: cannot be written ({os.strerror(error.errno)}); make room or make the folder writable, then run the "
            "same command again."
        ) from error


@cache
def git_commit() -> str | None:
    """Return the commit of the checkout this package runs from, with ``-dirty`` appended when its code was changed."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here)]
    try:
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*command, "status", "--porcelain", "--", str(here)], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def provenance(
    kind: str,
    specification: Mapping[str, Any],
    *,
    inputs: Mapping[str, str | Path] | None = None,
    libraries: tuple[str, ...] = (),
    device: str = "cpu",
    **extra: Any,
) -> dict[str, Any]:
    """Describe how an artefact came to be.

    ``specification`` is what the configuration asked for; ``inputs`` maps a role to a file, whose digest is recorded;
    ``libraries`` names the distributions whose version can change the result; ``extra`` holds results that belong in
    the header, such as a model's accuracy.
    """
    versions = {}
    for name in ("numpy", *libraries):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "kind": kind,
        "format": FORMAT,
        "version": __version__,
        "commit": git_commit(),
        "specification": dict(specification),
        "inputs": {role: file_digest(path) for role, path in (inputs or {}).items()},
        "libraries": versions,
        "device": device,
        **extra,
    }


def _payload_digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _rows_digest(table: Any) -> str:
    """Return the digest of an Arrow table: of the names, types and values of its columns, not of how they are packed."""
    import pyarrow

    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{field.name}:{field.type};".encode())
        if pyarrow.types.is_primitive(field.type):
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
        else:
            digest.update(canonical_json(column.to_pylist()).encode())
    return digest.hexdigest()


def _header_text(header: Mapping[str, Any], payload: str) -> str:
    described = {**header, "payload": payload}
    seal = hashlib.sha256(canonical_json(described).encode()).hexdigest()
    return canonical_json({**described, "seal": seal})


def _check_payload(path: str | Path, header: Mapping[str, Any], payload: str) -> None:
    if payload != header.get("payload"):
        raise ArtifactError(
            f"{path}: content does not match its own digest (altered or damaged); remove it and run again."
        )


def save_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write named arrays and their provenance as one safetensors file, atomically."""
    from safetensors.numpy import save

    # Not ascontiguousarray, which gives a scalar one dimension.
    arrays = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    # One metadata key only: safetensors keeps metadata in a hash map, so several would be written in random order.
    metadata = {_HEADER: _header_text(header, _payload_digest(arrays))}
    with atomic_path(path) as temporary:
        # Not save_file, which leaves a file that only its owner may read.
        temporary.write_bytes(save(arrays, metadata=metadata))


def _check_header(path: str | Path, text: str | None, kind: str | None) -> dict[str, Any]:
    if text is None:
        raise ArtifactError(f"{path}: not an infoadv artefact (no provenance in it); remove it and run again.")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ArtifactError(f"{path}: its provenance is no mapping; remove it and run again.")
    seal = header.pop("seal", None)
    if header.get("format") not in (FORMAT, _WITHOUT_DIGESTS):
        raise ArtifactError(
            f"{path}: written in format {header.get('format')!r}, this version reads {FORMAT}; remove it and run again."
        )
    if header["format"] == FORMAT and seal != hashlib.sha256(canonical_json(header).encode()).hexdigest():
        raise ArtifactError(
            f"{path}: provenance does not match its own digest (altered or damaged); remove it and run again."
        )
    if kind is not None and header.get("kind") != kind:
        raise ArtifactError(f"{path}: holds a {header.get('kind')!r} artefact, a {kind!r} artefact is needed here.")
    _fitting(path, schemas.check_header, header)
    return header


def _fitting(path: str | Path, check: Callable[..., None], *arguments: Any) -> None:
    """Call ``check``; name the file where what it holds does not fit its kind."""
    try:
        check(*arguments)
    except schemas.UnfitError as error:
        raise ArtifactError(f"{path}: {error}; remove it and run again.") from error


def _require_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise ArtifactError(f"{path}: no such file; let snakemake make it, or check the path.")


def read_header(path: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Return the provenance of an artefact, safetensors or parquet, without reading its content."""
    _require_file(path)
    if Path(path).suffix not in {".safetensors", ".parquet"}:
        raise ArtifactError(f"{path}: not an artefact; artefacts are .safetensors and .parquet files.")
    try:
        if str(path).endswith(".parquet"):
            import pyarrow.parquet

            metadata = pyarrow.parquet.read_schema(path).metadata or {}
            raw = metadata.get(_HEADER.encode())
            text = raw.decode() if raw is not None else None
        else:
            from safetensors import safe_open

            with safe_open(path, framework="numpy") as handle:
                text = (handle.metadata() or {}).get(_HEADER)
        return _check_header(path, text, kind)
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(f"{path}: truncated or not an artefact ({error}); remove it and run again.") from error


def load_tensors(path: str | Path, kind: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read an artefact; return its arrays and its provenance.

    Raises
    ------
    ArtifactError
        The file is missing, truncated, altered since it was written, of another kind, or foreign.
    """
    header = read_header(path, kind)
    tensors = load_foreign_tensors(path)
    _check_payload(path, header, _payload_digest(tensors))
    _fitting(path, schemas.check_tensors, header["kind"], tensors)
    return tensors, header


def load_foreign_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of any safetensors file, such as a user's own weights; no provenance is asked for."""
    from safetensors.numpy import load_file

    _require_file(path)
    try:
        return load_file(path)
    except Exception as error:
        raise ArtifactError(f"{path}: truncated or not a safetensors file ({error}); make it again.") from error


def save_rows(path: str | Path, frame: Any, header: Mapping[str, Any]) -> None:
    """Write a pandas data frame and its provenance as parquet, atomically."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({_HEADER: _header_text(header, _rows_digest(table))})
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def load_rows(path: str | Path, kind: str | None = None) -> tuple[Any, dict[str, Any]]:
    """Read a parquet artefact; return its data frame and its provenance.

    Raises ``ArtifactError`` like ``load_tensors``.
    """
    import pyarrow.parquet

    header = read_header(path, kind)
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _fitting(path, schemas.check_table, path, file.metadata, file.schema_arrow)
            table = file.read()
            # The metadata that pandas left there is not for us: what somebody else wrote into it decides nothing.
            frame, payload = table.to_pandas(ignore_metadata=True), _rows_digest(table)
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(f"{path}: truncated or damaged ({error}); remove it and run again.") from error
    if header["format"] != _WITHOUT_DIGESTS:
        _check_payload(path, header, payload)
    _fitting(path, schemas.check_rows, header["kind"], frame)
    return frame, header


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, with newline line ends on every platform."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
