"""What more passes buy: the quality of each attack whose number of steps a sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from infoadv.execution.errors import InfoadvError
from infoadv.report import statistics, style, swept
from infoadv.report.columns import Metric
from infoadv.report.rows import Attack, load

SCHEMA: dict[str, dict] = {
    "budget": {
        "option": {"type": "string", "default": "steps", "description": "the option that sets the number of passes"},
        "metrics": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
            "default": ["l2", "ssim"],
            "description": "metrics shown",
        },
    }
}

ABOUT = {"budget": "quality over passes, from sweeps over the number of steps"}

_COLUMNS = ("dataset", "model", "attack", "value", "configured", "passes", "asr", "metric", "n", "mean", "low", "high")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts: a row of panels per target with such sweeps, a panel per ``figure.metrics``.

    A point is one value of ``figure.option``: mean forward and backward passes over all images against the mean of the metric,
    with its bootstrap interval, over the images on which all attacks succeed with all values, except those that often fail.
    Hollow: the configured value. Beside a point that fails often stands its success.

    Raises ``InfoadvError`` where no sweep varies the option.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    defaults = {name: option["default"] for name, option in SCHEMA["budget"].items()}
    chosen = {**defaults, **(specification.get("figure") or {})}
    option, metrics = chosen["option"], [rows.metric(column) for column in chosen["metrics"]]
    records, attacks = [], {attack.name: attack for attack in rows.attacks}
    for target in rows.targets:
        curves = {
            attack.name: found[option]
            for attack in rows.attacks_on(*target)
            if option in (found := swept.values_of(rows, target, attack))
        }
        if not curves:
            continue
        shared = swept.common(rows, target, [one for values in curves.values() for _, one in values])
        for name, values in curves.items():
            for value, one in values:
                own = rows.of(*target, one.name).set_index("index")
                counted = own.loc[own.index.isin(shared) & own["success"]]
                for metric in metrics:
                    numbers = counted[metric.column].to_numpy(dtype=float)
                    low, high = statistics.bootstrap(numbers, settings)
                    records.append(
                        {
                            "dataset": target[0],
                            "model": target[1],
                            "attack": name,
                            "value": value,
                            "configured": one.name == name,
                            "passes": float((own["forwards"] + own["backwards"]).mean()),
                            "asr": own["success"].mean(),
                            "metric": metric.column,
                            "n": len(numbers),
                            "mean": statistics.mean(numbers),
                            "low": low,
                            "high": high,
                        }
                    )
    if not records:
        raise InfoadvError(f"figures.budget: no sweep varies {option!r}; add sweeps.ATTACK.each: {{{option}: [...]}}.")
    frame = pd.DataFrame(records, columns=list(_COLUMNS))
    return _drawn(frame, metrics, attacks), frame


def _drawn(frame: pd.DataFrame, metrics: Sequence[Metric], attacks: Mapping[str, Attack]) -> Figure:
    targets = list(frame.groupby(["dataset", "model"], sort=False))
    names = list(dict.fromkeys(frame["attack"]))
    columns = min(len(metrics), 2)
    lines = -(-len(metrics) // columns)
    legend = 0.17 * -(-len(names) // 2) + 0.1
    figure = style.new_figure(style.TEXT_WIDTH, 1.9 * lines * len(targets) + legend)
    panels = figure.subplots(lines * len(targets), columns, squeeze=False)
    handles = {}
    for place, ((dataset, model), part) in enumerate(targets):
        own = panels[place * lines : (place + 1) * lines].ravel()
        for axes, metric in zip(own, metrics, strict=False):
            style.entitle(axes, f"{dataset}, {model}", style.TEXT_WIDTH / columns - 0.5)
            axes.set_ylabel(f"{metric.axis} {metric.arrow}".strip())
            for number, name in enumerate(names):
                curve = part[(part["metric"] == metric.column) & (part["attack"] == name)].sort_values("passes")
                look = attacks[name].style
                # Side by side, so that no interval hides another.
                x = curve["passes"].to_numpy() * 1.03 ** (number - (len(names) - 1) / 2)
                axes.vlines(x, curve["low"], curve["high"], color=look.color, linewidth=1.0, zorder=2)
                (handles[name],) = axes.plot(
                    x, curve["mean"], color=look.color, marker=look.marker, linestyle=look.line, zorder=3
                )
                for place_x, y, share in zip(x, curve["mean"], curve["asr"], strict=True):
                    # Its mean is over the images that it turned, which are the easy ones.
                    if share < statistics.RELIABLE:
                        text = f" {100 * share:.0f} %"
                        axes.annotate(text, (place_x, y), color=look.color, fontsize=style.SMALL, va="bottom")
                start = curve["configured"].to_numpy()
                axes.plot(
                    x[start],
                    curve["mean"][start],
                    linestyle="",
                    marker=look.marker,
                    mec=look.color,
                    mfc="white",
                    zorder=4,
                )
            axes.set_xscale("log")
            # Budgets seldom span two decades: powers of ten alone would be one label.
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("forward + backward passes per image")
        for axes in own[len(metrics) :]:
            axes.set_visible(False)
    figure.legend(
        handles=list(handles.values()),
        labels=[style.plain(attacks[name].title) for name in handles],
        loc="outside lower center",
        ncols=2,
    )
    return figure
