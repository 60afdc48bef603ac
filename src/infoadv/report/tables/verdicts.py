"""What the judges say of every attack that is claimed to be less visible, against every rival on every target model.

The rules are those of docs/judges.md. A floor is an attack that optimises JOD: how far one can get, and no rival.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.execution.errors import InfoadvError
from infoadv.report import judging, statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, short_p, tex, tex_arrow
from infoadv.report.rows import Attack, Rows, load

INPUTS = {"stage": "metrics", "needs": ["claimed"]}

_LEADING = (
    *("dataset", "model", "attack", "rival", "named", "verdict", "least_visible", "n", "ssim_lost"),
    *("absent", "asr", "forwards", "backwards", "yardstick_jod_lost"),
)
_OF_JUDGES = ("", "_difference", "_low", "_high", "_p_wilcoxon", "_p_holm")
#: The verdict on a floor.
FLOOR = "floor"


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a row for each target, claimed attack and rival, then one for each floor.

    ``verdict`` is "ahead", "behind", "level" or "not judged", of a floor "floor"; ``named`` says whether rule 7 names the rival,
    ``least_visible`` whether the attack is ahead of all rivals that it names, and ``absent`` which of these are no rivals
    there, so that nothing is. ``ssim_lost`` is by how much the attack's mean SSIM is lower; ``asr``, ``forwards`` and
    ``backwards`` are the attack's success and its most passes for an image. Each judge has its verdict, the mean
    difference (attack minus rival) with its interval, and p values; ``home`` where one of the two optimises it. Of a floor there
    is a difference on the judge that it optimises alone.

    Raises
    ------
    InfoadvError
        The run is for tuning, or holds no attack of ``statistics.claimed``.
    """
    if specification.get("purpose") == "tuning":
        raise InfoadvError("purpose: a tuning run gives no verdicts; judge the attacks on images that nobody tuned on.")
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    if not any(attack.name in settings.claimed for attack in rows.attacks):
        raise InfoadvError("statistics.claimed: none of these attacks ran; name one that did.")
    judges = judging.present(rows, settings.judges)
    columns = [*_LEADING, *(f"{judge.column}{end}" for judge in judges for end in _OF_JUDGES)]
    records = [
        record
        for target in rows.targets
        for attack in rows.attacks_on(*target)
        if attack.name in settings.claimed
        for record in _records(rows, target, attack, judges, settings)
    ]
    frame = pd.DataFrame(records, columns=columns)
    return Table(frame, _markdown(rows, frame, judges), _latex(rows, frame, judges))


def _records(
    rows: Rows, target: tuple[str, str], attack: Attack, judges: Sequence[Metric], settings: statistics.Settings
) -> Iterator[dict[str, Any]]:
    rivals = judging.rivals(rows, target, settings.claimed)
    names = [rival.name for rival in rivals]
    tests = judging.compare(rows, target, attack.name, names, settings)
    verdicts = judging.decide(rows, target, attack.name, names, tests)
    named = [rival.method in judging.NAMED for rival in rivals]
    beaten = [verdict.overall == "ahead" for verdict, counts in zip(verdicts, named, strict=True) if counts]
    absent = judging.absent(rows, target, settings.claimed)
    own = rows.of(*target, attack.name)
    shared = {
        "dataset": target[0],
        "model": target[1],
        "attack": attack.name,
        "asr": own["success"].mean(),
        "forwards": own["forwards"].max(),
        "backwards": own["backwards"].max(),
        "yardstick_jod_lost": _finite(judging.loss_of_yardstick(rows, target)),
        "least_visible": bool(beaten) and all(beaten) and not absent,
        "absent": " ".join(absent),
    }
    for rival, verdict, counts in zip(rivals, verdicts, named, strict=True):
        part = tests[tests["rival"] == rival.name].set_index("metric")
        of_judges = {}
        for judge in judges:
            test = part.loc[judge.column]
            of_judges[judge.column] = test["verdict"]
            for column in ("difference", "low", "high", "p_holm"):
                of_judges[f"{judge.column}_{column}"] = test[column]
            of_judges[f"{judge.column}_p_wilcoxon"] = test["p"]
        yield {
            **shared,
            "rival": rival.name,
            "named": counts,
            "verdict": verdict.overall,
            "n": int(part["n"].max()) if len(part) else 0,
            "ssim_lost": judging.ssim_lost(rows, target, attack.name, rival.name),
            **of_judges,
        }
    for one in rows.attacks_on(*target):
        if judging.floor(one) and one.name != attack.name:
            yield {**shared, **_distance(rows, target, attack, one, judges, settings)}


def _distance(
    rows: Rows,
    target: tuple[str, str],
    attack: Attack,
    floor: Attack,
    judges: Sequence[Metric],
    settings: statistics.Settings,
) -> dict[str, Any]:
    """Return how far an attack is from a floor, on the judges that the floor optimises: an interval, and no test."""
    ours, theirs = (judging.successes(rows, target, one.name) for one in (attack, floor))
    both = ours.index.intersection(theirs.index)
    found: dict[str, Any] = {}
    for judge in judges:
        if judge.measured in floor.optimises:
            values = (ours.loc[both, judge.column] - theirs.loc[both, judge.column]).to_numpy(dtype=float)
            low, high = statistics.bootstrap(values, settings)
            found |= {
                judge.column: "home",
                f"{judge.column}_difference": statistics.mean(values),
                f"{judge.column}_low": low,
                f"{judge.column}_high": high,
            }
    return {
        "rival": floor.name,
        "named": False,
        "verdict": FLOOR,
        "n": len(both),
        "ssim_lost": judging.ssim_lost(rows, target, attack.name, floor.name),
        **found,
    }


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.nan


def _sections(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> Iterator[tuple[str, list[list[Cell]]]]:
    attacks = {attack.name: attack for attack in rows.attacks}
    for (dataset, model, name), part in frame.groupby(["dataset", "model", "attack"], sort=False):
        first, named = part.iloc[0], part[part["named"]]
        lost = number(first["yardstick_jod_lost"], 2)
        title = (
            f"{dataset}, {model}: {attacks[str(name)].title}, ahead of {(named['verdict'] == 'ahead').sum()} of the "
            f"{len(named)} rivals named that ran{_without(first['absent'])}; success {number(first['asr'], 3)}, at most "
            f"{first['forwards']} forward and {first['backwards']} backward passes; DDN loses {lost} JOD"
        )
        yield title, [_line(row, attacks[row["rival"]], judges) for _, row in part.iterrows()]


def _without(absent: str) -> str:
    return f" (without {absent.replace(' ', ', ')})" if absent else ""


def _line(row: pd.Series, rival: Attack, judges: Sequence[Metric]) -> list[Cell]:
    star = "" if row["named"] or row["verdict"] == FLOOR else " (not named)"
    line = [
        Cell(f"{rival.title}{star}"),
        Cell(row["verdict"], strong=row["verdict"] == "ahead", emphasis=row["verdict"] == "behind"),
        Cell(str(row["n"])),
    ]
    for judge in judges:
        side, difference, p = (row[f"{judge.column}{end}"] for end in ("", "_difference", "_p_holm"))
        text = number(difference, judge.decimals, signed=True)
        if not np.isnan(p):
            text += f" ({short_p(p)})"
        line.append(Cell(text, strong=side == "ahead", emphasis=side == "behind", home=side == "home"))
    return [*line, Cell(number(row["ssim_lost"], 4, signed=True))]


_NOTE = (
    "Verdicts of the judges by the rules of docs/judges.md. A cell holds the mean difference, attack minus rival, over the n "
    "images on which both succeed, and Holm's p of Wilcoxon's signed-rank test over all rivals and judges on a network. Bold: "
    f"the attack is less visible at {judging.LEVEL:g}, italic: the rival is. {{mark}}: the judge that one of the two optimises, "
    "not counted. A floor optimises JOD and is no rival. Not named: rule 7 does not ask for this rival."
)


def _markdown(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> str:
    text = _NOTE.format(mark="\u2020") + judging.note(judges) + "\n"
    heads = (f"{judge.label} {judge.arrow}" for judge in judges)
    header = ["Rival", "Verdict", "n", *heads, "SSIM lost \u2193"]
    for title, lines in _sections(rows, frame, judges):
        text += f"\n### {title}\n\n{markdown_table(header, lines)}"
    return text


def _latex(rows: Rows, frame: pd.DataFrame, judges: Sequence[Metric]) -> str:
    heads = (judge.tex + tex_arrow(judge.better) for judge in judges)
    header = ["Rival", "Verdict", "$n$", *heads, r"SSIM lost $\downarrow$"]
    caption = tex(_NOTE.format(mark="\u2020") + judging.note(judges))
    return latex_table(header, list(_sections(rows, frame, judges)), caption, "verdicts")
