"""How much similarity success costs.

Three questions, each with panels of its own:

- *similar enough?* The share of images that an attack has turned, as a demand on similarity is relaxed: a panel per target
  model. It needs no sweep and no choice of images, and failures count as failures.
- *another budget?* For sweeps over an option: the mean similarity of all images attacked at each of its values, a panel per
  target model and option. Beside a point that often fails stands its success.
- *a clearer mistake?* For sweeps over confidence: the margin that is reached against the mean similarity of the successes.

A family begins with the attack that its sweep varies, if that has a value of the option itself. Controls do not succeed
or fail, so they are left out, and so are attacks towards a chosen class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infoadv.execution.errors import InfoadvError
from infoadv.report import statistics, style
from infoadv.report.rows import Attack, Rows, load, ordered

SCHEMA = {"tradeoff": {"metric": {"type": "string", "default": "ssim", "description": "similarity that is shown"}}}

ABOUT = {"tradeoff": "similarity against success, and over each option that is swept"}

_CONFIDENCE = "confidence"
_MOST_COLUMNS = 4
_COLUMNS = ("panel", "dataset", "model", "attack", "option", "value", "x", "y", "asr_float", "asr", "n")


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from metric artefacts, sweeps among them; ``figure.metric`` is a similarity with 1 at best."""
    rows = load(inputs, specification)
    metric = rows.metric((specification.get("figure") or {}).get("metric") or "ssim")
    if metric.better == "lower" or rows.frame[metric.column].max() > 1 + 1e-6:
        raise InfoadvError(f"figures.tradeoff.metric: {metric.column} is no similarity that ends at 1; take ssim.")
    numbers = pd.DataFrame(
        [*_survival(rows, metric.column), *_sweeps(rows, metric.column)],
        columns=list(_COLUMNS),
    )
    names = {attack.name for target in rows.targets for attack in rows.drawn_on(*target)}
    # A family whose own attack is not in the inputs still needs its name in the legend.
    names |= {attack.sweep_of for attack in rows.attacks if attack.sweep_of}
    shown = ordered([*names], specification)
    panels = _panels(rows, numbers)
    columns = min(len(panels), _MOST_COLUMNS if len(panels) > 2 * _MOST_COLUMNS else 3)
    width = style.TEXT_WIDTH if columns > 1 else style.COLUMN_WIDTH
    lines = -(-len(panels) // columns)
    legend_columns = max(1, min(5 if columns > 1 else 3, len(shown)))
    figure = style.new_figure(width, 1.6 * lines + 0.2 + 0.13 * -(-len(shown) // legend_columns))
    cells = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, kind, drawn) in zip(cells, panels, strict=False):
        style.entitle(axes, title, width / columns - 0.45)
        if drawn["y"].notna().sum() == 0:
            style.say(axes, "no attack succeeds")
        elif kind == "survival":
            _draw_survival(axes, drawn, shown, metric.axis)
        else:
            _draw_families(axes, drawn, shown, metric.axis, kind)
    for axes in cells[len(panels) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], color=a.style.color, linestyle=a.style.line, marker=a.style.marker, label=style.plain(a.label))
        for a in shown
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns, handlelength=3.2)
    return figure, numbers


def _panels(rows: Rows, numbers: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return title, kind and numbers of each panel: of the targets first, then of their sweeps."""
    targets = [
        numbers[(numbers["dataset"] == dataset) & (numbers["model"] == model)] for dataset, model in rows.targets
    ]
    titles = [f"{dataset}, {model}" for dataset, model in rows.targets]
    found = [
        (title, "survival", part[part["panel"] == "survival"]) for title, part in zip(titles, targets, strict=True)
    ]
    for title, part in zip(titles, targets, strict=True):
        for option, swept in part[part["y"].notna()].groupby("option"):
            found.append((f"{title}\n{option}", swept["panel"].iloc[0], swept))
    return found


def _survival(rows: Rows, column: str) -> list[dict[str, Any]]:
    """Return, for every attack and every similarity s that a success has, the share of images turned at s or more."""
    records = []
    for dataset, model in rows.targets:
        for attack in rows.drawn_on(dataset, model):
            own = rows.of(dataset, model, attack.name)
            won = np.sort(own.loc[own["success"], column].dropna().to_numpy(dtype=np.float64))[::-1]
            base = {
                "panel": "survival",
                "dataset": dataset,
                "model": model,
                "attack": attack.name,
                "asr_float": own["success_float"].mean(),
                "asr": own["success"].mean(),
                "n": len(own),
            }
            records += [{**base, "x": s, "y": (rank + 1) / len(own)} for rank, s in enumerate(won)]
            if not len(won):
                records.append({**base, "x": np.nan, "y": np.nan})
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _families(rows: Rows, dataset: str, model: str) -> dict[tuple[str, str, float], Attack]:
    """Return the attacks of the sweeps on one target model by (family, option, value), the swept attacks included."""
    present = set(rows.of(dataset, model)["attack"])
    attacks = [attack for attack in rows.attacks if attack.name in present]
    found: dict[tuple[str, str, float], Attack] = {}
    for attack in attacks:
        # A curve is over one option, and over numbers; other settings stand in the tables.
        if attack.sweep_of is not None and len(attack.varied) == 1:
            ((option, value),) = attack.varied.items()
            if _is_number(value):
                found[attack.sweep_of, option, float(value)] = attack
    # The swept attack may run where its sweep does not.
    swept = {(family, option) for family, option, _ in found}
    for attack in attacks:
        for option, value in attack.varied.items():
            if attack.sweep_of is None and (attack.name, option) in swept and _is_number(value):
                found.setdefault((attack.name, option, float(value)), attack)
    return found


def _sweeps(rows: Rows, column: str) -> list[dict[str, Any]]:
    """Return a point for every value of every sweep; the attack of a row is the family.

    All points of a family are of the images that all of its attacks took: a sweep may take fewer than the attack that it varies.
    """
    records = []
    for dataset, model in rows.targets:
        families = _families(rows, dataset, model)
        indices = {key: set(rows.of(dataset, model, attack.name)["index"]) for key, attack in families.items()}
        for (family, option, value), attack in families.items():
            shared = set.intersection(*(taken for key, taken in indices.items() if key[0] == family))
            own = rows.of(dataset, model, attack.name)
            own = own[own["index"].isin(shared)]
            won = own[own["success"]]
            confident = option == _CONFIDENCE
            records.append(
                {
                    "panel": "confidence" if confident else "budget",
                    "dataset": dataset,
                    "model": model,
                    "attack": family,
                    "option": option,
                    "value": value,
                    "x": float(won["margin"].median()) if confident else value,
                    "y": statistics.mean((won if confident else own)[column].to_numpy(dtype=np.float64)),
                    "asr_float": own["success_float"].mean(),
                    "asr": own["success"].mean(),
                    "n": len(own),
                }
            )
    return sorted(records, key=lambda record: (record["attack"], record["option"], record["value"]))


def _distance(similarity: pd.Series) -> np.ndarray:
    return np.clip(1 - similarity.to_numpy(dtype=np.float64), style.CLOSEST, None)


def _draw_survival(axes: Axes, drawn: pd.DataFrame, attacks: Sequence[Attack], name: str) -> None:
    drawn = drawn[drawn["x"].notna()]
    limits = _distance(drawn["x"])
    style.similarity_axis(axes, "x", list(limits), most=3)
    end = axes.get_xlim()[0]
    present = [attack for attack in attacks if (drawn["attack"] == attack.name).any()]
    for position, attack in enumerate(present):
        part = drawn[drawn["attack"] == attack.name]
        x, y = _distance(part["x"]), part["y"].to_numpy()
        axes.step([x[0], *x, end], [0, *y, y[-1]], where="post", color=attack.style.color, linestyle=attack.style.line)
        # One marker a curve, at another height each, tells curves of like colour apart.
        level = y[-1] * (0.25 + 0.6 * (position + 0.5) / len(present))
        at = int(np.searchsorted(y, level))
        axes.plot(
            x[at], y[at], linestyle="", marker=attack.style.marker, color=attack.style.color, mec="white", mew=0.3
        )
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(f"{name} demanded")
    axes.set_ylabel("share misclassified")


def _draw_families(axes: Axes, drawn: pd.DataFrame, attacks: Sequence[Attack], name: str, kind: str) -> None:
    drawn = drawn[drawn["y"].notna()]
    style.similarity_axis(axes, "y", list(_distance(drawn["y"])), most=5)
    values = sorted(set(drawn["value"]))
    for attack in attacks:
        part = drawn[drawn["attack"] == attack.name].sort_values("value")
        if part.empty:
            continue
        # The values of an option may lie decades apart: side by side, in order.
        x = part["value"].map(values.index).to_numpy() if kind == "budget" else part["x"].to_numpy()
        y, look = _distance(part["y"]), attack.style
        axes.plot(x, y, color=look.color, linestyle=look.line, zorder=2)
        # Hollow: the similarity of those that often fail flatters.
        full = (part["asr"] >= statistics.RELIABLE).to_numpy()
        for chosen, face in ((full, look.color), (~full, "white")):
            axes.plot(x[chosen], y[chosen], linestyle="", marker=look.marker, color=look.color, mfc=face, zorder=3)
        for place, distance, value, share in zip(x, y, part["value"], part["asr"], strict=True):
            text = [f"{value:g}"] if kind == "confidence" else []
            text += [f"{100 * share:.0f} %"] if share < statistics.RELIABLE else []
            if text:
                axes.annotate(
                    ", ".join(text),
                    (place, distance),
                    (3, 3),
                    textcoords="offset points",
                    fontsize=style.SMALL,
                    color=style.dark(look.color),
                )
    axes.margins(x=0.16)
    if kind == "budget":
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values], rotation=0 if len(values) < 6 else 90)
        axes.set_xlabel(drawn["option"].iloc[0])
    else:
        axes.set_xlabel("margin reached (logits)")
    axes.set_ylabel(f"mean {name}")
