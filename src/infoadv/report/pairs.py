"""Paired tests of every attack against the references, image by image, on the images that the table ``quality`` averages.

References are the attack of ``statistics.reference``, the plain L2 attack that the judges measure by, the oracle over all L2
attacks, and every control. Against a control, noise of an attack's size, the question is whether the attack is more than that.
An attack towards a chosen class goes further than one that takes the nearest: it is tested against the plain L2 attack towards
the same class, and against nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.execution.errors import InfoadvError
from infoadv.report import judging, oracle, statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, number
from infoadv.report.rows import UNTARGETED, Attack, Rows

COLUMNS = (
    "dataset",
    "model",
    "attack",
    "reference",
    "role",
    "metric",
    "n",
    "difference",
    "difference_low",
    "difference_high",
    "effect",
    "p_wilcoxon",
    "p_holm",
    "better",
)


def check_reference(rows: Rows, settings: statistics.Settings) -> None:
    """Raise ``InfoadvError`` unless the attack of ``statistics.reference`` is among the rows."""
    available = [attack.name for attack in rows.attacks if attack.sweep_of is None and not attack.control]
    if settings.reference not in available:
        raise InfoadvError(
            f"statistics.reference: {settings.reference!r} is not among the attacks of the table; "
            f"choose one of: {', '.join(available)}."
        )


def directed(rows: Rows) -> list[Metric]:
    """Return the metrics that have a better side."""
    return [metric for metric in rows.metrics if metric.better in ("higher", "lower")]


def references(rows: Rows, target: tuple[str, str], settings: statistics.Settings) -> list[Attack]:
    """Return what attacks on a target are tested against, the attack of ``statistics.reference`` first; none without it."""
    attacks = rows.attacks_on(*target)
    first = [attack for attack in attacks if attack.name == settings.reference]
    kinds = (
        [plain for goal in _goals(attacks) if (plain := judging.yardstick(rows, target, goal)) is not None],
        [attack for attack in attacks if attack.name == oracle.NAME],
        [attack for attack in attacks if attack.control],
    )
    return list({attack.name: attack for part in (first, *kinds) for attack in part}.values()) if first else []


def _goals(attacks: Sequence[Attack]) -> list[str]:
    """Return what attacks aim at: any other class first, then the chosen ones."""
    return list(dict.fromkeys([UNTARGETED, *(attack.target for attack in attacks)]))


def opponents(rows: Rows, target: tuple[str, str], reference: Attack, settings: statistics.Settings) -> list[Attack]:
    """Return what is tested against a reference, all with the same target class: all others against that of
    ``statistics.reference`` and against a plain L2 attack towards a chosen class.

    Against the others these are the compared attacks, the oracle and the controls, against a control no other control.
    """
    attacks = rows.attacks_on(*target)
    others = [attack for attack in attacks if attack.name != reference.name and attack.target == reference.target]
    if reference.name == settings.reference or reference.target != UNTARGETED:
        return others
    return [one for one in others if one.compared or one.oracle or (one.control and not reference.control)]


def averaged(rows: Rows, target: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """Return the directed metrics of each attack on a target, by the data-set index of the images that it is averaged over."""
    columns = [metric.column for metric in directed(rows)]
    return {
        attack.name: rows.averaged(*target, attack).set_index("index").sort_index()[columns].astype(float)
        for attack in rows.attacks_on(*target)
    }


def differences(values: Mapping[str, pd.DataFrame], attack: str, reference: str) -> pd.DataFrame:
    """Return attack minus reference, of what :func:`averaged` found, on the images of both."""
    ours, theirs = values[attack], values[reference]
    both = ours.index.intersection(theirs.index)
    with np.errstate(invalid="ignore"):
        return ours.loc[both] - theirs.loc[both]


def tested(rows: Rows, settings: statistics.Settings) -> pd.DataFrame:
    """Return a row for each target, reference, attack and metric: the mean difference and Wilcoxon's signed-rank test.

    The family of the Holm correction is all tests of one role against one reference on one target. ``better`` is "attack",
    "reference" or "no difference"; a better side needs a corrected p below 0.05 and a mean that agrees with the ranks.
    ``rows`` hold the oracle where it is wanted.
    """
    families = [_family(rows, target, settings) for target in rows.targets]
    families = [family for family in families if len(family)]
    return pd.concat(families, ignore_index=True) if families else pd.DataFrame(columns=list(COLUMNS))


def _family(rows: Rows, target: tuple[str, str], settings: statistics.Settings) -> pd.DataFrame:
    values = averaged(rows, target)
    found = [
        record
        for reference in references(rows, target, settings)
        for attack in opponents(rows, target, reference, settings)
        for record in records(rows, target, attack, reference, values, settings)
    ]
    return decided(rows, pd.DataFrame(found, columns=list(COLUMNS)), ["reference", "role"])


def decided(rows: Rows, family: pd.DataFrame, parts: Sequence[str]) -> pd.DataFrame:
    """Return tests with ``p_holm``, corrected over all with the same ``parts``, and ``better``."""
    family["p_holm"] = family.groupby(list(parts))["p_wilcoxon"].transform(
        lambda p: statistics.holm(p.to_numpy(dtype=float))
    )
    directions = {metric.column: metric.better for metric in rows.metrics}
    family["better"] = [
        winner(row["difference"], row["effect"], row["p_holm"], directions[row["metric"]])
        for row in family.to_dict("records")
    ]
    return family


def records(
    rows: Rows,
    target: tuple[str, str],
    attack: Attack,
    reference: Attack,
    values: Mapping[str, pd.DataFrame],
    settings: statistics.Settings,
) -> list[dict[str, Any]]:
    """Return a test of attack less reference for each directed metric, of ``values`` by attack and data-set index."""
    metrics = directed(rows)
    moved = differences(values, attack.name, reference.name)
    low, high = statistics.bootstrap_means(moved.to_numpy(), settings)
    tests = []
    for place, metric in enumerate(metrics):
        result = statistics.signed_rank(moved[metric.column].to_numpy())
        tests.append(
            {
                "dataset": target[0],
                "model": target[1],
                "attack": attack.name,
                "reference": reference.name,
                "role": judging.role(metric.column, settings),
                "metric": metric.column,
                "n": result.n,
                "difference": result.difference,
                "difference_low": low[place],
                "difference_high": high[place],
                "effect": result.effect,
                "p_wilcoxon": result.p,
            }
        )
    return tests


def winner(difference: float, effect: float, p: float, better: str) -> str:
    """Return who is better; a winner needs a significant test and a mean that points the same way."""
    if not p < statistics.ALPHA or difference * effect <= 0:
        return "no difference"
    return "attack" if (difference > 0) == (better == "higher") else "reference"


def cell(test: pd.Series, metric: Metric, *, home: bool = False) -> Cell:
    """Return a test as tables show it: the difference, bold where the attack is better, in italics where the reference is."""
    text = number(test["difference"], metric.decimals, signed=True)
    return Cell(text, strong=test["better"] == "attack", emphasis=test["better"] == "reference", home=home)


def labels(rows: Rows) -> Mapping[str, str]:
    """Return the title of each attack by its name."""
    return {attack.name: attack.title for attack in rows.attacks}
