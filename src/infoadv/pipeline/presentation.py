"""What tables and figures have to know beside their inputs: labels, colours, sweeps, statistics, and what a picture shows.

It travels in their specifications, so that they are made again when it changes. No torch here: the Snakefile asks.
"""

from __future__ import annotations

from typing import Any

from infoadv.config import Config, PlannedAttack, Run, matching, stage_inputs
from infoadv.registry import plugins


def of_attacks(settings: Config) -> dict[str, Any]:
    """Return what every table and figure is told: the seed, the statistics, and how each attack is shown."""
    return {
        "seed": settings.seed,
        "statistics": settings.statistics,
        "attacks": {
            attack.name: {
                "label": attack.label,
                "method": attack.method,
                "color_index": attack.color_index,
                "sweep_of": attack.sweep_of,
                "compared": attack.compared,
                "control": any("like" in options for options in attack.options.values()),
                "optimises": plugins.literals("attacks", "OPTIMISES").get(attack.method, []),
                **_swept(settings, attack),
            }
            for attack in settings.attacks.values()
        },
    }


def of(settings: Config, kind: str, name: str) -> dict[str, Any]:
    """Return what one table or figure (``kind``) is told: with the section ``flow`` where it draws from that."""
    told = of_attacks(settings)
    if stage_inputs(kind, name)["stage"] != "flow":
        return told
    assert settings.flow is not None
    return {**told, "flow": settings.flow.values}


def _swept(settings: Config, attack: PlannedAttack) -> dict[str, Any]:
    """Return the swept option and its value: of a point of a sweep, and of the attack that the sweep varies."""
    sweep = settings.values["sweeps"].get(attack.sweep_of or attack.name)
    if sweep is None:
        return {}
    option = sweep["option"]
    declared = plugins.schemas("attacks")[attack.method][option]
    point = {"option": option, "value": attack.options[attack.datasets[0]].get(option, declared.get("default"))}
    return point if attack.sweep_of else {"swept": point}


def grid(settings: Config, dataset: str) -> tuple[dict[str, Any], list[Run]]:
    """Return the options of the image grid of a data set, its network named, and the runs that it shows."""
    wanted = dict(settings.figures["grid"])
    present = [run.model for run in settings.runs if run.dataset == dataset]
    if wanted.get("model") not in present:
        wanted["model"] = present[0]
    shown = wanted.setdefault("attacks", [a.name for a in settings.attacks.values() if a.sweep_of is None])
    runs = matching(settings.runs, {"dataset": dataset, "model": wanted["model"]})
    return wanted, [run for run in runs if run.attack in shown]
