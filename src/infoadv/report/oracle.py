"""The smallest L2 that any attack reached, image by image: a reference that no weak attack can make easy.

Of all compared attacks on a network that optimise L2 the oracle takes, on each image, the successful result with the smallest
L2, with all the metrics of that result. It is no attack: it needs them all, and it is compared and shown, never ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from infoadv.execution.errors import InfoadvError
from infoadv.report import style
from infoadv.report.rows import Attack, Rows

#: The name of its rows in tables, and the metric that chooses.
NAME, CHOSEN_BY = "best_l2", "l2"
LABEL = "Best L2 attack per image (oracle)"


def members(rows: Rows, target: tuple[str, str]) -> list[Attack]:
    """Return the attacks that the oracle chooses from on one target: the compared ones that optimise L2.

    Others aim at a chosen class, or took fewer images or fewer metrics: where these won, metrics would be lacking.
    """
    return [attack for attack in rows.attacks_on(*target, compared=True) if CHOSEN_BY in attack.optimises]


def added(rows: Rows) -> Rows:
    """Return ``rows`` with the oracle on every target on which it has two attacks to choose from, as the last attack.

    Its passes are those of all its attacks together. On an image on which none succeeds it is the failure with the smallest L2.
    """
    found = [(target, members(rows, target)) for target in rows.targets]
    frames = [_best(rows, target, attacks) for target, attacks in found if len(attacks) > 1]
    if not frames:
        return rows
    if any(attack.name == NAME for attack in rows.attacks):
        raise InfoadvError(f"attacks.{NAME}: tables call the oracle so; give this attack another name.")
    among = {attack.name: attack for _, attacks in found if len(attacks) > 1 for attack in attacks}
    optimised = [set(attack.optimises) for attack in among.values()]
    last = 1 + max(attack.color_index for attack in rows.attacks)
    oracle = Attack(
        NAME,
        LABEL,
        style.attack_style(last),
        last,
        compared=False,
        sweep_of=None,
        method="",
        control=False,
        varied={},
        optimises=tuple(sorted(set.intersection(*optimised))),
        oracle=True,
    )
    return replace(rows, frame=pd.concat([rows.frame, *frames], ignore_index=True), attacks=[*rows.attacks, oracle])


def _best(rows: Rows, target: tuple[str, str], attacks: Sequence[Attack]) -> pd.DataFrame:
    every = pd.concat([rows.of(*target, attack.name) for attack in attacks])
    passes = every.groupby("index")[["forwards", "backwards"]].sum()
    # A failure comes after every success; the sort is stable, so equals are decided by the order of the attacks.
    order = every.assign(failed=~every["success"]).sort_values(["failed", CHOSEN_BY], kind="stable")
    chosen = order.drop_duplicates("index").drop(columns="failed").sort_values("index")
    for column in passes:
        chosen[column] = passes.loc[chosen["index"], column].to_numpy()
    return chosen.assign(attack=NAME)
