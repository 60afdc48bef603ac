"""The section ``datasets``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infoadv.config.schema import complete_options


def completed(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the specification of each data set: its source and all options of that. Raises ``ConfigError``."""
    result = {}
    for name, entry in values["datasets"].items():
        source = entry["source"]
        given = {key: value for key, value in entry.items() if key != "source"}
        result[name] = {"source": source, **complete_options("data", source, given, ("datasets", name), "data source")}
    return result
