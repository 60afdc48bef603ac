"""Pointwise V-information of the true and of the adversarial class by layer: where the label flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infoadv.report import curves, flow, statistics, style
from infoadv.report.rendering import number
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}
ABOUT = {"label_flip": "V-information of the true and of the adversarial class by layer"}

_COLUMNS = 3
_NUMBERS = ("attack", "class", "layer", "layer_name", "n", "success_rate", "l2", "mean", "low", "high", "flip")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts: a panel for each attack, over its successes.

    The attacks that are compared are scaled, image by image, to the L2 of the one that they are matched to, so that a later
    flip is not a smaller perturbation; JSMA, which changes few pixels by much, keeps its own size. Linear probes on pooled
    features tell how many bits a layer holds for a class. The label flips where the mean of the adversarial class rises over
    that of the true class and stays above it.
    """
    read = flow.load(inputs, specification)
    names = list(dict.fromkeys([*read.attacks, read.jsma]))
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    figure = style.new_figure(style.TEXT_WIDTH, 0.55 + 1.75 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    looks = {
        "v_true": curves.Curve("true class", read.main.clean(read.estimator), style.COLORS[0], "-", "o"),
        "v_adversarial": curves.Curve("adversarial class", read.main.clean(read.estimator), style.COLORS[1], "-", "^"),
    }
    records = []
    for axes, name in zip(panels.flat, names, strict=False):
        matched = name in read.attacks
        group = read.main.select(read.estimator, name, "matched" if matched else "native")
        won = group.won
        size = statistics.mean(won.table["l2"].to_numpy(dtype=float))
        label = attack_of(name, specification).label
        counts = f"n {len(won)}, success {number(group.rate, 2)}, L2 {number(size, 2)}{'' if matched else ' (its own)'}"
        width = style.TEXT_WIDTH / columns - 0.3
        style.entitle(axes, f"{label}\n{counts}", width)
        if len(won) < statistics.MINIMUM:
            text = f"not drawn: fewer than\n{statistics.MINIMUM} successes"
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
            axes.set_xticks([])
            continue
        bands = {key: flow.mean_profile(won.values[key], read.settings) for key in looks}
        clean = read.main.clean(read.estimator).of(won.images)
        before = flow.mean_profile(clean.values["v_true"], read.settings)
        axes.plot(np.arange(len(before.mean)), before.mean, color="black", linestyle=(0, (3, 2)), linewidth=0.7)
        for key, look in looks.items():
            curves.line(axes, bands[key], look)
        flip = crossing(bands["v_true"].mean, bands["v_adversarial"].mean)
        told = "no crossing" if np.isnan(flip) else f"flips at {number(flip, 1)}"
        style.entitle(axes, f"{label}\n{counts}, {told}", width)
        if not np.isnan(flip):
            axes.axvline(flip, color=style.FAILED, linestyle=":", linewidth=1.0)
        curves.layer_axis(axes, len(before.mean))
        for shown, band in {
            "true, clean input": before,
            "true": bands["v_true"],
            "adversarial": bands["v_adversarial"],
        }.items():
            records += [
                dict(zip(_NUMBERS, (name, shown, layer, place, band.n, group.rate, size, *values, flip), strict=True))
                for layer, (place, *values) in enumerate(
                    zip(read.main.layers, band.mean, band.low, band.high, strict=True)
                )
            ]
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for position, axes in enumerate(panels.flat[: len(names)]):
        if position % columns == 0:
            axes.set_ylabel("V-information (bits)")
        if position + columns >= len(names):
            axes.set_xlabel("layer index")
    handles = [
        Line2D([], [], color=look.color, marker=look.marker, markersize=2.6, label=look.label)
        for look in looks.values()
    ]
    handles.append(Line2D([], [], color="black", linestyle=(0, (3, 2)), linewidth=0.7, label="true class, clean input"))
    if any(not np.isnan(record["flip"]) for record in records):
        handles.append(Line2D([], [], color=style.FAILED, linestyle=":", linewidth=1.0, label="the label flips"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=curves.KEY, title_fontsize=style.SMALL)
    return figure, pd.DataFrame(records, columns=list(_NUMBERS))


def crossing(true: np.ndarray, adversarial: np.ndarray) -> float:
    """Return the layer index, linear between layers, at which the adversarial class rises over the true one for good.

    NaN if it never does, or is above from the first layer on.

    >>> crossing(np.array([1.0, 2.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    1.5
    """
    lead = adversarial - true
    below = np.flatnonzero(~(lead > 0))
    if len(below) == 0 or below[-1] == len(lead) - 1:
        return float("nan")
    last = int(below[-1])
    return float(last + lead[last] / (lead[last] - lead[last + 1]))
