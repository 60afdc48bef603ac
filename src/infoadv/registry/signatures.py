"""Reads the options that a function takes from its signature, without importing it.

The signature says which options there are, their types and their defaults. What it cannot say, bounds and a description, stands
in literals beside it, so that no fact is written twice.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from typing import Any

_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
#: Keys of a JSON schema that say what values there are: where a literal has one of them, the annotation is not asked.
_KINDS = {"type", "enum", "const", "anyOf"}


def options(
    function: ast.FunctionDef,
    declared: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Mapping[str, Any]],
    passed: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each option of a function.

    Options are the keyword-only parameters, but those that the stages pass (``passed``) and those of a type that no
    configuration can hold (a tensor, a network). ``declared`` says by name what the signature does not, ``shared`` the same of
    options that it does not name. What is declared without a parameter is an option all the same: the stage makes something
    else of it.
    """
    found: dict[str, dict[str, Any]] = {}
    arguments = function.args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        name = argument.arg
        if name in passed:
            continue
        written = declared[name] if name in declared else shared.get(name, {})
        kind = {} if _KINDS & written.keys() else of_annotation(argument.annotation)
        if kind is None:
            continue
        schema = {**kind, **written}
        value = _literal(default)
        # None where the schema has no null stands for "not given".
        if value is not _MISSING and (value is not None or _takes_null(schema)):
            schema.setdefault("default", value)
        found[name] = schema
    return {**found, **{name: dict(schema) for name, schema in declared.items() if name not in found}}


def of_annotation(annotation: ast.expr | None) -> dict[str, Any] | None:
    """Return the JSON schema of values of an annotated type, None where no configuration can hold them.

    >>> of_annotation(ast.parse("int | None", mode="eval").body)
    {'type': ['integer', 'null']}
    >>> of_annotation(ast.parse("Literal['a', 'b']", mode="eval").body)
    {'enum': ['a', 'b']}
    >>> of_annotation(ast.parse("list[float]", mode="eval").body)
    {'type': 'array', 'items': {'type': 'number'}}
    """
    if isinstance(annotation, ast.Name) and annotation.id in _TYPES:
        return {"type": _TYPES[annotation.id]}
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _union(_alternatives(annotation))
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        if annotation.value.id == "Literal":
            inside = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return {"enum": [ast.literal_eval(value) for value in inside]}
        if annotation.value.id in ("list", "Sequence"):
            items = of_annotation(annotation.slice)
            return None if items is None else {"type": "array", "items": items}
    return None


def _alternatives(annotation: ast.expr) -> list[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_alternatives(annotation.left), *_alternatives(annotation.right)]
    return [annotation]


def _union(parts: list[ast.expr]) -> dict[str, Any] | None:
    null = [part for part in parts if isinstance(part, ast.Constant) and part.value is None]
    schemas = [of_annotation(part) for part in parts if part not in null]
    if any(schema is None for schema in schemas):
        return None
    known = [schema for schema in schemas if schema is not None]
    if len(known) == 1 and null:
        (only,) = known
        return {"enum": [*only["enum"], None]} if "enum" in only else {**only, "type": [only["type"], "null"]}
    if all(schema.keys() == {"type"} for schema in known):
        return {"type": [*(schema["type"] for schema in known), *(["null"] if null else [])]}
    return {"anyOf": [*known, *([{"type": "null"}] if null else [])]}


_MISSING = object()


def _literal(node: ast.expr | None) -> Any:
    """Return the value of a default, ``_MISSING`` where there is none or it is no literal."""
    if node is None:
        return _MISSING
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return _MISSING
    return list(value) if isinstance(value, tuple) else value


def _takes_null(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", ())
    return (
        "null" in ([kinds] if isinstance(kinds, str) else kinds)
        or None in schema.get("enum", ())
        or any(_takes_null(part) for part in schema.get("anyOf", ()))
    )
