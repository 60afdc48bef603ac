"""Each attack against the references over networks: do the differences hold for other networks, and not for other images alone?

A test over images of given networks says nothing of another network. Here networks are resampled with the images, and a
sign-flip test takes a network as one observation. Networks that differ in the seed of their training alone are no independent
observations: the first of them is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, oracle, pairs, statistics
from infoadv.report import rows as reading
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex, tex_arrow
from infoadv.report.rows import Rows, load

COLUMNS = (
    *("attack", "reference", "role", "metric", "networks", "better_on", "worse_on", "difference"),
    *("difference_low", "difference_high", "holds", "p_sign_flip", "p_holm"),
)


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a row for each attack, reference and metric that at least two networks have.

    Only compared attacks and controls are in it.

    ``difference`` is attack minus reference, the mean over networks of the mean over the images of the table ``comparison``;
    its interval resamples networks and images. ``holds`` is "attack" or "reference", whichever is better, where that interval
    does not hold 0, else "open". ``better_on`` and ``worse_on`` count the networks whose own test, in the table ``comparison``,
    found the attack or the reference better. ``p_sign_flip`` is of the sign-flip test over networks, corrected after Holm over
    all attacks and metrics of a role against one reference.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    pairs.check_reference(rows, settings)
    rows = oracle.added(rows)
    frame = _frame(rows, settings)
    return Table(frame, _markdown(rows, frame), _latex(rows, frame))


def _frame(rows: Rows, settings: statistics.Settings) -> pd.DataFrame:
    tests = pairs.tested(rows, settings)
    tests = tests.loc[[target not in rows.reseeded for target in zip(tests["dataset"], tests["model"], strict=True)]]
    verdicts = Counter(zip(tests["attack"], tests["reference"], tests["metric"], tests["better"], strict=True))
    found: dict[tuple[str, str], list[tuple[int, str, pd.DataFrame]]] = {}
    for network, target in enumerate(rows.independent):
        values = pairs.averaged(rows, target)
        for reference in pairs.references(rows, target, settings):
            for attack in pairs.opponents(rows, target, reference, settings):
                if attack.compared or attack.control:
                    moved = pairs.differences(values, attack.name, reference.name)
                    found.setdefault((attack.name, reference.name), []).append((network, target[0], moved))
    records = [
        {"attack": attack, "reference": reference, **record}
        for (attack, reference), parts in found.items()
        for record in _records(parts, pairs.directed(rows), settings)
    ]
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    for place, side in (("better_on", "attack"), ("worse_on", "reference")):
        keys = list(zip(frame["attack"], frame["reference"], frame["metric"], strict=True))
        frame[place] = [verdicts[*key, side] for key in keys]
    frame["p_holm"] = frame.groupby(["reference", "role"])["p_sign_flip"].transform(
        lambda p: statistics.holm(p.to_numpy(dtype=float))
    )
    order = {attack.name: place for place, attack in enumerate(rows.attacks)}
    places = {reference: place for place, reference in enumerate(dict.fromkeys(tests["reference"]))}
    ranks = frame.assign(place=frame["reference"].map(places), order=frame["attack"].map(order))
    return frame.loc[ranks.sort_values(["place", "order"], kind="stable").index].reset_index(drop=True)


def _records(
    parts: Sequence[tuple[int, str, pd.DataFrame]], metrics: Sequence[Metric], settings: statistics.Settings
) -> Iterator[dict[str, Any]]:
    """Yield what a pair of attacks has on each metric that two or more networks have."""
    for metric in metrics:
        own = [(network, dataset, part[metric.column].dropna()) for network, dataset, part in parts]
        own = [entry for entry in own if len(entry[2])]
        if len(own) < 2:
            continue
        images = [(dataset, index) for _, dataset, part in own for index in part.index]
        codes = {image: code for code, image in enumerate(dict.fromkeys(images))}
        networks = np.concatenate([np.full(len(part), place) for place, (_, _, part) in enumerate(own)])
        values = np.concatenate([part.to_numpy() for _, _, part in own])
        low, high = statistics.crossed_bootstrap(
            values[:, None], networks, np.array([codes[image] for image in images]), settings
        )
        means = np.array([part.mean() for _, _, part in own])
        holds = "open"
        if low[0] > 0 or high[0] < 0:
            holds = "attack" if (low[0] > 0) == (metric.better == "higher") else "reference"
        yield {
            "role": judging.role(metric.column, settings),
            "metric": metric.column,
            "networks": len(own),
            "difference": float(means.mean()),
            "difference_low": low[0],
            "difference_high": high[0],
            "holds": holds,
            "p_sign_flip": statistics.sign_flip(means),
        }


def _parts(rows: Rows, frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, list[Metric], list[list[Cell]]]]:
    attacks = {attack.name: attack for attack in rows.attacks}
    for (reference, role), part in frame.groupby(["reference", "role"], sort=False):
        metrics = [metric for metric in pairs.directed(rows) if metric.column in set(part["metric"])]
        lines = []
        for name, group in part.groupby("attack", sort=False):
            found = group.set_index("metric")
            line = [Cell(attacks[str(name)].title), Cell(str(found["networks"].max()))]
            for metric in metrics:
                if metric.column not in found.index:
                    line.append(Cell(number(np.nan, 0)))
                    continue
                entry = found.loc[metric.column]
                text = f"{number(entry['difference'], metric.decimals, signed=True)} ({entry['better_on']}/{entry['worse_on']})"
                home = metric.measured in attacks[str(name)].optimises
                line.append(
                    Cell(text, strong=entry["holds"] == "attack", emphasis=entry["holds"] == "reference", home=home)
                )
            lines.append(line)
        yield str(reference), str(role), part, metrics, lines


def _caption(reference: str, part: pd.DataFrame) -> str:
    text = (
        f"Mean difference over networks, attack minus {reference}, and in brackets on how many of them the test over images "
        "finds the attack better / worse (table comparison). Bold: the attack is better, italic: the reference is, by an "
        "interval that resamples networks and images (not corrected for the number of tests). Of networks that differ in the "
        "seed of their training alone the first is in."
    )
    most = int(part["networks"].max())
    return (
        f"{text} The sign-flip test over networks, which with {most} networks cannot have a p below {number(2 / 2**most, 3)}, "
        f"has a smallest Holm's p of {number(part['p_holm'].min(), 3)}; p values are in the CSV file. {reading.COMMON}"
    )


def _markdown(rows: Rows, frame: pd.DataFrame) -> str:
    if frame.empty:
        return "No attack and reference meet on two networks.\n"
    labels, text = pairs.labels(rows), ""
    for reference, role, part, metrics, lines in _parts(rows, frame):
        label = labels.get(reference, reference)
        text += f"\n## {'Judges, against' if role == judging.JUDGE else 'Against'} {label}\n\n{_caption(label, part)}"
        text += judging.note(metrics) if role == judging.JUDGE else ""
        header = ["Attack", "Networks", *(f"{metric.label} {metric.arrow}" for metric in metrics)]
        text += f"\n\n{markdown_table(header, lines)}"
    return text.removeprefix("\n")


def _latex(rows: Rows, frame: pd.DataFrame) -> str:
    labels = pairs.labels(rows)
    tables: list[str] = []
    for reference, role, part, metrics, lines in _parts(rows, frame):
        # A cell holds a difference and two counts: five metrics beside the names.
        for start in range(0, len(metrics), 5):
            chosen = metrics[start : start + 5]
            caption = _caption(labels.get(reference, reference), part)
            caption += judging.note(chosen) if role == judging.JUDGE else ""
            header = ["Attack", "Networks", *(metric.tex + tex_arrow(metric.better) for metric in chosen)]
            cut = [[*line[:2], *line[2 + start : 2 + start + 5]] for line in lines]
            tables.append(latex_table(header, [("", cut)], tex(caption), f"over-networks-{len(tables) + 1}"))
    return "\n".join(tables)
