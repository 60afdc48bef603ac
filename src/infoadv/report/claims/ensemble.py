"""Q5c, attacking an ensemble transfers better than attacking a single network.

The ensemble holds all networks **but the one that it is judged on**: an ensemble that has seen the judged network attacks it
and does not transfer to it. In each network, successes of the ensemble's examples less those of the other network whose
examples succeed most often there; that this network is chosen by the rates that are compared favours it, and so counts against
the claim. On both sides examples count that fool what they were made for and moved.

An ensemble needs more changed features than its easiest member. Both sides are compared at one size, the longer example of an
image cut to as many changed features as the shorter one (:mod:`infoadv.report.claims.sizes`); the rows at native size stand
beside. The networks of an image are averaged before the test, so that an image counts once; each network has a row of its own,
which decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import (
    CONTROL,
    DECIDING,
    Outcome,
    missing,
    pooled,
    rates,
    record,
    sized,
    whole_table,
)
from infoadv.report.claims.sizes import pair

_STATISTIC = "success of the ensemble's examples"
_READINGS = ((DECIDING, "as many features", False), (CONTROL, "native size", True))


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5c: over all networks, and for each of them beside, of one size and at native size."""
    if not read.transfer or not read.section.get("ensembles"):
        reason = missing(read, "ensembles" if read.transfer else "transfer")
        control = f"best single other network, {_READINGS[0][1]}, all networks"
        yield record("Q5c", DECIDING, _STATISTIC, control, Outcome(reason=reason))
        return
    for role, size, native in _READINGS:
        yield from _compared(read, role, size, native=native)


def _compared(read: flow.Flow, role: str, size: str, *, native: bool) -> Iterator[dict[str, Any]]:
    differences, single, sides = [], [], []
    attacked: set[int] = set()
    for network in read.transfer:
        joint = str(read.ensemble(network))
        whole = network.select(read.estimator, read.jsma, source=joint)
        found_pairs = {
            other: pair(read, network, read.estimator, joint, other, native=native) for other in read.others(network)
        }
        source = max(found_pairs, key=lambda other: found_pairs[other][1].rate if len(found_pairs[other][1]) else -1.0)
        both = found_pairs[source]
        one, other, images = flow.paired(*(group.table.set_index("index")["success"].astype(float) for group in both))
        differences.append(pd.Series(one - other, index=images, dtype=float))
        sides.append(both)
        attacked |= set(whole.images)
        found = statistics.mcnemar(one, other, read.settings)
        sizes = sized(*(group.table for group in both))
        outcome = Outcome(found, "McNemar", rates(*both), left_out=len(whole) - found.n, sizes=sizes)
        control = f"those of {source}, {size}, in {network.name}"
        single.append(record("Q5c", CONTROL, _STATISTIC, control, outcome, network=network.name))
    values = pd.concat(differences).groupby(level=0).mean().to_numpy()
    found = statistics.paired(values, np.zeros(len(values)), read.settings)
    columns = [list(side) for side in zip(*sides, strict=True)]
    success = " / ".join(pooled(side) for side in columns)
    names = ", ".join(network.name for network in read.transfer)
    sizes = sized(*(whole_table(side) for side in columns))
    outcome = Outcome(found, "Wilcoxon", success, left_out=len(attacked) - found.n, sizes=sizes)
    control = f"best single other network, {size}, all networks"
    yield record("Q5c", role, _STATISTIC, control, outcome, network=names)
    yield from single
