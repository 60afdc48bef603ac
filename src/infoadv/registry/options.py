"""Checks options given in Python against what a plugin declares: what the configuration checks, for callers of the library."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any

from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins


class OptionError(InfoadvError, ValueError):
    """An argument that a function of the library does not take, or a value that it does not take."""


def check(folder: str, name: str, given: Mapping[str, Any], passed: Collection[str] = ()) -> dict[str, Any]:
    """Return the options ``given`` of ``name``, of a folder of plugins, their numbers as Python's own and not numpy's.

    ``passed`` are further arguments of its function that no configuration can hold; their values are not checked. Raises
    ``OptionError`` where ``name`` does not take an option or its value.
    """
    import jsonschema

    # As in a configuration, 3.0 is no integer: a function that counts to it would fail inside.
    draft = jsonschema.Draft202012Validator
    kinds = draft.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    validator = jsonschema.validators.extend(draft, type_checker=kinds)
    schema = plugins.schemas(folder)[name]
    options = {key: value if key in passed else _number(value) for key, value in given.items()}
    for key, value in options.items():
        if key in passed:
            continue
        if key not in schema:
            known = [*schema, *passed]
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise OptionError(f"{name}: unknown option {key!r}; {hint}it takes: {', '.join(known) or 'none'}.")
        try:
            jsonschema.validate(_plain(value), schema[key], validator)
        except jsonschema.ValidationError as error:
            raise OptionError(f"{name}: {key}: {value!r} is not allowed ({error.message}).") from error
        if isinstance(value, numbers.Real) and not math.isfinite(value):
            raise OptionError(f"{name}: {key}: {value} is not allowed; give a finite number.")
    return options


def _plain(value: Any) -> Any:
    """Return tuples as the lists that a configuration would hold."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _number(value: Any) -> Any:
    """Return a number of numpy as one of Python, which libraries such as foolbox insist on; all else as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def unknown(name: str, known: Collection[str], what: str) -> OptionError:
    """Return the error for a ``name`` that is not among those ``known``."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return OptionError(f"there is no {what} {name!r}; {hint}choose one of: {', '.join(sorted(known))}.")
