"""The section ``figures``: the options of each figure, declared by its own file, and whether there is what it is drawn from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from infoadv.config.attacks import PlannedAttack
from infoadv.config.errors import ConfigError, require_known
from infoadv.config.flow import Flow
from infoadv.config.offered import stage_inputs
from infoadv.config.runs import Run, matching, transferable
from infoadv.config.schema import check, filled
from infoadv.registry import plugins


def options(name: str) -> dict[str, Any]:
    """Return the JSON schema of the options of a figure: the literal ``SCHEMA`` of its file; without one it has none.

    A figure of one attack has to be told which.
    """
    properties = plugins.schemas("figures").get(name, {})
    required = ["attack"] if stage_inputs("figures", name)["stage"] == "attack" else []
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def lacking(inputs: Mapping[str, Any], values: Mapping[str, Any], flow: Flow | None, runs: Iterable[Run]) -> str | None:
    """Return the key of a configuration without which a table or figure with these ``inputs`` cannot be; None if it can."""
    if inputs["stage"] == "flow":
        missing = [key for key in inputs.get("needs", ()) if flow is None or key not in flow.values]
        return f"flow.{missing[0]}" if missing else "flow" if flow is None else None
    if inputs["stage"] == "calibration" and "calibration" not in values:
        return "calibration"
    if inputs["stage"] == "metrics" and not list(runs):
        return "models.<a network that is attacked>"
    if inputs["stage"] == "transfer" and not transferable(runs):
        return "models.<a second attacked network of one data set>"
    return None


def completed(
    values: Mapping[str, Any],
    *,
    datasets: Collection[str],
    models: Collection[str],
    metrics: Collection[str],
    attacks: Mapping[str, PlannedAttack],
    runs: Iterable[Run],
    flow: Flow | None,
) -> dict[str, dict[str, Any]]:
    """Return the options of each figure that is drawn. Raises ``ConfigError``.

    Options called ``dataset``, ``model``, ``attack`` and ``metric``, or the same in the plural, are names that must be there;
    of a figure of one attack ``image`` is a place among the images attacked.
    """
    result = {}
    for name, given in values["figures"].items():
        path = f"figures.{name}"
        require_known(name, plugins.names("figures"), "figures", "figure")
        schema = options(name)
        check(given, schema, ("figures", name))
        chosen = filled(given, schema)
        for key, names, what in (
            ("dataset", datasets, "data set"),
            ("model", models, "model"),
            ("attack", attacks, "attack"),
            ("metric", metrics, "metric"),
        ):
            if key in chosen:
                require_known(chosen[key], names, f"{path}.{key}", what)
            for item in chosen.get(f"{key}s", ()):
                require_known(item, names, f"{path}.{key}s", what)
        if "option" in chosen:
            swept = {next(iter(one.varied)) for one in attacks.values() if one.sweep_of and len(one.varied) == 1}
            require_known(chosen["option"], swept, f"{path}.option", "option that a sweep varies alone")
        inputs = stage_inputs("figures", name)
        missing = lacking(inputs, values, flow, runs)
        if missing is not None:
            raise ConfigError(f"{path}: needs {missing!r}; add it or remove the figure.")
        if inputs["stage"] == "attack":
            _check_attack(path, chosen, inputs, attacks, runs)
        result[name] = chosen
    return result


def _check_attack(
    path: str,
    chosen: Mapping[str, Any],
    inputs: Mapping[str, Any],
    attacks: Mapping[str, PlannedAttack],
    runs: Iterable[Run],
) -> None:
    matches = matching(runs, chosen)
    if not matches:
        raise ConfigError(f"{path}: no such attack runs; see the datasets and models of that attack.")
    drawn = attacks[matches[0].attack]
    recording = plugins.literals("attacks", "TRACES")
    if inputs.get("trace") and drawn.method not in recording:
        raise ConfigError(
            f"{path}.attack: {drawn.name!r} is of method {drawn.method}; name an attack that records its run: one of "
            f"method {', '.join(sorted(recording))}."
        )
    if chosen.get("image", 0) >= drawn.images:
        raise ConfigError(
            f"{path}.image: {chosen['image']} is not allowed; {drawn.images} images are attacked, give at most "
            f"{drawn.images - 1}."
        )
