"""The section ``models``: the networks, and which of them others are made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from infoadv.config import offered
from infoadv.config.errors import ConfigError, require_known, shown
from infoadv.config.limits import project_path
from infoadv.config.schema import check, common_options, complete_options, filled
from infoadv.registry import plugins

#: The specification that makes each network: by its name, then by data set.
Models = Mapping[str, Mapping[str, Mapping[str, Any]]]


def completed(values: Mapping[str, Any], datasets: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, per network and data set, the specification that makes the network. Raises ``ConfigError``."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, entry in values["models"].items():
        path = f"models.{name}"
        chosen = entry.get("datasets", list(datasets))
        for dataset in chosen:
            require_known(dataset, datasets, f"{path}.datasets", "data set")
        for dataset in entry["per_dataset"]:
            require_known(dataset, chosen, f"{path}.per_dataset", "data set of this model")
        result[name] = {dataset: _specification(name, entry, dataset) for dataset in chosen}
    for name, specifications in result.items():
        for dataset in specifications:
            _check_origin(result, name, dataset)
    return result


def of_dataset(models: Models, dataset: str) -> list[str]:
    """Return the names of the networks of one data set."""
    return [name for name, specifications in models.items() if dataset in specifications]


def alike(models: Models, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of attacked networks that differ in the seed of their training alone, at least two each.

    A group is a mapping: ``dataset``, and ``seeds``, the training seed of each network by its name.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, specifications in models.items():
        for dataset, specification in specifications.items():
            seed = specification["training"].get("seed")
            if seed is None or not values["models"][name]["attacked"]:
                continue
            without = {**specification, "training": {**specification["training"], "seed": None}}
            key = json.dumps([dataset, without], sort_keys=True)
            found.setdefault(key, {"dataset": dataset, "seeds": {}})["seeds"][name] = seed
    return [group for group in found.values() if len(set(group["seeds"].values())) > 1]


def origin(specification: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the networks that one is made from, each with the key that names it (start, teacher, members)."""
    named = [(key, specification[key]) for key in ("start", "teacher") if key in specification]
    return named + [("members", member) for member in specification.get("members", ())]


def _specification(name: str, entry: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    kinds = [key for key in ("architecture", "factory", "members") if key in entry]
    if len(kinds) != 1:
        raise ConfigError(
            f"models.{name}: give either 'architecture' (trained here, or with 'weights'), 'factory' and 'weights' (your own), "
            "or 'members' (an ensemble)."
        )
    if "factory" in entry and "weights" not in entry:
        raise ConfigError(f"models.{name}: 'factory' and 'weights' go together.")
    if ("mean" in entry) != ("std" in entry):
        raise ConfigError(f"models.{name}: 'mean' and 'std' go together.")
    if kinds == ["architecture"] and "weights" not in entry:
        return {**_trained(name, entry, dataset), **_normalisation(entry)}
    foreign = ["start", "teacher", "per_dataset"]
    if "members" in entry:
        foreign += ["options", "weights", "mean", "std"]
    for key in foreign:
        if key in entry and entry[key] != {}:
            beside = "members" if "members" in entry else "weights"
            raise ConfigError(f"models.{name}.{key}: not allowed beside '{beside}'; remove one of the two.")
    measured = {key: common_options("training")[key] for key in ("pgd_epsilon", "apgd_steps", "apgd_images")}
    schema = {"type": "object", "additionalProperties": False, "properties": measured}
    check(entry["training"], schema, ("models", name, "training"))
    training = filled(entry["training"], schema)
    if "members" in entry:
        return {"members": entry["members"], "training": training}
    (kind,) = kinds
    options = entry["options"]
    if kind == "architecture":
        options = complete_options("models", entry[kind], options, ("models", name, "options"), "architecture")
    return {
        kind: entry[kind],
        "weights": project_path(entry["weights"], f"models.{name}.weights"),
        "options": options,
        "training": training,
        **_normalisation(entry),
    }


def _normalisation(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("mean", "std") if key in entry}


def _trained(name: str, entry: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Return the specification of a network that is trained here."""
    path = ("models", name)
    override = entry["per_dataset"].get(dataset, {})
    architecture = override.get("architecture", entry["architecture"])
    # Options of another architecture mean nothing here; those of the same one are completed.
    inherited = entry["options"] if architecture == entry["architecture"] else {}
    options = {**inherited, **override.get("options", {})}
    training = {"recipe": "standard", **entry["training"], **override.get("training", {})}
    recipe = training.pop("recipe")
    return {
        "architecture": architecture,
        "options": complete_options("models", architecture, options, (*path, "options"), "architecture"),
        "training": {
            "recipe": recipe,
            **complete_options("training", recipe, training, (*path, "training"), "training recipe"),
        },
        **{key: entry[key] for key in ("start", "teacher") if key in entry},
    }


def _check_origin(models: Models, name: str, dataset: str) -> None:
    """Check the networks that ``name`` is made from on one data set."""
    own = models[name][dataset]
    path = f"models.{name}"
    present = of_dataset(models, dataset)
    for key, other in origin(own):
        require_known(other, present, f"{path}.{key}", f"network of {dataset} named")
    _refuse_circle(models, name, dataset)
    recipe = own["training"].get("recipe")
    if recipe is None:
        return
    needed = plugins.literals("training", "NEEDS").get(recipe, [])
    for key in needed:
        if key not in own:
            raise ConfigError(f"{path}: training recipe {recipe!r} needs the key {key!r}: the name of a network.")
    if "teacher" in own and "teacher" not in needed:
        raise ConfigError(f"{path}.teacher: training recipe {recipe!r} has no use for one; set recipe: distillation.")
    if recipe == "trimming" and own["architecture"] not in offered.resizable():
        allowed = ", ".join(offered.resizable())
        raise ConfigError(f"{path}.architecture: {own['architecture']!r} cannot be trimmed; allowed: {allowed}.")
    if "start" in own:
        first = models[own["start"]][dataset]
        for key in ("architecture", "options", "mean", "std"):
            if first.get(key) != own.get(key):
                raise ConfigError(
                    f"{path}.start: {own['start']!r} has {key} {shown(first.get(key))}, this network "
                    f"{shown(own.get(key))} on {dataset}; training can only begin from a network like itself."
                )
        if own["training"]["initialization"] != "default":
            raise ConfigError(
                f"{path}.training.initialization: not allowed beside 'start', whose weights training begins from."
            )


def _refuse_circle(models: Models, name: str, dataset: str) -> None:
    """Raise ``ConfigError`` if ``name`` is made from itself, directly or through others."""
    waiting: list[tuple[str, ...]] = [(name,)]
    above: set[str] = set()
    while waiting:
        chain = waiting.pop()
        for key, other in origin(models[chain[-1]].get(dataset, {})):
            if other == name:
                circle = " -> ".join((*chain, other))
                raise ConfigError(
                    f"models.{name}.{key}: {circle} goes in a circle; a network cannot be made from itself."
                )
            if other not in above and other in models:
                above.add(other)
                waiting.append((*chain, other))
