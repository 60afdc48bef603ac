"""The reference of the configuration, written from the schemas that check it: every key, type, default and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infoadv.config import figures
from infoadv.config.schema import common_options, options_schema, structure_schema
from infoadv.registry import plugins

#: What follows this line in config/README.md is written by ``make options``.
MARKER = "<!-- Written by `make options` from the schemas; do not edit below this line. -->"

_PLUGINS = (
    ("data", "Data sources", "`datasets.<name>.source`, the options beside it"),
    ("models", "Architectures", "`models.<name>.architecture`, the options in `options`"),
    ("training", "Training recipes", "`models.<name>.training.recipe`, the options beside it"),
    ("attacks", "Attack methods", "`attacks.<name>.method`, the options in `options`"),
    ("metrics", "Metrics", "`metrics.<name>`"),
)


def _type(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in schema:
        schema = structure_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    types = schema.get("type", "object")
    words = " or ".join([types] if isinstance(types, str) else types)
    if "items" in schema:
        words = words.replace("array", f"list of {_type(schema['items'])}")
    bounds = (
        ("minimum", ">= "),
        ("exclusiveMinimum", "> "),
        ("maximum", "<= "),
        ("exclusiveMaximum", "< "),
    )
    limits = ", ".join(f"{sign}{schema[key]:g}" for key, sign in bounds if key in schema)
    words = words.replace("object", "mapping")
    return f"{words} {limits}".strip()


def _default(schema: Mapping[str, Any], required: bool) -> str:
    if "default" in schema:
        return f"`{json.dumps(schema['default'])}`"
    return "required" if required else ""


def _row(name: str, schema: Mapping[str, Any], required: bool) -> str:
    if "$ref" in schema:
        # What stands beside a reference is more particular.
        schema = {**structure_schema()["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
    cells = (f"`{name}`", _type(schema), _default(schema, required), schema.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Return a table row for each key below ``schema``, at every depth."""
    required = schema.get("required", ())
    for key, below in schema.get("properties", {}).items():
        yield _row(f"{prefix}{key}", below, key in required)
        yield from _rows(below, f"{prefix}{key}.")
    below = schema.get("additionalProperties")
    if isinstance(below, Mapping) and below.get("properties"):
        yield from _rows(below, f"{prefix}<name>.")


_HEAD = ("| key | type | default | meaning |", "| --- | --- | --- | --- |")


def _with_figures(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a configuration with the options of each figure, which the figure's own file declares."""
    about = plugins.literals("figures", "ABOUT")
    known = {name: {**figures.options(name), "description": about.get(name, "")} for name in plugins.names("figures")}
    sections = dict(schema["properties"])
    sections["figures"] = {**sections["figures"], "properties": known}
    return {**schema, "properties": sections}


def text() -> str:
    """Return the reference as Markdown."""
    lines = ["## Keys", "", *_HEAD, *_rows(_with_figures(structure_schema()), "")]
    for folder, title, where in _PLUGINS:
        lines += ["", f"## {title}", "", f"{where}."]
        common = common_options(folder)
        if common:
            lines += ["", "Each takes:", "", *_HEAD, *(_row(name, below, False) for name, below in common.items())]
        bare = []
        for name, options in sorted(plugins.schemas(folder).items()):
            if not options:
                bare.append(f"`{name}`")
                continue
            required = options_schema(folder, name)["required"]
            lines += ["", f"### {name}", "", *_HEAD]
            lines += [_row(option, below, option in required) for option, below in options.items()]
        if bare:
            also = "more " if common else ""
            lines += ["", f"Without {also}options: {', '.join(bare)}."]
    lines += ["", "## Metric columns", "", "A value per image, of the 8-bit image against the clean one.", ""]
    lines += ["| column | more alike when | optimised by | meaning |", "| --- | --- | --- | --- |"]
    optimises = plugins.literals("attacks", "OPTIMISES")
    for name, about in sorted(plugins.literals("metrics", "ABOUT").items()):
        attacks = ", ".join(sorted(attack for attack, columns in optimises.items() if name in columns))
        lines.append(f"| `{name}` | {about['better']} | {attacks} | {about['description']} |")
    return "\n".join(lines) + "\n"
