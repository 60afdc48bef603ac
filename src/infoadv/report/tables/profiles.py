"""What was measured in each network: inputs, success, size of the change, and how far the profiles moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.rendering import Cell, Table, interval, latex_table, markdown_table, number, tex
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}

COLUMNS = (
    "model",
    "source",
    "attack",
    "condition",
    "n",
    "success_rate",
    "did_nothing",
    "n_changed",
    "l2",
    "features",
    "features_share",
    *(f"d_{profile}{suffix}" for profile in flow.PROFILES for suffix in ("", "_low", "_high")),
    "dead",
)

_CONDITIONS = ("clean", "native", "matched", "noise", "matched_noise", "class")
_NAMES = {"matched_noise": "noise, matched", "class": "clean, adversarial class"}


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from flow artefacts; other estimators add their D of OIP as ``d_oip_{estimator}``.

    Counted are the images that the network classifies correctly when clean, of an untrained one all. Means, D among them,
    are over the inputs that differ from the clean image. Raises ``InfoadvError`` as ``infoadv.report.flow.load`` does.
    """
    read = flow.load(inputs, specification)
    columns = [*COLUMNS, *(f"d_oip_{estimator}" for estimator in read.estimators[1:])]
    frame = pd.DataFrame(list(_records(read)), columns=columns)
    sections = list(_sections(frame, read, specification))
    share = bool(frame["features_share"].notna().any())
    controls = [f"D(OIP), {estimator}" for estimator in read.estimators[1:]]
    header = ["Attack", "Made on", "Inputs", "n", "Success", "Did nothing", "L2", "Features", *["Share"][: int(share)]]
    header += ["D(IIP)", "D(OIP)", "D(IOC)", *controls, "Dead maps"]
    sections = [(title, [line[:8] + line[8 + (not share) :] for line in lines]) for title, lines in sections]
    note = (
        "n: images that the network classifies correctly when clean (untrained network: all). L2, changed features and D, "
        f"the overall difference of a profile from the clean image's in clean spreads ({read.estimator} estimator; a "
        "reconstruction), are means over the inputs that were changed at all, D with its bootstrap interval."
    )
    if "quantile" in read.estimators:
        note += f" {flow.BINS}"
    markdown = f"{note}\n"
    for title, lines in sections:
        markdown += f"\n### {title}\n\n{markdown_table(header, lines, left=3)}"
    latex = latex_table([tex(name) for name in header], sections, tex(note), "profiles", left=3)
    return Table(frame, markdown, latex)


def _records(read: flow.Flow) -> Iterator[dict[str, Any]]:
    for network in read.networks.values():
        group = network.groups[read.estimator]
        kinds = group.table[["source", "attack", "condition"]].drop_duplicates()
        kinds = kinds[kinds["condition"].isin(_CONDITIONS)]
        known = [*read.attacks, read.jsma]
        place = [
            (
                row.source not in ("", network.name),
                row.source,
                known.index(row.attack) if row.attack in known else -1,
                row.attack,
                _CONDITIONS.index(row.condition),
            )
            for row in kinds.itertuples()
        ]
        for position in sorted(range(len(kinds)), key=lambda number: place[number]):
            source, attack, condition = (str(part) for part in kinds.iloc[position])
            yield _record(network, source, attack, condition, read)


def _record(network: flow.Network, source: str, attack: str, condition: str, read: flow.Flow) -> dict[str, Any]:
    clean = condition == "clean"
    group = network.clean(read.estimator) if clean else network.select(read.estimator, attack, condition, source)
    moved = group if clean else group.moved
    control = clean or condition == "class"
    record: dict[str, Any] = {
        "model": network.name,
        "source": source,
        "attack": attack,
        "condition": condition,
        "n": len(group),
        "success_rate": float("nan") if control or not network.trained else group.rate,
        "did_nothing": float("nan") if control else group.idle,
        "n_changed": 0 if clean else len(moved),
        "l2": float("nan") if control else statistics.mean(moved.table["l2"].to_numpy()),
        "features": float("nan") if control else statistics.mean(moved.table["features"].to_numpy()),
        "dead": float(np.mean(moved.values["dead"])) if len(moved) else float("nan"),
    }
    record["features_share"] = record["features"] / network.features
    for profile in flow.PROFILES:
        # Of another image D is about the square root of 2 by construction.
        values = np.full(0, np.nan) if control else moved.table[f"d_{profile}"].to_numpy(dtype=float)
        record[f"d_{profile}"] = statistics.mean(values)
        record[f"d_{profile}_low"], record[f"d_{profile}_high"] = statistics.bootstrap(values, read.settings)
    for estimator in read.estimators[1:]:
        other = network.select(estimator, attack, condition, source).moved
        values = np.full(0, np.nan) if control else other.table["d_oip"].to_numpy(dtype=float)
        record[f"d_oip_{estimator}"] = statistics.mean(values)
    return record


def _sections(
    frame: pd.DataFrame, read: flow.Flow, specification: Mapping[str, Any]
) -> Iterator[tuple[str, list[list[Cell]]]]:
    for model, part in frame.groupby("model", sort=False):
        lines = []
        for row in part.to_dict("records"):
            label = attack_of(row["attack"], specification).label if row["attack"] else "Clean"
            deviations = [_interval(row, f"d_{profile}") for profile in flow.PROFILES]
            others = [Cell(number(row[f"d_oip_{estimator}"], 2)) for estimator in read.estimators[1:]]
            lines.append(
                [
                    Cell(label),
                    Cell(row["source"] if row["source"] != model else "itself"),
                    Cell("" if row["condition"] == "clean" else _NAMES.get(row["condition"], row["condition"])),
                    Cell(str(row["n"])),
                    Cell(number(row["success_rate"], 2)),
                    Cell(number(row["did_nothing"], 2)),
                    Cell(number(row["l2"], 2)),
                    Cell(number(row["features"], 0)),
                    Cell(number(row["features_share"], 3)),
                    *deviations,
                    *others,
                    Cell(number(row["dead"], 3)),
                ]
            )
        yield str(model), lines


def _interval(row: Mapping[str, Any], column: str) -> Cell:
    return Cell(interval(row[column], row[f"{column}_low"], row[f"{column}_high"], 2))
