"""How nearly an information is a metric: do perturbations that carry less of it also look better, at the same L2?

An attack that minimises an information proves little on a metric that orders perturbations in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, ranking, statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import Rows, load

COLUMNS = (
    *("dataset", "model", "objective", "role", "metric", "n", "attacks", "correlation", "low", "high"),
    *("partial", "partial_low", "partial_high"),
)
#: The size that is held fixed, and the fewest attacks on an image that a correlation is taken over.
SIZE, FEWEST = "l2", 5


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a row for each target, objective and metric.

    An objective is a metric of the group "information" that some attack optimises. On every image the successes of all attacks
    and the controls are ranked by objective and metric, better first; ``correlation`` is the mean over images of Spearman's
    correlation of the two, ``partial`` that of the part that their L2 does not explain, with bootstrap intervals over images.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    frame = pd.DataFrame(_records(rows, settings), columns=list(COLUMNS))
    return Table(frame, _markdown(rows, frame), _latex(rows, frame))


def _objectives(rows: Rows) -> list[Metric]:
    optimised = {column for attack in rows.attacks for column in attack.optimises}
    return [metric for metric in rows.metrics if metric.group == "information" and metric.measured in optimised]


def _judged(rows: Rows, settings: statistics.Settings) -> list[Metric]:
    return [metric for metrics in ranking.by_role(rows, settings).values() for metric in metrics]


def _records(rows: Rows, settings: statistics.Settings) -> Iterator[dict[str, Any]]:
    for target in rows.targets:
        values = _values(rows, target)
        for objective in _objectives(rows):
            for metric in _judged(rows, settings):
                found = _correlations(values, objective, metric)
                if not len(found):
                    continue
                low, high = statistics.bootstrap_means(found[:, :2], settings)
                yield {
                    "dataset": target[0],
                    "model": target[1],
                    "objective": objective.column,
                    "role": judging.role(metric.column, settings),
                    "metric": metric.column,
                    "n": len(found),
                    "attacks": found[:, 2].mean(),
                    "correlation": statistics.mean(found[:, 0]),
                    "low": low[0],
                    "high": high[0],
                    "partial": statistics.mean(found[:, 1]),
                    "partial_low": low[1],
                    "partial_high": high[1],
                }


def _values(rows: Rows, target: tuple[str, str]) -> dict[str, np.ndarray]:
    """Return the metrics of a target by column, each (images, attacks): NaN where an attack failed or did not run.

    A control does not fail.
    """
    found = []
    for attack in rows.attacks_on(*target):
        own = rows.of(*target, attack.name).set_index("index").sort_index()
        values = own[[metric.column for metric in rows.metrics]].astype(float)
        found.append(values if attack.control else values.where(own["success"]))
    # An attack may take fewer images than the rest.
    images = sorted(set().union(*(part.index for part in found)))
    found = [part.reindex(images) for part in found]
    return {metric.column: np.stack([part[metric.column] for part in found], axis=1) for metric in rows.metrics}


def _correlations(values: Mapping[str, np.ndarray], objective: Metric, metric: Metric) -> np.ndarray:
    """Return for each image (n, 3) the rank correlation, the partial one (NaN where undefined) and the number of attacks."""
    from scipy.stats import rankdata

    stacked = np.stack([values[column] for column in (objective.column, metric.column, SIZE)])
    stacked = np.where(np.isfinite(stacked).all(axis=0), stacked, np.nan)
    counts = np.isfinite(stacked[0]).sum(axis=1)
    stacked = stacked[:, counts >= FEWEST]
    ranks = rankdata(stacked, axis=2, nan_policy="omit")
    centred = np.nan_to_num(ranks - np.nanmean(ranks, axis=2, keepdims=True)) if ranks.size else ranks
    products = np.einsum("ina,jna->ijn", centred, centred)
    squares = np.einsum("iin->in", products)
    known = (squares > 0).all(axis=0)
    correlations = products[:, :, known] / np.sqrt(squares[:, None, known] * squares[None, :, known])
    with_metric, with_size, both = correlations[0, 1], correlations[0, 2], correlations[1, 2]
    rest = (1 - with_size**2) * (1 - both**2)
    # Where the size decides the order alone, nothing is left.
    partial = np.divide(
        with_metric - with_size * both, np.sqrt(rest), out=np.full_like(rest, np.nan), where=rest > 1e-12
    )
    sign = 1.0 if objective.better == metric.better else -1.0
    return np.stack([sign * with_metric, sign * partial, counts[counts >= FEWEST][known]], axis=1)


_NOTE = (
    "Spearman's rank correlation, mean over images: 1 where a result that is better by the objective is better by the metric as "
    "well. In brackets the partial correlation, at the same L2. What is ranked are the successes of all attacks on an image, and "
    "the controls; intervals are in the CSV file."
)


def _sections(rows: Rows, frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    columns = list(dict.fromkeys(frame["metric"]))
    sections = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        lines = []
        for objective, group in part.groupby("objective", sort=False):
            found = group.set_index("metric")
            line = [Cell(rows.metric(str(objective)).label)]
            for column in columns:
                known = column in found.index
                entry = [found.loc[column, name] if known else np.nan for name in ("correlation", "partial")]
                line.append(Cell(f"{number(entry[0], 2)} ({number(entry[1], 2)})" if known else number(np.nan, 2)))
            lines.append(line)
        sections.append((f"{dataset}, {model}", lines))
    return [rows.metric(column).label for column in columns], sections


def _markdown(rows: Rows, frame: pd.DataFrame) -> str:
    heads, sections = _sections(rows, frame)
    text = _NOTE + "\n"
    for title, lines in sections:
        text += f"\n### {title}\n\n{markdown_table(['Objective', *heads], lines)}"
    return text


def _latex(rows: Rows, frame: pd.DataFrame) -> str:
    heads, sections = _sections(rows, frame)
    return latex_table(["Objective", *map(tex, heads)], sections, tex(_NOTE), "objectives")
