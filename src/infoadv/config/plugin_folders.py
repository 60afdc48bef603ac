"""The key ``plugins``: folders of the user's own attacks, metrics, networks, ... Read before all others, which may name these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infoadv.config.errors import ConfigError
from infoadv.config.limits import project_path
from infoadv.config.schema import check, structure_schema
from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins


def use(raw: Any, directory: Path) -> None:
    """Offer what the plugin folders of a configuration hold, beside what the package has, and nothing of other folders.

    From now on, in this process and in the jobs that it starts. ``directory`` is the folder of the run. Raises
    ``ConfigError``; runs no code of the user's.
    """
    # What is no mapping at all is refused by the check of the whole.
    given = raw.get("plugins", []) if isinstance(raw, Mapping) else []
    check(given, structure_schema()["properties"]["plugins"], ("plugins",))
    folders = [project_path(folder, f"plugins.{position}") for position, folder in enumerate(given)]
    try:
        plugins.use(directory / folder for folder in folders)
    except InfoadvError as error:
        raise ConfigError(f"plugins: {error}") from error
