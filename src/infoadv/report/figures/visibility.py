"""How visible success is: a curve of each attack, and the share of images that it turns without being seen.

Two panels a target network. Left, the share of all attacked images that an attack turns at a quality of at least q, for q from
perfect downwards: failures count as failures, and no image has to be chosen. Right, that share at one quality, with Wilson's
interval; of JOD at 9.5, half a JOD below what cannot be told from the clean image. The right panel names every attack and is the
legend of the left one. Controls do not succeed or fail, so they are left out, and so are sweeps, attacks towards a chosen class,
and attacks that were not measured by the metric.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from infoadv.execution.errors import InfoadvError
from infoadv.report import judging, statistics, style
from infoadv.report.columns import Metric
from infoadv.report.rows import Attack, Rows, load

SCHEMA = {
    "visibility": {
        "metric": {"type": "string", "description": "metric demanded (default: the first judge that was computed)"},
        "at": {
            "type": "number",
            "description": "quality at which shares are shown (default: 9.5 of JOD, else the median of all successes)",
        },
        "attacks": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
            "description": "attacks in colour, the others are gray (default: the first seven compared ones)",
        },
    }
}

ABOUT = {"visibility": "success against visibility, a curve an attack; share of images turned unseen"}

#: What JOD says of equal images, and half a just-objectionable difference less.
BEST, UNSEEN = 10.0, 9.5
#: Attacks in colour unless they are named: as many as there are colours.
COLORED = len(style.COLORS)

_COLUMNS = ("panel", "dataset", "model", "attack", "metric", "x", "y", "low", "high", "n")
#: Inches: a column of a page, a line of names; characters of a name on a line.
_COLUMN, _LINE, _NAME = 3.3, 0.105, 24


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts.

    Raises
    ------
    InfoadvError
        No judge was computed, the metric asked for was not or points nowhere, or none of the attacks asked for was run.
    """
    wanted = specification.get("figure") or {}
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    metric = _metric(rows, wanted.get("metric"), settings)
    colored = _colored(rows, wanted.get("attacks"), metric)
    at = _level(rows, metric, wanted.get("at"))
    records = []
    for dataset, model in rows.targets:
        for attack in _shown(rows, dataset, model, metric):
            records += _records(rows, (dataset, model, attack.name), metric, at, settings)
    numbers = pd.DataFrame(records, columns=list(_COLUMNS))
    return _compose(rows, numbers, metric, at, colored), numbers


def _metric(rows: Rows, wanted: str | None, settings: statistics.Settings) -> Metric:
    if wanted is None:
        judges = judging.present(rows, settings.judges)
        if not judges:
            raise InfoadvError(
                "figures.visibility: no judge was computed; add one to metrics, or name a metric in figures.visibility.metric."
            )
        return judges[0]
    metric = rows.metric(wanted)
    if metric.better not in ("higher", "lower") or rows.frame[metric.column].isna().all():
        raise InfoadvError(f"figures.visibility.metric: {wanted} says of no image how good it is; take a judge.")
    return metric


def _shown(rows: Rows, dataset: str, model: str, metric: Metric) -> list[Attack]:
    attacks = rows.drawn_on(dataset, model)
    return [attack for attack in attacks if rows.of(dataset, model, attack.name)[metric.column].notna().any()]


def _offered(rows: Rows, metric: Metric) -> list[Attack]:
    names = {attack.name for target in rows.targets for attack in _shown(rows, *target, metric)}
    return [attack for attack in rows.attacks if attack.name in names]


def _colored(rows: Rows, wanted: Sequence[str] | None, metric: Metric) -> list[str]:
    offered = _offered(rows, metric)
    if wanted is None:
        return [attack.name for attack in offered if attack.compared][:COLORED]
    chosen = [name for name in wanted if name in {attack.name for attack in offered}]
    if not chosen:
        available = ", ".join(attack.name for attack in offered)
        raise InfoadvError(f"figures.visibility.attacks: none of them was run; available: {available}.")
    return chosen


def _level(rows: Rows, metric: Metric, wanted: float | None) -> float:
    if wanted is not None or metric.column == judging.FIRST:
        return float(UNSEEN if wanted is None else wanted)
    names = [attack.name for attack in _offered(rows, metric)]
    won = rows.frame[rows.frame["success"] & rows.frame["attack"].isin(names)]
    return round(float(won[metric.column].median()), metric.decimals)


def _records(
    rows: Rows, run: tuple[str, str, str], metric: Metric, at: float, settings: statistics.Settings
) -> list[dict[str, Any]]:
    """Return the points of the curve of one run, and its share at the quality ``at``."""
    own = rows.of(*run)
    # NaN fails every comparison: an image of no known quality is none that was turned unseen.
    quality = own.loc[own["success"], metric.column].dropna().to_numpy(dtype=np.float64)
    quality = np.sort(quality) if metric.better == "lower" else np.sort(quality)[::-1]
    base = dict(zip(_COLUMNS[1:5], (*run, metric.column), strict=True)) | {"n": len(own)}
    points = [{**base, "panel": "curve", "x": q, "y": (rank + 1) / len(own)} for rank, q in enumerate(quality)]
    unseen = own["success"] & (own[metric.column] <= at if metric.better == "lower" else own[metric.column] >= at)
    low, high = statistics.proportion(unseen.to_numpy(), settings)
    return [*points, {**base, "panel": "share", "x": at, "y": unseen.mean(), "low": low, "high": high}]


# --- Drawing ---------------------------------------------------------------------------------------------------------


def _compose(rows: Rows, numbers: pd.DataFrame, metric: Metric, at: float, colored: Sequence[str]) -> Figure:
    across = 1 if len(rows.targets) <= 2 else 2
    down = -(-len(rows.targets) // across)
    names = {attack.name: "\n".join(textwrap.wrap(attack.label, _NAME)) for attack in rows.attacks}
    heights = []
    for line in range(down):
        of_line = rows.targets[line * across : (line + 1) * across]
        lines = [sum(names[a.name].count("\n") + 1 for a in _shown(rows, *target, metric)) for target in of_line]
        heights.append(max(1.1, max(lines) * _LINE))
    figure = style.new_figure(_COLUMN if across == 1 else style.TEXT_WIDTH, sum(heights) + 0.62 * len(heights))
    panels = figure.subplots(down, 2 * across, squeeze=False, height_ratios=heights, width_ratios=(1.9, 1) * across)
    curves = numbers[numbers["panel"] == "curve"]
    ends = _ends(metric, [*curves["x"], at])
    for place, (dataset, model) in enumerate(rows.targets):
        left, right = panels[place // across, 2 * (place % across) : 2 * (place % across) + 2]
        part = numbers[(numbers["dataset"] == dataset) & (numbers["model"] == model)]
        attacks = {attack.name: attack for attack in _shown(rows, dataset, model, metric)}
        style.entitle(left, f"{dataset}, {model}", _COLUMN - 0.4)
        _draw_curves(left, part[part["panel"] == "curve"], attacks, colored, metric, ends)
        left.axvline(at, color=style.GUIDE, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
        _draw_shares(right, part[part["panel"] == "share"], attacks, names, colored)
        sign = "\u2264" if metric.better == "lower" else "\u2265"
        right.set_xlabel(f"share with\n{metric.axis} {sign} {at:g}")
    for axes in panels.flat[2 * len(rows.targets) :]:
        axes.set_axis_off()
    return figure


def _ends(metric: Metric, drawn: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis of qualities: that of equal images, and a little past the worst of ``drawn``."""
    finite = [value for value in drawn if np.isfinite(value)]
    if metric.better == "lower":
        best, worst = min([0.0, *finite]), max(finite, default=0.0)
    else:
        best = max([BEST if metric.column == judging.FIRST else 1.0, *finite])
        worst = min(finite, default=best)
    return best, worst + 0.03 * ((worst - best) or 1)


def _look(attack: Attack, colored: Sequence[str]) -> tuple[str, Any, str]:
    """Return colour, line style and marker."""
    if attack.name in colored:
        return attack.style.color, attack.style.line, attack.style.marker
    return "#B0B0B0", "-", ""


def _draw_curves(
    axes: Axes,
    part: pd.DataFrame,
    attacks: Mapping[str, Attack],
    colored: Sequence[str],
    metric: Metric,
    ends: tuple[float, float],
) -> None:
    best, edge = ends
    low, high = sorted(ends)
    for name, attack in attacks.items():
        color, line, marker = _look(attack, colored)
        own = part[part["attack"] == name]
        x, y = own["x"].clip(low, high).to_numpy(), own["y"].to_numpy()
        top = name in colored
        reached = y[-1] if len(y) else 0.0
        axes.step(
            [best, *x, edge],
            [0, *y, reached],
            where="post",
            color=color,
            linestyle=line,
            linewidth=0.9 if top else 0.6,
            zorder=3 if top else 2,
        )
        if marker and len(y):
            # One marker a curve, at another height each, tells curves of like colour apart.
            level = reached * (0.2 + 0.65 * (colored.index(name) + 0.5) / len(colored))
            at = int(np.searchsorted(y, level))
            axes.plot(x[at], y[at], linestyle="", marker=marker, color=color, mec="white", mew=0.3, zorder=4)
    axes.set_xlim(best, edge)
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xlabel(f"{metric.axis} demanded")
    axes.set_ylabel("share of images turned")


def _draw_shares(
    axes: Axes, part: pd.DataFrame, attacks: Mapping[str, Attack], names: Mapping[str, str], colored: Sequence[str]
) -> None:
    part = part.sort_values("y", ascending=False, kind="stable")
    place = 0.0
    ticks = []
    for row in part.itertuples():
        lines = names[str(row.attack)].count("\n") + 1
        y = place + (lines - 1) / 2
        color, _, marker = _look(attacks[str(row.attack)], colored)
        axes.plot([row.low, row.high], [y, y], color=color, linewidth=0.9, zorder=2)
        axes.plot(row.y, y, linestyle="", marker=marker or ".", color=color, mec="white", mew=0.3, zorder=3)
        ticks.append(y)
        place += lines
    axes.set_ylim(place - 0.4, -0.6)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.yaxis.tick_right()
    axes.set_yticks(ticks, [style.plain(names[name]) for name in part["attack"]])
    for label, name in zip(axes.get_yticklabels(), part["attack"], strict=True):
        label.set_color(style.dark(attacks[name].style.color) if name in colored else "#707070")
