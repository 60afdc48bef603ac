"""Q3, adaptive JSMA deviates much further than regular JSMA on the distilled network.

D adaptive less D regular, paired by image, over **all** attacked images. The paper aggregates "adversarial inputs (including
successful and failed ones)", and on a distilled network the usual failure of regular JSMA is that its gradient vanishes and it
changes nothing: such an input is the clean one, its D is 0, and it counts. To leave it out would keep of the regular attack
only the few images on which it did something, and of the adaptive one all.

One may object that a D of 0 is no flow that was shifted and that the claim then holds by the failures of the regular attack.
That is what the paper says it shows ("explains why defensive distillation fails to defend against adaptive attacks"). The
other readings stand beside as controls: on the images that both attacks changed, on those on which both succeed, and each
attack against noise of its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import (
    CONTROL,
    DECIDING,
    Comparison,
    Measure,
    Outcome,
    absent,
    missing,
    rates,
    rows_of,
    sized,
)

#: Which inputs of an attack count.
Reading = Callable[[flow.Group], flow.Group]


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q3."""
    yield from rows_of(_comparisons(read), read)


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    adaptive, regular = "D of adaptive JSMA", "regular JSMA, all inputs, unchanged ones as 0"
    network = read.role("distilled")
    if network is None:
        yield Comparison("Q3", DECIDING, adaptive, regular, "", absent(missing(read, "distilled")))
        return
    section = read.section["distilled"]

    def between(one: tuple[str, str], other: tuple[str, str], reading: Reading) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            groups = [network.select(estimator, section[kind], condition) for kind, condition in (one, other)]
            parts = [reading(group) for group in groups]
            first, second, _ = flow.paired(*(part.deviation(profile) for part in parts))
            found = statistics.paired(first, second, read.settings)
            both = len(set(groups[0].images) & set(groups[1].images))
            native = [
                group for group, (_, condition) in zip(groups, (one, other), strict=True) if condition == "native"
            ]
            sizes = sized(*(part.table for part in parts))
            return Outcome(found, "Wilcoxon", rates(*native), left_out=both - found.n, sizes=sizes)

        return measure

    sides = ("adaptive", "native"), ("regular", "native")
    readings: tuple[tuple[str, str, Reading], ...] = (
        (DECIDING, regular, lambda group: group),
        (CONTROL, "regular JSMA, images that both changed", lambda group: group.moved),
        (CONTROL, "regular JSMA, both successful", lambda group: group.won),
    )
    for role, control, reading in readings:
        yield Comparison("Q3", role, adaptive, control, network.name, between(*sides, reading))
    for kind, label in (("adaptive", adaptive), ("regular", "D of regular JSMA")):
        measure = between((kind, "native"), (kind, "noise"), lambda group: group.moved)
        yield Comparison("Q3", CONTROL, label, "noise, as many features", network.name, measure)
