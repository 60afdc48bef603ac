"""The section ``figures``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from infoadv.config import offered
from infoadv.config.attacks import PlannedAttack
from infoadv.config.errors import ConfigError, require_known
from infoadv.config.flow import Flow
from infoadv.config.runs import Run, matching
from infoadv.config.schema import check, filled, structure_schema
from infoadv.registry import plugins


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
    """Return the options of each figure that is drawn. Raises ``ConfigError``."""
    known = structure_schema()["properties"]["figures"]["properties"]
    declared = plugins.schemas("figures")
    result = {}
    for name, given in values["figures"].items():
        path = f"figures.{name}"
        require_known(name, plugins.names("figures"), "figures", "figure")
        if name not in known:
            # A figure that was added declares its options itself, or has none.
            schema = {"type": "object", "additionalProperties": False, "properties": declared.get(name, {})}
            check(given, schema, ("figures", name))
            given = filled(given, schema)
        for key, names, what in (
            ("dataset", datasets, "data set"),
            ("model", models, "model"),
            ("attack", attacks, "attack"),
            ("metric", metrics, "metric"),
        ):
            if key in given:
                require_known(given[key], names, f"{path}.{key}", what)
            for item in given.get(f"{key}s", ()):
                require_known(item, names, f"{path}.{key}s", what)
        result[name] = given
        inputs = offered.stage_inputs("figures", name)
        if inputs["stage"] == "flow":
            needed = [key for key in inputs.get("needs", []) if flow is None or key not in flow.values]
            if flow is None or needed:
                lacking = f"flow.{needed[0]}" if needed else "flow"
                raise ConfigError(f"figures.{name}: needs {lacking!r}; add it or remove the figure.")
    if "calibration" in result and "calibration" not in values:
        raise ConfigError("figures.calibration: needs the section 'calibration'; add it or remove the figure.")
    if "convergence" in result:
        _check_convergence(result["convergence"], values["images"], attacks, runs)
    return result


def _check_convergence(
    wanted: Mapping[str, Any], images: int, attacks: Mapping[str, PlannedAttack], runs: Iterable[Run]
) -> None:
    matches = matching(runs, wanted)
    if not matches:
        raise ConfigError("figures.convergence: no such attack runs; see the datasets and models of that attack.")
    drawn = attacks[matches[0].attack]
    recording = plugins.literals("attacks", "TRACES")
    if drawn.method not in recording:
        raise ConfigError(
            f"figures.convergence.attack: {drawn.name!r} is of method {drawn.method}; name an attack that records "
            f"its run: one of method {', '.join(sorted(recording))}."
        )
    if not 0 <= wanted["image"] < images:
        raise ConfigError(
            f"figures.convergence.image: {wanted['image']} is not allowed; {images} images are attacked, "
            f"give at most {images - 1}."
        )
