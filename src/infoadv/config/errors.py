"""What is wrong with a configuration, in one sentence: the key, what was given, and what is allowed instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import jsonschema

from infoadv.execution.errors import InfoadvError


class ConfigError(InfoadvError):
    """A configuration that cannot run; the message names the key, what was given, and what is allowed."""


def shown(value: Any) -> str:
    """Return a value as a message quotes it: JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """Return the names that are allowed, after the one that is most like ``given``."""
    names = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(given), names, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(names)}" if names else "nothing is allowed here"


def require_known(name: str, allowed: Iterable[str], path: str, what: str) -> None:
    """Raise ``ConfigError`` unless ``name``, given at the key ``path``, is one of those ``allowed``; ``what`` is its noun."""
    names = list(allowed)
    if name not in names:
        raise ConfigError(f"{path}: there is no {what} {name!r}; {suggestion(name, names)}.")


# --- Errors of a JSON schema -----------------------------------------------------------------------------------------

#: What config/README.md calls the types of a JSON schema.
_KINDS = {"object": "mapping", "array": "list"}

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} item(s)",
    "maxItems": "at most {} item(s)",
    "minLength": "at least {} character(s)",
    "maxLength": "at most {} character(s)",
    "minProperties": "at least {} entry",
}


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _allowed(error: jsonschema.ValidationError) -> str:
    """Return what is allowed instead of what was given, for the end of a sentence."""
    allowed, given = error.validator_value, error.instance
    kind = str(error.validator)
    if kind == "enum":
        return suggestion(given, allowed)
    if kind == "const":
        return f"give {allowed!r}"
    if kind == "anyOf":
        # Of the alternatives, those that already fit in type say more than those that do not.
        return " or ".join(dict.fromkeys(_allowed(part) for part in error.context or ()))
    if kind == "type":
        types = [allowed] if isinstance(allowed, str) else allowed
        hint = ""
        if isinstance(given, str) and "number" in types:
            with suppress(ValueError):
                hint = f" (YAML reads this as text, write {float(given)!r})"
        if given is None and "object" in types:
            hint = " ({} is an empty one)"
        return f"give {' or '.join(_article(_KINDS.get(name, name)) for name in types)}{hint}"
    if kind == "pattern" and "$comment" in error.schema:
        return str(error.schema["$comment"])
    if kind in _BOUNDS:
        return f"give {_BOUNDS[kind].format(allowed)}"
    return error.message


def explain(error: jsonschema.ValidationError, prefix: tuple[str, ...] = ()) -> str:
    """Return one error of a JSON schema as a sentence without its full stop; ``prefix`` is the key above the value checked."""
    path = ".".join(map(str, (*prefix, *error.absolute_path)))
    given = error.instance
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return (
            f"{path or 'names'}: {given!r} is not allowed; use letters, digits, '_', '.' and '-', beginning with a "
            "letter or digit"
        )
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(str(key) for key in given if key not in known)
        return f"{'.'.join(filter(None, (path, unknown)))}: unknown key; {suggestion(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in given)
        return f"{path or 'the configuration'}: lacks the key {missing!r}"
    return f"{path or 'the configuration'}: {shown(given)} is not allowed; {_allowed(error)}"
