"""What each attack achieves: success, distance, similarity, information and cost, a row per target model and attack.

A metric's value is its mean over the common images (:data:`infoadv.report.rows.COMMON`) on which the row's own attack
succeeds; cost and success are over all images; ``l2_median`` is over all images with failures at infinity. A control's metrics
are over all common images, whatever its own success, and it has no ``l2_median``, since it does not fail. The last row of a
target is the oracle over the compared L2 attacks. Budget-sweep attacks belong to the trade-off figure and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, oracle, statistics
from infoadv.report import rows as reading
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex, tex_arrow
from infoadv.report.rows import Rows, load

_LEADING = ("dataset", "model", "attack", "n", "asr_float", "asr")


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts; see :func:`infoadv.report.tables.write`."""
    rows = oracle.added(load(inputs, specification))
    settings = statistics.Settings.of(specification)
    frame, judges = _frame(rows, settings), judging.present(rows, settings.judges)
    return Table(frame, _markdown(rows, frame, judges), _latex(rows, frame, judges))


def _frame(rows: Rows, settings: statistics.Settings) -> pd.DataFrame:
    standard = [metric.column for metric in rows.metrics if metric.order is not None]
    extra = [metric.column for metric in rows.metrics if metric.order is None]
    intervals = ["asr_float", "asr", *standard]
    columns = [*_LEADING, *standard, "forwards", "backwards"]
    columns += [f"{column}_{end}" for column in intervals for end in ("low", "high")]
    columns += ["n_common", "l2_median", "l2_median_low", "l2_median_high"]
    columns += [name for column in extra for name in (column, f"{column}_low", f"{column}_high")]
    records = []
    for dataset, model in rows.targets:
        for attack in rows.attacks_on(dataset, model):
            own = rows.of(dataset, model, attack.name)
            success = own["success"].to_numpy()
            record: dict[str, Any] = {
                "dataset": dataset,
                "model": model,
                "attack": attack.name,
                "n": len(own),
                "asr_float": own["success_float"].mean(),
                "asr": success.mean(),
                "forwards": own["forwards"].mean(),
                "backwards": own["backwards"].mean(),
            }
            for column, share in (("asr_float", own["success_float"].to_numpy()), ("asr", success)):
                record[f"{column}_low"], record[f"{column}_high"] = statistics.proportion(share, settings)
            if not attack.control:
                median = statistics.median_with_failures(own["l2"].to_numpy(), success, settings)
                record["l2_median"], record["l2_median_low"], record["l2_median_high"] = median
            shared = rows.averaged(dataset, model, attack)
            record["n_common"] = len(shared)
            values = shared[[*standard, *extra]].to_numpy(dtype=np.float64)
            low, high = statistics.bootstrap_means(values, settings)
            for position, column in enumerate([*standard, *extra]):
                record[column] = statistics.mean(values[:, position])
                record[f"{column}_low"], record[f"{column}_high"] = low[position], high[position]
            records.append(record)
    return pd.DataFrame(records, columns=columns)


def _groups(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> list[tuple[str, list[str], str]]:
    """Split the columns into tables that a page can hold, judges apart; a metric without a single value is left out.

    Each is a title, columns, and what its caption has to say beside that of all.
    """
    shown = [metric for metric in rows.metrics if frame[metric.column].notna().any()]
    others = [metric for metric in shown if metric not in judges]
    distance = [metric.column for metric in others if metric.group == "distance"]
    similarity = [metric.column for metric in others if metric.group != "distance"]
    asked = [metric for metric in judges if metric in shown]
    return [
        (
            "Success, distance and cost",
            ["asr_float", "asr", "n_common", "l2_median", *distance, "forwards", "backwards"],
            "",
        ),
        ("Similarity and information", similarity, ""),
        ("Judges", [metric.column for metric in asked], judging.note(asked)),
    ]


_PLAIN = {
    "asr_float": ("ASR float \u2191", r"ASR float $\uparrow$"),
    "asr": ("ASR \u2191", r"ASR $\uparrow$"),
    "n_common": ("n", "$n$"),
    "l2_median": ("L2 median \u2193", r"$L_2$ median $\downarrow$"),
    "forwards": ("Forwards", "Forwards"),
    "backwards": ("Backwards", "Backwards"),
}


def _heading(rows: Rows, column: str) -> tuple[str, str]:
    if column in _PLAIN:
        return _PLAIN[column]
    metric = rows.metric(column)
    plain, latex = (metric.short, tex(metric.short)) if metric.short else (metric.label, metric.tex)
    return f"{plain} {metric.arrow}".strip(), latex + tex_arrow(metric.better)


def _cells(rows: Rows, part: pd.DataFrame, columns: Sequence[str]) -> list[list[Cell]]:
    """Return the rows of one target model, the best value of the compared attacks strong."""
    attacks = {attack.name: attack for attack in rows.attacks}
    texts, strong, home = {}, {}, {}
    for column in columns:
        metric: Metric | None = None if column in _PLAIN else rows.metric(column)
        better = metric.better if metric else {"asr": "higher", "asr_float": "higher", "l2_median": "lower"}.get(column)
        decimals = metric.decimals if metric else {"l2_median": 3, "asr": 2, "asr_float": 2}.get(column, 0)
        values = part[column].to_numpy(dtype=np.float64)
        compared = np.array([attacks[name].compared for name in part["attack"]], dtype=bool)
        # Judged as printed: two values that read the same are equally good.
        printed = np.where(np.isfinite(values), np.round(values, decimals), np.nan)
        candidates = printed[compared & ~np.isnan(printed)]
        best = np.nan
        # Where all are equal nothing is best.
        if better in ("higher", "lower") and len(candidates) and candidates.min() < candidates.max():
            best = candidates.max() if better == "higher" else candidates.min()
        texts[column] = [number(value, decimals) for value in values]
        strong[column] = compared & (printed == best)
        home[column] = [metric is not None and metric.measured in attacks[name].optimises for name in part["attack"]]
    return [
        [
            Cell(attacks[name].title),
            *(Cell(texts[c][i], strong=bool(strong[c][i]), home=bool(home[c][i])) for c in columns),
        ]
        for i, name in enumerate(part["attack"])
    ]


def _parts(rows: Rows, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    parts = []
    for dataset, model in rows.targets:
        part = frame[(frame["dataset"] == dataset) & (frame["model"] == model)]
        if len(part):
            common = len(rows.common(dataset, model))
            parts.append((f"{dataset}, {model}: {part['n'].max()} images, {common} of them common", part))
    return parts


def _note(rows: Rows) -> str:
    note = f" {reading.COMMON}"
    if any(attack.control for attack in rows.attacks):
        note += " Control: over all common images, whatever its own success."
    if any(attack.oracle for attack in rows.attacks):
        note += " Oracle: on each image the success with the smallest L2 among the compared attacks that optimise L2; it is none."
    return note


def _markdown(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> str:
    groups = [group for group in _groups(rows, frame, judges) if group[1]]
    text = (
        "Metrics are means over the n common images on which the row's own attack succeeds; success and cost are over "
        "all images; L2 median over all images, failures infinite. Information in nats. Bold: best of the compared "
        f"attacks. \u2020: the metric that the attack itself optimises.{_note(rows)}"
        f"{''.join(more for _, _, more in groups)}\n"
    )
    for title, part in _parts(rows, frame):
        text += f"\n### {title}\n"
        for _, columns, _ in groups:
            header = ["Attack", *(_heading(rows, column)[0] for column in columns)]
            text += "\n" + markdown_table(header, _cells(rows, part, columns))
    return text


def _latex(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> str:
    note = (
        r"Metrics are means over the $n$ common images on which the row's own attack succeeds; success and cost are over all "
        r"images; median with failures infinite. Information in nats. Bold: best of the compared attacks; "
        rf"$^\dagger$: the metric that the attack itself optimises.{tex(_note(rows))}"
    )
    tables = []
    for title, columns, more in _groups(rows, frame, judges):
        if not columns:
            continue
        header = ["Attack", *(_heading(rows, column)[1] for column in columns)]
        sections = [(name, _cells(rows, part, columns)) for name, part in _parts(rows, frame)]
        label = "quality-" + title.split(maxsplit=1)[0].strip(",").lower()
        tables.append(latex_table(header, sections, f"{title}. {note}{tex(more)}", label))
    return "\n".join(tables)
