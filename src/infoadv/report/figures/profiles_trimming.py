"""Profiles in the full and in the trimmed network, of JSMA made on this network and on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from infoadv.execution.errors import InfoadvError
from infoadv.report import curves, flow
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow", "needs": ["trimmed"]}
ABOUT = {"profiles_trimming": "information profiles in the full and in the trimmed network"}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts: rows full and trimmed network.

    Solid: examples that fool the network they were made on, here the row's own; dashed: the other network's examples,
    whether or not they fool this one, with the rate at which they do.

    Raises ``InfoadvError`` if no trimmed network is configured or its artefact is not given.
    """
    read = flow.load(inputs, specification)
    trimmed = read.role("trimmed")
    if trimmed is None:
        raise InfoadvError("flow.trimmed: not configured, or no flow artefact of this network was given.")
    attack = attack_of(read.jsma, specification)
    rows = []
    for name, network, other in (("Full", read.main, trimmed), ("Trimmed", trimmed, read.main)):
        own = network.select(read.estimator, read.jsma)
        passed = network.select(read.estimator, read.jsma, source=other.name)
        # The colours that own and others' examples have between the networks of the transfer as well.
        blue, orange = map(curves.look, range(2))
        made, dashed = passed.made, (0, (4, 1.5))
        found = [
            curves.Curve(f"{attack.label} for this network", own.won, blue.color, "-", blue.marker, own.rate),
            curves.Curve(f"{attack.label} for the other", made, orange.color, dashed, "^", made.rate),
        ]
        rows.append(
            curves.Row(f"{name} network ({network.name})", network, [curves.clean(network, read, found), *found])
        )
    return curves.stack(rows, read)
