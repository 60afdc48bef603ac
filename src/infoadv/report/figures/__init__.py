"""Figures. Each is one file in this folder with ``draw(inputs, specification) -> (Figure, DataFrame)``.

A figure of many pictures returns pairs (name, Figure) in the place of the one.

``inputs`` are the paths of the metric artefacts of every attack, which :func:`infoadv.report.rows.load` reads; a literal
``INPUTS`` in the file asks for another stage's, as in ``label_flip``. ``specification`` holds the names, labels and
statistics of the configuration, and under ``figure`` the figure's own options.

The frame holds the numbers drawn and is stored beside the tables, so that a figure can be checked and redrawn without
the artefacts. A new figure is one new file and its caption
``workflow/report/{name}.rst``; options of its own need an entry in ``workflow/schemas/config.schema.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from infoadv import artifacts
from infoadv.registry import plugins
from infoadv.report import rendering, style


def draw(
    name: str,
    inputs: Sequence[str],
    specification: Mapping[str, Any],
    out_stem: str | Path,
    numbers: str | Path,
) -> None:
    """Draw a figure from artefacts into ``{out_stem}.pdf`` and ``.png``, and its numbers as CSV into ``numbers``.

    One of many pictures goes into the folder ``out_stem``, each picture as ``{name}.png``.

    Raises
    ------
    InfoadvError
        There is no such figure, its section asks for something that is not there, or an input is missing, damaged or
        of another kind.
    """
    module = plugins.module("figures", name)
    with style.applied():
        figure, frame = module.draw(list(inputs), specification)
        if isinstance(figure, Figure):
            style.save(figure, out_stem)
        else:
            for part, picture in figure:
                style.save_picture(picture, Path(out_stem) / f"{part}.png")
    artifacts.write_text(numbers, rendering.csv(frame))
