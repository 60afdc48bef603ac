"""Q5d, JSMA fails to generate transferable examples for deep_conv.

The paper notes it under its figure of three networks and gives no number. "Targeting" a network is, everywhere else in the
paper, made for it: the deciding test counts the examples made for deep_conv (``flow.isolated`` names the network that stands
for it). That nothing made for other networks fools deep_conv is the other way to read the note; it stands beside as a control.

"Fails" is a statement that something is absent, which no test of a difference can support. It is read as: fewer than one
example in ten transfers. The bound is no smaller because as many random features already fool a network on some of the
images, and no claim about JSMA can ask for less than that. An example transfers if it fools at least one of the other
networks of those that classify the clean image correctly; examples count that fool the network they were made for. The value is
the share of images whose example fools none, with Wilson's interval, against nine in ten by the exact binomial test. Beside it
stand the same share for the examples of each other network, because a note that singles out one network says that the others
are different; and the share of random features of the same number, less that of the examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims.outcomes import CONTROL, DECIDING, Outcome, missing, record, sized, whole_table
from infoadv.report.rendering import number

#: The share of examples that fool no other network, above which an attack fails to transfer.
NONE_TRANSFERS = 0.9


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5d."""
    name = read.section.get("isolated")
    statistic, control = "share of examples for {} that fool no other network", number(NONE_TRANSFERS, 1)
    judged = next((network for network in read.transfer if network.name == name), None)
    if judged is None:
        reason = missing(read, "isolated" if read.transfer else "transfer")
        yield record("Q5d", DECIDING, statistic.format("deep_conv"), control, Outcome(reason=reason))
        return
    for source in sorted(read.transfer, key=lambda network: network.name != name):
        groups = [other.select(read.estimator, read.jsma, source=source.name).made for other in _others(read, source)]
        role = DECIDING if source.name == name else CONTROL
        label = statistic.format(source.name)
        yield record("Q5d", role, label, control, _shares(groups, read), network=source.name)
    groups = [judged.select(read.estimator, read.jsma, source=source.name).made for source in _others(read, judged)]
    label = f"share of images whose examples for other networks do not fool {name}"
    yield record("Q5d", CONTROL, label, control, _shares(groups, read), network=judged.name)
    yield record(
        "Q5d",
        CONTROL,
        "share of images fooled by examples",
        "as many random features",
        _noise(read, judged),
        network=judged.name,
    )


def _others(read: flow.Flow, network: flow.Network) -> list[flow.Network]:
    return [other for other in read.transfer if other.name != network.name]


def _fools_any(groups: list[flow.Group]) -> pd.Series:
    """Return by image whether one of the examples fools."""
    return whole_table(groups).groupby("index")["success"].any()


def _shares(groups: list[flow.Group], read: flow.Flow) -> Outcome:
    """Return the share of images on which none of the examples fools."""
    from scipy.stats import binomtest

    spared = ~_fools_any(groups).to_numpy(dtype=bool)
    if len(spared) == 0:
        return Outcome(null=NONE_TRANSFERS)
    low, high = statistics.proportion(spared, read.settings)
    count, share = int(spared.sum()), float(spared.mean())
    p = float(binomtest(count, len(spared), NONE_TRANSFERS).pvalue)
    found = statistics.Paired(len(spared), share, low, high, p, share - NONE_TRANSFERS)
    success = " / ".join(number(group.rate, 2) for group in groups)
    return Outcome(found, "binomial", success, null=NONE_TRANSFERS, sizes=sized(whole_table(groups)))


def _noise(read: flow.Flow, source: flow.Network) -> Outcome:
    """Return the share of images on which an example fools another network, less that of as many random features."""
    sides = [
        [judged.select(read.estimator, read.jsma, condition, source.name).made for judged in _others(read, source)]
        for condition in ("native", "noise")
    ]
    one, other, _ = flow.paired(*(_fools_any(side).astype(float) for side in sides))
    success = " / ".join(number(float(np.mean(side)), 2) if len(side) else number(np.nan, 2) for side in (one, other))
    sizes = sized(*(whole_table(side) for side in sides))
    return Outcome(statistics.mcnemar(one, other, read.settings), "McNemar", success, sizes=sizes)
