"""Attacks that differ in one thing, two and two: paired tests on the images on which both succeed.

The configuration names them (``statistics.pairs``): an attack by MINE beside one by the closed form under the same search, say,
where the difference is the estimator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv.report import judging, pairs, statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, tex, tex_arrow
from infoadv.report.rows import Rows, load

INPUTS = {"stage": "metrics", "needs": ["pairs"]}


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a row for each target, pair that ran there and metric with a better side.

    Columns as of the table ``comparison``: ``difference`` is ``attack`` minus ``reference``, the two of the pair, over the ``n``
    images on which both succeed. The family of the Holm correction is all tests of one role on one target.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    attacks = {attack.name: attack for attack in rows.attacks}
    families = []
    for target in rows.targets:
        ran = set(rows.of(*target)["attack"])
        records = [
            record
            for first, second in settings.pairs
            if {first, second} <= ran
            for record in pairs.records(
                rows,
                target,
                attacks[first],
                attacks[second],
                {name: _successes(rows, target, name) for name in (first, second)},
                settings,
            )
        ]
        if records:
            families.append(pairs.decided(rows, pd.DataFrame(records, columns=list(pairs.COLUMNS)), ["role"]))
    frame = pd.concat(families, ignore_index=True) if families else pd.DataFrame(columns=list(pairs.COLUMNS))
    return Table(frame, _markdown(rows, frame), _latex(rows, frame))


def _successes(rows: Rows, target: tuple[str, str], name: str) -> pd.DataFrame:
    """Return the directed metrics of the images that an attack has turned, by their data-set index."""
    own = rows.of(*target, name)
    columns = [metric.column for metric in pairs.directed(rows)]
    return own[own["success"]].set_index("index").sort_index()[columns].astype(float)


def _named(rows: Rows, name: str) -> str:
    """Return the title of an attack; of a value of a sweep its name, since all values have the same title."""
    attack = next(attack for attack in rows.attacks if attack.name == name)
    return attack.title if attack.sweep_of is None else name


def _sections(rows: Rows, frame: pd.DataFrame) -> tuple[list[Metric], list[tuple[str, list[list[Cell]]]]]:
    shown = [metric for metric in pairs.directed(rows) if frame.loc[frame["metric"] == metric.column, "n"].any()]
    sections = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        lines = []
        for (name, reference), group in part.groupby(["attack", "reference"], sort=False):
            found = group.set_index("metric")
            line = [Cell(_named(rows, name)), Cell(_named(rows, reference)), Cell(str(found["n"].max()))]
            lines.append(line + [pairs.cell(found.loc[metric.column], metric) for metric in shown])
        sections.append((f"{dataset}, {model}", lines))
    return shown, sections


def _note(metrics: Sequence[Metric]) -> str:
    return (
        "Mean difference, first minus second, over the n images on which both succeed. Bold: the first is better, italic: the "
        f"second is (Wilcoxon's signed-rank test, Holm's p below {statistics.ALPHA:g} over all pairs and metrics of a role on a "
        f"target model); otherwise no difference was found.{judging.note(metrics)}"
    )


def _markdown(rows: Rows, frame: pd.DataFrame) -> str:
    shown, sections = _sections(rows, frame)
    header = ["First", "Second", "n", *(f"{metric.label} {metric.arrow}" for metric in shown)]
    return (
        _note(shown) + "\n" + "".join(f"\n### {title}\n\n{markdown_table(header, lines)}" for title, lines in sections)
    )


def _latex(rows: Rows, frame: pd.DataFrame) -> str:
    shown, sections = _sections(rows, frame)
    header = ["First", "Second", "$n$", *(metric.tex + tex_arrow(metric.better) for metric in shown)]
    return latex_table(header, sections, tex(_note(shown)), "paired")
