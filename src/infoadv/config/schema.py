"""The schemas of a configuration: what they refuse, and the defaults that they fill in.

``config.schema.json`` says how a configuration is built. The options of a method, metric, architecture, recipe or data source
are declared by the file that offers it (:mod:`infoadv.registry.plugins`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from infoadv.config.errors import ConfigError, explain, require_known
from infoadv.config.limits import project_path
from infoadv.registry import plugins
from infoadv.registry.options import Validator
from infoadv.registry.source_code import function_of

SCHEMA_FILE = Path(__file__).with_name("config.schema.json")


@cache
def structure_schema() -> dict[str, Any]:
    """Return the JSON schema of everything but the options that plugins declare."""
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


@cache
def common_options(folder: str) -> dict[str, Any]:
    """Return the options that every name of a folder takes: the literal ``COMMON`` of its ``__init__.py``, if any."""
    return plugins.literal(plugins.PACKAGE / folder / "__init__.py", "COMMON")


def _required_options(folder: str, name: str) -> frozenset[str]:
    """Return the options that have no default: keyword arguments without one in the function's signature, and ``like``."""
    declared = plugins.schemas(folder)[name]
    required = {"like"} & set(declared)
    function = function_of(plugins.source_file(folder, name), name)
    if function is not None:
        arguments = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        required |= {argument.arg for argument, default in arguments if default is None} & set(declared)
    return frozenset(required)


def options_schema(folder: str, name: str) -> dict[str, Any]:
    """Return the JSON schema of the options of ``name``, one of what ``folder`` offers."""
    properties = {**common_options(folder), **plugins.schemas(folder)[name]}
    required = sorted(_required_options(folder, name))
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def check(value: Any, schema: dict[str, Any], prefix: tuple[str, ...] = ()) -> None:
    """Raise ``ConfigError`` unless ``value``, given at the key ``prefix``, is what ``schema`` allows."""
    errors = sorted(
        Validator(schema).iter_errors(value),
        # An unknown key comes before a missing one: the first is usually why the second is missing.
        key=lambda error: (
            [str(part) for part in error.absolute_path],
            error.validator != "additionalProperties",
        ),
    )
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConfigError(f"{explain(errors[0], prefix)}{more}.")


def filled(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return ``value`` with the schema's defaults in the places of keys that are missing, at every depth."""
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        result = {}
        for key, given in value.items():
            below = properties.get(key, schema.get("additionalProperties", {}))
            result[key] = filled(given, below if isinstance(below, Mapping) else {})
        for key, below in properties.items():
            if key not in result and "default" in below:
                result[key] = filled(deepcopy(below["default"]), below)
        return result
    return deepcopy(value)


#: Formats of options that are paths of the user's, and what each names.
PATHS = {"path": "file", "folder": "folder"}


def complete_options(folder: str, name: str, given: Any, path: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return the options of plugin ``name``, checked and with every default filled in."""
    require_known(name, plugins.schemas(folder), ".".join(path[:2]), what)
    schema = options_schema(folder, name)
    check(given, schema, path)
    given = {
        key: project_path(value, ".".join((*path, key))) if schema["properties"][key].get("format") in PATHS else value
        for key, value in given.items()
    }
    return filled(given, schema)
