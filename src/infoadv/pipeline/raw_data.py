"""What data artefacts are made from: downloads, and files of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infoadv.registry import plugins
from infoadv.registry.source_code import function_of


def _fetch_options(source: str) -> list[str]:
    """Return the options of a source that its function ``fetch`` takes, none where it has no such function."""
    function = function_of(plugins.source_file("data", source), "fetch")
    return [] if function is None else [argument.arg for argument in function.args.kwonlyargs]


def download_folder(source: str, dataset: str) -> str:
    """Return where the files of a source are downloaded to: a folder for each data set where ``fetch`` takes options."""
    return f"results/downloads/{source}" + (f"/{dataset}" if _fetch_options(source) else "")


def download_options(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a data set that decide what is downloaded."""
    return {key: specification[key] for key in _fetch_options(specification["source"]) if key in specification}


def digest(specification: Mapping[str, Any]) -> str | None:
    """Return the digest of a folder of the user's files, None where a data set is made from no folder or it is not there.

    Snakemake looks at the time of a folder alone, which says nothing of the files deeper in it. With this among the
    parameters of its rule, a data set is made again when a file has another content or name, and not when it was touched.
    """
    if "path" not in specification or not Path(specification["path"]).is_dir():
        return None
    return plugins.module("data", specification["source"]).digest(specification["path"])
