"""Writes a file of the user's own, an attack, a metric, a figure, ..., as a template that runs as it is: `infoadv new`."""

from __future__ import annotations

import keyword
import os
import re
from pathlib import Path

from infoadv.execution.errors import InfoadvError
from infoadv.registry import plugins
from infoadv.registry.source_code import shown

#: What can be made: the folder of its file, and the lines of a configuration that ask for it.
KINDS = {
    "attack": ("attacks", "attacks: {{{name}: {{method: {name}}}}}"),
    "metric": ("metrics", "metrics: {{{name}: {{}}}}"),
    "data": ("data", "datasets: {{{name}: {{source: {name}}}}}"),
    "model": ("models", "models: {{{name}: {{architecture: {name}}}}}"),
    "recipe": ("training", "models: {{{name}: {{architecture: small_cnn, training: {{recipe: {name}}}}}}}"),
    "figure": ("figures", "figures: {{{name}: {{}}}}"),
    "table": ("tables", ""),
}


def write(kind: str, name: str, folder: str | Path) -> Path:
    """Write the template of a ``kind`` under ``name`` into a plugin folder, or into the folder of this package.

    Raises ``InfoadvError`` where the name is none that Python and file systems take, is there already, or the file is.
    """
    room, _ = KINDS[kind]
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InfoadvError(f"{name!r} is no name; use lower-case letters, digits and '_', beginning with a letter.")
    path = plugins.place_of(room, Path(folder).resolve()) / f"{name}.py"
    if path.exists():
        raise InfoadvError(f"{shown(path)}: is there already; choose another name, or remove it.")
    if name in plugins.names(room):
        raise InfoadvError(
            f"{room} already has {name!r} ({shown(plugins.source_file(room, name))}); choose another name."
        )
    text = Path(__file__).with_name(f"{kind}.py.txt").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(re.sub(rf"\bmy_{kind}\b", name, text), encoding="utf-8", newline="\n")
    return path


def lines(kind: str, name: str, folder: str | Path) -> list[str]:
    """Return the lines of a configuration that ask for what ``write`` has written."""
    _, line = KINDS[kind]
    place = Path(os.path.normpath(Path(folder).absolute()))
    own = [] if place.resolve() == plugins.PACKAGE else [f"plugins: [{shown(place)}]"]
    return [*own, *filter(None, [line.format(name=name)])]
