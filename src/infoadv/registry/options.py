"""Checks options given in Python against what a plugin declares: what the configuration checks, for callers of the library."""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jsonschema

from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins

#: JSON schema takes 4.0 for an integer; Python's ranges and the command line do not.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


class OptionError(InfoadvError, ValueError):
    """An argument that a function of the library does not take, or a value that it does not take."""


def check(folder: str, name: str, given: Mapping[str, Any], passed: Collection[str] = ()) -> dict[str, Any]:
    """Return the options ``given`` of ``name``, of a folder of plugins, their numbers as Python's own and not numpy's.

    ``passed`` are further arguments of its function that no configuration can hold; their values are not checked. Raises
    ``OptionError`` where ``name`` does not take an option or its value.
    """
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
            jsonschema.validate(_plain(value), schema[key], Validator)
        except jsonschema.ValidationError as error:
            raise OptionError(f"{name}: {key}: {value!r} is not allowed ({error.message}).") from error
        if isinstance(value, numbers.Real) and not math.isfinite(value):
            raise OptionError(f"{name}: {key}: {value} is not allowed; give a finite number.")
    return options


def check_call(folder: str, name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords ``given`` as :func:`check` does, for ``function``, which a folder offers as ``name``.

    The values of tensors and networks, which no configuration can hold, are not checked, and neither are those of the keywords
    that a stage passes to every function of the folder. Raises ``OptionError`` also where an argument is missing.
    """
    schema, stage = plugins.schemas(folder)[name], plugins.PASSED.get(folder, ())
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    passed = [parameter.name for parameter in keywords if parameter.name not in schema and parameter.name not in stage]
    own = {key: value for key, value in given.items() if key not in stage}
    options = check(folder, name, own, passed)
    for key in own:
        # What a stage makes something else of: a configuration names an attack, the function takes its norms.
        if key not in passed and key not in [parameter.name for parameter in keywords]:
            raise OptionError(f"{name}: {key} is for a configuration alone; give {', '.join(passed)} instead.")
    for parameter in keywords:
        if parameter.default is parameter.empty and parameter.name not in (*stage, *given):
            raise OptionError(f"{name}: lacks the argument {parameter.name!r}.")
    return {**given, **options}


def _plain(value: Any) -> Any:
    """Return tuples as the lists that a configuration would hold."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _number(value: Any) -> Any:
    """Return a number of numpy as one of Python, which libraries such as foolbox insist on; all else as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def unknown(name: object, known: Collection[str], what: str) -> OptionError:
    """Return the error for a ``name`` that is not among those ``known``."""
    near = difflib.get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return OptionError(f"there is no {what} {name!r}; {hint}choose one of: {', '.join(sorted(known))}.")
