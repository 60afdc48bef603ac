"""Artefacts: every file that passes between stages (:mod:`infoadv.artifacts.files`)."""

from infoadv.artifacts.files import (
    FORMAT,
    ArtifactError,
    atomic_path,
    canonical_json,
    file_digest,
    git_commit,
    load_foreign_tensors,
    load_rows,
    load_tensors,
    provenance,
    read_header,
    save_rows,
    save_tensors,
    write_text,
)

__all__ = [
    "FORMAT",
    "ArtifactError",
    "atomic_path",
    "canonical_json",
    "file_digest",
    "git_commit",
    "load_foreign_tensors",
    "load_rows",
    "load_tensors",
    "provenance",
    "read_header",
    "save_rows",
    "save_tensors",
    "write_text",
]
