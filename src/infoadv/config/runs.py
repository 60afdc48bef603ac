"""The runs of a benchmark: which attack runs on which network of which data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infoadv.config.attacks import PlannedAttack
from infoadv.config.errors import ConfigError, require_known
from infoadv.config.models import Models


@dataclass(frozen=True)
class Run:
    """One attack on one network of one data set."""

    dataset: str
    model: str
    attack: str


def planned(
    values: Mapping[str, Any], datasets: Iterable[str], models: Models, attacks: Mapping[str, PlannedAttack]
) -> list[Run]:
    """Return what is attacked with what: every attack on every network of every data set that it is meant for."""
    return [
        Run(dataset, model, attack.name)
        for dataset in datasets
        for model in models
        if values["models"][model]["attacked"] and dataset in models[model]
        for attack in attacks.values()
        if dataset in attack.datasets and model in attack.models and f"{dataset}/{model}" not in attack.skipped
    ]


def transferable(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return the networks that are attacked, by data set, where there are two or more: what fools one may fool another."""
    attacked: dict[str, list[str]] = {}
    for run in runs:
        known = attacked.setdefault(run.dataset, [])
        if run.model not in known:
            known.append(run.model)
    return {dataset: names for dataset, names in attacked.items() if len(names) > 1}


def matching(runs: Iterable[Run], wanted: Mapping[str, Any]) -> list[Run]:
    """Return the runs on the ``dataset``, with the ``model`` and the ``attack`` that are wanted, where they are named."""
    return [
        run
        for run in runs
        if all(wanted.get(key, getattr(run, key)) == getattr(run, key) for key in ("dataset", "model", "attack"))
    ]


def check_likes(attacks: Mapping[str, PlannedAttack], runs: Iterable[Run]) -> None:
    """Raise ``ConfigError`` unless every control runs where the attack runs whose perturbation norms it copies."""
    present = set(runs)
    for run in runs:
        like = attacks[run.attack].like(run.dataset)
        if like is None:
            continue
        path = f"attacks.{run.attack}.options.like"
        require_known(like, (name for name in attacks if name != run.attack), path, "other attack")
        if attacks[like].like(run.dataset) is not None:
            raise ConfigError(f"{path}: {like!r} itself copies another attack; name that one.")
        if Run(run.dataset, run.model, like) not in present:
            raise ConfigError(
                f"{path}: {like!r} does not run on {run.dataset}/{run.model}, where {run.attack!r} does; widen its "
                "datasets and models, or narrow these."
            )
        if attacks[like].images != attacks[run.attack].images:
            raise ConfigError(
                f"{path}: {like!r} attacks {attacks[like].images} images, {run.attack!r} {attacks[run.attack].images}; give both "
                "the same number of images."
            )
