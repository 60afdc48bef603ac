"""Where the numbers come from: every artefact with what made it, read from the artefacts' own headers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv import artifacts
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table

INPUTS = {"stage": "artefacts"}

COLUMNS = (
    "kind",
    "file",
    "sha256",
    "specification_sha256",
    "made_from",
    "version",
    "commit",
    "trained_commit",
    "seed",
    "device",
    "libraries",
)
#: What the artefacts of one kind usually share.
_SHARED = ["kind", "version", "commit", "trained_commit", "seed", "device", "libraries"]
_SHORT = 12


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from artefacts of any kind, and from what metrics and profiles tell of the attacks that they are of.

    ``made_from`` names the files among the inputs, without ``results/`` and suffix, whose digests an artefact holds as those
    of its own inputs; of a file that is not among them, or is not the one that was used, it gives the digest. ``commit``
    wrote the artefact; ``trained_commit`` trained a network that was taken from an earlier run, and is empty otherwise.
    """
    found = {path: (artifacts.file_digest(path), artifacts.read_header(path)) for path in inputs}
    for _, header in list(found.values()):
        for role, attacked in header.get("attacked", {}).items():
            path = f"results/attacks/{attacked['dataset']}/{attacked['model']}/{attacked['specification']['name']}.safetensors"
            found.setdefault(path, (header["inputs"][role], attacked))
    files = {digest: path for path, (digest, _) in found.items()}
    frame = pd.DataFrame([_record(path, *of, files) for path, of in found.items()], columns=list(COLUMNS))
    names = ["Kind", "Files", "Version", "Commit", "Trained by", "Seed", "Device", "Libraries"]
    groups = [
        [Cell(kind), Cell(str(len(part))), Cell(version), Cell(_short(commit)), Cell(_short(trained)), *map(Cell, rest)]
        for (kind, version, commit, trained, *rest), part in frame.groupby(_SHARED, sort=False)
    ]
    lines = [
        [
            Cell(row["file"]),
            Cell(_short(row["sha256"])),
            Cell(_short(row["specification_sha256"])),
            Cell(row["made_from"]),
        ]
        for row in frame.to_dict("records")
    ]
    markdown = f"{markdown_table(names, groups, left=len(names))}\n### Files\n\n"
    markdown += markdown_table(["File", "SHA-256", "Specification", "Made from"], lines, left=4)
    caption = "What made the artefacts of this report, by kind."
    latex = latex_table(names, [("", groups)], caption, "provenance", left=len(names))
    return Table(frame, markdown, latex)


def _short(digest: str) -> str:
    commit, _, changed = digest.partition("-")
    return f"{commit[:_SHORT]}-{changed}" if changed else commit[:_SHORT]


def _name(path: str) -> str:
    """Return a file's path as far as it tells one artefact from another."""
    return os.path.splitext(path)[0].removeprefix("results/")


def _record(path: str, digest: str, header: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, str]:
    asked = hashlib.sha256(artifacts.canonical_json(header["specification"]).encode()).hexdigest()
    return {
        "kind": header["kind"],
        "file": path,
        "sha256": digest,
        "specification_sha256": asked,
        "made_from": ", ".join(
            _name(files[made]) if made in files else f"{role} {_short(made)}" for role, made in header["inputs"].items()
        ),
        "version": header["version"],
        "commit": header["commit"] or "none",
        "trained_commit": (header["trained_commit"] or "none") if "trained_commit" in header else "",
        "seed": str(header.get("seed", "")),
        "device": header["device"],
        "libraries": ", ".join(f"{name} {version}" for name, version in sorted(header["libraries"].items())),
    }
