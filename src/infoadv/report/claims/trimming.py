"""Q4, the flow of the full network is easier to shift than that of the trimmed one.

D of the trimmed network's examples in the full network less D of the full network's in the trimmed one, and the rates at which
both fool the network that they were not made for, paired by image. The interval of D takes in that each network's clean spread is
an estimate (:mod:`infoadv.report.claims.spreads`); its p value does not, and the verdict asks for both. Examples count if
they fool the network they were made on.

The full network needs more changed features than the trimmed one, and with more features D and the rate both grow, whatever
network they were chosen on. Examples are therefore compared at one size (:mod:`infoadv.report.claims.sizes`): the longer of an
image's two is cut to as many changed features as the shorter one. This favours the trimmed network's examples, which are mostly
the shorter ones and stay whole, and so the claim; the rows at native size, where the claim has to stand against examples
twice as long, favour the other side. The claim is about how easily a flow is shifted, which is the shift for an effort: the
rows of one size decide, those at native size are controls, unpaired where fewer than 10 images are in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

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
    rates,
    record,
    rows_of,
    sized,
)
from infoadv.report.claims.sizes import equal, of_one_size
from infoadv.report.claims.spreads import interval

_DEVIATION, _RATE = "D of examples, trimmed to full", "transfer rate, trimmed to full"
#: The two readings: role, what is compared with, whether the examples are as they are.
_READINGS = ((DECIDING, "full to trimmed, as many features", False), (CONTROL, "full to trimmed, native size", True))


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q4."""
    yield from rows_of(_comparisons(read), read)
    yield from _transfer_rates(read)


def _passed_on(
    read: flow.Flow, estimator: str, trimmed: flow.Network, *, native: bool
) -> tuple[flow.Group, flow.Group]:
    """Return the trimmed network's examples in the full network, and the full network's in the trimmed one."""
    if native:
        return (
            read.main.select(estimator, read.jsma, source=trimmed.name).made,
            trimmed.select(estimator, read.jsma, source=read.main.name).made,
        )
    return of_one_size(
        equal(read, read.main, estimator, trimmed.name, read.main.name),
        equal(read, trimmed, estimator, read.main.name, trimmed.name),
    )


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    trimmed = read.role("trimmed")
    if trimmed is None:
        yield Comparison("Q4", DECIDING, _DEVIATION, _READINGS[0][1], "", absent(missing(read, "trimmed")))
        return

    def deviations(*, native: bool) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            groups, networks = _passed_on(read, estimator, trimmed, native=native), (read.main, trimmed)
            values = [group.deviation(profile) for group in groups]
            one, other, images = flow.paired(*values)
            if not native or len(images) >= statistics.MINIMUM:
                low, high = interval(list(zip(networks, groups, strict=True)), estimator, profile, read.settings)
                found = replace(statistics.paired(one, other, read.settings), low=low, high=high)
                test = "Wilcoxon"
            else:
                apart = [value.to_numpy(dtype=float) for value in values]
                found, test = statistics.unpaired(apart[0], apart[1], read.settings), "Mann-Whitney"
            return Outcome(found, test, rates(*groups), sizes=sized(*(group.table for group in groups)))

        return measure

    def others(network: flow.Network, estimator: str) -> flow.Group:
        return _passed_on(read, estimator, trimmed, native=True)[network.name == trimmed.name]

    names = f"{read.main.name}, {trimmed.name}"
    for role, control, native in _READINGS:
        yield Comparison("Q4", role, _DEVIATION, control, names, deviations(native=native))
    yield from beside_noise("Q4", read, [read.main, trimmed], others)


def _transfer_rates(read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q4 that compare how often examples fool the other network, on the images that have both."""
    trimmed = read.role("trimmed")
    if trimmed is None:
        yield record("Q4", DECIDING, _RATE, _READINGS[0][1], Outcome(reason=missing(read, "trimmed")))
        return
    for role, control, native in _READINGS:
        groups = _passed_on(read, read.estimator, trimmed, native=native)
        one, other, _ = flow.paired(*(group.table.set_index("index")["success"].astype(float) for group in groups))
        sizes = sized(*(group.table for group in groups))
        outcome = Outcome(statistics.mcnemar(one, other, read.settings), "McNemar", rates(*groups), sizes=sizes)
        yield record("Q4", role, _RATE, control, outcome, network=f"{read.main.name}, {trimmed.name}")
