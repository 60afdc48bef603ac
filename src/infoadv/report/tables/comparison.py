"""Each attack against the reference attacks, image by image, on the images that the table ``quality`` averages.

A control is compared on all common images, whatever its own success: it is not there to succeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv.report import judging, oracle, pairs, statistics
from infoadv.report import rows as reading
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, tex, tex_arrow
from infoadv.report.rows import Rows, load


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts; :func:`infoadv.report.pairs.tested` says what is tested.

    ``reference`` is the attack of ``statistics.reference`` first, then the plain L2 attack, the oracle over all L2 attacks and
    the controls. A metric without a direction has no better side and is left out.

    Raises
    ------
    InfoadvError
        No input holds the reference attack of ``statistics.reference``.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    pairs.check_reference(rows, settings)
    rows = oracle.added(rows)
    frame = pairs.tested(rows, settings)
    return Table(frame, _markdown(rows, frame), _latex(rows, frame))


def _parts(
    rows: Rows, frame: pd.DataFrame
) -> Iterator[tuple[str, str, list[Metric], list[tuple[str, list[list[Cell]]]]]]:
    """Yield role, reference, metrics and sections; of a role only where it has values, but the first of all in any case."""
    found = list(dict.fromkeys(frame["reference"])) or [""]
    for role in judging.ROLES:
        for reference in found:
            chosen = frame[(frame["role"] == role) & (frame["reference"] == reference)]
            metrics, sections = _sections(rows, chosen)
            if metrics or (role == judging.METRIC and reference == found[0]):
                yield role, reference, metrics, sections


def _sections(rows: Rows, frame: pd.DataFrame) -> tuple[list[Metric], list[tuple[str, list[list[Cell]]]]]:
    metrics = [metric for metric in pairs.directed(rows) if frame.loc[frame["metric"] == metric.column, "n"].any()]
    attacks = {attack.name: attack for attack in rows.attacks}
    sections = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        lines = []
        for name, group in part.groupby("attack", sort=False):
            found = group.set_index("metric")
            line = [Cell(attacks[name].title), Cell(str(found["n"].max()))]
            for metric in metrics:
                entry = found.loc[metric.column]
                line.append(pairs.cell(entry, metric, home=metric.measured in attacks[name].optimises))
            lines.append(line)
        sections.append((f"{dataset}, {model}", lines))
    return metrics, sections


def _note(rows: Rows, role: str, metrics: Sequence[Metric]) -> str:
    note = f" {reading.COMMON}"
    if any(attack.control for attack in rows.attacks):
        note += " Control: over all common images, whatever its own success."
    return note + judging.note(metrics) if role == judging.JUDGE else note


def _caption(reference: str) -> str:
    return (
        f"Mean difference, attack minus {reference}, over the n common images on which both succeed. Bold: the attack is better, "
        f"italic: the reference is better (Wilcoxon's signed-rank test, Holm's p below {statistics.ALPHA:g} over all tests of "
        "these metrics on a target model); otherwise no difference was found."
    )


def _markdown(rows: Rows, frame: pd.DataFrame) -> str:
    labels, text = pairs.labels(rows), ""
    for role, reference, metrics, sections in _parts(rows, frame):
        kind = "Judges, against" if role == judging.JUDGE else "Against"
        label = labels.get(reference, reference)
        text += f"\n## {kind} {label}\n\n{_caption(label)} \u2020: the metric that the attack itself optimises."
        text += f"{_note(rows, role, metrics)}\n"
        header = ["Attack", "n", *(f"{metric.label} {metric.arrow}" for metric in metrics)]
        for title, lines in sections:
            text += f"\n### {title}\n\n{markdown_table(header, lines)}"
    return text.removeprefix("\n")


def _latex(rows: Rows, frame: pd.DataFrame) -> str:
    labels = pairs.labels(rows)
    tables: list[str] = []
    for role, reference, metrics, sections in _parts(rows, frame):
        # A page holds seven metrics beside the names.
        half = len(metrics) if len(metrics) <= 7 else (len(metrics) + 1) // 2
        for start in range(0, max(len(metrics), 1), max(half, 1)):
            chosen = metrics[start : start + half]
            caption = (
                tex(_caption(labels.get(reference, reference)))
                + r" $^\dagger$: the metric that the attack itself optimises."
                + tex(_note(rows, role, chosen))
            )
            header = ["Attack", "$n$", *(metric.tex + tex_arrow(metric.better) for metric in chosen)]
            parts = [
                (title, [[*line[:2], *line[2 + start : 2 + start + half]] for line in lines])
                for title, lines in sections
            ]
            tables.append(latex_table(header, parts, caption, f"comparison-{len(tables) + 1}"))
    return "\n".join(tables)
