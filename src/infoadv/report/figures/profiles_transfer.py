"""Profiles of JSMA in each of several networks: made for it, for another network (transferable or not), for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from infoadv.execution.errors import InfoadvError
from infoadv.report import curves, flow

INPUTS = {"stage": "flow", "needs": ["transfer"]}
ABOUT = {"profiles_transfer": "information profiles of own, transferable and other examples in each network"}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from flow artefacts: a row for each inference network.

    Own examples are those that fool the row's network; examples for another network or for the ensemble of the others those
    that fool what they were made for, whether or not they fool the row's network, and transferable if they do. A set without
    examples is named in the legend.

    Raises ``InfoadvError`` if no other networks are configured or none of their artefacts is given.
    """
    read = flow.load(inputs, specification)
    if not read.transfer:
        raise InfoadvError("flow.transfer: not configured, or no flow artefact of these networks was given.")
    rows = []
    for network in read.transfer:
        own = network.select(read.estimator, read.jsma)
        other = read.of_others(network, read.estimator)
        fools = other.table["success"].to_numpy()
        blue, orange, green, pink = map(curves.look, range(4))
        found = [
            curves.Curve("Own", own.won, blue.color, "-", blue.marker, own.rate),
            curves.Curve("Other, transferable", other.where(fools), orange.color, "-", orange.marker, other.rate),
            curves.Curve("Other, not transferable", other.where(~fools), green.color, "--", green.marker),
        ]
        if (ensemble := read.ensemble(network)) is not None:
            joint = network.select(read.estimator, read.jsma, source=ensemble).made
            found.append(curves.Curve("Ensemble of the others", joint, pink.color, "-", pink.marker, joint.rate))
        rows.append(curves.Row(network.name, network, [curves.clean(network, read, found), *found]))
    return curves.stack(rows, read)
