"""Q2, different attacks lead to different flows.

On the images on which all attacks succeed at matched mean L2, so that all classes have one size: the cross-validated balanced
accuracy with which OIP tells the attacks apart, against chance; and an image's own accuracy by OIP less that by L2 alone,
paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from infoadv.report import classify, flow, statistics
from infoadv.report.claims.controls import against_noise
from infoadv.report.claims.outcomes import CONTROL, DECIDING, EXTRA, NONE, Comparison, Outcome, rates, record, rows_of
from infoadv.report.rendering import number
from infoadv.report.rows import attack_of


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q2."""
    yield from rows_of(_comparisons(read, specification), read)
    yield from _telling_apart(read)


def _comparisons(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[Comparison]:
    main, untrained = read.main, read.role("untrained")
    for name in read.attacks:
        statistic = f"D of {attack_of(name, specification).label}"
        measure = against_noise(read, main, name)
        yield Comparison("Q2", CONTROL, statistic, "noise of equal L2", main.name, measure)
        if untrained is not None:
            measure = against_noise(read, untrained, name)
            yield Comparison("Q2", CONTROL, statistic, "noise of equal L2; untrained network", untrained.name, measure)


def _telling_apart(read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q2: how well profiles tell the attacks apart at matched size, and whether better than L2.

    They rest on the images on which all attacks succeed in the main network, also in the untrained one.
    """
    statistic, better = "balanced accuracy of telling the attacks apart", "accuracy of an image by profiles"
    main, untrained = read.main, read.role("untrained")
    wanted = [(main, read.estimator, profiles) for profiles in (("oip",), ("ioc",), flow.PROFILES)]
    wanted += [(main, estimator, ("oip",)) for estimator in read.estimators[1:]]
    if untrained is not None:
        wanted += [(untrained, read.estimator, profiles) for profiles in (("oip",), flow.PROFILES)]
    chance = 1 / len(read.attacks) if read.attacks else float("nan")
    for place, (network, estimator, profiles) in enumerate(wanted):
        role = DECIDING if place == 0 else EXTRA if network is main else CONTROL
        note = "" if network is main else "; untrained network"
        outcomes = _recognised(read, network, estimator, profiles, chance)
        about = {"profile": ", ".join(flow.NAMES[profile] for profile in profiles), "estimator": estimator}
        about["network"] = network.name
        yield record("Q2", role, statistic, f"chance, {number(chance, 2)}{note}", outcomes[0], **about)
        yield record("Q2", role, better, f"accuracy by L2 alone{note}", outcomes[1], **about)


def _recognised(
    read: flow.Flow, network: flow.Network, estimator: str, profiles: Sequence[str], chance: float
) -> tuple[Outcome, Outcome]:
    """Return the accuracy by profiles against chance, and an image's accuracy by profiles less that by L2."""
    fooled = [read.main.select(estimator, name, "matched") for name in read.attacks]
    groups = {name: network.select(estimator, name, "matched", read.main.name).moved for name in read.attacks}
    won = [set(group.won.images) & set(groups[name].images) for name, group in zip(read.attacks, fooled, strict=True)]
    images = set.intersection(*won) if won else set()
    attacked = len(set().union(*(group.images for group in fooled)))
    about: dict[str, Any] = {"success": rates(*fooled), "left_out": attacked - len(images)}
    if len(groups) < 2:
        reason = f"{len(groups)} attack{'' if len(groups) == 1 else 's'}, 2 are needed"
        return Outcome(reason=reason, **about), Outcome(reason=reason, **about)
    if len(images) < statistics.MINIMUM:
        # The accuracies of so few images are not taken.
        few = Outcome(replace(NONE, n=len(images)), null=chance, **about)
        return few, replace(few, null=0.0)
    parts = {name: group.of(images) for name, group in groups.items()}
    classes = np.repeat(list(parts), len(images))
    places = np.concatenate([group.images for group in parts.values()])
    features = np.vstack([classify.vector(group, profiles) for group in parts.values()])
    sizes = np.vstack([classify.size(group) for group in parts.values()])
    full = classify.accuracy(features, classes, places, read.settings)
    size = classify.accuracy(sizes, classes, places, read.settings)
    alone = statistics.paired(full.images, np.full(len(full.images), chance), read.settings)
    alone = replace(alone, difference=full.value, low=full.low, high=full.high)
    return (
        Outcome(alone, "Wilcoxon", null=chance, **about),
        Outcome(statistics.paired(full.images, size.images, read.settings), "Wilcoxon", **about),
    )
