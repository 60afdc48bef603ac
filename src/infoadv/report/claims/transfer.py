"""Q5a and Q5b: whether examples deviate further where they were made, and where they transfer.

- Q5a, examples made for a network deviate further in it than those made for another: D own less the mean D of the others,
  paired by network and image.
- Q5b, transferable examples deviate further than non-transferable ones, in a network that they were not made for. Levels of
  D and rates of transfer differ between the pairs of networks, which alone makes a difference where there is none
  (Simpson's paradox): D and transfer are centred within each pair (network, source), and the mean difference within pairs
  counts. Its interval resamples images, its p value permutes transfer within pairs, an image's together.

For Q5a the networks of an image are averaged before the test, so that an image counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims.controls import beside_noise
from infoadv.report.claims.outcomes import (
    CONTROL,
    DECIDING,
    Comparison,
    Measure,
    Outcome,
    absent,
    changed,
    missing,
    pooled,
    rows_of,
)


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5a and Q5b."""
    yield from rows_of(_comparisons(read), read)


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    own_text, other_text = ("D of own examples", "others' examples"), ("D of transferable", "non-transferable")
    networks = read.transfer
    if not networks:
        reason = missing(read, "transfer")
        yield Comparison("Q5a", DECIDING, *own_text, "", absent(reason))
        yield Comparison("Q5b", DECIDING, *other_text, "", absent(reason))
        return

    def own(chosen: Sequence[flow.Network]) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            differences = []
            wholes, others = [], []
            for network in chosen:
                whole, other = network.select(estimator, read.jsma), read.of_others(network, estimator)
                mean = other.table.groupby("index")[f"d_{profile}"].mean()
                one, two, images = flow.paired(whole.won.deviation(profile), mean)
                differences.append(pd.Series(one - two, index=images, dtype=float))
                wholes.append(whole)
                others.append(other)
            values = pd.concat(differences).groupby(level=0).mean().to_numpy()
            found = statistics.paired(values, np.zeros(len(values)), read.settings)
            features = changed(
                *(pd.concat([group.table for group in side]) for side in ([w.won for w in wholes], others))
            )
            return Outcome(found, "Wilcoxon", f"{pooled(wholes)} / {pooled(others)}", features)

        return measure

    def transferable(chosen: Sequence[flow.Network], *, noise: bool = False) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            others = [read.of_others(network, estimator) for network in chosen]
            tables = []
            for network, other in zip(chosen, others, strict=True):
                above = flow.above_noise(network, estimator, other, profile) if noise else other.table[f"d_{profile}"]
                tables.append(other.table.assign(value=above, cell=network.name + " " + other.table["source"]))
            table = pd.concat(tables, ignore_index=True)
            value, fools, cell, images = (table[name].to_numpy() for name in ("value", "success", "cell", "index"))
            found = statistics.within(value, fools, cell, images, read.settings)
            sides = [table[table["success"] == fools] for fools in (True, False)]
            counts = " / ".join(str(side["index"].nunique()) for side in sides)
            reason = (
                "" if found.n else f"transferable and non-transferable images: {counts}; no pair of networks has both"
            )
            return Outcome(found, "permutation", pooled(others), changed(*sides), reason=reason)

        return measure

    for label, role, chosen in (
        ("all networks", DECIDING, networks),
        *((f"in {network.name}", CONTROL, [network]) for network in networks),
    ):
        names = ", ".join(network.name for network in chosen)
        yield Comparison("Q5a", role, own_text[0], f"{own_text[1]}, {label}", names, own(chosen))
        yield Comparison("Q5b", role, other_text[0], f"{other_text[1]}, {label}", names, transferable(chosen))
    statistic = "D, less that of noise with as many features, of transferable"
    names = ", ".join(network.name for network in networks)
    measure = transferable(networks, noise=True)
    yield Comparison("Q5b", CONTROL, statistic, f"{other_text[1]}, all networks", names, measure)
    yield from beside_noise("Q5a", read, networks, read.of_others)
