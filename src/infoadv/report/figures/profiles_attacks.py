"""Profiles of adversarial examples by attack against clean inputs, at native size and at one L2 for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from infoadv.report import curves, flow, style
from infoadv.report.rendering import number
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}
ABOUT = {"profiles_attacks": "information profiles by attack, at native size and at one L2 for each image"}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts: rows native and matched size, a panel each for IIP, OIP and IOC.

    A curve is the mean over an attack's successes; its noise is of the same L2 on the same images.
    """
    read = flow.load(inputs, specification)
    matched = attack_of(str(read.section.get("matched") or ""), specification).label
    rows = [
        curves.Row("Native size", read.main, _curves(read, specification, "native", "noise")),
        curves.Row(
            f"L2 of each image matched to that of {matched}",
            read.main,
            _curves(read, specification, "matched", "matched_noise"),
        ),
    ]
    return curves.stack(rows, read)


def _curves(read: flow.Flow, specification: Mapping[str, Any], condition: str, control: str) -> list[curves.Curve]:
    found: list[curves.Curve] = []
    noises: list[curves.Curve] = []
    for place, name in enumerate(read.attacks):
        attack, look = attack_of(name, specification), curves.look(place)
        group = read.main.select(read.estimator, name, condition)
        won = group.won
        size = f"L2 {number(float(won.table['l2'].mean()), 2)}" if len(won) else ""
        found.append(curves.Curve(attack.label, won, look.color, look.line, look.marker, group.rate, size))
        noise = read.main.select(read.estimator, name, control).of(won.images)
        label = f"Noise of {attack.label}'s L2"
        legend = "-" if noises else "Noise of each attack's L2, same images"
        noises.append(curves.Curve(label, noise, style.GUIDE, curves.NOISE_LINE, "", thin=True, legend=legend))
    return [curves.clean(read.main, read, found), *found, *noises]
