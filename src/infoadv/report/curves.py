"""Draws aggregated information profiles: one panel each for IIP, OIP and IOC, a curve for each set of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from infoadv.report import flow, rendering, statistics, style

CLEAN = "#000000"
#: A legend has three columns, two if an entry is longer than this many characters.
_LONGEST = 46
NOISE_LINE = (0, (3, 2))
PROCESS_LINE = (0, (1, 1.4))
NUMBERS = ("curve", "profile", "layer", "layer_name", "n", "success_rate", "mean", "low", "high")
#: What the lines are, to stand once under a figure.
KEY = (
    f"Markers and lines: means over at least {statistics.MINIMUM} inputs; bands: bootstrap intervals; dotted: Gaussian "
    "process over the layers."
)


@dataclass(frozen=True)
class Curve:
    """A set of inputs and its look; ``rate`` is the success rate told beside it, None where there is none to tell."""

    label: str
    group: flow.Group
    color: Any
    line: Any = "-"
    marker: str = "o"
    rate: float | None = None
    note: str = ""
    #: Controls are thin lines through their means, without band and marker.
    thin: bool = False
    #: What the legend says instead; of several controls that look alike only one is in it, the others say "-".
    legend: str = ""

    @property
    def shown(self) -> bool:
        return self.legend != "-"

    @property
    def text(self) -> str:
        """The legend's line: name, number of inputs, success rate and note; or that there is nothing to draw."""
        if self.legend:
            return self.legend
        count = len(self.group)
        head = f"{self.label}: n {count}" if count >= statistics.MINIMUM else f"{self.label}: not drawn (n {count})"
        rate = "" if self.rate is None else f", success {rendering.number(self.rate, 2)}"
        return f"{head}{rate}{f', {self.note}' if self.note else ''}"


def look(place: int) -> style.AttackStyle:
    """Return the look of the curve at this place of a panel, never black, which is the clean inputs'.

    An attack's own colour will not do here: with twenty attacks configured, four that share a panel can have one colour.
    """
    color = style.COLORS[place % (len(style.COLORS) - 1)]
    return style.AttackStyle(color, style.MARKERS[place % len(style.MARKERS)], "-")


@dataclass(frozen=True)
class Row:
    """A row of panels: title, inference network, curves."""

    title: str
    network: flow.Network
    curves: Sequence[Curve]


def stack(rows: Sequence[Row], read: flow.Flow) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of such rows under each other, and its numbers; a profile has one vertical axis in all rows."""
    texts = [[curve.text for curve in row.curves if curve.shown] for row in rows]
    columns = 3 if max(len(text) for row in texts for text in row) <= _LONGEST else 2
    lines = [-(-len(row) // columns) for row in texts]
    heights = [1.7 + 0.13 * count for count in lines]
    figure = style.new_figure(style.TEXT_WIDTH, sum(heights) + 0.2)
    figure.supxlabel(KEY, fontsize=style.SMALL, color=style.GUIDE)
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    grids, frames = [], []
    for row, part in zip(rows, parts, strict=True):
        grid = part.subplots(1, len(flow.PROFILES))
        part.suptitle(style.plain(row.title), x=0.01, ha="left", fontweight="bold")
        handles, records = draw(grid, row.curves, row.network.layers, read)
        part.legend(handles=handles, loc="outside lower center", ncols=columns)
        grids.append(grid)
        frames.append(pd.DataFrame(records, columns=list(NUMBERS)).assign(row=row.title, model=row.network.name))
    align(grids)
    return figure, pd.concat(frames, ignore_index=True)[["row", "model", *NUMBERS]]


def clean(network: flow.Network, read: flow.Flow, others: Sequence[Curve]) -> Curve:
    """Return the curve of the clean inputs from which the inputs of the other curves of a panel were made."""
    images = {image for curve in others for image in curve.group.images}
    return Curve("Clean", network.clean(read.estimator).of(images), CLEAN, marker="s")


def draw(
    panels: Sequence[Axes], curves: Sequence[Curve], layers: Sequence[str], read: flow.Flow
) -> tuple[list[Artist], list[dict[str, Any]]]:
    """Draw every curve into the panels of IIP, OIP and IOC; return the legend's handles and the numbers drawn."""
    records: list[dict[str, Any]] = []
    handles: list[Artist] = []
    for position, curve in enumerate(curves):
        empty = len(curve.group) < statistics.MINIMUM
        if curve.shown:
            handles.append(_handle(curve, empty))
        if empty:
            continue
        for axes, profile in zip(panels, flow.PROFILES, strict=True):
            band = flow.mean_profile(curve.group.values[profile], read.settings)
            line(axes, band, curve, above=2.0 + 0.01 * position)
            rate = float("nan") if curve.rate is None else curve.rate
            records += [
                dict(zip(NUMBERS, (curve.label, profile, layer, name, band.n, rate, *numbers), strict=True))
                for layer, (name, *numbers) in enumerate(zip(layers, band.mean, band.low, band.high, strict=True))
            ]
    for axes, profile in zip(panels, flow.PROFILES, strict=True):
        if not records:
            style.say(axes, f"fewer than {statistics.MINIMUM} inputs\nin every set")
            axes.set_title(flow.NAMES[profile])
            continue
        axes.set_title(flow.NAMES[profile])
        axes.set_ylabel(flow.UNITS[profile])
        axes.set_xlabel("layer index")
        layer_axis(axes, len(layers))
    return handles, records


def line(axes: Axes, band: flow.Band, curve: Curve, *, above: float = 2.0) -> None:
    """Draw one profile: its means, their band, and the Gaussian process dotted beside them."""
    layer = np.arange(len(band.mean))
    if curve.thin:
        axes.plot(layer, band.mean, color=curve.color, linestyle=curve.line, linewidth=0.7, zorder=above + 1)
        return
    axes.fill_between(layer, band.low, band.high, color=curve.color, alpha=0.2, linewidth=0, zorder=above - 1)
    axes.plot(*flow.process(band.mean), color=curve.color, linestyle=PROCESS_LINE, linewidth=0.8, zorder=above)
    axes.plot(
        layer,
        band.mean,
        color=curve.color,
        linestyle=curve.line,
        linewidth=0.9,
        marker=curve.marker,
        markersize=2.6,
        zorder=above + 0.5,
    )


def _handle(curve: Curve, empty: bool) -> Line2D:
    label = style.plain(curve.text)
    if empty:
        return Line2D([], [], linestyle="none", label=label)
    if curve.thin:
        return Line2D([], [], color=curve.color, linestyle=curve.line, linewidth=0.7, label=label)
    return Line2D([], [], color=curve.color, linestyle=curve.line, marker=curve.marker, markersize=2.6, label=label)


def layer_axis(axes: Axes, count: int) -> None:
    """Number the layers, few enough that the numbers stay apart."""
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))
    axes.set_xlim(-0.4, count - 0.6)


def align(rows: Sequence[Sequence[Axes]]) -> None:
    """Give the panels of a profile one vertical axis over all rows of panels."""
    for column in zip(*rows, strict=True):
        drawn = [axes.get_ylim() for axes in column if axes.has_data()]
        for axes in column:
            if drawn:
                axes.set_ylim(min(low for low, _ in drawn), max(high for _, high in drawn))
