"""JSMA step by step: the profiles of one input along the iterations, and how far they have moved, D, over progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infoadv.execution.errors import InfoadvError
from infoadv.report import curves, flow, statistics, style
from infoadv.report.rendering import number
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}
SCHEMA = {
    "profiles_iterations": {
        "image": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "place of the input among the successful ones",
        }
    }
}
ABOUT = {"profiles_iterations": "information profiles along JSMA"}

#: Progress at which D is averaged over inputs; between the iterates of an input it is linear.
_GRID = np.linspace(0, 1, 11)
_NUMBERS = ("part", "profile", "index", "step", "progress", "layer", "layer_name", "n", "value", "low", "high")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts.

    Above: IIP, OIP and IOC of the input ``figure.image``, clean in black, later iterates lighter. Below: D of this
    input and its mean over all successful inputs, beside that of as many random features at every step.

    Raises ``InfoadvError`` if ``figure.image`` is not the place of a successful input.
    """
    read = flow.load(inputs, specification)
    network, attack = read.main, attack_of(read.jsma, specification)
    whole = network.select(read.estimator, read.jsma)
    won = whole.won
    figure = style.new_figure(style.TEXT_WIDTH, 4.1)
    panels = figure.subplots(2, len(flow.PROFILES))
    if len(won) == 0:
        for axes in panels.flat:
            style.say(axes, f"not drawn: no success\n(n {len(whole)})")
        return figure, pd.DataFrame(columns=list(_NUMBERS))
    place = int((specification.get("figure") or {}).get("image", 0))
    if not 0 <= place < len(won):
        raise InfoadvError(
            f"figures.profiles_iterations.image: {place}, but {attack.label} succeeds on {len(won)} inputs "
            f"(0 to {len(won) - 1})."
        )
    paths = flow.iterations(network, read.estimator, read.jsma, won.images)
    image = won.images[place]
    prefixes = flow.iterations(network, read.estimator, read.jsma, won.images, "noise_iterate")
    records = []
    # From dark to light, but never so light that white paper swallows it.
    shades = ListedColormap(matplotlib.colormaps["YlGnBu_r"](np.linspace(0.12, 0.72, 256)))
    for axes, profile in zip(panels[0], flow.PROFILES, strict=True):
        records += _steps(axes, paths[image], profile, network.layers, shades)
    for axes, profile in zip(panels[1], flow.PROFILES, strict=True):
        records += _progress(axes, paths, image, prefixes, profile, read)
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(Normalize(0, 1), shades), ax=list(panels[0]), pad=0.01, aspect=18, fraction=0.05
    )
    bar.set_label("progress")
    bar.outline.set_linewidth(0.6)
    handles = [
        Line2D([], [], color="black", marker="s", markersize=2.6, label="clean (above)"),
        Line2D([], [], color=style.COLORS[1], linestyle=(0, (4, 1.5)), marker="^", label=f"test image {image} (below)"),
        _entry("mean over inputs", len(won), f", success {number(whole.rate, 2)}", color=style.COLORS[0], marker="o"),
        _entry("as many random features", len(_measured(prefixes)), "", color=style.GUIDE, linestyle=curves.NOISE_LINE),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    own = paths[image].table.iloc[-1]
    title = f"{attack.label}, {network.name}: test image {image}, {int(own['features'])} features changed"
    figure.suptitle(style.plain(title), x=0.01, ha="left", fontweight="bold")
    return figure, pd.DataFrame(records, columns=list(_NUMBERS))


def _entry(label: str, count: int, note: str, **look: Any) -> Line2D:
    """Return the legend's entry of a mean over inputs; without a line where there are too few of them."""
    if count < statistics.MINIMUM:
        return Line2D([], [], linestyle="none", label=f"{label}: not drawn (n {count}){note}")
    return Line2D([], [], label=f"{label}: n {count}{note}", **look)


def _measured(prefixes: Mapping[int, flow.Group]) -> dict[int, flow.Group]:
    """Return the paths that were measured on their way: a start and an end alone are no curve."""
    return {image: path for image, path in prefixes.items() if (path.table["condition"] == "noise_iterate").any()}


def _steps(
    axes: Axes, path: flow.Group, profile: str, layers: Sequence[str], shades: ListedColormap
) -> list[dict[str, Any]]:
    records = []
    for place, values in enumerate(path.values[profile]):
        about = path.table.iloc[place]
        clean = about["condition"] == "clean"
        axes.plot(
            np.arange(len(values)),
            values,
            color="black" if clean else shades(float(about["progress"])),
            marker="s" if clean else "",
            markersize=2.6,
            linewidth=1.2 if clean else 0.9,
            zorder=3 if clean else 2,
        )
        records += [
            {"part": "input", "profile": profile, "index": about["index"], "step": about["step"]}
            | {"progress": about["progress"], "layer": layer, "layer_name": name, "n": 1, "value": value}
            for layer, (name, value) in enumerate(zip(layers, values, strict=True))
        ]
    axes.set_title(flow.NAMES[profile])
    axes.set_ylabel(flow.UNITS[profile])
    axes.set_xlabel("layer index")
    curves.layer_axis(axes, len(layers))
    return records


def _progress(
    axes: Axes,
    paths: Mapping[int, flow.Group],
    image: int,
    prefixes: Mapping[int, flow.Group],
    profile: str,
    read: flow.Flow,
) -> list[dict[str, Any]]:
    column = f"d_{profile}"
    one = paths[image].table
    axes.set_ylabel(f"D of {flow.NAMES[profile]}\n(clean spreads)")
    axes.set_xlabel("progress of the attack")
    if one[column].iloc[1:].isna().all():
        style.say(axes, "D needs two clean inputs")
        return []
    axes.plot(one["progress"], one[column], color=style.COLORS[1], linestyle=(0, (4, 1.5)), marker="^", markersize=2.6)
    records = [
        {"part": "D of the input", "profile": profile, "index": image, "step": row["step"]}
        | {"progress": row["progress"], "n": 1, "value": row[column]}
        for _, row in one.iterrows()
    ]
    for part, found, look in (
        ("D of random features, mean", _measured(prefixes), {"color": style.GUIDE, "linestyle": curves.NOISE_LINE}),
        ("D, mean", paths, {"color": style.COLORS[0], "marker": "o"}),
    ):
        levels = np.array([np.interp(_GRID, path.table["progress"], path.table[column]) for path in found.values()])
        if len(levels) < statistics.MINIMUM:
            continue
        band = flow.mean_profile(levels, read.settings)
        axes.fill_between(_GRID, band.low, band.high, color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(_GRID, band.mean, markersize=2.6, **look)
        records += [
            {"part": part, "profile": profile, "progress": progress, "n": band.n}
            | {"value": mean, "low": low, "high": high}
            for progress, mean, low, high in zip(_GRID, band.mean, band.low, band.high, strict=True)
        ]
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])
    return records
