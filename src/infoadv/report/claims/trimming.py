"""Q4, the flow of the full network is easier to shift than that of the trimmed one.

D of the trimmed network's examples in the full network less D of the full network's in the trimmed one, paired if 10 images
are in both, else not; and the rates at which they transfer, on the images in both. Examples count if they fool the network
they were made on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infoadv.report import flow, statistics
from infoadv.report.claims.controls import beside_noise
from infoadv.report.claims.outcomes import (
    DECIDING,
    Comparison,
    Outcome,
    absent,
    changed,
    missing,
    rates,
    record,
    rows_of,
)


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q4."""
    yield from rows_of(_comparisons(read), read)
    yield from _transfer_rates(read)


def _passed_on(read: flow.Flow, estimator: str, trimmed: flow.Network) -> tuple[flow.Group, flow.Group]:
    """Return the trimmed network's examples in the full network, and the full network's in the trimmed one."""
    pairs = ((read.main, trimmed), (trimmed, read.main))
    groups = [network.select(estimator, read.jsma, source=source.name) for network, source in pairs]
    return groups[0].made, groups[1].made


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    statistic, control = "D of examples, trimmed to full", "full to trimmed"
    trimmed = read.role("trimmed")
    if trimmed is None:
        yield Comparison("Q4", DECIDING, statistic, control, "", absent(missing(read, "trimmed")))
        return

    def measure(estimator: str, profile: str) -> Outcome:
        groups = _passed_on(read, estimator, trimmed)
        values = [group.deviation(profile) for group in groups]
        one, other, images = flow.paired(*values)
        if len(images) >= statistics.MINIMUM:
            found, test = statistics.paired(one, other, read.settings), "Wilcoxon"
        else:
            apart = [value.to_numpy(dtype=float) for value in values]
            found, test = statistics.unpaired(apart[0], apart[1], read.settings), "Mann-Whitney"
        return Outcome(found, test, rates(*groups), changed(*(group.table for group in groups)))

    def others(network: flow.Network, estimator: str) -> flow.Group:
        return _passed_on(read, estimator, trimmed)[network.name == trimmed.name]

    yield Comparison("Q4", DECIDING, statistic, control, f"{read.main.name}, {trimmed.name}", measure)
    yield from beside_noise("Q4", read, [read.main, trimmed], others)


def _transfer_rates(read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the row of Q4 that compares how often examples transfer, on the images that have both."""
    trimmed = read.role("trimmed")
    statistic, control = "transfer rate, trimmed to full", "full to trimmed"
    if trimmed is None:
        yield record("Q4", DECIDING, statistic, control, Outcome(reason=missing(read, "trimmed")))
        return
    groups = _passed_on(read, read.estimator, trimmed)
    one, other, _ = flow.paired(*(group.table.set_index("index")["success"].astype(float) for group in groups))
    features = changed(*(group.table for group in groups))
    outcome = Outcome(statistics.mcnemar(one, other, read.settings), "McNemar", rates(*groups), features)
    yield record("Q4", DECIDING, statistic, control, outcome, network=f"{read.main.name}, {trimmed.name}")
