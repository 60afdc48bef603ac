"""How far MINE can be trusted: its estimate over the known truth, for several dimensions and numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import style

INPUTS = {"stage": "calibration"}

ABOUT = {"calibration": "MINE against the closed form"}

_LIMITS = (-0.12, 1.6)


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from calibration artefacts: a panel per dimension d', a line per number of samples K.

    Lines are means over seeds, bands their range. Dotted: the estimate ln K, where bounds from K samples saturate.
    """
    if not inputs:
        raise InfoadvError("the calibration figure needs a calibration artefact; run `infoadv calibrate` first.")
    rows = pd.concat([artifacts.load_rows(path, "calibration")[0] for path in inputs], ignore_index=True)
    # At independence there is no ratio to draw.
    rows = rows[rows["truth"] > 0]
    rows = rows.assign(ratio=rows["estimate"] / rows["truth"])
    grouped = rows.groupby(["dimension", "samples", "rho"], sort=True)
    numbers = grouped.agg(
        truth=("truth", "mean"),
        estimate=("estimate", "mean"),
        ratio=("ratio", "mean"),
        ratio_low=("ratio", "min"),
        ratio_high=("ratio", "max"),
        seeds=("seed", "nunique"),
    ).reset_index()
    numbers["ln_samples"] = np.log(numbers["samples"])
    dimensions, samples = sorted(numbers["dimension"].unique()), sorted(numbers["samples"].unique())
    columns = max(1, len(dimensions)) if len(dimensions) <= 4 else 3
    lines = -(-max(1, len(dimensions)) // columns)
    width = style.COLUMN_WIDTH if columns == 1 else style.TEXT_WIDTH
    figure = style.new_figure(width, 0.5 + 1.75 * lines)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    # K is ordered, so its colours are.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.78, max(2, len(samples))))
    for axes, dimension in zip(panels.flat, dimensions, strict=False):
        axes.axhline(1, color="black", linewidth=0.8)
        axes.axhline(0, color=style.GUIDE, linewidth=0.5)
        for position, count in enumerate(samples):
            part = numbers[(numbers["dimension"] == dimension) & (numbers["samples"] == count)].sort_values("truth")
            if part.empty:
                continue
            x, color = part["truth"].to_numpy(), shades[position]
            marker = style.MARKERS[position % len(style.MARKERS)]
            axes.fill_between(x, part["ratio_low"], part["ratio_high"], color=color, alpha=0.22, linewidth=0)
            axes.plot(x, part["ratio"], color=color, marker=marker, label=f"K = {count}")
            if x.max() > np.log(count):
                curve = np.geomspace(max(x.min(), np.log(count)), x.max(), 100)
                axes.plot(curve, np.log(count) / curve, color=color, linewidth=0.9, linestyle=":")
            # What lies outside is shown to lie outside.
            for bound, symbol in ((_LIMITS[1], 6), (_LIMITS[0], 7)):
                out = part["ratio"] > bound if bound == _LIMITS[1] else part["ratio"] < bound
                if not out.any():
                    continue
                axes.plot(
                    x[out],
                    np.full(out.sum(), bound),
                    linestyle="",
                    marker=symbol,
                    color=color,
                    markersize=4,
                    clip_on=False,
                )
        axes.set_title(f"d\u2032 = {dimension}")
        axes.set_ylim(*_LIMITS)
        axes.set_xscale("log")
    for axes in panels.flat[len(dimensions) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("MINE estimate / truth")
    for column in range(columns):
        # The lowest panel of a column, which need not be in the last line.
        lowest = panels[(len(dimensions) - 1 - column) // columns if dimensions else 0, column]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("true information (nats)")
    found: dict[str, Any] = {}
    for axes in panels.flat:
        found |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    ordered = [f"K = {count}" for count in samples if f"K = {count}" in found]
    handles = [found[label] for label in ordered]
    dotted = Line2D([], [], color=style.GUIDE, linestyle=":", linewidth=0.9)
    figure.legend(
        [*handles, dotted],
        [*ordered, "estimate = ln K"],
        loc="outside upper center",
        ncols=len(handles) + 1 if columns > 1 else 3,
    )
    return figure, numbers
