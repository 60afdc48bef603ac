"""How much a result moves between networks that differ in the seed of their training alone.

Intervals over images say nothing of it: they are of one network, as its training happened to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, oracle, pairs, ranking, statistics
from infoadv.report import rows as reading
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import Rows, load

INPUTS = {"stage": "metrics", "needs": ["alike"]}

COLUMNS = (
    *("dataset", "models", "seeds", "attack", "role", "quantity", "networks", "mean", "sd", "lowest", "highest"),
    *("better_on", "worse_on"),
)
#: The quantity that is no metric: the mean rank over the metrics of a role.
RANK = "mean_rank"


@dataclass(frozen=True)
class _Group:
    """Networks of a data set that differ in the seed of their training alone, by name, as far as they were attacked."""

    dataset: str
    seeds: Mapping[str, int]

    @property
    def targets(self) -> list[tuple[str, str]]:
        return [(self.dataset, model) for model in self.seeds]


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: rows for each group of such networks, attack and quantity.

    ``quantity`` is "mean_rank" among the attacks on all of them (:mod:`infoadv.report.ranking`) or a metric with a better side,
    its mean over the common images of a network. ``mean``, ``sd`` (of the networks, n - 1), ``lowest`` and ``highest`` are
    over the networks.
    ``better_on`` and ``worse_on`` count the networks on which the table ``comparison`` finds the attack better or worse than
    the attack of ``statistics.reference``; they are empty where it has no such test.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    pairs.check_reference(rows, settings)
    groups = _groups(rows, specification)
    frame = _frame(rows, groups, settings)
    return Table(frame, _markdown(rows, groups, frame, settings), _latex(rows, groups, frame, settings))


def _groups(rows: Rows, specification: Mapping[str, Any]) -> list[_Group]:
    groups = reading.alike(rows.targets, specification)
    return [_Group(next(iter(group))[0], {model: seed for (_, model), seed in group.items()}) for group in groups]


def _frame(rows: Rows, groups: Sequence[_Group], settings: statistics.Settings) -> pd.DataFrame:
    tests = pairs.tested(oracle.added(rows), settings)
    tests = tests[tests["reference"] == settings.reference].set_index(["dataset", "model", "attack", "metric"])[
        "better"
    ]
    records = []
    for group in groups:
        shared = {
            "dataset": group.dataset,
            "models": " ".join(group.seeds),
            "seeds": " ".join(map(str, group.seeds.values())),
        }
        for attack, role, quantity, values in _quantities(rows, group, settings):
            keys = [(*target, attack, quantity) for target in group.targets]
            verdicts = [tests[key] for key in keys if key in tests]
            records.append(
                {
                    **shared,
                    "attack": attack,
                    "role": role,
                    "quantity": quantity,
                    "networks": len(values),
                    "mean": values.mean(),
                    "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                    "lowest": values.min(),
                    "highest": values.max(),
                    # What no test compares is better nowhere and worse nowhere, but nothing says so.
                    "better_on": verdicts.count("attack") if verdicts else np.nan,
                    "worse_on": verdicts.count("reference") if verdicts else np.nan,
                }
            )
    return pd.DataFrame(records, columns=list(COLUMNS))


def _quantities(rows: Rows, group: _Group, settings: statistics.Settings) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield attack, role, quantity and its values on the networks of a group that have it."""
    # A rank means something among the same attacks alone.
    shared = set.intersection(
        *({attack.name for attack in rows.attacks_on(*target, compared=True)} for target in group.targets)
    )
    for role, metrics in ranking.by_role(rows, settings).items():
        places: dict[str, list[float]] = {}
        for target in group.targets if metrics else ():
            found = ranking.rank(rows, [target], metrics, names=shared)
            for attack, mean in zip(found.attacks, found.mean, strict=True):
                places.setdefault(attack.name, []).append(mean)
        for name, values in places.items():
            yield name, role, RANK, np.array(values)
    means = [(target, pairs.averaged(rows, target)) for target in group.targets]
    for attack in rows.attacks:
        own = [values[attack.name] for _, values in means if attack.name in values]
        for metric in pairs.directed(rows) if own else ():
            of_networks = np.array([statistics.mean(part[metric.column].to_numpy()) for part in own])
            of_networks = of_networks[~np.isnan(of_networks)]
            if len(of_networks):
                yield attack.name, judging.role(metric.column, settings), metric.column, of_networks


def _sections(
    rows: Rows, groups: Sequence[_Group], frame: pd.DataFrame, settings: statistics.Settings
) -> Iterator[tuple[str, list[tuple[str, int]], list[str], list[list[Cell]]]]:
    """Yield title, columns (quantity and decimals), their headings and the lines, for each group and role."""
    attacks = {attack.name: attack for attack in rows.attacks}
    shown = ranking.by_role(rows, settings)
    for group in groups:
        for role, metrics in shown.items():
            part = frame[(frame["dataset"] == group.dataset) & (frame["models"] == " ".join(group.seeds))]
            part = part[part["role"] == role]
            if part.empty:
                continue
            columns = [(RANK, 2), *((metric.column, metric.decimals) for metric in metrics)]
            columns = [column for column in columns if column[0] in set(part["quantity"])]
            heads = {
                RANK: "Mean rank \u2193",
                **{metric.column: f"{metric.label} {metric.arrow}" for metric in metrics},
            }
            lines = []
            for name, own in part.groupby("attack", sort=False):
                found = own.set_index("quantity")
                if RANK in found.index:
                    lines.append([Cell(attacks[str(name)].title), *(_cell(found, *column) for column in columns)])
            title = f"{group.dataset}: " + ", ".join(f"{model} (seed {seed})" for model, seed in group.seeds.items())
            title += ", judges" if role == judging.JUDGE else ""
            yield title, columns, [heads[quantity] for quantity, _ in columns], lines


def _cell(found: pd.DataFrame, quantity: str, decimals: int) -> Cell:
    if quantity not in found.index:
        return Cell(number(np.nan, 0))
    entry = found.loc[quantity]
    ends = dict.fromkeys(number(entry[end], decimals) for end in ("lowest", "highest"))
    text = " to ".join(ends)
    tested = not np.isnan(entry["better_on"])
    return Cell(f"{text} ({entry['better_on']:.0f}/{entry['worse_on']:.0f})" if tested else text)


def _note(rows: Rows, settings: statistics.Settings) -> str:
    label = pairs.labels(rows)[settings.reference]
    return (
        "Networks that differ in the seed of their training alone: the lowest and the highest of their mean ranks and means, and "
        f"in brackets on how many of them the attack is better / worse than {label} (Holm's p of the table comparison). "
        f"{reading.COMMON}"
    )


def _markdown(rows: Rows, groups: Sequence[_Group], frame: pd.DataFrame, settings: statistics.Settings) -> str:
    if not groups:
        return "No two networks differ in the seed of their training alone.\n"
    text = _note(rows, settings) + "\n"
    for title, _, heads, lines in _sections(rows, groups, frame, settings):
        text += f"\n### {title}\n\n{markdown_table(['Attack', *heads], lines)}"
    return text


def _latex(rows: Rows, groups: Sequence[_Group], frame: pd.DataFrame, settings: statistics.Settings) -> str:
    tables = []
    for place, (title, _, heads, lines) in enumerate(_sections(rows, groups, frame, settings), start=1):
        caption = tex(f"{title}. {_note(rows, settings)}")
        tables.append(latex_table(["Attack", *map(tex, heads)], [("", lines)], caption, f"training-seeds-{place}"))
    return "\n".join(tables)
