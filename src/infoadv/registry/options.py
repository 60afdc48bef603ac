"""Checks options given in Python against what a plugin declares: what the configuration checks, for callers of the library."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins


class OptionError(InfoadvError, ValueError):
    """An argument that a function of the library does not take, or a value that it does not take."""


def check(folder: str, name: str, given: Mapping[str, Any], passed: Collection[str] = ()) -> None:
    """Raise ``OptionError`` unless ``name``, of a folder of plugins, takes the options ``given``.

    ``passed`` are further arguments of its function that no configuration can hold; their values are not checked.
    """
    import jsonschema

    schema = plugins.schemas(folder)[name]
    for key, value in given.items():
        if key in passed:
            continue
        if key not in schema:
            known = [*schema, *passed]
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise OptionError(f"{name}: unknown option {key!r}; {hint}it takes: {', '.join(known) or 'none'}.")
        try:
            jsonschema.validate(_plain(value), schema[key], jsonschema.Draft202012Validator)
        except jsonschema.ValidationError as error:
            raise OptionError(f"{name}: {key}: {value!r} is not allowed ({error.message}).") from error


def _plain(value: Any) -> Any:
    """Return tuples as the lists that a configuration would hold."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def unknown(name: str, known: Collection[str], what: str) -> OptionError:
    """Return the error for a ``name`` that is not among those ``known``."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return OptionError(f"there is no {what} {name!r}; {hint}choose one of: {', '.join(sorted(known))}.")
