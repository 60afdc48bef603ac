"""The sections ``attacks`` and ``sweeps``: every attack that is planned, and the data sets and networks that it is meant for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from infoadv.config.errors import ConfigError, require_known
from infoadv.config.models import Models
from infoadv.config.schema import check, complete_options, options_schema, structure_schema
from infoadv.registry import plugins


@dataclass(frozen=True)
class PlannedAttack:
    """An attack that runs: one of the configuration's, or one value of a sweep.

    ``color_index`` is its place in the configuration, shared by the attack and its sweep, so that it keeps one colour in
    every figure. ``compared`` says whether its failures take an image out of the comparison. ``shards`` is the number of
    jobs that its images are cut into, at most one a chunk. ``metrics`` are those that it is measured with, None for all.
    ``skipped`` are networks, ``{data set}/{model}``, that it leaves out of those that ``datasets`` and ``models`` name.
    ``images`` is how many it attacks: the first of the run's, or all of them.
    ``varied`` are the options that a sweep varies, with their values here: in the attacks of the sweep and, if it has one value
    of each on the data sets of the sweep, in the attack that it varies.
    """

    name: str
    method: str
    label: str
    target: str
    options: dict[str, dict[str, Any]]
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    compared: bool
    color_index: int
    shards: int
    metrics: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    images: int = 0
    sweep_of: str | None = None
    varied: Mapping[str, Any] = field(default_factory=dict)

    def specification(self, dataset: str) -> dict[str, Any]:
        """Return what determines the result: no label and no colour, so that changing those runs nothing again.

        An option that the method was given later (``before`` in its schema) is in it where it is not as it was before: results
        from then stay what is asked for.
        """
        earlier = plugins.earlier_values("attacks", self.method)
        return {
            "name": self.name,
            "method": self.method,
            "target": self.target,
            "options": {
                option: value
                for option, value in self.options[dataset].items()
                if option not in earlier or value != earlier[option]
            },
        }

    @property
    def control(self) -> bool:
        """Whether this one copies the perturbation norms of another attack."""
        return _copies(self.options)

    def like(self, dataset: str) -> str | None:
        """Return the attack whose perturbation norms this one copies, if it copies any."""
        return self.options[dataset].get("like")


def _copies(options: Mapping[str, Mapping[str, Any]]) -> bool:
    return any("like" in of_dataset for of_dataset in options.values())


def completed(values: Mapping[str, Any], datasets: Collection[str], models: Models) -> dict[str, PlannedAttack]:
    """Return the attacks by name, each followed by those of the sweep over it. Raises ``ConfigError``."""
    result: dict[str, PlannedAttack] = {}
    sweeps = values["sweeps"]
    entries = values["attacks"]
    attacked = [name for name in models if values["models"][name]["attacked"]]
    for name in sweeps:
        require_known(name, entries, "sweeps", "attack")
    for position, (name, entry) in enumerate(entries.items()):
        attack = _attack(name, entry, position, values, datasets, attacked)
        result[name] = attack
        if name in sweeps:
            points = _points(attack, entry, sweeps[name])
            result[name] = replace(attack, varied=_start(attack, points, sweeps[name].get("datasets", attack.datasets)))
            for step in _sweep(attack, sweeps[name], points, datasets, attacked, values):
                if step.name in entries or step.name in result:
                    raise ConfigError(f"sweeps.{name}: makes {step.name!r}, which is there already; rename one.")
                result[step.name] = step
    return result


def _scope(
    path: str, entry: Mapping[str, Any], datasets: Collection[str], attacked: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the data sets and networks that an attack runs on: all, or those that its ``entry`` names."""
    chosen = tuple(entry.get("datasets", datasets))
    for dataset in chosen:
        require_known(dataset, datasets, f"{path}.datasets", "data set")
    models = tuple(entry.get("models", attacked))
    for model in models:
        require_known(model, attacked, f"{path}.models", "attacked model")
    for network in entry.get("skip", ()):
        dataset, _, model = network.partition("/")
        require_known(dataset, chosen, f"{path}.skip", "data set of this attack")
        require_known(model, models, f"{path}.skip", "model of this attack")
    return chosen, models


def _attack(
    name: str,
    entry: Mapping[str, Any],
    position: int,
    values: Mapping[str, Any],
    datasets: Collection[str],
    attacked: Collection[str],
) -> PlannedAttack:
    path = f"attacks.{name}"
    images = _images(path, entry, values["images"])
    if entry["method"] == "mutual_information":
        raise ConfigError(f"{path}.method: {_of_one_method(entry)}")
    why = plugins.literals("attacks", "UNTARGETED").get(entry["method"])
    if why is not None and entry["target"] != "untargeted":
        raise ConfigError(f"{path}.target: {entry['method']} takes no target: {why}.")
    chosen, models = _scope(path, entry, datasets, attacked)
    for dataset in entry["per_dataset"]:
        require_known(dataset, datasets, f"{path}.per_dataset", "data set")
    options = {}
    for dataset in datasets:
        below = entry["per_dataset"].get(dataset)
        where = ("attacks", name, *(("per_dataset", dataset) if below else ("options",)))
        given = {**entry["options"], **(below or {})}
        options[dataset] = complete_options("attacks", entry["method"], given, where, "attack method")
    # A control is compared with no other.
    if entry["compared"] and entry["target"] == "untargeted" and not _copies(options):
        if images < values["images"]:
            raise ConfigError(
                f"{path}.images: {images:,} of {values['images']:,} would take the other images out of every comparison; write "
                "compared: false, or leave images out."
            )
        if "metrics" in entry:
            raise ConfigError(
                f"{path}.metrics: the others would be ranked by these metrics alone; write compared: false, or leave metrics out."
            )
    return PlannedAttack(
        name=name,
        method=entry["method"],
        target=entry["target"],
        label=entry.get("label", name),
        options=options,
        datasets=chosen,
        models=models,
        compared=entry["compared"],
        color_index=position,
        shards=_shards(entry["shards"], images, values["chunk"]),
        metrics=_measured(path, entry, values["metrics"]),
        skipped=tuple(entry["skip"]),
        images=images,
    )


def _measured(path: str, entry: Mapping[str, Any], metrics: Collection[str]) -> tuple[str, ...] | None:
    """Return the metrics that an ``entry`` names, None where it names none. Raises ``ConfigError``."""
    for name in entry.get("metrics", ()):
        require_known(name, metrics, f"{path}.metrics", "metric")
    return tuple(entry["metrics"]) if "metrics" in entry else None


def _images(path: str, entry: Mapping[str, Any], images: int) -> int:
    """Return how many of the ``images`` of a run an ``entry`` attacks. Raises ``ConfigError``."""
    if entry.get("images", 0) > images:
        raise ConfigError(
            f"{path}.images: {entry['images']:,} is not allowed; {images:,} images are attacked in this run."
        )
    return entry.get("images", images)


def _shards(wanted: int, images: int, chunk: int) -> int:
    """Return how many jobs so many images are cut into: at most one a chunk."""
    return min(wanted, -(-images // chunk))


def _of_one_method(entry: Mapping[str, Any]) -> str:
    """Return what to write in the place of an attack of method ``mutual_information``, which has become several."""
    options = dict(entry["options"])
    preset, estimator = options.pop("preset", "custom"), options.pop("estimator", "mine")
    method = estimator if preset == "custom" else preset
    if preset == "custom" and method != "mine":
        # The one method searched by bisection unless it was told otherwise; these do not.
        options = {"search": "binary", "steps": 200, **options}
        if options["search"] == "decoupled":
            del options["search"]
    rest = f" and options: {json.dumps(options)}" if options else ""
    return f"'mutual_information' is a method of its own for each estimator now; write method: {method}{rest}."


def _points(attack: PlannedAttack, entry: Mapping[str, Any], sweep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the options that each attack of a sweep differs in, with their values."""
    path = f"sweeps.{attack.name}"
    given = [key for key in ("option", "each", "combinations") if key in sweep]
    if len(given) != 1 or ("option" in sweep) != ("values" in sweep):
        raise ConfigError(f"{path}: says what varies in one way: by option and values, by each, or by combinations.")
    values = {sweep["option"]: sweep["values"]} if "option" in sweep else sweep[given[0]]
    schema = options_schema("attacks", attack.method)
    datasets = sweep.get("datasets", attack.datasets)
    for option, chosen in values.items():
        where = f"{path}.option" if "option" in sweep else f"{path}.{given[0]}"
        require_known(option, schema["properties"], where, f"option of {attack.method} named")
        for dataset, below in entry["per_dataset"].items():
            if option in below and dataset in datasets and "combinations" not in sweep:
                raise ConfigError(
                    f"attacks.{attack.name}.per_dataset.{dataset}.{option}: not allowed beside a sweep over {option}; "
                    "a sweep has one start on every data set."
                )
        for position, value in enumerate(chosen):
            keys = ("values",) if "option" in sweep else (given[0], option)
            check(value, schema["properties"][option], ("sweeps", attack.name, *keys, str(position)))
    if "combinations" in sweep:
        points = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    else:
        points = [{option: value} for option, chosen in values.items() for value in chosen]
    # The attack itself is one of them.
    start = _start(attack, points, datasets)
    return [point for point in points if any(option not in start or start[option] != point[option] for option in point)]


def _start(attack: PlannedAttack, points: Collection[Mapping[str, Any]], datasets: Collection[str]) -> dict[str, Any]:
    """Return the values of an attack itself in the options that its sweep varies, where all its ``datasets`` have the same."""
    varied = dict.fromkeys(option for point in points for option in point)
    defaults = plugins.schemas("attacks")[attack.method]
    found = {}
    for option in varied:
        first, *others = [attack.options[dataset].get(option, defaults[option].get("default")) for dataset in datasets]
        if all(other == first for other in others):
            found[option] = first
    return found


def _sweep(
    attack: PlannedAttack,
    sweep: Mapping[str, Any],
    points: Collection[Mapping[str, Any]],
    datasets: Collection[str],
    attacked: Collection[str],
    values: Mapping[str, Any],
) -> Iterator[PlannedAttack]:
    scope = {"datasets": attack.datasets, "models": attack.models, **sweep}
    chosen, models = _scope(f"sweeps.{attack.name}", scope, datasets, attacked)
    metrics = attack.metrics
    if "metrics" in sweep:
        metrics = _measured(f"sweeps.{attack.name}", sweep, values["metrics"])
    images = _images(f"sweeps.{attack.name}", sweep, attack.images)
    for point in points:
        name = "-".join([attack.name, *(f"{option}-{value}" for option, value in point.items())])
        check({name: {}}, {"propertyNames": structure_schema()["$defs"]["name"]}, ("sweeps", attack.name))
        words = ", ".join(f"{option.replace('_', ' ')} {value}" for option, value in point.items())
        yield replace(
            attack,
            name=name,
            label=f"{attack.label} ({words})",
            options={dataset: {**given, **point} for dataset, given in attack.options.items()},
            datasets=chosen,
            models=models,
            compared=False,
            metrics=metrics,
            images=images,
            shards=_shards(attack.shards, images, values["chunk"]),
            sweep_of=attack.name,
            varied=point,
        )
