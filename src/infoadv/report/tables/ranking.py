"""Mean rank of every attack over the perceptual metrics, for each target model and over all, with a critical difference.

The metrics that judge, to which no attack was tuned, rank the attacks apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, ranking, statistics
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import Rows, load

_COLUMNS = ("dataset", "model", "role", "attack", "n", "mean_rank", "low", "high", "critical_difference", "p", "home")


@dataclass(frozen=True)
class _Section:
    """A ranking with the names of its data set and model, "all" where it is over all of them, and the role of its metrics."""

    names: tuple[str, str]
    role: str
    found: ranking.Ranking


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a section over all target models, then one for each.

    The first holds the attacks that run on every target and the metrics that are defined on all; data set and model are
    "all" there. It is left out where there is one target. The sections of ``role`` "metric" rank by the perceptual metrics
    that attacks may be tuned on, those of "judge", where any was computed, by the others (``statistics.judges``).
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    by_role = {
        # Metrics that gray images lack come last: the columns before them are filled on every target.
        judging.METRIC: sorted(
            ranking.perceptual(rows.metrics, settings.judges), key=lambda metric: metric.colour_only
        ),
        judging.JUDGE: judging.present(rows, settings.judges),
    }
    sections = [
        _Section(names, role, ranking.rank(rows, targets, metrics))
        for role, metrics in by_role.items()
        if metrics
        for names, targets in _parts(rows)
    ]
    columns = [*_COLUMNS, *(f"rank_{metric.column}" for metrics in by_role.values() for metric in metrics)]
    frame = pd.concat([_frame(section, settings) for section in sections], ignore_index=True).reindex(columns=columns)
    return Table(frame, _markdown(sections), _latex(sections))


def _parts(rows: Rows) -> Iterator[tuple[tuple[str, str], list[tuple[str, str]]]]:
    if len(rows.targets) > 1:
        yield ("all", "all"), rows.targets
    for target in rows.targets:
        yield target, [target]


def _frame(section: _Section, settings: statistics.Settings) -> pd.DataFrame:
    found = section.found
    low, high = statistics.bootstrap_means(found.ranks, settings)
    records = []
    for place in _order(found):
        own = {
            f"rank_{metric.column}": statistics.mean(found.by_metric[:, place, column])
            for column, metric in enumerate(found.metrics)
        }
        at_home = [metric.column for column, metric in enumerate(found.metrics) if found.home[place, column]]
        records.append(
            {
                "dataset": section.names[0],
                "model": section.names[1],
                "role": section.role,
                "attack": found.attacks[place].name,
                "n": len(found.ranks),
                "mean_rank": found.mean[place],
                "low": low[place],
                "high": high[place],
                "critical_difference": found.critical_difference,
                "p": found.p,
                "home": " ".join(at_home),
                **own,
            }
        )
    return pd.DataFrame(records)


def _order(found: ranking.Ranking) -> list[int]:
    return [int(place) for place in np.argsort(found.mean, kind="stable")]


def _title(section: _Section) -> str:
    found = section.found
    name = "All target models" if section.names == ("all", "all") else ", ".join(section.names)
    name += ", judges" if section.role == judging.JUDGE else ""
    p, difference = found.p, found.critical_difference
    test = "" if np.isnan(p) else ", Friedman p " + ("< 0.001" if p < 0.001 else f"= {p:.3f}")
    return f"{name}: n = {len(found.ranks)}{test}, critical difference = {number(difference, 2)}"


def _lines(found: ranking.Ranking) -> list[list[Cell]]:
    best = np.nanmin(found.mean) if len(found.ranks) else np.nan
    lines = []
    for place in _order(found):
        mean = found.mean[place]
        # Without a test nothing is marked.
        near = bool(mean - best < found.critical_difference)
        cells = [
            Cell(number(statistics.mean(found.by_metric[:, place, column]), 2), home=bool(found.home[place, column]))
            for column in range(len(found.metrics))
        ]
        lines.append([Cell(found.attacks[place].title), Cell(number(mean, 2), strong=near), *cells])
    return lines


_NOTE = (
    "On every image on which all compared attacks succeed each metric ranks them, 1 for the best; an attack's score is the "
    "mean of its ranks over the metrics that it does not optimise itself, and scores are ranked again. Mean rank: mean over "
    "images of that rank. Bold: no worse than the best by more than Nemenyi's critical difference at 0.05. The columns of "
    "metrics hold the mean rank on that metric alone. {mark}: the metric that the attack itself optimises, not counted. "
    "Images of several networks of a data set are counted as if they were independent."
)


def _markdown(sections: Sequence[_Section]) -> str:
    text = _NOTE.format(mark="\u2020") + _judges_note(sections) + "\n"
    for section in sections:
        header = ["Attack", "Mean rank \u2193", *(metric.label for metric in section.found.metrics)]
        text += f"\n### {_title(section)}\n\n{markdown_table(header, _lines(section.found))}"
    return text


def _judges_note(sections: Sequence[_Section]) -> str:
    judging_sections = (section for section in sections if section.role == judging.JUDGE)
    judges = {metric.column: metric for section in judging_sections for metric in section.found.metrics}
    return judging.note(list(judges.values())) if judges else ""


def _latex(sections: Sequence[_Section]) -> str:
    tables = []
    for position, section in enumerate(sections, start=1):
        header = ["Attack", r"Mean rank $\downarrow$", *(metric.tex for metric in section.found.metrics)]
        note = _NOTE.format(mark=r"$^\dagger$") + tex(_judges_note([section]))
        caption = f"{tex(_title(section))}. {note}"
        tables.append(latex_table(header, [("", _lines(section.found))], caption, f"ranking-{position}"))
    return "\n".join(tables)
