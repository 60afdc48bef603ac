"""What tables and figures have to know beside their inputs: labels, colours, sweeps, statistics, and what a picture shows.

It travels in their specifications, so that they are made again when it changes. No torch here: the Snakefile asks.
"""

from __future__ import annotations

from typing import Any

from infoadv.config import Config, PlannedAttack, stage_inputs
from infoadv.pipeline.drawings import Drawing
from infoadv.registry import plugins


def of_attacks(settings: Config) -> dict[str, Any]:
    """Return what every table and figure is told: the seed, the statistics, and how each attack is shown."""
    return {
        "seed": settings.seed,
        "alike": settings.alike,
        "purpose": settings.values["purpose"],
        "statistics": settings.statistics,
        "attacks": {
            attack.name: {
                "label": _label(attack),
                "method": attack.method,
                "color_index": attack.color_index,
                "sweep_of": attack.sweep_of,
                # Aimed at a class that somebody chose, an attack has to go further than one that takes the nearest.
                "compared": attack.compared and attack.target == "untargeted",
                "target": attack.target,
                "control": attack.control,
                "optimises": plugins.literals("attacks", "OPTIMISES").get(attack.method, []),
                "nearly": plugins.literals("attacks", "NEARLY_OPTIMISES").get(attack.method, []),
                "varied": dict(attack.varied),
            }
            for attack in settings.attacks.values()
        },
    }


def _label(attack: PlannedAttack) -> str:
    """Return what an attack is called; the class that a targeted one aims at is part of it."""
    aim = {"untargeted": "", "next": "next class", "least_likely": "least likely class"}[attack.target]
    return attack.label if aim.lower() in attack.label.lower() else f"{attack.label}, {aim}"


def of(settings: Config, kind: str, name: str) -> dict[str, Any]:
    """Return what one table or figure (``kind``) is told.

    One that draws from the section ``flow`` is told it; one of an attack that records its run, what each calls its estimate.
    """
    told, inputs = of_attacks(settings), stage_inputs(kind, name)
    if inputs.get("trace"):
        recording = plugins.literals("attacks", "TRACES")
        attacks = settings.attacks.values()
        told["traces"] = {attack.name: recording[attack.method] for attack in attacks if attack.method in recording}
    if inputs["stage"] == "flow":
        assert settings.flow is not None
        told["flow"] = settings.flow.values
    return told


def of_drawing(settings: Config, drawing: Drawing) -> dict[str, Any]:
    """Return what one figure is told: its options, and its data set where it has one, beside what all are."""
    own = {} if drawing.dataset is None else {"dataset": drawing.dataset}
    return {"figure": drawing.options, **own, **of(settings, "figures", drawing.figure)}


def labels(settings: Config, drawing: Drawing) -> dict[str, str]:
    """Return what the report lists of a figure, to choose by: the data set, network and attack that it shows."""
    shown = dict.fromkeys(("dataset", "model", "attack"), "none" if drawing.stage == "calibration" else "all")
    shown |= {key: str(drawing.options[key]) for key in shown if key in drawing.options}
    if drawing.stage == "flow":
        assert settings.flow is not None
        shown["dataset"] = settings.flow.dataset
    if drawing.dataset is not None:
        shown["dataset"] = drawing.dataset
    # Of many pictures each says its own.
    shown |= {key: f"{{{key}}}" for key in shown if f"{{{key}}}" in drawing.pictures}
    named = {} if drawing.pictures else {"figure": drawing.stem}
    return {**named, "data set": shown["dataset"], "model": shown["model"], "attack": shown["attack"]}
