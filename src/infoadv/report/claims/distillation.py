"""Q3, adaptive JSMA deviates much further than regular JSMA on the distilled network.

D adaptive less D regular, paired by image, over successes and failures; images that either attack left as they were are left
out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import (
    CONTROL,
    DECIDING,
    Comparison,
    Measure,
    Outcome,
    absent,
    changed,
    missing,
    rates,
    rows_of,
)


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q3."""
    yield from rows_of(_comparisons(read), read)


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    network = read.role("distilled")
    if network is None:
        reason = missing(read, "distilled")
        yield Comparison("Q3", DECIDING, "D of adaptive JSMA", "regular JSMA", "", absent(reason))
        return
    section = read.section["distilled"]

    def between(one: tuple[str, str], other: tuple[str, str], *, successes: bool = False) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            groups = [network.select(estimator, section[kind], condition) for kind, condition in (one, other)]
            parts = [group.won if successes else group.moved for group in groups]
            first, second, _ = flow.paired(*(part.deviation(profile) for part in parts))
            found = statistics.paired(first, second, read.settings)
            both = len(set(groups[0].images) & set(groups[1].images))
            native = [
                group for group, (_, condition) in zip(groups, (one, other), strict=True) if condition == "native"
            ]
            features = changed(*(part.table for part in parts))
            return Outcome(found, "Wilcoxon", rates(*native), features, both - found.n)

        return measure

    adaptive, regular = ("adaptive", "native"), ("regular", "native")
    features = "noise, as many features"
    yield Comparison("Q3", DECIDING, "D of adaptive JSMA", "regular JSMA", network.name, between(adaptive, regular))
    yield Comparison(
        "Q3",
        CONTROL,
        "D of adaptive JSMA",
        "regular JSMA, both successful",
        network.name,
        between(adaptive, regular, successes=True),
    )
    for kind, label in (("adaptive", "D of adaptive JSMA"), ("regular", "D of regular JSMA")):
        measure = between((kind, "native"), (kind, "noise"))
        yield Comparison("Q3", CONTROL, label, features, network.name, measure)
