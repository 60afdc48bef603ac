"""Reads the metric artefacts that tables and figures share, and knows attacks by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import columns, statistics, style
from infoadv.report.columns import Metric

#: Which images tables, tests and figures are about, for captions.
COMMON = (
    f"Common images: those on which every compared attack succeeds whose success is at least {statistics.RELIABLE:g} times that "
    "of the most successful one; an attack that fails more often takes no image out."
)

#: The ``target`` of an attack that takes any other class.
UNTARGETED = "untargeted"


@dataclass(frozen=True)
class Attack:
    """What the configuration says of an attack: label, look, whether it is compared, and the sweep it belongs to.

    ``optimises`` lists the metric columns of artefacts that it minimises or is bounded in: they prove nothing of it.
    ``nearly`` lists those that its objective comes near to. ``oracle`` marks a row that is no attack but the best of several
    on each image (:mod:`infoadv.report.oracle`). ``target`` is that of the configuration: "untargeted", or the class aimed at.

    A ``control`` is no attack: it changes images to show what a change of that size does, and its success says nothing
    about which of its images count. ``varied`` maps the options that a sweep varies to their values here, both in the
    attacks of the sweep and in the attack that it varies; it is empty where there is no sweep.
    """

    name: str
    label: str
    style: style.AttackStyle
    color_index: int
    compared: bool
    sweep_of: str | None
    method: str
    control: bool
    varied: Mapping[str, Any]
    optimises: tuple[str, ...] = ()
    nearly: tuple[str, ...] = ()
    oracle: bool = False
    target: str = UNTARGETED

    @property
    def title(self) -> str:
        """The label; a control's says that it is one."""
        return self.label if not self.control or "control" in self.label.lower() else f"{self.label}, control"


@dataclass(frozen=True)
class Rows:
    """All per-image rows, with the attacks and metrics found in them.

    ``targets`` lists the pairs (data set, model) in the order of the inputs; ``attacks`` is in the order of the
    configuration, sweeps included. ``reseeded`` holds those of ``targets`` that are another one once more, from
    another seed of the training.
    """

    frame: pd.DataFrame
    targets: list[tuple[str, str]]
    attacks: list[Attack]
    metrics: list[Metric]
    reseeded: frozenset[tuple[str, str]] = frozenset()
    _common: dict[tuple[str, str], set[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def independent(self) -> list[tuple[str, str]]:
        """Return the targets that count over networks: of those that differ in the training seed alone, the first."""
        return [target for target in self.targets if target not in self.reseeded]

    def metric(self, column: str) -> Metric:
        """Return a metric by its column."""
        for metric in self.metrics:
            if metric.column == column:
                return metric
        available = ", ".join(metric.column for metric in self.metrics)
        raise InfoadvError(f"metric {column!r} was not computed; available: {available}.")

    def of(self, dataset: str, model: str, attack: str | None = None) -> pd.DataFrame:
        """Return the rows of a target model, or of one attack on it."""
        return self._parts.get((dataset, model, attack), self.frame[:0])

    @cached_property
    def _parts(self) -> dict[tuple[str, str, str | None], pd.DataFrame]:
        parts: dict[tuple[str, str, str | None], pd.DataFrame] = {}
        for (dataset, model), of_target in self.frame.groupby(["dataset", "model"], sort=False):
            parts[dataset, model, None] = of_target
            parts |= {(dataset, model, attack): part for attack, part in of_target.groupby("attack", sort=False)}
        return parts

    def attacks_on(self, dataset: str, model: str, *, compared: bool = False) -> list[Attack]:
        """Return the attacks on a target model that are no part of a sweep, controls included, or the compared ones."""
        present = set(self.of(dataset, model)["attack"])
        return [
            attack
            for attack in self.attacks
            if attack.name in present and attack.sweep_of is None and (attack.compared or not compared)
        ]

    def drawn_on(self, dataset: str, model: str) -> list[Attack]:
        """Return the attacks on a target that figures show: no sweep, no control, and none towards a chosen class, which has
        further to go."""
        attacks = self.attacks_on(dataset, model)
        return [attack for attack in attacks if attack.target == UNTARGETED and not attack.control]

    def reliable(self, dataset: str, model: str) -> list[Attack]:
        """Return the compared attacks on a target whose failures take images out of the comparison.

        These succeed at least ``statistics.RELIABLE`` times as often as the most successful compared attack there.
        """
        return self.counting(dataset, model, self.attacks_on(dataset, model, compared=True))

    def counting(self, dataset: str, model: str, attacks: Sequence[Attack]) -> list[Attack]:
        """Return those of some attacks on a target that do not fail often, measured by the most successful of them."""
        shares = [float(self.of(dataset, model, attack.name)["success"].mean()) for attack in attacks]
        needed = statistics.RELIABLE * max(shares, default=0.0)
        return [attack for attack, share in zip(attacks, shares, strict=True) if share >= needed]

    def common(self, dataset: str, model: str) -> set[int]:
        """Return the indices of the images on which all reliable attacks on this target succeed."""
        if (dataset, model) not in self._common:
            names = [attack.name for attack in self.reliable(dataset, model)]
            self._common[dataset, model] = statistics.common_successes(self.of(dataset, model), names)
        return self._common[dataset, model]

    def averaged(self, dataset: str, model: str, attack: Attack) -> pd.DataFrame:
        """Return the rows over which an attack's metrics are taken.

        These are the common successes on which it succeeds as well; of a control all of them, since it is not there to
        succeed and choosing the images on which it happens to would compare others.
        """
        own = self.of(dataset, model, attack.name)
        chosen = own["index"].isin(self.common(dataset, model))
        return own[chosen if attack.control else chosen & own["success"]]


def attack_of(name: str, specification: Mapping[str, Any]) -> Attack:
    """Return what the specification says of an attack; one it does not name is shown by its name, after the others."""
    entries = specification.get("attacks") or {}
    entry = entries.get(name) or {}
    sweep_of = entry.get("sweep_of")
    # A sweep looks like the attack it varies.
    parent = entries.get(sweep_of) or entry
    color_index = int(parent.get("color_index", len(entries)))
    control = bool(entry.get("control"))
    return Attack(
        name,
        str(entry.get("label") or name),
        style.attack_style(color_index),
        color_index,
        bool(entry.get("compared", True)) and not control,
        sweep_of,
        str(entry.get("method") or ""),
        control,
        entry.get("varied") or {},
        tuple(entry.get("optimises") or ()),
        tuple(entry.get("nearly") or ()),
        target=str(entry.get("target") or UNTARGETED),
    )


def run_of(path: str, header: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return data set, model and attack of an attack artefact; raise ``InfoadvError`` if its header lacks one."""
    dataset, model, name = header.get("dataset"), header.get("model"), header.get("specification", {}).get("name")
    for key, value in (("dataset", dataset), ("model", model), ("attack", name)):
        if not isinstance(value, str):
            raise InfoadvError(f"{path}: its header names no {key}; remove it and run the attack again.")
    return str(dataset), str(model), str(name)


def ordered(names: Sequence[str], specification: Mapping[str, Any]) -> list[Attack]:
    """Return attacks in the order of the configuration, which ``color_index`` carries."""
    attacks = [attack_of(name, specification) for name in dict.fromkeys(names)]
    return sorted(attacks, key=lambda attack: (attack.color_index, attack.sweep_of or "", attack.name))


def load(inputs: Sequence[str], specification: Mapping[str, Any]) -> Rows:
    """Read metric artefacts; raise ``InfoadvError`` if there is none, or if two hold the same attack.

    What the columns are called and which way they point is read from the artefacts' own headers. The learned-similarity
    column ``lpips_{backbone}`` becomes ``lpips``; its label names the backbone.
    """
    frames: list[pd.DataFrame] = []
    about: dict[str, dict[str, Any]] = {}
    backbones: set[str] = set()
    judges: dict[str, set[str]] = {}
    for path in inputs:
        frame, header = artifacts.load_rows(path, "metrics")
        learned = [column for column in frame.columns if columns.shared(column) == "lpips"]
        backbones |= {column.removeprefix("lpips").removeprefix("_") for column in learned}
        if len(backbones) > 1:
            raise InfoadvError(
                f"{path}: LPIPS with the backbones {', '.join(sorted(backbones))} cannot share a column; "
                "compute the metrics again with one."
            )
        for dataset in frame["dataset"].unique() if learned else ():
            through = judges.setdefault(dataset, set())
            through.add(header["inputs"].get("reference", ""))
            if len(through) > 1:
                raise InfoadvError(
                    f"{path}: LPIPS looked through another reference network than in other artefacts of {dataset}; "
                    "remove it and compute the metrics again."
                )
        frames.append(frame.rename(columns=dict.fromkeys(learned, "lpips")))
        for column, declared in columns.declared(header, frame.columns).items():
            if about.setdefault(column, declared) != declared:
                raise InfoadvError(
                    f"{path}: declares the metric {column} otherwise than other artefacts, so other code computed it; "
                    "remove it and compute the metrics again."
                )
    if not frames:
        raise InfoadvError("no metric artefact was given; configure at least one attack and one target model.")
    everything = pd.concat([frame.dropna(axis=1, how="all") for frame in frames], ignore_index=True)
    metrics = columns.metrics(about)
    for metric in metrics:
        if metric.column not in everything:
            everything[metric.column] = float("nan")
    keys = ["dataset", "model", "attack", "index"]
    repeated = everything[everything.duplicated(keys)]
    if len(repeated):
        dataset, model, attack = (repeated.iloc[0][key] for key in keys[:3])
        raise InfoadvError(f"{dataset}/{model}/{attack}: given twice; pass each metric artefact once.")
    everything["success"] = everything["success"].astype(bool)
    everything["success_float"] = everything["success_float"].astype(bool)
    targets = list(dict.fromkeys(zip(everything["dataset"], everything["model"], strict=True)))
    return Rows(
        everything,
        targets,
        ordered(list(everything["attack"].unique()), specification),
        metrics,
        frozenset(target for group in alike(targets, specification) for target in list(group)[1:]),
    )


def alike(targets: Sequence[tuple[str, str]], specification: Mapping[str, Any]) -> list[dict[tuple[str, str], int]]:
    """Return the groups of two and more of ``targets`` that differ in the seed of their training alone, with that seed."""
    groups = [
        {(entry["dataset"], model): seed for model, seed in entry["seeds"].items()}
        for entry in specification.get("alike") or ()
    ]
    present = [{target: seed for target, seed in group.items() if target in targets} for group in groups]
    return [group for group in present if len(group) > 1]
