"""Q5c, attacking the ensemble transfers better than attacking a single other network.

Successes of the ensemble's examples less those of the other network whose examples succeed most often there, paired by
network and image. On both sides examples count that fool what they were made for and moved; images without both are left out
and counted. The networks of an image are averaged before the test, so that an image counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import CONTROL, DECIDING, Outcome, changed, missing, pooled, rates, record


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5c: over all networks, and for each of them beside."""
    statistic, ensemble = "success of the ensemble's examples", read.section.get("ensemble")
    if not read.transfer or not ensemble:
        reason = missing(read, "ensemble" if read.transfer else "transfer")
        yield record("Q5c", DECIDING, statistic, "best single other network, all networks", Outcome(reason=reason))
        return
    differences, single, sides = [], [], []
    attacked: set[int] = set()
    for network in read.transfer:
        whole = network.select(read.estimator, read.jsma, source=str(ensemble))
        joint = whole.made
        singles = [
            network.select(read.estimator, read.jsma, source=other.name).made
            for other in read.transfer
            if other.name != network.name
        ]
        best = max(singles, key=lambda group: group.rate if len(group) else -1.0)
        one, other, images = flow.paired(
            *(group.table.set_index("index")["success"].astype(float) for group in (joint, best))
        )
        differences.append(pd.Series(one - other, index=images, dtype=float))
        sides.append((joint, best))
        attacked |= set(whole.images)
        source = str(best.table["source"].iloc[0]) if len(best) else "none"
        found = statistics.mcnemar(one, other, read.settings)
        features = changed(joint.table, best.table)
        outcome = Outcome(found, "McNemar", rates(joint, best), features, len(whole) - found.n)
        single.append(
            record("Q5c", CONTROL, statistic, f"those of {source}, in {network.name}", outcome, network=network.name)
        )
    values = pd.concat(differences).groupby(level=0).mean().to_numpy()
    found = statistics.paired(values, np.zeros(len(values)), read.settings)
    both = [list(side) for side in zip(*sides, strict=True)]
    success = " / ".join(pooled(side) for side in both)
    features = changed(*(pd.concat([group.table for group in side]) for side in both))
    names = ", ".join(network.name for network in read.transfer)
    outcome = Outcome(found, "Wilcoxon", success, features, len(attacked) - found.n)
    yield record("Q5c", DECIDING, statistic, "best single other network, all networks", outcome, network=names)
    yield from single
