"""Each attack against the reference attack, image by image, on the images where both succeed.

A control is compared on all images where the reference succeeds: it is not there to succeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv.execution.errors import InfoadvError
from infoadv.report import judging, statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex, tex_arrow
from infoadv.report.rows import Attack, Rows, load

COLUMNS = (
    "dataset",
    "model",
    "attack",
    "reference",
    "role",
    "metric",
    "n",
    "difference",
    "difference_low",
    "difference_high",
    "effect",
    "p",
    "p_holm",
    "better",
)


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts.

    The family of the Holm correction is all tests of one ``role`` on one target model: "judge" for the metrics that no attack
    was tuned on, ``statistics.judges``, "metric" for the others. A metric without a direction has no better side and is left
    out.

    Raises
    ------
    InfoadvError
        No input holds the reference attack of ``statistics.reference``.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    available = [attack.name for attack in rows.attacks if attack.sweep_of is None and not attack.control]
    if settings.reference not in available:
        raise InfoadvError(
            f"statistics.reference: {settings.reference!r} is not among the attacks of the table; "
            f"choose one of: {', '.join(available)}."
        )
    frame = _frame(rows, settings)
    return Table(frame, _markdown(rows, frame, settings), _latex(rows, frame, settings))


def _directed(rows: Rows) -> list[Metric]:
    return [metric for metric in rows.metrics if metric.better in ("higher", "lower")]


def _frame(rows: Rows, settings: statistics.Settings) -> pd.DataFrame:
    families = []
    for dataset, model in rows.targets:
        attacks = rows.attacks_on(dataset, model)
        if settings.reference not in [attack.name for attack in attacks]:
            continue
        records = [
            record
            for attack in attacks
            if attack.name != settings.reference
            for record in _compared(rows, dataset, model, attack, settings)
        ]
        family = pd.DataFrame(records, columns=list(COLUMNS))
        for role in judging.ROLES:
            mine = family["role"] == role
            family.loc[mine, "p_holm"] = statistics.holm(family.loc[mine, "p"].to_numpy(dtype=float))
        directions = {metric.column: metric.better for metric in rows.metrics}
        family["better"] = [
            _winner(row["difference"], row["effect"], row["p_holm"], directions[row["metric"]])
            for _, row in family.iterrows()
        ]
        families.append(family)
    families = [family for family in families if len(family)]
    return pd.concat(families, ignore_index=True) if families else pd.DataFrame(columns=list(COLUMNS))


def _compared(
    rows: Rows, dataset: str, model: str, attack: Attack, settings: statistics.Settings
) -> list[dict[str, Any]]:
    def of(name: str) -> pd.DataFrame:
        return rows.of(dataset, model, name).set_index("index").sort_index()

    ours, theirs = of(attack.name), of(settings.reference)
    theirs = theirs[theirs["success"]]
    if not attack.control:
        ours = ours[ours["success"]]
    both = ours.index.intersection(theirs.index)
    records = []
    for metric in _directed(rows):
        result = statistics.paired(
            ours.loc[both, metric.column].to_numpy(), theirs.loc[both, metric.column].to_numpy(), settings
        )
        records.append(
            {
                "dataset": dataset,
                "model": model,
                "attack": attack.name,
                "reference": settings.reference,
                "role": judging.role(metric.column, settings),
                "metric": metric.column,
                "n": result.n,
                "difference": result.difference,
                "difference_low": result.low,
                "difference_high": result.high,
                "effect": result.effect,
                "p": result.p,
            }
        )
    return records


def _winner(difference: float, effect: float, p: float, better: str) -> str:
    """Return who is better; a winner needs a significant test and a mean that points the same way."""
    if not p < statistics.ALPHA or difference * effect <= 0:
        return "no difference"
    return "attack" if (difference > 0) == (better == "higher") else "reference"


def _roles(rows: Rows, frame: pd.DataFrame) -> Iterator[tuple[str, list[Metric], list[tuple[str, list[list[Cell]]]]]]:
    """Yield each role that has any values, its metrics and sections; the first stands also without."""
    for role in judging.ROLES:
        metrics, sections = _sections(rows, frame[frame["role"] == role])
        if metrics or role == judging.METRIC:
            yield role, metrics, sections


def _sections(rows: Rows, frame: pd.DataFrame) -> tuple[list[Metric], list[tuple[str, list[list[Cell]]]]]:
    metrics = [metric for metric in _directed(rows) if frame.loc[frame["metric"] == metric.column, "n"].any()]
    attacks = {attack.name: attack for attack in rows.attacks}
    sections = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        lines = []
        for name, group in part.groupby("attack", sort=False):
            found = group.set_index("metric")
            line = [Cell(attacks[name].title), Cell(str(found["n"].max()))]
            for metric in metrics:
                entry = found.loc[metric.column]
                line.append(
                    Cell(
                        number(entry["difference"], metric.decimals, signed=True),
                        strong=entry["better"] == "attack",
                        emphasis=entry["better"] == "reference",
                        home=metric.measured in attacks[name].optimises,
                    )
                )
            lines.append(line)
        sections.append((f"{dataset}, {model}", lines))
    return metrics, sections


def _label(rows: Rows, name: str) -> str:
    return next(attack.label for attack in rows.attacks if attack.name == name)


def _note(rows: Rows, role: str, metrics: Sequence[Metric]) -> str:
    note = ""
    if any(attack.control for attack in rows.attacks):
        note += " Control: over the images on which the reference succeeds, whatever its own success."
    return note + judging.note(metrics) if role == judging.JUDGE else note


def _markdown(rows: Rows, frame: pd.DataFrame, settings: statistics.Settings) -> str:
    text = ""
    for role, metrics, sections in _roles(rows, frame):
        text += "\n## Judges\n\n" if role == judging.JUDGE else ""
        text += (
            f"Mean difference, attack minus {_label(rows, settings.reference)}, over the n images on which both succeed. "
            f"Bold: the attack is better, italic: the reference is better (Wilcoxon signed-rank, Holm-corrected over "
            f"these tests on a target model, {statistics.ALPHA:g}); otherwise no difference was found. "
            f"\u2020: the metric that the attack itself optimises.{_note(rows, role, metrics)}\n"
        )
        header = ["Attack", "n", *(f"{metric.label} {metric.arrow}" for metric in metrics)]
        for title, lines in sections:
            text += f"\n### {title}\n\n{markdown_table(header, lines)}"
    return text


def _latex(rows: Rows, frame: pd.DataFrame, settings: statistics.Settings) -> str:
    tables: list[str] = []
    for role, metrics, sections in _roles(rows, frame):
        # A page holds seven metrics beside the names.
        half = len(metrics) if len(metrics) <= 7 else (len(metrics) + 1) // 2
        for start in range(0, max(len(metrics), 1), max(half, 1)):
            chosen = metrics[start : start + half]
            caption = (
                f"Mean difference, attack minus {tex(_label(rows, settings.reference))}, over the $n$ images on which both "
                r"succeed. Bold: the attack is better, italic: the reference is better (Wilcoxon signed-rank, "
                rf"Holm-corrected over these tests on a target model, {statistics.ALPHA:g}). $^\dagger$: the metric that "
                rf"the attack itself optimises.{tex(_note(rows, role, chosen))}"
            )
            header = ["Attack", "$n$", *(metric.tex + tex_arrow(metric.better) for metric in chosen)]
            parts = [
                (title, [[*line[:2], *line[2 + start : 2 + start + half]] for line in lines])
                for title, lines in sections
            ]
            tables.append(latex_table(header, parts, caption, f"comparison-{len(tables) + 1}"))
    return "\n".join(tables)
