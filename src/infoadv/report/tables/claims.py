"""Whether the five findings on information profiles hold: the tests and verdicts of :mod:`infoadv.report.claims`, to be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import claims, flow, statistics
from infoadv.report.claims.outcomes import DECIDING
from infoadv.report.rendering import Cell, Table, interval, latex_table, markdown_table, number, short_p, tex

INPUTS = {"stage": "flow"}


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from flow artefacts; raise ``InfoadvError`` as ``infoadv.report.flow.load`` does."""
    read = flow.load(inputs, specification)
    frame = claims.tested(read, specification)
    return Table(frame, _markdown(frame, read), _latex(frame, read))


_NOTE = (
    "Supported: all deciding tests of a claim have an interval above the null value and a p value below "
    f"{statistics.ALPHA:g} after Holm's correction over all of them, which is the p printed; not testable: fewer than "
    f"{statistics.MINIMUM} images, or the networks are not there. D: overall difference of a profile from the clean image's, in "
    "clean spreads; profiles and D are a reconstruction. Values against a control are differences, but shares and accuracies "
    "against a number are themselves. Where two success rates, numbers of changed features or L2 stand, the second is the "
    "control's. As many features: the longer example of an image is cut to as many changed features as the shorter one. Left "
    "out: attacked images on which an attack failed, that miss one side, or that have not one size on all."
)
_NOTE_D = (
    "Comparisons of D for every profile and estimator, and controls: mean difference (mean correlation where the row says "
    "so) and bootstrap interval. Only OIP in the rows of the table before decides anything. Bold and italic: above and "
    f"below zero, p below {statistics.ALPHA:g} after Holm's correction (deciding values and the rest each by themselves)."
)


def _interval(row: Mapping[str, Any], *, marked: bool) -> Cell:
    text = interval(row["value"], row["low"], row["high"], 2)
    found = marked and row["p_holm"] < statistics.ALPHA
    return Cell(text, strong=found and row["low"] > 0, emphasis=found and row["high"] < 0)


def _verdicts(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return the head of the table of deciding tests, and its rows by claim; a claim's title tells the verdict."""
    header = ["Statistic", "Against", "Value [interval]", "p (Holm)", "n", "Success", "Features", "L2"]
    sections = []
    for question, part in frame[frame["role"] == DECIDING].groupby("question", sort=False):
        lines = []
        for row in part.to_dict("records"):
            left_out = f" ({row['left_out']} left out)" if row["left_out"] else ""
            lines.append(
                [
                    Cell(_named(row)),
                    Cell(row["control"]),
                    Cell(row["reason"]) if row["reason"] else _interval(row, marked=False),
                    Cell(short_p(row["p_holm"])),
                    Cell(f"{row['n']}{left_out}"),
                    Cell(row["success"] or number(float("nan"), 2)),
                    Cell(row["features"] or number(float("nan"), 2)),
                    Cell(row["l2"] or number(float("nan"), 2)),
                ]
            )
        first = part.iloc[0]
        sections.append((f"{question}, {first['statement']}: {first['verdict']}", lines))
    return header, sections


def _named(row: Mapping[str, Any]) -> str:
    """Return the statistic with the profile that it is of."""
    statistic = row["statistic"]
    if not row["profile"]:
        return statistic
    return re.sub(r"\bD\b", f"D({row['profile']})", statistic).replace("by profiles", f"by {row['profile']}")


def _of_deviation(frame: pd.DataFrame) -> pd.Series:
    """Return which rows compare D (n,) bool; the others compare rates and accuracies."""
    return frame["statistic"].str.contains(r"\bD\b")


def _deviations(frame: pd.DataFrame, read: flow.Flow) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return the comparisons of D by question and statistic, a column for each profile and estimator."""
    controls = read.estimators[1:]
    header = ["Against", "n", "Features", "L2", "OIP", "IIP", "IOC", *(f"OIP, {name}" for name in controls)]
    wanted = [(read.estimator, name) for name in ("OIP", "IIP", "IOC")] + [(name, "OIP") for name in controls]
    sections: dict[str, list[list[Cell]]] = {}
    per_profile = frame[_of_deviation(frame) & frame["value"].notna()]
    for (question, statistic, control), part in per_profile.groupby(["question", "statistic", "control"], sort=False):
        found = {(row["estimator"], row["profile"]): row for row in part.to_dict("records")}
        cells = [_interval(found[key], marked=True) if key in found else Cell(number(np.nan, 2)) for key in wanted]
        first = max(found.values(), key=lambda row: row["n"])
        sizes = (Cell(first[name] or number(np.nan, 0)) for name in ("features", "l2"))
        about = [Cell(str(control)), Cell(str(first["n"])), *sizes]
        sections.setdefault(f"{question}, {statistic}", []).append([*about, *cells])
    return header, list(sections.items())


def _rest(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return what is neither deciding nor a comparison of D: other profiles of Q2, rates of Q4 and Q5."""
    header = [
        "Statistic",
        "Against",
        "Profiles",
        "Estimator",
        "Value [interval]",
        "p (Holm)",
        "n",
        "Success",
        "Features",
        "L2",
    ]
    part = frame[(frame["role"] != DECIDING) & ~_of_deviation(frame)]
    sections: dict[str, list[list[Cell]]] = {}
    for row in part[part["value"].notna()].to_dict("records"):
        line = [
            *(Cell(row[key]) for key in ("statistic", "control", "profile", "estimator")),
            _interval(row, marked=False),
            Cell(short_p(row["p_holm"])),
            Cell(str(row["n"])),
            *(Cell(row[key] or number(float("nan"), 2)) for key in ("success", "features", "l2")),
        ]
        sections.setdefault(row["question"], []).append(line)
    return header, list(sections.items())


def _markdown(frame: pd.DataFrame, read: flow.Flow) -> str:
    text = f"{_NOTE}\n"
    for title, note, left, (header, sections) in _parts(frame, read):
        if title and sections:
            text += f"\n## {title}\n\n{note}\n"
        for name, lines in sections:
            text += f"\n### {name}\n\n{markdown_table(header, lines, left=left)}"
    return text


def _latex(frame: pd.DataFrame, read: flow.Flow) -> str:
    labels = ("claims", "claims-deviations", "claims-other")
    return "\n".join(
        latex_table([tex(name) for name in header], sections, tex(note), label, left=left)
        for label, (_, note, left, (header, sections)) in zip(labels, _parts(frame, read), strict=True)
        if sections
    )


def _parts(frame: pd.DataFrame, read: flow.Flow) -> list[tuple[str, str, int, tuple[list[str], list[Any]]]]:
    """Return title, note, number of left-aligned columns and content of the three parts of the table."""
    note = f"{_NOTE_D} {flow.BINS}" if "quantile" in read.estimators else _NOTE_D
    return [
        ("", _NOTE, 2, _verdicts(frame)),
        ("Comparisons of D and controls", note, 1, _deviations(frame, read)),
        ("Other rows", "Rows that decide nothing; their p values are corrected among themselves.", 4, _rest(frame)),
    ]
