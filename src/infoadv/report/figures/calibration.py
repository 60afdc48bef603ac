"""How far MINE can be trusted: its estimate over the known truth, for several dimensions and numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import style

INPUTS = {"stage": "calibration"}

ABOUT = {"calibration": "MINE against the closed form"}

_LIMITS = (-0.12, 1.6)
#: What an artefact of before has, whose critic and bound were always these.
_BEFORE = {"critic": "32 units", "bound": "donsker_varadhan", "spread": np.nan}
_BOUNDS = {"donsker_varadhan": "Donsker-Varadhan", "smile": "SMILE", "nwj": "NWJ", "infonce": "InfoNCE"}
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (5, 1, 1, 1)), (0, (1, 1)))
_KEYS = ["dimension", "samples", "critic", "bound", "rho"]


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from calibration artefacts: a row per dimension d', a column per bound.

    Colour says the number of samples K, the style of a line the critic. Lines are means over seeds, bands their range; what lies
    outside is marked at the edge. Dotted grey: the estimate ln K, which InfoNCE never exceeds.
    """
    if not inputs:
        raise InfoadvError("the calibration figure needs a calibration artefact; run `infoadv calibrate` first.")
    rows = pd.concat([artifacts.load_rows(path, "calibration")[0] for path in inputs], ignore_index=True)
    for name, value in _BEFORE.items():
        rows[name] = rows[name].fillna(value) if name in rows else value
    # At independence there is no ratio to draw.
    rows = rows[rows["truth"] > 0]
    rows = rows.assign(ratio=rows["estimate"] / rows["truth"])
    numbers = rows.groupby(_KEYS, sort=True).agg(
        truth=("truth", "mean"),
        estimate=("estimate", "mean"),
        ratio=("ratio", "mean"),
        ratio_low=("ratio", "min"),
        ratio_high=("ratio", "max"),
        spread=("spread", "mean"),
        seeds=("seed", "nunique"),
    )
    numbers = numbers.reset_index()
    numbers["ln_samples"] = np.log(numbers["samples"])
    dimensions, samples = sorted(numbers["dimension"].unique()), sorted(numbers["samples"].unique())
    critics, bounds = list(rows["critic"].unique()), list(rows["bound"].unique())
    several = len(bounds) > 1
    # With one bound, the dimensions stand beside each other.
    columns = len(bounds) if several else min(3, max(1, len(dimensions)))
    lines = max(1, len(dimensions)) if several else -(-max(1, len(dimensions)) // columns)
    width = style.COLUMN_WIDTH if columns == 1 else style.TEXT_WIDTH
    figure = style.new_figure(width, 0.7 + 1.6 * lines)
    panels = figure.subplots(lines, columns, sharex=False, sharey=True, squeeze=False)
    # K is ordered, so its colours are.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.78, max(2, len(samples))))
    places = [(dimension, bound) for dimension in dimensions for bound in bounds]
    for axes, (dimension, bound) in zip(panels.flat, places, strict=False):
        part = numbers[(numbers["dimension"] == dimension) & (numbers["bound"] == bound)]
        _panel(axes, part, list(zip(samples, shades, strict=False)), critics)
        called = _BOUNDS.get(bound, style.plain(str(bound)))
        if not several:
            axes.set_title(f"d\u2032 = {dimension}")
        elif dimension == dimensions[0]:
            axes.set_title(called)
    for axes in panels.flat[len(places) :]:
        axes.set_visible(False)
    for line, axes in enumerate(panels[:, 0]):
        place = f"d\u2032 = {dimensions[line]}\n" if several and line < len(dimensions) else ""
        axes.set_ylabel(f"{place}estimate / truth")
    for column in range(columns):
        # The lowest panel of a column, which need not be in the last line.
        lowest = panels[(len(places) - 1 - column) // columns if places else 0, column]
        lowest.set_xlabel("true information (nats)")
    handles = [Line2D([], [], color=shade, label=f"K = {count}") for count, shade in zip(samples, shades, strict=False)]
    if len(critics) > 1:
        handles += [
            Line2D([], [], color="black", linestyle=_LINES[at % len(_LINES)], label=style.plain(str(critic)))
            for at, critic in enumerate(critics)
        ]
    handles.append(Line2D([], [], color=style.GUIDE, linestyle=":", linewidth=0.9, label="estimate = ln K"))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 3))
    return figure, numbers


def _panel(axes: Axes, numbers: pd.DataFrame, samples: Sequence[tuple[int, Any]], critics: Sequence[str]) -> None:
    """Draw one dimension and bound: a line for each of ``samples``, with its colour, and each of ``critics``."""
    axes.axhline(1, color="black", linewidth=0.8)
    axes.axhline(0, color=style.GUIDE, linewidth=0.5)
    for (position, (count, color)), (at, critic) in product(enumerate(samples), enumerate(critics)):
        part = numbers[(numbers["samples"] == count) & (numbers["critic"] == critic)].sort_values("truth")
        if part.empty:
            continue
        x = part["truth"].to_numpy()
        axes.fill_between(x, part["ratio_low"], part["ratio_high"], color=color, alpha=0.16, linewidth=0)
        marker = style.MARKERS[position % len(style.MARKERS)]
        axes.plot(x, part["ratio"], color=color, marker=marker, markersize=3, linestyle=_LINES[at % len(_LINES)])
        if x.max() > np.log(count):
            curve = np.geomspace(max(x.min(), np.log(count)), x.max(), 100)
            axes.plot(curve, np.log(count) / curve, color=color, linewidth=0.9, linestyle=":")
        # What lies outside is shown to lie outside.
        for bound, symbol in ((_LIMITS[1], 6), (_LIMITS[0], 7)):
            out = (part["ratio"] > bound if bound == _LIMITS[1] else part["ratio"] < bound).to_numpy()
            if out.any():
                edge = np.full(out.sum(), bound)
                axes.plot(x[out], edge, linestyle="", marker=symbol, color=color, markersize=4, clip_on=False)
    axes.set_ylim(*_LIMITS)
    axes.set_xscale("log")
