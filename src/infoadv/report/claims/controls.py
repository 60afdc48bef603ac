"""D of examples against D of noise of their size: the control that several questions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import CONTROL, Comparison, Measure, Outcome, rates, sized


def against_noise(read: flow.Flow, network: flow.Network, attack: str) -> Measure:
    """Return the measure of an attack's D in ``network``, less that of noise, over the examples made on the main network."""
    source = read.main.name

    def measure(estimator: str, profile: str) -> Outcome:
        whole = network.select(estimator, attack, source=source)
        won = whole.won
        control = network.select(estimator, attack, "noise", source).of(won.images).moved
        one, other, _ = flow.paired(won.deviation(profile), control.deviation(profile))
        found = statistics.paired(one, other, read.settings)
        told = rates(whole) if network.trained else ""
        return Outcome(found, "Wilcoxon", told, left_out=len(whole) - found.n, sizes=sized(won.table, control.table))

    return measure


def beside_noise(
    question: str,
    read: flow.Flow,
    networks: Sequence[flow.Network],
    others: Callable[[flow.Network, str], flow.Group],
) -> Iterator[Comparison]:
    """Yield D less that of noise with as many features, in each network for its own and for others' examples."""

    def measured(network: flow.Network, choose: Callable[[flow.Network, str], flow.Group]) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            group = choose(network, estimator)
            above = flow.above_noise(network, estimator, group, profile)
            values = above.groupby(group.table["index"]).mean().to_numpy(dtype=float)
            found = statistics.paired(values, np.zeros(len(values)), read.settings)
            return Outcome(found, "Wilcoxon", rates(group), left_out=len(values) - found.n, sizes=sized(group.table))

        return measure

    def own(network: flow.Network, estimator: str) -> flow.Group:
        return network.select(estimator, read.jsma).won

    for network in networks:
        control = f"noise, as many features, in {network.name}"
        yield Comparison(question, CONTROL, "D of own examples", control, network.name, measured(network, own))
        yield Comparison(question, CONTROL, "D of others' examples", control, network.name, measured(network, others))
