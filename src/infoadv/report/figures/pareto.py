"""Quality against cost in one number each: mean rank over the perceptual metrics, forward and backward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from infoadv.report import labels, ranking, statistics, style
from infoadv.report.rows import load

ABOUT = {"pareto": "passes against the mean rank over the perceptual metrics"}

_COLUMNS = ("dataset", "model", "attack", "passes", "n", "mean_rank", "low", "high", "efficient")
_ACROSS = 2
#: Points along a piece of the line.
_DENSITY = 12


def efficient(passes: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return (k,) whether no other attack has at most the passes and at most the rank, one of them smaller.

    >>> efficient(np.array([10, 20, 20]), np.array([2.0, 1.0, 1.5])).tolist()
    [True, True, False]
    """
    no_worse = (passes[None] <= passes[:, None]) & (rank[None] <= rank[:, None])
    better = (passes[None] < passes[:, None]) | (rank[None] < rank[:, None])
    return np.logical_not((no_worse & better).any(axis=1))


def _along(passes: np.ndarray, rank: np.ndarray) -> list[tuple[float, float]]:
    """Return points along the line that joins the efficient attacks, so that no name is written over it."""
    points: list[tuple[float, float]] = []
    for (x, y), (next_x, next_y) in pairwise(zip(passes, rank, strict=True)):
        points += [(float(along), float(y)) for along in np.geomspace(x, next_x, _DENSITY)]
        points += [(float(next_x), float(along)) for along in np.linspace(y, next_y, _DENSITY)]
    return points


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts: a panel per target model.

    A point is a compared attack: mean passes over all its images against its mean rank (``infoadv.report.ranking``), with
    the bootstrap interval over images. The line joins the attacks that no other one beats in both.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    records: list[dict[str, Any]] = []
    for dataset, model in rows.targets:
        found = ranking.rank(rows, [(dataset, model)], ranking.perceptual(rows.metrics, settings.judges))
        if not len(found.ranks):
            continue
        low, high = found.interval(settings)
        every = [rows.of(dataset, model, attack.name) for attack in found.attacks]
        passes = np.array([float((own["forwards"] + own["backwards"]).mean()) for own in every])
        best = efficient(passes, found.mean)
        for place, attack in enumerate(found.attacks):
            values = (dataset, model, attack.name, passes[place], len(found.ranks), found.mean[place])
            records.append(dict(zip(_COLUMNS, (*values, low[place], high[place], best[place]), strict=True)))
    numbers = pd.DataFrame(records, columns=list(_COLUMNS))
    attacks = {attack.name: attack for attack in rows.attacks}
    across = min(_ACROSS, len(rows.targets))
    down = -(-len(rows.targets) // across)
    figure = style.new_figure(style.TEXT_WIDTH, 2.6 * down + 0.25)
    panels = figure.subplots(down, across, squeeze=False)
    pending = []
    for axes, (dataset, model) in zip(panels.flat, rows.targets, strict=False):
        style.entitle(axes, f"{dataset}, {model}", style.TEXT_WIDTH / across - 0.5)
        part = numbers[(numbers["dataset"] == dataset) & (numbers["model"] == model)]
        axes.set_ylabel("mean rank (1 is best)")
        axes.set_xlabel("forward + backward passes per image")
        if part.empty:
            style.say(axes, "no image on which all compared attacks succeed")
            continue
        front = part[part["efficient"]].sort_values(["passes", "mean_rank"])
        axes.step(front["passes"], front["mean_rank"], where="post", color="0.75", linewidth=1.2, zorder=1)
        obstacles = _along(front["passes"].to_numpy(), front["mean_rank"].to_numpy())
        for row in part.itertuples():
            look = attacks[str(row.attack)].style
            axes.plot([row.passes] * 2, [row.low, row.high], color=look.color, linewidth=1.0, zorder=2)
            axes.plot(row.passes, row.mean_rank, linestyle="", marker=look.marker, color=look.color, zorder=3)
            obstacles += [(row.passes, row.low), (row.passes, row.high)]
        axes.set_xscale("log")
        axes.set_xlim(part["passes"].min() / 2.2, part["passes"].max() * 2.2)
        axes.set_ylim(part["high"].max() + 0.6, 0.3)
        points = list(zip(part["passes"], part["mean_rank"], strict=True))
        texts = [attacks[name].label for name in part["attack"]]
        colors = [attacks[name].style.color for name in part["attack"]]
        pending.append((axes, points, texts, colors, np.array(obstacles)))
    for axes in panels.flat[len(rows.targets) :]:
        axes.set_axis_off()
    # Labels need the final positions of the panels.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, points, texts, colors, blocked in pending:
        labels.place(axes, points, texts, colors, blocked)
    return figure, numbers
