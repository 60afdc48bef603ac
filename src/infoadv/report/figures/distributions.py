"""How a metric is distributed over images, by attack, on the images where all compared attacks succeed.

Controls are shown on the same images beside the attacks, whether or not they turn them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from infoadv.report import style
from infoadv.report.rows import load

SCHEMA = {
    "distributions": {
        "metrics": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
            "description": "metrics shown",
        }
    }
}

ABOUT = {"distributions": "each metric by attack"}

DEFAULT = ("l2", "ssim", "haarpsi", "gmsd", "lpips", "ciede2000")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts: a row of panels per target model, a panel per ``figure.metrics``.

    A box holds the middle half of the images, its whiskers the middle nine tenths, the bar is the median, the diamond
    the mean. A control's box is white. The frame holds these numbers.
    """
    import seaborn

    rows = load(inputs, specification)
    wanted = (specification.get("figure") or {}).get("metrics") or DEFAULT
    metrics = [rows.metric(column) for column in wanted]
    # Configured for no data set here, such as a colour difference of gray images: no empty column for it.
    metrics = [metric for metric in metrics if rows.frame[metric.column].notna().any()] or metrics[:1]
    panels_of = [(*target, [a for a in rows.attacks_on(*target) if a.compared or a.control]) for target in rows.targets]
    heights = [max(4, len(attacks)) * 0.12 for *_, attacks in panels_of]
    figure = style.new_figure(style.TEXT_WIDTH, sum(heights) + 0.55 * len(heights) + 0.3)
    panels = figure.subplots(len(panels_of), len(metrics), squeeze=False, sharey="row", height_ratios=heights)
    records: list[dict[str, Any]] = []
    for line, (dataset, model, attacks) in enumerate(panels_of):
        common = rows.common(dataset, model)
        shared = pd.concat([rows.averaged(dataset, model, attack) for attack in attacks] or [rows.frame[:0]])
        names = [attack.name for attack in attacks]
        colors = {a.name: to_rgb("white") if a.control else _light(a.style.color) for a in attacks}
        for column, metric in enumerate(metrics):
            axes = panels[line, column]
            values = shared[["attack", metric.column]].dropna()
            values = values[np.isfinite(values[metric.column])]
            summaries = _summaries(dataset, model, metric.column, values, names)
            similar = metric.better == "higher" and len(values) > 0 and values[metric.column].between(0, 1).all()
            drawn = (
                values.assign(**{metric.column: (1 - values[metric.column]).clip(style.CLOSEST)}) if similar else values
            )
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            if values.empty:
                axes.text(
                    0.5,
                    0.5,
                    "no common\nsuccess" if not common else "not defined\nhere",
                    transform=axes.transAxes,
                    ha="center",
                    va="center",
                    color=style.GUIDE,
                    fontsize=style.SMALL,
                )
                axes.set_xticks([])
            else:
                seaborn.boxplot(
                    data=drawn,
                    x=metric.column,
                    y="attack",
                    hue="attack",
                    order=names,
                    hue_order=names,
                    palette=colors,
                    legend=False,
                    whis=(5, 95),
                    showfliers=False,
                    showmeans=True,
                    width=0.68,
                    saturation=1,
                    linewidth=0.6,
                    linecolor="#333333",
                    medianprops={"color": "black", "linewidth": 1.3},
                    meanprops={
                        "marker": "D",
                        "markersize": 2.4,
                        "markerfacecolor": "white",
                        "markeredgecolor": "black",
                        "markeredgewidth": 0.5,
                    },
                    ax=axes,
                )
                ends = [one[key] for one in summaries for key in ("p05", "p95", "mean")]
                if similar:
                    style.similarity_axis(axes, "x", [max(1 - end, style.CLOSEST) for end in ends], most=3)
                else:
                    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
                records += summaries
            # A bracket goes into a line of its own: panels are narrower than "LPIPS (reference net)".
            name = f"{metric.axis} {metric.arrow}".strip().replace(" (", "\n(")
            axes.set_xlabel(name if line == len(panels_of) - 1 else "")
            axes.set_ylabel("")
            axes.set_yticks(range(len(names)), [style.plain(attack.title) for attack in attacks])
            axes.tick_params(axis="y", length=0)
        title = f"{dataset}, {model} ({len(common)} common success{'' if len(common) == 1 else 'es'})"
        # An empty title keeps the room; the text itself may run over the neighbouring panels.
        panels[line, 0].set_title(" ")
        panels[line, 0].annotate(
            style.plain(title),
            (0, 1),
            xytext=(0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=style.TITLE,
            annotation_clip=False,
        ).set_in_layout(False)
    columns = ["dataset", "model", "attack", "metric", "n", "mean", "p05", "p25", "median", "p75", "p95"]
    return figure, pd.DataFrame(records, columns=columns)


def _light(color: str) -> tuple[float, float, float]:
    """Return a colour mixed with white, on which the median and the mean can be seen."""
    red, green, blue = to_rgb(color)
    return 0.4 + 0.6 * red, 0.4 + 0.6 * green, 0.4 + 0.6 * blue


def _summaries(
    dataset: str, model: str, column: str, values: pd.DataFrame, names: Sequence[str]
) -> list[dict[str, Any]]:
    records = []
    for name in names:
        own = values.loc[values["attack"] == name, column].to_numpy(dtype=np.float64)
        if len(own):
            low, first, median, third, high = np.percentile(own, [5, 25, 50, 75, 95])
            records.append(
                {
                    "dataset": dataset,
                    "model": model,
                    "attack": name,
                    "metric": column,
                    "n": len(own),
                    "mean": own.mean(),
                    "p05": low,
                    "p25": first,
                    "median": median,
                    "p75": third,
                    "p95": high,
                }
            )
    return records
