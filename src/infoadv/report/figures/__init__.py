"""Figures. Each is one file in this folder, or in a folder ``figures`` of the user's, with ``draw(inputs, specification)``.

It returns (Figure, DataFrame); one of many pictures returns pairs (name, Figure) in the place of the figure. The frame holds
the numbers drawn and is stored beside the tables, so that a figure can be checked and redrawn without the artefacts.

``inputs`` are the paths of the metric artefacts of every attack, which :func:`infoadv.report.rows.load` reads.
``specification`` holds the labels and statistics of the configuration, under ``figure`` the figure's own options, and under
``dataset`` the data set of a figure that is drawn for each. What else there is to say of a figure it says in literals, which
are read without importing it:

- ``INPUTS``: what it is made from, where that is not the metrics, and whether it is drawn for each data set by itself: the
  stages and keys of :func:`infoadv.config.stage_inputs`, ``{"stage": "pictures", "per": "dataset"}``;
- ``SCHEMA``: its options, a mapping from its name to the JSON schema of each. Those called ``dataset``, ``model``, ``attack``,
  ``metric``, or the same in the plural, must be names of the configuration. Of a figure of stage "pictures" or "attack" they
  choose the runs that it is drawn from;
- ``OUTPUTS``: ``{"pictures": "{model}/{attack}.png"}`` for a folder of many pictures with such names;
- ``ABOUT``: a mapping from its name to what it shows, for config/README.md.

A new figure is one new file (docs/extending.md). Its caption in the report is the first paragraph of its docstring, or the
file ``{name}.rst`` beside it; those of this package are in ``workflow/report``.
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
