"""What each option of an attack does: every value that a sweep tries, beside the configured one.

A mean is over the images on which all values of the option succeed; a value that fails often (below
``infoadv.report.statistics.RELIABLE`` times the best) takes no image out. A difference is over the images on which the value
and the configured one both succeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, pairs, statistics, swept
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex, tex_arrow
from infoadv.report.rows import Attack, Rows, load

INPUTS = {"stage": "metrics", "needs": ["values"]}

COLUMNS = (
    *(
        "dataset",
        "model",
        "attack",
        "option",
        "value",
        "configured",
        "n",
        "asr",
        "forwards",
        "backwards",
        "role",
        "metric",
    ),
    *("n_common", "mean", "low", "high", "n_paired", "difference", "difference_low", "difference_high", "effect"),
    *("p_wilcoxon", "p_holm", "better"),
)


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a row for each target, attack, option, value and metric.

    ``difference`` is value minus configured, with Wilcoxon's signed-rank test; the family of the Holm correction is all
    values of all options of an attack on a target, and all metrics of a role. ``better`` is "value", "configured" or "no
    difference".
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    families = [
        _family(list(_records(rows, target, attack, settings)))
        for target in rows.targets
        for attack in rows.attacks_on(*target)
    ]
    families = [_decided(rows, family) for family in families if len(family)]
    frame = pd.concat(families, ignore_index=True) if families else pd.DataFrame(columns=list(COLUMNS))
    return Table(frame, _markdown(rows, frame), _latex(rows, frame))


def _family(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    # Each value as it stands in the configuration: in a column of numbers 30 steps beside a share were 30.0.
    return frame.assign(value=pd.Series([record["value"] for record in records], dtype=object))


def _records(
    rows: Rows, target: tuple[str, str], attack: Attack, settings: statistics.Settings
) -> Iterator[dict[str, Any]]:
    for option, values in swept.values_of(rows, target, attack).items():
        shared = swept.common(rows, target, [one for _, one in values])
        by_value = {one.name: rows.of(*target, one.name).set_index("index").sort_index() for _, one in values}
        metrics = [
            metric
            for metric in pairs.directed(rows)
            if all(part[metric.column].notna().any() for part in by_value.values())
        ]
        columns = [metric.column for metric in metrics]
        start = by_value[attack.name]
        for value, one in values:
            own = by_value[one.name]
            won = own.index[own["success"]]
            both = won.intersection(start.index[start["success"]])
            moved = (own.loc[both, columns] - start.loc[both, columns]).to_numpy(dtype=float)
            ends = statistics.bootstrap_means(moved, settings)
            counted = own.loc[won.intersection(shared), columns].to_numpy(dtype=float)
            low, high = statistics.bootstrap_means(counted, settings)
            for place, metric in enumerate(metrics):
                result = statistics.signed_rank(moved[:, place])
                yield {
                    "dataset": target[0],
                    "model": target[1],
                    "attack": attack.name,
                    "option": option,
                    "value": value,
                    "configured": one is attack,
                    "n": len(own),
                    "asr": own["success"].mean(),
                    "forwards": own["forwards"].mean(),
                    "backwards": own["backwards"].mean(),
                    "role": judging.role(metric.column, settings),
                    "metric": metric.column,
                    "n_common": int((~np.isnan(counted[:, place])).sum()),
                    "mean": statistics.mean(counted[:, place]),
                    "low": low[place],
                    "high": high[place],
                    "n_paired": result.n,
                    "difference": result.difference,
                    "difference_low": ends[0][place],
                    "difference_high": ends[1][place],
                    "effect": result.effect,
                    "p_wilcoxon": np.nan if one is attack else result.p,
                }


def _decided(rows: Rows, family: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one attack on one target with corrected p values and with what is better."""
    directions = {metric.column: metric.better for metric in rows.metrics}
    names = {"attack": "value", "reference": "configured"}
    p_holm = family.groupby("role")["p_wilcoxon"].transform(lambda p: statistics.holm(p.to_numpy(dtype=float)))
    better = [
        pairs.winner(row["difference"], row["effect"], p, directions[row["metric"]])
        for row, p in zip(family.to_dict("records"), p_holm, strict=True)
    ]
    return family.assign(p_holm=p_holm, better=[names.get(side, side) for side in better])


def _sections(rows: Rows, frame: pd.DataFrame) -> Iterator[tuple[str, list[Metric], list[list[Cell]]]]:
    """Yield title, metrics and lines for each attack on each target."""
    attacks = {attack.name: attack for attack in rows.attacks}
    for (dataset, model, name), part in frame.groupby(["dataset", "model", "attack"], sort=False):
        metrics = [metric for metric in rows.metrics if metric.column in set(part["metric"])]
        lines = []
        for (option, _), group in part.groupby(["option", "value"], sort=False, dropna=False):
            found, first = group.set_index("metric"), group.iloc[0]
            mark = " (configured)" if first["configured"] else ""
            line = [
                Cell(f"{option} {first['value']}{mark}"),
                Cell(number(first["asr"], 3)),
                Cell(number(first["forwards"] + first["backwards"], 0)),
            ]
            for metric in metrics:
                if metric.column not in found.index:
                    line.append(Cell(number(np.nan, 0)))
                    continue
                entry = found.loc[metric.column]
                better = entry["better"]
                line.append(
                    Cell(
                        number(entry["mean"], metric.decimals),
                        strong=better == "value",
                        emphasis=better == "configured",
                        home=metric.measured in attacks[str(name)].optimises,
                    )
                )
            lines.append(line)
        yield f"{attacks[str(name)].title}, {dataset}, {model}", metrics, lines


_NOTE = (
    "Values of one option at a time, all others as configured: means over the images on which all values of the option succeed "
    "that do not often fail. Passes: forward and backward. Bold: better than the configured value, italic: worse, by Wilcoxon's "
    f"signed-rank test with Holm's p below {statistics.ALPHA:g} over all values of an attack on a network, metrics and "
    "judges each by themselves."
)


def _markdown(rows: Rows, frame: pd.DataFrame) -> str:
    text = f"{_NOTE} \u2020: the metric that the attack itself optimises.\n"
    for title, metrics, lines in _sections(rows, frame):
        header = ["Setting", "Success", "Passes", *(f"{metric.label} {metric.arrow}" for metric in metrics)]
        text += f"\n### {title}\n\n{markdown_table(header, lines)}"
    return text


def _latex(rows: Rows, frame: pd.DataFrame) -> str:
    tables = []
    for place, (title, metrics, lines) in enumerate(_sections(rows, frame), start=1):
        header = ["Setting", "Success", "Passes", *(metric.tex + tex_arrow(metric.better) for metric in metrics)]
        caption = tex(f"{title}. {_NOTE}") + r" $^\dagger$: the metric that the attack itself optimises."
        tables.append(latex_table(header, [("", lines)], caption, f"sweeps-{place}"))
    return "\n".join(tables)
