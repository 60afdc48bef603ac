"""Verdicts of the judges, metrics by which no setting was chosen: which of two attacks is less visible on a target network.

The rules are those of docs/judges.md, which were written down before any table with these metrics. A verdict counts a judge
as ahead, behind or level for an attack against a rival; the attack is less visible where enough of them are ahead.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from infoadv.report import statistics
from infoadv.report.columns import Metric
from infoadv.report.rows import UNTARGETED, Attack, Rows

#: Level of the tests, corrected after Holm.
LEVEL = 0.01
#: The judge that is fitted to what people see, without which there is no verdict.
FIRST = "jod"
#: Share of the other judges that have to be ahead: three of four.
SHARE = 0.75
#: Where the plain L2 attack loses no more than this, in JOD, a difference is too small to ask for.
NOTICEABLE = 0.2
#: The plain L2 attack that says so, by its method.
YARDSTICK = "ddn"
#: Forward passes, and backward passes, that an attack may take for an image.
PASSES = 100
#: What a mean SSIM may lose.
SSIM_LOSS = 0.005

#: A network is saturated where the plain L2 attack loses less SSIM than this, in the mean: nothing can be seen there, and what
#: is ranked are digits behind the point.
SATURATED = 0.01

#: The two roles of metrics, as tables name them: those that attacks may be tuned on, and those that judge.
ROLES = METRIC, JUDGE = "metric", "judge"

_COLUMNS = ("attack", "rival", "metric", "n", "difference", "low", "high", "effect", "p", "p_holm", "verdict")


#: The attacks that have to be beaten before one is called the least visible, by their methods.
NAMED = (
    *("cw_l2", "ddn", "fmn_l2", "projection", "weighted_l2"),
    *("alma_l2", "alma_ssim", "alma_ciede2000", "alma_lpips", "perc_al"),
)
#: Those of them that need colours.
IN_COLOUR = ("alma_ciede2000", "perc_al")


@dataclass(frozen=True)
class Verdict:
    """What the judges say of an attack against a rival: ``overall`` is "ahead", "behind", "level" or "not judged".

    ``judges`` maps the columns that count to "ahead", "behind" or "level".
    """

    rival: str
    judges: Mapping[str, str]
    overall: str


def floor(attack: Attack) -> bool:
    """Return whether an attack shows how far one can get, since it optimises the first judge."""
    return FIRST in attack.optimises


def rivals(rows: Rows, target: tuple[str, str], claimed: Collection[str]) -> list[Attack]:
    """Return the attacks that a claimed one is judged against on a target: all compared ones that are no floor."""
    attacks = rows.attacks_on(*target, compared=True)
    return [attack for attack in attacks if attack.name not in claimed and not floor(attack)]


def absent(rows: Rows, target: tuple[str, str], claimed: Collection[str]) -> list[str]:
    """Return those of ``NAMED`` that are no :func:`rivals` on a target, since they did not run or are claimed themselves.

    On gray images, where metrics of colour have no value, those in colour are not asked for.
    """
    ran = {attack.method for attack in rivals(rows, target, claimed)}
    colours = [metric.column for metric in rows.metrics if metric.colour_only and metric.better != "none"]
    gray = bool(colours) and bool(rows.of(*target)[colours].isna().all(axis=None))
    return [method for method in NAMED if method not in ran and not (gray and method in IN_COLOUR)]


def saturated(rows: Rows, target: tuple[str, str]) -> bool:
    """Return whether a network is saturated: plain L2 (``YARDSTICK``) loses less than ``SATURATED`` of SSIM there."""
    plain = yardstick(rows, target)
    if plain is None:
        return False
    return 1 - statistics.mean(rows.averaged(*target, plain)["ssim"].to_numpy()) < SATURATED


def yardstick(rows: Rows, target: tuple[str, str], goal: str = UNTARGETED) -> Attack | None:
    """Return the plain L2 attack (``YARDSTICK``) with this ``goal``, any other class or a chosen one, or None."""
    attacks = rows.attacks_on(*target)
    return next((one for one in attacks if one.method == YARDSTICK and one.target == goal), None)


def role(metric: str, settings: statistics.Settings) -> str:
    """Return the role of a metric's column, one of ``ROLES``."""
    return JUDGE if metric in settings.judges else METRIC


def note(judges: Sequence[Metric]) -> str:
    """Return what a caption has to say of ``judges``, with a space before it."""
    return f" Judges: the tuning chose no setting by them (docs/judges.md). {conditions(judges)}".rstrip()


def conditions(judges: Sequence[Metric]) -> str:
    """Return a sentence that says how each of ``judges`` looked at the images, for captions; "" if none says."""
    seen: dict[str, list[str]] = {}
    for metric in judges:
        options, words = metric.options, []
        if "enlarge" in options:
            times = options["enlarge"]
            words.append("enlarged " + (f"{times} times" if times else "to 128 px, at most 4 times"))
        if "pixels_per_degree" in options:
            words.append(f"{options['pixels_per_degree']:g} pixels per degree")
        if "display" in options:
            words.append(f"display {options['display']}")
        if words:
            seen.setdefault(", ".join(words), []).append(metric.label)
    return "; ".join(f"{', '.join(labels)}: {words}" for words, labels in seen.items()) + "." if seen else ""


def present(rows: Rows, judges: Sequence[str]) -> list[Metric]:
    """Return the judges that were computed, in the order of ``judges``."""
    computed = {metric.column: metric for metric in rows.metrics}
    return [computed[name] for name in judges if name in computed and not rows.frame[name].isna().all()]


def compare(
    rows: Rows, target: tuple[str, str], attack: str, rivals: Sequence[str], settings: statistics.Settings
) -> pd.DataFrame:
    """Return a row for each rival and judge: the paired test on the images of ``target`` on which both attacks succeed.

    The family of the Holm correction is all these rows. ``verdict`` is "ahead" where the attack is less visible with a
    corrected p below ``LEVEL`` and a mean that agrees with the ranks, "behind" where the rival is, "level" elsewhere, and
    "home" where one of the two optimises this judge, which is then neither tested nor counted.
    """
    judges = present(rows, settings.judges)
    attacks = {entry.name: entry for entry in rows.attacks}
    ours = successes(rows, target, attack)
    records = []
    for rival in rivals:
        theirs = successes(rows, target, rival)
        both = ours.index.intersection(theirs.index)
        for metric in judges:
            at_home = any(metric.measured in attacks[name].optimises for name in (attack, rival))
            tested = both[:0] if at_home else both
            result = statistics.paired(
                ours.loc[tested, metric.column].to_numpy(), theirs.loc[tested, metric.column].to_numpy(), settings
            )
            records.append(
                {
                    "attack": attack,
                    "rival": rival,
                    "metric": metric.column,
                    "n": len(both) if at_home else result.n,
                    "difference": result.difference,
                    "low": result.low,
                    "high": result.high,
                    "effect": result.effect,
                    "p": result.p,
                    "verdict": "home" if at_home else "",
                }
            )
    frame = pd.DataFrame(records, columns=list(_COLUMNS))
    frame["p_holm"] = statistics.holm(frame["p"].to_numpy(dtype=float))
    sign = {metric.column: 1.0 if metric.better == "higher" else -1.0 for metric in judges}
    tested = frame["verdict"] != "home"
    frame.loc[tested, "verdict"] = [_side(row, sign[row["metric"]]) for _, row in frame[tested].iterrows()]
    return frame


def decide(
    rows: Rows, target: tuple[str, str], attack: str, rivals: Sequence[str], tests: pd.DataFrame
) -> list[Verdict]:
    """Return the verdicts that follow from ``tests``, what :func:`compare` found of all ``rivals``."""
    judged = admitted(rows, target, attack)
    noticeable = loss_of_yardstick(rows, target) > NOTICEABLE
    found = []
    for rival in rivals:
        counted = tests[(tests["rival"] == rival) & (tests["verdict"] != "home")]
        judges = dict(zip(counted["metric"], counted["verdict"], strict=True))
        lost = ssim_lost(rows, target, attack, rival)
        if not judged or FIRST not in judges or len(judges) < 2 or math.isnan(lost):
            overall = "not judged"
        elif _ahead(judges, "ahead", "behind", noticeable) and lost <= SSIM_LOSS:
            overall = "ahead"
        elif _ahead(judges, "behind", "ahead", noticeable) and -lost <= SSIM_LOSS:
            overall = "behind"
        else:
            overall = "level"
        found.append(Verdict(rival, judges, overall))
    return found


def _ahead(judges: Mapping[str, str], wanted: str, against: str, noticeable: bool) -> bool:
    others = [verdict for name, verdict in judges.items() if name != FIRST]
    first = judges[FIRST] == wanted if noticeable else judges[FIRST] != against
    return first and against not in others and others.count(wanted) >= SHARE * len(others)


def _side(row: pd.Series, sign: float) -> str:
    # A winner needs ranks and a mean that point the same way, as in the table `comparison`.
    if not row["p_holm"] < LEVEL or row["difference"] * row["effect"] <= 0:
        return "level"
    return "ahead" if sign * row["difference"] > 0 else "behind"


def successes(rows: Rows, target: tuple[str, str], attack: str) -> pd.DataFrame:
    own = rows.of(*target, attack).set_index("index").sort_index()
    return own[own["success"]]


def admitted(rows: Rows, target: tuple[str, str], attack: str) -> bool:
    """Whether the attack succeeds on every image, within the passes that are allowed."""
    own = rows.of(*target, attack)
    return (
        len(own) > 0 and bool(own["success"].all()) and bool((own[["forwards", "backwards"]] <= PASSES).all(axis=None))
    )


def loss_of_yardstick(rows: Rows, target: tuple[str, str]) -> float:
    """Return the mean loss of JOD of the plain L2 attack, infinite where there is none: then JOD has to be ahead."""
    plain = yardstick(rows, target)
    if plain is None or FIRST not in rows.frame:
        return math.inf
    values = successes(rows, target, plain.name)[FIRST].to_numpy(dtype=float)
    return math.inf if np.isnan(values).all() else 10 - statistics.mean(values)


def ssim_lost(rows: Rows, target: tuple[str, str], attack: str, rival: str) -> float:
    """Return by how much the attack's mean SSIM is below the rival's, on the images on which both succeed."""
    ours, theirs = (successes(rows, target, name)["ssim"] for name in (attack, rival))
    both = ours.index.intersection(theirs.index)
    return statistics.mean((theirs.loc[both] - ours.loc[both]).to_numpy(dtype=float))
