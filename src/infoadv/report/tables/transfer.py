"""Which adversarial images fool networks that they were not made for, a row for each attack, network and other network.

The rate is taken over the images on which the attack succeeds and which the other network classifies rightly when they are clean;
there it is the share that the other network misclassifies, or classifies as the target. A control has no success of its own:
its rate is over all images that the other network classifies rightly. Each attack is compared with the reference attack on the
images on which both succeed, by McNemar's exact test; one towards a chosen class is not, since it transfers where the other
network sees that class. Sweeps are shown beside the attacks that they vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import statistics
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import UNTARGETED, Attack, ordered

INPUTS = {"stage": "transfer"}

COLUMNS = (
    "dataset",
    "model",
    "network",
    "attack",
    "n",
    "rate",
    "rate_low",
    "rate_high",
    "reference",
    "n_paired",
    "difference",
    "difference_low",
    "difference_high",
    "effect",
    "p",
    "p_holm",
)


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from transfer artefacts. The family of the Holm correction is all tests of the images of one network.

    Raises
    ------
    InfoadvError
        No artefact was given, or the reference attack of ``statistics.reference`` is in none of them.
    """
    settings = statistics.Settings.of(specification)
    frames = [artifacts.load_rows(path, "transfer")[0] for path in inputs]
    if not frames:
        raise InfoadvError("no transfer artefact was given; attack at least two networks of one data set.")
    rows = pd.concat(frames, ignore_index=True)
    attacks = ordered(list(rows["attack"].unique()), specification)
    reference = next((attack for attack in attacks if attack.name == settings.reference), None)
    if reference is None:
        raise InfoadvError(f"statistics.reference: {settings.reference!r} is not among the attacks of the table.")
    families = []
    for _, part in rows.groupby(["dataset", "model"], sort=False):
        records = [
            _record(seen, attack, attack.target == reference.target, settings)
            for _, seen in part.groupby("network", sort=False)
            for attack in attacks
            if (seen["attack"] == attack.name).any()
        ]
        family = pd.DataFrame(records, columns=list(COLUMNS))
        family["p_holm"] = statistics.holm(family["p"].to_numpy(dtype=float))
        families.append(family)
    frame = pd.concat(families, ignore_index=True)
    return Table(frame, _markdown(frame, attacks, settings), _latex(frame, attacks, settings))


def _counted(seen: pd.DataFrame, attack: Attack) -> pd.DataFrame:
    """Return the rows of an attack that count, by image: what is known when clean, and turned by the attack unless a control."""
    own = seen[(seen["attack"] == attack.name) & seen["known"]]
    return (own if attack.control else own[own["success"]]).set_index("index").sort_index()


def _record(seen: pd.DataFrame, attack: Attack, tested: bool, settings: statistics.Settings) -> dict[str, Any]:
    """Return the row of one attack on one network, from what another network saw, ``seen``; with the test if it is ``tested``."""
    own = _counted(seen, attack)
    fooled = own["transferred"].to_numpy()
    low, high = statistics.proportion(fooled, settings)
    record = {
        **{key: seen[key].iloc[0] for key in ("dataset", "model", "network")},
        "attack": attack.name,
        "n": len(own),
        "rate": fooled.mean() if len(own) else float("nan"),
        "rate_low": low,
        "rate_high": high,
        "reference": settings.reference,
    }
    if attack.name == settings.reference or not tested:
        return record
    theirs = seen[(seen["attack"] == settings.reference) & seen["known"] & seen["success"]].set_index("index")
    both = own.index.intersection(theirs.index)
    result = statistics.mcnemar(
        own.loc[both, "transferred"].to_numpy(), theirs.loc[both, "transferred"].to_numpy(), settings
    )
    return record | {
        "n_paired": result.n,
        "difference": result.difference,
        "difference_low": result.low,
        "difference_high": result.high,
        "effect": result.effect,
        "p": result.p,
    }


def _sections(frame: pd.DataFrame, attacks: Sequence[Attack]) -> list[tuple[str, list[str], list[list[Cell]]]]:
    """Return for each attacked network a title, the other networks, and a line for each attack."""
    sections = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        networks = list(part["network"].unique())
        lines = []
        for attack in attacks:
            own = part[part["attack"] == attack.name].set_index("network")
            if len(own):
                lines.append([Cell(attack.title), *(_cell(own.loc[name]) for name in networks)])
        sections.append((f"{dataset}, made for {model}", networks, lines))
    return sections


def _cell(row: pd.Series) -> Cell:
    found = row["p_holm"] < statistics.ALPHA
    interval = f"[{number(row['rate_low'], 2)}, {number(row['rate_high'], 2)}]"
    return Cell(
        f"{number(row['rate'], 2)} {interval} of {row['n']}" if row["n"] else number(float("nan"), 2),
        strong=bool(found and row["difference"] > 0),
        emphasis=bool(found and row["difference"] < 0),
    )


def _text(attacks: Sequence[Attack], settings: statistics.Settings) -> str:
    label = next(attack.label for attack in attacks if attack.name == settings.reference)
    control = " Control: over all images that the other network classifies rightly." * any(a.control for a in attacks)
    aimed = " An attack towards a chosen class fools where the other network sees that class; it is not tested."
    control += aimed * any(attack.target != UNTARGETED for attack in attacks)
    return (
        "Share of an attack's successes that fool another network as well, with Wilson's interval, of as many images: those that "
        f"the other network classifies rightly when they are clean.{control} Bold: more than {label}, italic: less (McNemar's "
        "exact test on the images on which both succeed, Holm-corrected over the attacks and other networks of the network that "
        f"they were made for, {statistics.ALPHA:g})."
    )


def _markdown(frame: pd.DataFrame, attacks: Sequence[Attack], settings: statistics.Settings) -> str:
    text = f"{_text(attacks, settings)}\n"
    for title, networks, lines in _sections(frame, attacks):
        text += f"\n### {title}\n\n{markdown_table(['Attack', *(f'seen by {name}' for name in networks)], lines)}"
    return text


def _latex(frame: pd.DataFrame, attacks: Sequence[Attack], settings: statistics.Settings) -> str:
    return "\n".join(
        latex_table(
            ["Attack", *(f"seen by {tex(name)}" for name in networks)],
            [(title, lines)],
            tex(_text(attacks, settings)),
            f"transfer-{place}",
        )
        for place, (title, networks, lines) in enumerate(_sections(frame, attacks), 1)
    )
