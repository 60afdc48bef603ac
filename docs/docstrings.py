"""Prepares the docstrings for the site: Sphinx roles become links or code, parameters described together keep their types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

from infoadv.registry import plugins
from infoadv.registry.source_code import PACKAGE

_ROLE = re.compile(r":(?:func|class|mod|data|meth):`~?(?P<name>[\w.]+)`")


def page_objects() -> dict[str, str]:
    """Return what has a place on the site: names as docstrings write them, and the full name of each."""
    objects = re.findall(r"^::: (\S+)$", (Path(__file__).parent / "interface.md").read_text(encoding="utf-8"), re.M)
    found = {name: name for name in objects}
    for room in ("attacks", "metrics"):
        for name in plugins.names(room):
            found[name] = object_of(room, name)
    return found | {"infoadv.attack": "infoadv.attacks.api.attack", "infoadv.measure": "infoadv.metrics.api.measure"}


def object_of(room: str, name: str) -> str:
    """Return the full name of the function of an attack or a metric."""
    path = plugins.source_file(room, name).relative_to(PACKAGE).with_suffix("")
    return ".".join(("infoadv", *path.parts, name))


def without_roles(text: str, objects: dict[str, str]) -> str:
    """Return Markdown for reStructuredText: a role is a link where its object has a place, else code."""

    def link(role: re.Match[str]) -> str:
        name = role["name"]
        return f"[`{name}`][{objects[name]}]" if name in objects else f"`{name}`"

    return _ROLE.sub(link, text)


class Docstrings(griffe.Extension):
    """Changes the docstring of every object when it is loaded."""

    def __init__(self) -> None:
        self._objects = page_objects()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None:
            return
        obj.docstring.value = without_roles(obj.docstring.value, self._objects)
        if isinstance(obj, griffe.Function):
            for section in obj.docstring.parsed:
                if isinstance(section, griffe.DocstringSectionParameters):
                    # Of "steps, seed" griffe gives both the type and default of the first.
                    for parameter in section.value:
                        if parameter.name in obj.parameters:
                            own = obj.parameters[parameter.name]
                            parameter.annotation, parameter.value = own.annotation, own.default
