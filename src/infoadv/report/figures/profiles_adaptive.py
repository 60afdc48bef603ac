"""Profiles of regular and adaptive JSMA on the distilled network: all inputs, those that were changed, and successes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from infoadv.execution.errors import InfoadvError
from infoadv.report import curves, flow
from infoadv.report.rendering import number
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow", "needs": ["distilled"]}
ABOUT = {"profiles_adaptive": "information profiles of regular and adaptive JSMA on the distilled network"}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts: rows all inputs, those that the attack changed, successes.

    An input that was left as it was is the clean one: it counts in the first row, as the paper counts failures.

    Raises ``InfoadvError`` if no distilled network is configured or its artefact is not given.
    """
    read = flow.load(inputs, specification)
    network = read.role("distilled")
    if network is None:
        raise InfoadvError("flow.distilled: not configured, or no flow artefact of its network was given.")
    section = read.section["distilled"]
    kinds = [("regular", 0), ("adaptive", 1)]
    groups = {kind: network.select(read.estimator, section[kind]) for kind, _ in kinds}
    chosen = {
        "All inputs, successes and failures, those left as they were included": groups,
        "Inputs that the attack changed": {kind: group.moved for kind, group in groups.items()},
        "Successes": {kind: group.won for kind, group in groups.items()},
    }
    rows = []
    for title, parts in chosen.items():
        found = []
        for kind, color in kinds:
            whole, look = groups[kind], curves.look(color)
            label = attack_of(section[kind], specification).label
            note = f"did nothing {number(whole.idle, 2)}"
            found.append(curves.Curve(label, parts[kind], look.color, look.line, look.marker, whole.rate, note))
        rows.append(curves.Row(title, network, [curves.clean(network, read, found), *found]))
    return curves.stack(rows, read)
