"""What similarity costs: forward and backward passes per image against the quality that they buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from infoadv.report import labels, statistics, style
from infoadv.report.rows import load

SCHEMA = {
    "cost": {
        "metrics": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
            "description": "metrics shown",
        }
    }
}

ABOUT = {"cost": "passes against quality"}

DEFAULT = ("ssim", "haarpsi")
_COLUMNS = ("dataset", "model", "attack", "metric", "passes", "asr", "n", "mean", "low", "high")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts: a row of panels per target model, a panel per ``figure.metrics``.

    A point is an attack: mean passes over all its images against its mean similarity on the common successes, with the
    bootstrap interval of the latter. Hollow: an attack that is not compared. A control costs nothing and buys nothing, so
    it is left out; so are attacks towards a chosen class, which buy something else.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    wanted = (specification.get("figure") or {}).get("metrics") or DEFAULT
    metrics = [rows.metric(column) for column in wanted]
    metrics = [metric for metric in metrics if rows.frame[metric.column].notna().any()] or metrics[:1]
    records: list[dict[str, Any]] = []
    drawn = {target: rows.drawn_on(*target) for target in rows.targets}
    for (dataset, model), shown in drawn.items():
        for attack in shown:
            own = rows.of(dataset, model, attack.name)
            shared = rows.averaged(dataset, model, attack)
            for metric in metrics:
                values = shared[metric.column].to_numpy(dtype=np.float64)
                low, high = statistics.bootstrap(values, settings)
                records.append(
                    {
                        "dataset": dataset,
                        "model": model,
                        "attack": attack.name,
                        "metric": metric.column,
                        "passes": float((own["forwards"] + own["backwards"]).mean()),
                        "asr": own["success"].mean(),
                        "n": int((~np.isnan(values)).sum()),
                        "mean": statistics.mean(values),
                        "low": low,
                        "high": high,
                    }
                )
    # Without records the columns have no type.
    numbers = pd.DataFrame(records, columns=list(_COLUMNS)).astype({"mean": float})
    attacks = {attack.name: attack for attack in rows.attacks}
    most = max(map(len, drawn.values()))
    height = 1.9 + 0.075 * max(0, most - 6)
    figure = style.new_figure(style.TEXT_WIDTH, height * len(rows.targets) + 0.25)
    panels = figure.subplots(len(rows.targets), len(metrics), squeeze=False)
    pending = []
    for line, (dataset, model) in enumerate(rows.targets):
        for column, metric in enumerate(metrics):
            axes = panels[line, column]
            style.entitle(axes, f"{dataset}, {model}", style.TEXT_WIDTH / len(metrics) - 0.5)
            part = numbers[
                (numbers["dataset"] == dataset)
                & (numbers["model"] == model)
                & (numbers["metric"] == metric.column)
                & np.isfinite(numbers["mean"])
            ]
            axes.set_ylabel(f"{metric.axis} {metric.arrow}".strip())
            if part.empty:
                style.say(axes, "no image on which all compared attacks succeed")
                continue
            # Similarities that end at 1 get an axis that resolves the end; others are linear.
            similar = metric.better == "higher" and part["high"].max() <= 1 and part["low"].min() >= 0
            mean, low, high = (
                np.maximum(1 - part[key], style.CLOSEST) if similar else part[key] for key in ("mean", "low", "high")
            )
            obstacles: list[tuple[float, float]] = []
            for (_, row), y, y_low, y_high in zip(part.iterrows(), mean, low, high, strict=True):
                attack = attacks[row["attack"]]
                x = max(row["passes"], 0.5)
                face = attack.style.color if attack.compared else "white"
                axes.plot([x, x], [y_low, y_high], color=attack.style.color, linewidth=1.0, zorder=2)
                axes.plot(x, y, linestyle="", marker=attack.style.marker, color=attack.style.color, mfc=face, zorder=3)
                obstacles += [(x, y_low), (x, y_high), (x, (y_low + y) / 2), (x, (y + y_high) / 2)]
            x = part["passes"].clip(lower=0.5)
            axes.set_xscale("log")
            axes.set_xlim(x.min() / 2.2, x.max() * 2.2)
            if similar:
                style.similarity_axis(axes, "y", [*low, *high])
            else:
                axes.margins(y=0.12)
            texts = [attacks[name].label for name in part["attack"]]
            colors = [attacks[name].style.color for name in part["attack"]]
            pending.append((axes, list(zip(x, mean, strict=True)), texts, colors, np.array(obstacles)))
    for axes in panels[-1]:
        axes.set_xlabel("forward + backward passes per image")
    # Labels need the final positions of the panels.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, points, texts, colors, blocked in pending:
        labels.place(axes, points, texts, colors, blocked)
    return figure, numbers
