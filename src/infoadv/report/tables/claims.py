"""Whether the five findings on information profiles hold: each as numbers with intervals, tests and a verdict.

The rules were written before any result was seen. D is the overall difference of a profile from that of the clean image,
in units of the clean inputs' spread; profiles and D are a reconstruction. Questions are decided by OIP under the main
estimator, because an attack moves IIP trivially by changing the input. An example that left the image as it was has no
place in any test.

A **test holds** if the bootstrap interval of its value lies above its null value (0; chance for an accuracy) and its p
value, corrected after Holm over all deciding tests of the table, is below 0.05. A claim is **supported** if all its
deciding tests hold, **not testable** if one of them has fewer than 10 images on a side or its networks are not there,
and otherwise **not supported**.

- Q1, JSMA shifts the flow away from benign inputs. Over its successes, paired by image: D along the iterates, averaged
  over them, less D of as many random features at the same steps; and D of the example less D of noise that sets as many
  features. That D grows along the iterates is no evidence, since it grows along any path: Spearman's correlation of a
  random walk of ten steps in 17 layers is 0.94. It stands beside and decides nothing.
- Q2, different attacks lead to different flows. On the images on which all attacks succeed at matched mean L2, so that all
  classes have one size: the cross-validated balanced accuracy with which OIP tells the attacks apart, against chance; and
  an image's own accuracy by OIP less that by L2 alone, paired.
- Q3, adaptive JSMA deviates much further than regular JSMA on the distilled network: D adaptive less D regular, paired by
  image, over successes and failures; images that either attack left as they were are left out and counted.
- Q4, the flow of the full network is easier to shift than that of the trimmed one: D of the trimmed network's examples in
  the full network less D of the full network's in the trimmed one, paired if 10 images are in both, else not; and the rates
  at which they transfer, on the images in both. Examples count if they fool the network they were made on.
- Q5a, examples made for a network deviate further in it than those made for another: D own less the mean D of the
  others, paired by network and image.
- Q5b, transferable examples deviate further than non-transferable ones, in a network that they were not made for. Levels of
  D and rates of transfer differ between the pairs of networks, which alone makes a difference where there is none
  (Simpson's paradox): D and transfer are centred within each pair (network, source), and the mean difference within pairs
  counts. Its interval resamples images, its p value permutes transfer within pairs, an image's together.
- Q5c, attacking the ensemble transfers better than attacking a single other network: successes of the ensemble's
  examples less those of the other network whose examples succeed most often there, paired by network and image. On both
  sides examples count that fool what they were made for and moved; images without both are left out and counted.

For Q5a and Q5c the networks of an image are averaged before the test, so that an image counts once. Paired tests are
Wilcoxon's, unpaired ones Mann and Whitney's, transfer rates are compared by McNemar's exact test. All other rows (other
profiles, other estimators, controls, single networks) decide nothing; their p values are corrected as a family of
their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import classify, flow, statistics
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable"

STATEMENTS = {
    "Q1": "JSMA shifts the flow away from benign inputs",
    "Q2": "different attacks lead to different flows",
    "Q3": "adaptive JSMA deviates further than regular JSMA on the distilled network",
    "Q4": "the full network's flow is easier to shift than the trimmed one's",
    "Q5a": "examples for a network deviate further in it than those for another",
    "Q5b": "transferable examples deviate further than non-transferable ones",
    "Q5c": "the ensemble's examples transfer better than those of one other network",
}

COLUMNS = (
    "question",
    "statement",
    "role",
    "statistic",
    "control",
    "profile",
    "estimator",
    "network",
    "value",
    "low",
    "high",
    "null",
    "test",
    "p",
    "p_holm",
    "n",
    "left_out",
    "success",
    "features",
    "verdict",
    "reason",
)

DECIDING, CONTROL, EXTRA = "deciding", "control", "extra"

_NONE = statistics.Paired(0, *[float("nan")] * 5)


@dataclass(frozen=True)
class _Outcome:
    """The result of one test; ``reason`` says why there is none."""

    result: statistics.Paired = _NONE
    test: str = ""
    success: str = ""
    features: str = ""
    left_out: int = 0
    null: float = 0.0
    reason: str = ""

    def checked(self) -> _Outcome:
        """Return the outcome without numbers where it rests on too few images."""
        if self.reason or self.result.n >= statistics.MINIMUM:
            return self
        reason = f"{self.result.n} image{'' if self.result.n == 1 else 's'}, {statistics.MINIMUM} are needed"
        return replace(self, result=replace(_NONE, n=self.result.n), reason=reason)


#: Takes estimator and profile.
_Measure = Callable[[str, str], _Outcome]


@dataclass(frozen=True)
class _Comparison:
    """A comparison of D: measured for every profile, and for OIP under every estimator."""

    question: str
    role: str
    statistic: str
    control: str
    network: str
    measure: _Measure


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from flow artefacts; raise ``InfoadvError`` as ``infoadv.report.flow.load`` does."""
    read = flow.load(inputs, specification)
    records: list[dict[str, Any]] = []
    for comparison in _comparisons(read, specification):
        records += _rows_of(comparison, read)
    records += [*_telling_apart(read), *_transfer_rates(read), *_ensemble(read)]
    order = {question: place for place, question in enumerate(STATEMENTS)}
    roles = {role: place for place, role in enumerate((DECIDING, CONTROL, EXTRA))}
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    frame = frame.sort_values(
        ["question", "role"], key=lambda column: column.map(order | roles), kind="stable", ignore_index=True
    )
    deciding = (frame["role"] == DECIDING).to_numpy()
    p = frame["p"].to_numpy(dtype=float)
    frame["p_holm"] = np.where(
        deciding, statistics.holm(np.where(deciding, p, np.nan)), statistics.holm(np.where(deciding, np.nan, p))
    )
    for question in STATEMENTS:
        chosen = deciding & (frame["question"] == question).to_numpy()
        frame.loc[chosen, "verdict"] = verdict(frame[chosen])
    return Table(frame, _markdown(frame, read), _latex(frame, read))


def verdict(tests: pd.DataFrame) -> str:
    """Return the verdict on a claim from its deciding tests, by the rule of this file."""
    if tests.empty or tests["p_holm"].isna().any():
        return NOT_TESTABLE
    holds = (tests["low"] > tests["null"]) & (tests["p_holm"] < statistics.ALPHA)
    return SUPPORTED if holds.all() else NOT_SUPPORTED


def _record(
    question: str,
    role: str,
    statistic: str,
    control: str,
    outcome: _Outcome,
    *,
    profile: str = "",
    estimator: str = "",
    network: str = "",
) -> dict[str, Any]:
    outcome = outcome.checked()
    result = outcome.result
    return {
        "question": question,
        "statement": STATEMENTS[question],
        "role": role,
        "statistic": statistic,
        "control": control,
        "profile": flow.NAMES.get(profile, profile),
        "estimator": estimator,
        "network": network,
        "value": result.difference,
        "low": result.low,
        "high": result.high,
        "null": outcome.null,
        "test": outcome.test,
        "p": result.p,
        "p_holm": float("nan"),
        "n": result.n,
        "left_out": outcome.left_out,
        "success": outcome.success,
        "features": outcome.features,
        "verdict": "",
        "reason": outcome.reason,
    }


def _rows_of(comparison: _Comparison, read: flow.Flow) -> Iterator[dict[str, Any]]:
    wanted = [(read.estimator, profile) for profile in ("oip", "iip", "ioc")]
    wanted += [(estimator, "oip") for estimator in read.estimators[1:]]
    for place, (estimator, profile) in enumerate(wanted):
        yield _record(
            comparison.question,
            comparison.role if place == 0 else EXTRA,
            comparison.statistic,
            comparison.control,
            comparison.measure(estimator, profile),
            profile=profile,
            estimator=estimator,
            network=comparison.network,
        )


def _rates(*groups: flow.Group) -> str:
    return " / ".join(number(group.rate, 2) for group in groups)


def _changed(*tables: pd.DataFrame) -> str:
    """Return the mean number of changed features of each side."""
    return " / ".join(number(statistics.mean(table["features"].to_numpy(dtype=float)), 0) for table in tables)


def _comparisons(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[_Comparison]:
    """Yield the comparisons of D in the order of the questions."""
    main, jsma, settings = read.main, read.jsma, read.settings

    def paths(estimator: str, condition: str) -> dict[int, flow.Group]:
        return flow.iterations(main, estimator, jsma, main.select(estimator, jsma).won.images, condition)

    both = {name: [paths(name, "iterate"), paths(name, "noise_iterate")] for name in read.estimators}

    def along(reduce: Callable[[flow.Group, str], pd.Series], *, beside: bool) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
            whole = main.select(estimator, jsma)
            values = []
            for image, path in both[estimator][0].items():
                one = reduce(path, profile)
                if beside:
                    # Steps that both have.
                    one = one - reduce(both[estimator][1][image], profile)
                values.append(one.mean())
            found = statistics.paired(np.array(values), np.zeros(len(values)), settings)
            reason = "" if found.n or not values else "no iterates were measured"
            return _Outcome(found, "Wilcoxon", _rates(whole), left_out=len(whole) - found.n, reason=reason)

        return measure

    def against(network: flow.Network, attack: str, condition: str, source: str) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
            whole = network.select(estimator, attack, source=source)
            won = whole.won
            control = network.select(estimator, attack, condition, source).of(won.images).moved
            one, other, _ = flow.paired(won.deviation(profile), control.deviation(profile))
            found = statistics.paired(one, other, settings)
            rates = _rates(whole) if network.trained else ""
            return _Outcome(found, "Wilcoxon", rates, _changed(won.table, control.table), len(whole) - found.n)

        return measure

    features, prefixes = "noise, as many features", "as many random features, same steps"
    yield _Comparison("Q1", DECIDING, "D of JSMA's iterates", prefixes, main.name, along(_path, beside=True))
    yield _Comparison("Q1", DECIDING, "D of JSMA", features, main.name, against(main, jsma, "noise", main.name))
    monotony = "mean Spearman correlation of progress and D"
    yield _Comparison("Q1", CONTROL, monotony, "0", main.name, along(_monotony, beside=False))
    yield _Comparison("Q1", CONTROL, monotony, prefixes, main.name, along(_monotony, beside=True))
    untrained = read.role("untrained")
    if untrained is not None:
        measure = against(untrained, jsma, "noise", main.name)
        yield _Comparison("Q1", CONTROL, "D of JSMA", f"{features}; untrained network", untrained.name, measure)

    for name in read.attacks:
        statistic = f"D of {attack_of(name, specification).label}"
        measure = against(main, name, "noise", main.name)
        yield _Comparison("Q2", CONTROL, statistic, "noise of equal L2", main.name, measure)
        if untrained is not None:
            measure = against(untrained, name, "noise", main.name)
            yield _Comparison("Q2", CONTROL, statistic, "noise of equal L2; untrained network", untrained.name, measure)

    yield from _distilled(read)
    yield from _trimmed(read)
    yield from _transferred(read)


def _steps_of(path: flow.Group) -> pd.DataFrame:
    """Return the iterates of a path without its ends, which every input has."""
    return path.table[path.table["step"] > 0].set_index("step")


def _path(path: flow.Group, profile: str) -> pd.Series:
    """Return D of each iterate by its step."""
    return _steps_of(path)[f"d_{profile}"]


def _monotony(path: flow.Group, profile: str) -> pd.Series:
    """Return Spearman's correlation of progress and D over the iterates, one value; NaN with fewer than three."""
    from scipy.stats import rankdata

    steps = _steps_of(path).dropna(subset=f"d_{profile}")
    progress, deviation = (steps[name].to_numpy(dtype=float) for name in ("progress", f"d_{profile}"))
    if len(np.unique(progress)) < 3 or len(np.unique(deviation)) < 2:
        return pd.Series([float("nan")])
    return pd.Series([float(np.corrcoef(rankdata(progress), rankdata(deviation))[0, 1])])


def _absent(reason: str) -> _Measure:
    return lambda estimator, profile: _Outcome(reason=reason)


def _missing(read: flow.Flow, key: str) -> str:
    named = read.section.get(key)
    return f"no flow artefact of flow.{key} was given" if named else f"flow.{key} is not configured"


def _distilled(read: flow.Flow) -> Iterator[_Comparison]:
    network = read.role("distilled")
    if network is None:
        reason = _missing(read, "distilled")
        yield _Comparison("Q3", DECIDING, "D of adaptive JSMA", "regular JSMA", "", _absent(reason))
        return
    section = read.section["distilled"]

    def between(one: tuple[str, str], other: tuple[str, str], *, successes: bool = False) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
            groups = [network.select(estimator, section[kind], condition) for kind, condition in (one, other)]
            parts = [group.won if successes else group.moved for group in groups]
            first, second, _ = flow.paired(*(part.deviation(profile) for part in parts))
            found = statistics.paired(first, second, read.settings)
            both = len(set(groups[0].images) & set(groups[1].images))
            rates = [group for group, (_, condition) in zip(groups, (one, other), strict=True) if condition == "native"]
            features = _changed(*(part.table for part in parts))
            return _Outcome(found, "Wilcoxon", _rates(*rates), features, both - found.n)

        return measure

    adaptive, regular = ("adaptive", "native"), ("regular", "native")
    features = "noise, as many features"
    yield _Comparison("Q3", DECIDING, "D of adaptive JSMA", "regular JSMA", network.name, between(adaptive, regular))
    yield _Comparison(
        "Q3",
        CONTROL,
        "D of adaptive JSMA",
        "regular JSMA, both successful",
        network.name,
        between(adaptive, regular, successes=True),
    )
    for kind, label in (("adaptive", "D of adaptive JSMA"), ("regular", "D of regular JSMA")):
        measure = between((kind, "native"), (kind, "noise"))
        yield _Comparison("Q3", CONTROL, label, features, network.name, measure)


def _passed_on(read: flow.Flow, estimator: str, trimmed: flow.Network) -> tuple[flow.Group, flow.Group]:
    """Return the trimmed network's examples in the full network, and the full network's in the trimmed one."""
    pairs = ((read.main, trimmed), (trimmed, read.main))
    groups = [network.select(estimator, read.jsma, source=source.name) for network, source in pairs]
    return groups[0].made, groups[1].made


def _beside_noise(
    question: str,
    read: flow.Flow,
    networks: Sequence[flow.Network],
    others: Callable[[flow.Network, str], flow.Group],
) -> Iterator[_Comparison]:
    """Yield D less that of noise with as many features, in each network for its own and for others' examples."""

    def measured(network: flow.Network, choose: Callable[[flow.Network, str], flow.Group]) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
            group = choose(network, estimator)
            above = flow.above_noise(network, estimator, group, profile)
            values = above.groupby(group.table["index"]).mean().to_numpy(dtype=float)
            found = statistics.paired(values, np.zeros(len(values)), read.settings)
            return _Outcome(found, "Wilcoxon", _rates(group), _changed(group.table), len(values) - found.n)

        return measure

    def own(network: flow.Network, estimator: str) -> flow.Group:
        return network.select(estimator, read.jsma).won

    for network in networks:
        control = f"noise, as many features, in {network.name}"
        yield _Comparison(question, CONTROL, "D of own examples", control, network.name, measured(network, own))
        yield _Comparison(question, CONTROL, "D of others' examples", control, network.name, measured(network, others))


def _trimmed(read: flow.Flow) -> Iterator[_Comparison]:
    statistic, control = "D of examples, trimmed to full", "full to trimmed"
    trimmed = read.role("trimmed")
    if trimmed is None:
        yield _Comparison("Q4", DECIDING, statistic, control, "", _absent(_missing(read, "trimmed")))
        return

    def measure(estimator: str, profile: str) -> _Outcome:
        groups = _passed_on(read, estimator, trimmed)
        values = [group.deviation(profile) for group in groups]
        one, other, images = flow.paired(*values)
        if len(images) >= statistics.MINIMUM:
            found, test = statistics.paired(one, other, read.settings), "Wilcoxon"
        else:
            apart = [value.to_numpy(dtype=float) for value in values]
            found, test = statistics.unpaired(apart[0], apart[1], read.settings), "Mann-Whitney"
        return _Outcome(found, test, _rates(*groups), _changed(*(group.table for group in groups)))

    def others(network: flow.Network, estimator: str) -> flow.Group:
        return _passed_on(read, estimator, trimmed)[network.name == trimmed.name]

    yield _Comparison("Q4", DECIDING, statistic, control, f"{read.main.name}, {trimmed.name}", measure)
    yield from _beside_noise("Q4", read, [read.main, trimmed], others)


def _transferred(read: flow.Flow) -> Iterator[_Comparison]:
    own_text, other_text = ("D of own examples", "others' examples"), ("D of transferable", "non-transferable")
    networks = read.transfer
    if not networks:
        reason = _missing(read, "transfer")
        yield _Comparison("Q5a", DECIDING, *own_text, "", _absent(reason))
        yield _Comparison("Q5b", DECIDING, *other_text, "", _absent(reason))
        return

    def own(chosen: Sequence[flow.Network]) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
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
            features = _changed(
                *(pd.concat([group.table for group in side]) for side in ([w.won for w in wholes], others))
            )
            return _Outcome(found, "Wilcoxon", f"{_pooled(wholes)} / {_pooled(others)}", features)

        return measure

    def transferable(chosen: Sequence[flow.Network], *, noise: bool = False) -> _Measure:
        def measure(estimator: str, profile: str) -> _Outcome:
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
            return _Outcome(found, "permutation", _pooled(others), _changed(*sides), reason=reason)

        return measure

    for label, role, chosen in (
        ("all networks", DECIDING, networks),
        *((f"in {network.name}", CONTROL, [network]) for network in networks),
    ):
        names = ", ".join(network.name for network in chosen)
        yield _Comparison("Q5a", role, own_text[0], f"{own_text[1]}, {label}", names, own(chosen))
        yield _Comparison("Q5b", role, other_text[0], f"{other_text[1]}, {label}", names, transferable(chosen))
    statistic = "D, less that of noise with as many features, of transferable"
    names = ", ".join(network.name for network in networks)
    measure = transferable(networks, noise=True)
    yield _Comparison("Q5b", CONTROL, statistic, f"{other_text[1]}, all networks", names, measure)
    yield from _beside_noise("Q5a", read, networks, read.of_others)


def _pooled(groups: Sequence[flow.Group]) -> str:
    success = pd.concat([group.table["success"] for group in groups])
    return number(float(success.mean()) if len(success) else float("nan"), 2)


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
        yield _record("Q2", role, statistic, f"chance, {number(chance, 2)}{note}", outcomes[0], **about)
        yield _record("Q2", role, better, f"accuracy by L2 alone{note}", outcomes[1], **about)


def _recognised(
    read: flow.Flow, network: flow.Network, estimator: str, profiles: Sequence[str], chance: float
) -> tuple[_Outcome, _Outcome]:
    """Return the accuracy by profiles against chance, and an image's accuracy by profiles less that by L2."""
    fooled = [read.main.select(estimator, name, "matched") for name in read.attacks]
    groups = {name: network.select(estimator, name, "matched", read.main.name).moved for name in read.attacks}
    won = [set(group.won.images) & set(groups[name].images) for name, group in zip(read.attacks, fooled, strict=True)]
    images = set.intersection(*won) if won else set()
    attacked = len(set().union(*(group.images for group in fooled)))
    about: dict[str, Any] = {"success": _rates(*fooled), "left_out": attacked - len(images)}
    if len(groups) < 2:
        reason = f"{len(groups)} attack{'' if len(groups) == 1 else 's'}, 2 are needed"
        return _Outcome(reason=reason, **about), _Outcome(reason=reason, **about)
    if len(images) < statistics.MINIMUM:
        # The accuracies of so few images are not taken.
        few = _Outcome(replace(_NONE, n=len(images)), null=chance, **about)
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
        _Outcome(alone, "Wilcoxon", null=chance, **about),
        _Outcome(statistics.paired(full.images, size.images, read.settings), "Wilcoxon", **about),
    )


def _transfer_rates(read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the row of Q4 that compares how often examples transfer, on the images that have both."""
    trimmed = read.role("trimmed")
    statistic, control = "transfer rate, trimmed to full", "full to trimmed"
    if trimmed is None:
        yield _record("Q4", DECIDING, statistic, control, _Outcome(reason=_missing(read, "trimmed")))
        return
    groups = _passed_on(read, read.estimator, trimmed)
    one, other, _ = flow.paired(*(group.table.set_index("index")["success"].astype(float) for group in groups))
    features = _changed(*(group.table for group in groups))
    outcome = _Outcome(statistics.mcnemar(one, other, read.settings), "McNemar", _rates(*groups), features)
    yield _record("Q4", DECIDING, statistic, control, outcome, network=f"{read.main.name}, {trimmed.name}")


def _ensemble(read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q5c: over all networks, and for each of them beside."""
    statistic, ensemble = "success of the ensemble's examples", read.section.get("ensemble")
    if not read.transfer or not ensemble:
        reason = _missing(read, "ensemble" if read.transfer else "transfer")
        yield _record("Q5c", DECIDING, statistic, "best single other network, all networks", _Outcome(reason=reason))
        return
    differences, rows, sides = [], [], []
    attacked: set[int] = set()
    for network in read.transfer:
        whole = network.select(read.estimator, read.jsma, source=str(ensemble))
        joint = whole.made
        singles = [
            network.select(read.estimator, read.jsma, source=other.name).made
            for other in read.transfer
            if other.name != network.name
        ]
        best = max(singles, key=lambda group: group.rate if len(group) else -1.0)
        one, other, images = flow.paired(
            *(group.table.set_index("index")["success"].astype(float) for group in (joint, best))
        )
        differences.append(pd.Series(one - other, index=images, dtype=float))
        sides.append((joint, best))
        attacked |= set(whole.images)
        source = str(best.table["source"].iloc[0]) if len(best) else "none"
        found = statistics.mcnemar(one, other, read.settings)
        features = _changed(joint.table, best.table)
        outcome = _Outcome(found, "McNemar", _rates(joint, best), features, len(whole) - found.n)
        rows.append(
            _record("Q5c", CONTROL, statistic, f"those of {source}, in {network.name}", outcome, network=network.name)
        )
    values = pd.concat(differences).groupby(level=0).mean().to_numpy()
    found = statistics.paired(values, np.zeros(len(values)), read.settings)
    both = [list(side) for side in zip(*sides, strict=True)]
    success = " / ".join(_pooled(side) for side in both)
    features = _changed(*(pd.concat([group.table for group in side]) for side in both))
    names = ", ".join(network.name for network in read.transfer)
    outcome = _Outcome(found, "Wilcoxon", success, features, len(attacked) - found.n)
    yield _record("Q5c", DECIDING, statistic, "best single other network, all networks", outcome, network=names)
    yield from rows


_NOTE = (
    "Supported: all deciding tests of a claim have an interval above the null value and a p value below "
    f"{statistics.ALPHA:g} after Holm's correction over all of them; not testable: fewer than {statistics.MINIMUM} images, "
    "or the networks are not there. D: overall difference of a profile from the clean image's, in clean spreads; profiles and D "
    "are a reconstruction. Values against a control are differences. Where two success rates or numbers of changed "
    "features stand, the second is the control's. Left out: attacked images on which an attack failed or that miss one side."
)
_NOTE_D = (
    "Comparisons of D for every profile and estimator, and controls: mean difference (mean correlation where the row says "
    "so) and bootstrap interval. Only OIP in the rows of the table before decides anything. Bold and italic: above and "
    f"below zero, p below {statistics.ALPHA:g} after Holm's correction (deciding values and the rest each by themselves)."
)


def _interval(row: Mapping[str, Any], *, marked: bool) -> Cell:
    if np.isnan(row["value"]):
        return Cell(number(float("nan"), 2))
    text = f"{number(row['value'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]"
    found = marked and row["p_holm"] < statistics.ALPHA
    return Cell(text, strong=found and row["low"] > 0, emphasis=found and row["high"] < 0)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else number(value, 3)


def _verdicts(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return the head of the table of deciding tests, and its rows by claim; a claim's title tells the verdict."""
    header = ["Statistic", "Against", "Value [interval]", "p", "n", "Success", "Features"]
    sections = []
    for question, part in frame[frame["role"] == DECIDING].groupby("question", sort=False):
        lines = []
        for row in part.to_dict("records"):
            left_out = f" ({row['left_out']} left out)" if row["left_out"] else ""
            lines.append(
                [
                    Cell(_named(row)),
                    Cell(row["control"]),
                    Cell(row["reason"]) if row["reason"] else _interval(row, marked=False),
                    Cell(_p(row["p_holm"])),
                    Cell(f"{row['n']}{left_out}"),
                    Cell(row["success"] or number(float("nan"), 2)),
                    Cell(row["features"] or number(float("nan"), 2)),
                ]
            )
        first = part.iloc[0]
        sections.append((f"{question}, {first['statement']}: {first['verdict']}", lines))
    return header, sections


def _named(row: Mapping[str, Any]) -> str:
    """Return the statistic with the profile that it is of."""
    statistic = row["statistic"]
    if not row["profile"]:
        return statistic
    return re.sub(r"\bD\b", f"D({row['profile']})", statistic).replace("by profiles", f"by {row['profile']}")


def _of_deviation(frame: pd.DataFrame) -> pd.Series:
    """Return which rows compare D (n,) bool; the others compare rates and accuracies."""
    return frame["statistic"].str.contains(r"\bD\b")


def _deviations(frame: pd.DataFrame, read: flow.Flow) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return the comparisons of D by question and statistic, a column for each profile and estimator."""
    controls = read.estimators[1:]
    header = ["Against", "n", "Features", "OIP", "IIP", "IOC", *(f"OIP, {name}" for name in controls)]
    wanted = [(read.estimator, name) for name in ("OIP", "IIP", "IOC")] + [(name, "OIP") for name in controls]
    sections: dict[str, list[list[Cell]]] = {}
    per_profile = frame[_of_deviation(frame) & frame["value"].notna()]
    for (question, statistic, control), part in per_profile.groupby(["question", "statistic", "control"], sort=False):
        found = {(row["estimator"], row["profile"]): row for row in part.to_dict("records")}
        cells = [_interval(found[key], marked=True) if key in found else Cell(number(np.nan, 2)) for key in wanted]
        first = max(found.values(), key=lambda row: row["n"])
        about = [Cell(str(control)), Cell(str(first["n"])), Cell(first["features"] or number(np.nan, 0))]
        sections.setdefault(f"{question}, {statistic}", []).append([*about, *cells])
    return header, list(sections.items())


def _rest(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[list[Cell]]]]]:
    """Return what is neither deciding nor a comparison of D: other profiles of Q2, single networks of Q5c."""
    header = ["Statistic", "Against", "Profiles", "Estimator", "Value [interval]", "p", "n", "Success"]
    part = frame[(frame["role"] != DECIDING) & ~_of_deviation(frame)]
    sections: dict[str, list[list[Cell]]] = {}
    for row in part[part["value"].notna()].to_dict("records"):
        line = [
            *(Cell(row[key]) for key in ("statistic", "control", "profile", "estimator")),
            _interval(row, marked=False),
            Cell(_p(row["p_holm"])),
            Cell(str(row["n"])),
            Cell(row["success"] or number(float("nan"), 2)),
        ]
        sections.setdefault(row["question"], []).append(line)
    return header, list(sections.items())


def _markdown(frame: pd.DataFrame, read: flow.Flow) -> str:
    text = f"{_NOTE}\n"
    for title, note, left, (header, sections) in _parts(frame, read):
        if title and sections:
            text += f"\n## {title}\n\n{note}\n"
        for name, lines in sections:
            text += f"\n### {name}\n\n{markdown_table(header, lines, left=left)}"
    return text


def _latex(frame: pd.DataFrame, read: flow.Flow) -> str:
    labels = ("claims", "claims-deviations", "claims-other")
    return "\n".join(
        latex_table([tex(name) for name in header], sections, tex(note), label, left=left)
        for label, (_, note, left, (header, sections)) in zip(labels, _parts(frame, read), strict=True)
        if sections
    )


def _parts(frame: pd.DataFrame, read: flow.Flow) -> list[tuple[str, str, int, tuple[list[str], list[Any]]]]:
    """Return title, note, number of left-aligned columns and content of the three parts of the table."""
    note = f"{_NOTE_D} {flow.BINS}" if "quantile" in read.estimators else _NOTE_D
    return [
        ("", _NOTE, 2, _verdicts(frame)),
        ("Comparisons of D and controls", note, 1, _deviations(frame, read)),
        ("Other rows", "Rows that decide nothing.", 4, _rest(frame)),
    ]
