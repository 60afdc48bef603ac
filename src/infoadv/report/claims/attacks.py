"""Q2, different attacks lead to different flows.

The test is the paper's own: do profiles tell the attacks apart better than chance? It is the cross-validated balanced accuracy
with which OIP tells them, against one over their number. The perturbation of every image is brought to **the L2 that the
reference attack has on this image** (``flow.matched``). Matched in the mean only, one attack may spend its L2 evenly and
another on few images, and L2 alone tells them apart; matched image by image it cannot.

Which images count? Those on which all attacks reach that L2, to one per cent, and fool the network at it. An attack that is
scaled down may no longer fool, and an input that fails looks benign: with failures in, profiles would tell who fails more
often, not how the attacks differ. The price is a choice of images by their outcome, easier ones than all. The same test on all
images that reach the size, fooled or not, therefore stands beside and decides nothing.

That the profiles do better than L2 decided this question before and is a control now. At one L2 for each image it asks the same
as the first test, and how far L2 by itself is from chance shows whether the matching has worked; that row must be at chance.
L2 is not all that pixels hold: number, place and smoothness of the changes differ between attacks at one L2. A profile may tell
the attacks by these without any mechanism of the network. The untrained network sees the same pixels; its row is the control
for that, and the claim, as the paper words it, is about flows whatever makes them differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from infoadv.numerics.sizes import same_l2
from infoadv.report import classify, flow, statistics
from infoadv.report.claims.controls import against_noise
from infoadv.report.claims.outcomes import (
    CONTROL,
    DECIDING,
    EXTRA,
    NONE,
    Comparison,
    Outcome,
    rates,
    record,
    rows_of,
    sized,
)
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
    """Yield how well profiles tell the attacks apart at one L2 for each image, and whether better than L2 does."""
    statistic, better = "balanced accuracy of telling the attacks apart", "accuracy of an image by profiles"
    main, untrained = read.main, read.role("untrained")
    wanted = [(main, read.estimator, profiles) for profiles in (("oip",), ("ioc",), flow.PROFILES)]
    wanted += [(main, estimator, ("oip",)) for estimator in read.estimators[1:]]
    if untrained is not None:
        wanted += [(untrained, read.estimator, profiles) for profiles in (("oip",), flow.PROFILES)]
    chance = 1 / len(read.attacks) if read.attacks else float("nan")
    against = f"chance, {number(chance, 2)}"
    for place, (network, estimator, profiles) in enumerate(wanted):
        role = DECIDING if place == 0 else EXTRA if network is main else CONTROL
        note = "" if network is main else "; untrained network"
        found = _recognised(read, network, estimator, profiles, chance, fooled=True)
        about = {"profile": ", ".join(flow.NAMES[profile] for profile in profiles), "estimator": estimator}
        about["network"] = network.name
        yield record("Q2", role, statistic, f"{against}{note}", found.by_profiles, **about)
        beside = CONTROL if role == DECIDING else role
        yield record("Q2", beside, better, f"accuracy by L2 alone{note}", found.less_size, **about)
        if place == 0:
            alone = {"profile": "L2", "network": network.name}
            yield record("Q2", CONTROL, statistic, against, found.by_size, **alone)
            everything = _recognised(read, network, estimator, profiles, chance, fooled=False)
            control = f"{against}; also images that are not fooled"
            yield record("Q2", CONTROL, statistic, control, everything.by_profiles, **about)


@dataclass(frozen=True)
class _Recognised:
    """Accuracy by profiles against chance, by L2 against chance, and an image's accuracy by profiles less that by L2."""

    by_profiles: Outcome
    by_size: Outcome
    less_size: Outcome


def at_one_size(read: flow.Flow, group: flow.Group) -> flow.Group:
    """Return the inputs of the main network whose L2 is that of the reference attack on the same image, and that moved."""
    reference = str(read.section.get("matched") or read.attacks[0])
    native = read.main.select(read.estimator, reference).table.set_index("index")["l2"]
    wanted = native.reindex(group.table["index"]).to_numpy(dtype=float)
    return group.where(same_l2(group.table["l2"].to_numpy(dtype=float), wanted)).moved


def _recognised(
    read: flow.Flow, network: flow.Network, estimator: str, profiles: Sequence[str], chance: float, *, fooled: bool
) -> _Recognised:
    """Return how well the attacks are told apart; only on images on which all of them fool the main network if asked."""
    wholes = [read.main.select(estimator, name, "matched") for name in read.attacks]
    sized_alike = [at_one_size(read, whole) for whole in wholes]
    groups = {name: network.select(estimator, name, "matched", read.main.name) for name in read.attacks}
    sets = [
        set((alike.won if fooled else alike).images) & set(groups[name].images)
        for name, alike in zip(read.attacks, sized_alike, strict=True)
    ]
    images = set.intersection(*sets) if sets else set()
    attacked = len(set().union(*(whole.images for whole in wholes)))
    about: dict[str, Any] = {"success": rates(*wholes), "left_out": attacked - len(images)}
    if len(groups) < 2:
        reason = f"{len(groups)} attack{'' if len(groups) == 1 else 's'}, 2 are needed"
        return _Recognised(*[Outcome(reason=reason, **about)] * 3)
    if len(images) < statistics.MINIMUM:
        # The accuracies of so few images are not taken.
        few = Outcome(replace(NONE, n=len(images)), null=chance, **about)
        return _Recognised(few, few, replace(few, null=0.0))
    parts = {name: group.of(images) for name, group in groups.items()}
    about["sizes"] = sized(*(part.table for part in parts.values()))
    classes = np.repeat(list(parts), len(images))
    places = np.concatenate([group.images for group in parts.values()])
    features = np.vstack([classify.vector(group, profiles) for group in parts.values()])
    sizes = np.vstack([classify.size(group) for group in parts.values()])
    full = classify.accuracy(features, classes, places, read.settings)
    size = classify.accuracy(sizes, classes, places, read.settings)

    def against_chance(found: classify.Accuracy) -> Outcome:
        alone = statistics.paired(found.images, np.full(len(found.images), chance), read.settings)
        alone = replace(alone, difference=found.value, low=found.low, high=found.high)
        return Outcome(alone, "Wilcoxon", null=chance, **about)

    less = Outcome(statistics.paired(full.images, size.images, read.settings), "Wilcoxon", **about)
    return _Recognised(against_chance(full), against_chance(size), less)
