"""Q5a and Q5b: whether examples deviate further where they were made, and where they transfer.

Examples for one network change more than twice as many features as those for another, and D grows with every feature. At
native size the answer to either question is therefore in part the size of the examples, and stands beside as a control.

- **Q5a**, examples made for a network deviate further in it than those made for another. In a network, D of its own example
  less that of another network's from the same image, the longer of the two cut to as many changed features as the shorter one
  (:mod:`infoadv.report.claims.sizes`), averaged over the other networks. The paper draws three networks and claims it of each.
  A mean over them can be the doing of one, so **every network decides**: the claim holds if its test holds in each of them. The
  mean over all networks stands beside, the networks of an image averaged before the test, so that an image counts once.

- **Q5b**, transferable examples deviate further than non-transferable ones, in a network that they were not made for. These are
  examples of different images, and to cut one would change whether it transfers; so their sizes are matched by stratum. Levels
  of D, sizes and rates of transfer differ between the pairs of networks, which alone makes a difference where there is none
  (Simpson's paradox). D and transfer are centred within each stratum: a pair (network, source), and in it up to five sets of
  examples with similarly many changed features, at least ten in each. Sizes still differ a little within a stratum, so a
  straight line takes out what D owes to them there, and with it what transfer and size share: the number is a lower bound.
  The mean difference within strata counts. Its interval resamples images, its p value permutes transfer within strata, an
  image's together. How much the line has to take out is a row of its own: the difference in changed features that is left
  within strata. Beside stand the rows within pairs of networks alone, each network, and D less that of noise with as many
  features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    missing,
    pooled,
    record,
    rows_of,
    sized,
    whole_table,
)
from infoadv.report.claims.sizes import adjusted, pair, strata

_OWN, _EQUAL = "D of own examples", "others' examples, as many features"
_TRANSFERABLE, _SIMILAR = "D of transferable", "non-transferable, similarly many features"

#: A value of each of others' examples in a network, under an estimator.
Value = Callable[[flow.Network, str, flow.Group], pd.Series]


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5a and Q5b."""
    networks = read.transfer
    if not networks:
        reason = absent(missing(read, "transfer"))
        nothing = [
            Comparison("Q5a", DECIDING, _OWN, _EQUAL, "", reason),
            Comparison("Q5b", DECIDING, _TRANSFERABLE, f"{_SIMILAR}, all networks", "", reason),
        ]
        yield from rows_of(nothing, read)
        return
    yield from rows_of(_own_and_others(read), read)
    yield from rows_of(_transferable_and_not(read), read)

    def features(network: flow.Network, estimator: str, group: flow.Group) -> pd.Series:
        return group.table["features"].astype(float)

    # Not by profile: the sizes are those of the images.
    left = _within(read, networks, read.estimator, features, by_size=True, adjust=False)
    names = ", ".join(network.name for network in networks)
    statistic = "changed features of transferable, left within strata"
    yield record("Q5b", CONTROL, statistic, f"{_SIMILAR}, all networks", left, network=names)


def _own_and_others(read: flow.Flow) -> Iterator[Comparison]:
    networks = read.transfer

    def own(chosen: Sequence[flow.Network], *, native: bool) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            differences, sides = [], []
            for network in chosen:
                pairs = [
                    pair(read, network, estimator, network.name, other, native=native) for other in read.others(network)
                ]
                found = [one.deviation(profile) - other.deviation(profile) for one, other in pairs]
                differences.append(pd.concat(found).dropna().groupby(level=0).mean())
                sides += pairs
            values = pd.concat(differences).groupby(level=0).mean().to_numpy()
            found_paired = statistics.paired(values, np.zeros(len(values)), read.settings)
            columns = [list(side) for side in zip(*sides, strict=True)]
            sizes = sized(*(whole_table(side) for side in columns))
            return Outcome(found_paired, "Wilcoxon", " / ".join(pooled(side) for side in columns), sizes=sizes)

        return measure

    names = ", ".join(network.name for network in networks)
    for network in networks:
        yield Comparison(
            "Q5a", DECIDING, f"{_OWN} in {network.name}", _EQUAL, network.name, own([network], native=False)
        )
    yield Comparison("Q5a", CONTROL, _OWN, f"{_EQUAL}, all networks", names, own(networks, native=False))
    yield Comparison(
        "Q5a", CONTROL, _OWN, "others' examples, native size, all networks", names, own(networks, native=True)
    )
    for network in networks:
        control = f"others' examples, native size, in {network.name}"
        yield Comparison("Q5a", CONTROL, _OWN, control, network.name, own([network], native=True))
    yield from beside_noise("Q5a", read, networks, read.of_others)


def _within(
    read: flow.Flow,
    chosen: Sequence[flow.Network],
    estimator: str,
    valued: Value,
    *,
    by_size: bool,
    adjust: bool = True,
) -> Outcome:
    """Compare a value of transferable and of other examples within pairs of networks, and in these by size if asked.

    With ``by_size`` and ``adjust`` the value is also adjusted for the sizes that differ within a stratum.
    """
    tables = []
    for network in chosen:
        others = read.of_others(network, estimator)
        table = others.table.assign(
            value=valued(network, estimator, others), cell=network.name + " " + others.table["source"]
        )
        for _, part in table.groupby("cell", sort=False):
            sizes, value = (part[name].to_numpy(dtype=float) for name in ("features", "value"))
            stratum = strata(sizes) if by_size else np.zeros(len(part), dtype=int)
            if by_size and adjust:
                value = adjusted(value, sizes, stratum)
            tables.append(part.assign(value=value, cell=part["cell"] + " " + stratum.astype(str).astype(object)))
    if not tables:
        return Outcome(reason="no examples of other networks")
    table = pd.concat(tables, ignore_index=True)
    values, fools, cell, images = (table[name].to_numpy() for name in ("value", "success", "cell", "index"))
    found = statistics.within(values, fools, cell, images, read.settings)
    sides = [table[table["success"] == fools] for fools in (True, False)]
    counts = " / ".join(str(side["index"].nunique()) for side in sides)
    reason = "" if found.n else f"transferable and non-transferable images: {counts}; no pair of networks has both"
    success = pooled([read.of_others(network, estimator) for network in chosen])
    return Outcome(found, "permutation", success, reason=reason, sizes=sized(*sides))


def _transferable_and_not(read: flow.Flow) -> Iterator[Comparison]:
    networks = read.transfer

    def transferable(chosen: Sequence[flow.Network], *, by_size: bool, noise: bool = False) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            def deviation(network: flow.Network, estimator: str, group: flow.Group) -> pd.Series:
                if noise:
                    return flow.above_noise(network, estimator, group, profile)
                return group.table[f"d_{profile}"]

            return _within(read, chosen, estimator, deviation, by_size=by_size)

        return measure

    names = ", ".join(network.name for network in networks)
    measure = transferable(networks, by_size=True)
    yield Comparison("Q5b", DECIDING, _TRANSFERABLE, f"{_SIMILAR}, all networks", names, measure)
    for network in networks:
        control, measure = f"{_SIMILAR}, in {network.name}", transferable([network], by_size=True)
        yield Comparison("Q5b", CONTROL, _TRANSFERABLE, control, network.name, measure)
    measure = transferable(networks, by_size=False)
    yield Comparison("Q5b", CONTROL, _TRANSFERABLE, "non-transferable, native size, all networks", names, measure)
    statistic = "D, less that of noise with as many features, of transferable"
    measure = transferable(networks, by_size=False, noise=True)
    yield Comparison("Q5b", CONTROL, statistic, "non-transferable, native size, all networks", names, measure)
