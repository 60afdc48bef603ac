"""The recipes of docs/extending.md, as they stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from helpers import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Recipe:
    """A line of the table: what to type, the file that comes of it, and the line of configuration, "" where none is needed."""

    command: list[str]
    file: str
    line: str


def recipes() -> list[Recipe]:
    """Return the lines of the table."""
    rows = re.findall(
        r"^\| [^|]+ \| `infoadv ([^`]+)` \| `([^`]+)` \| (?:`([^`]+)`|none: [^|]+) \|$", PAGE, re.MULTILINE
    )
    return [Recipe(command.split(), file, line) for command, file, line in rows]


def examples() -> list[Recipe]:
    """Return the three examples: the text of the file in the place of the command, the file, and the line."""
    found = re.findall(r"In the configuration: `([^`]+)`\.\n\n```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    return [Recipe([text], file, line) for line, file, text in found]


def from_python() -> str:
    """Return the example of use from Python."""
    return PAGE.partition("## From Python")[2].partition("```python\n")[2].partition("```")[0]


def merged(*lines: str) -> dict[str, Any]:
    """Return the configuration that these lines make when each is added to the section of its name."""
    whole: dict[str, Any] = {}
    for line in lines:
        for section, entries in yaml.safe_load(line).items():
            if isinstance(entries, dict):
                whole.setdefault(section, {}).update(entries)
            else:
                whole[section] = entries
    return whole
