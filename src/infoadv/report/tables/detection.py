"""Detection by profiles: cross-validated AUROC of adversarial against clean inputs and against noise of their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from infoadv.report import classify, flow
from infoadv.report.rendering import Cell, Table, interval, latex_table, markdown_table, number, tex
from infoadv.report.rows import attack_of

INPUTS = {"stage": "flow"}

COLUMNS = (
    "model",
    "estimator",
    "attack",
    "comparison",
    "features",
    "n",
    "success_rate",
    "auroc",
    "auroc_low",
    "auroc_high",
)

#: Comparison, condition of the adversarial inputs, condition that they are told from, whether in the untrained network.
COMPARISONS = (
    ("adversarial against clean", "native", "clean", False),
    ("adversarial against clean of its class", "native", "class", False),
    ("adversarial against noise", "native", "noise", False),
    ("matched size against noise", "matched", "matched_noise", False),
    ("untrained network, matched size against noise", "matched", "matched_noise", True),
)
FEATURES = {"IIP, OIP, IOC": flow.PROFILES, "OIP": ("oip",), "IOC": ("ioc",), "L2": ()}


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from flow artefacts, for the attacks of ``flow.attacks`` and JSMA on the network ``flow.model``.

    Positives are an attack's successes, negatives belong to the same images; in the control network with random weights
    they are the same images again. With fewer than 10 images there is no number.

    Raises ``InfoadvError`` as ``infoadv.report.flow.load`` does.
    """
    read = flow.load(inputs, specification)
    frame = pd.DataFrame(list(_records(read)), columns=list(COLUMNS))
    sections = list(_sections(frame, read, specification))
    note = (
        "Area under the ROC curve, cross-validated by image, with bootstrap intervals over images: logistic regression on "
        f"the profiles in {read.main.name} ({read.estimator} estimator; a reconstruction). n: successes, each with its "
        "counterpart from the same image. L2 alone tells nothing from noise of equal L2 by construction, but for rounding "
        "to 8 bits; against clean inputs it tells everything, but needs the clean image, which a detector does not have. "
        "JSMA's noise sets as many random features, and its L2 differs. Clean of its class: another test image, of the class "
        "that the example is taken for, so that the class alone tells nothing. Untrained network: the same inputs in a "
        "network with random weights, a control; their success is that on the trained one."
    )
    header = ["Attack", "n", "Success", *FEATURES]
    markdown = f"{note}\n"
    for title, lines in sections:
        markdown += f"\n### {title}\n\n{markdown_table(header, lines)}"
    latex = latex_table([tex(name) for name in header], sections, tex(note), "detection")
    return Table(frame, markdown, latex)


def _records(read: flow.Flow) -> Iterator[dict[str, Any]]:
    source = read.main.name
    for estimator in read.estimators:
        for comparison, condition, other, control in COMPARISONS:
            network = read.role("untrained") if control else read.main
            if network is None:
                continue
            for attack in dict.fromkeys([*read.attacks, read.jsma]):
                fooled = read.main.select(estimator, attack, condition)
                whole = network.select(estimator, attack, condition, source)
                if len(whole) == 0:
                    continue
                positive = whole.moved.of(fooled.won.images)
                clean = other == "clean"
                negative = network.clean(estimator) if clean else network.select(estimator, attack, other, source)
                images = set(positive.images) & set(negative.images)
                # Rows are in the order of the images on both sides.
                positive, negative = positive.of(images), negative.of(images)
                for name, profiles in FEATURES.items():
                    sides = [
                        classify.vector(group, profiles) if profiles else classify.size(group)
                        for group in (positive, negative)
                    ]
                    if other == "class" and not profiles:
                        # The L2 between two photographs is the size of no perturbation.
                        found = classify.Separation(len(positive), *[float("nan")] * 3)
                    else:
                        found = classify.separation(sides[0], sides[1], read.settings)
                    yield {
                        "model": network.name,
                        "estimator": estimator,
                        "attack": attack,
                        "comparison": comparison,
                        "features": name,
                        "n": found.n,
                        "success_rate": fooled.rate,
                        "auroc": found.auroc,
                        "auroc_low": found.low,
                        "auroc_high": found.high,
                    }


def _sections(
    frame: pd.DataFrame, read: flow.Flow, specification: Mapping[str, Any]
) -> Iterator[tuple[str, list[list[Cell]]]]:
    main = frame[frame["estimator"] == read.estimator]
    for comparison, part in main.groupby("comparison", sort=False):
        lines = []
        for attack, group in part.groupby("attack", sort=False):
            found = group.set_index("features").to_dict("index")
            first = next(iter(found.values()))
            cells = [_cell(found[name]) for name in FEATURES]
            label = attack_of(str(attack), specification).label
            lines.append([Cell(label), Cell(str(first["n"])), Cell(number(first["success_rate"], 2)), *cells])
        yield str(comparison)[:1].upper() + str(comparison)[1:], lines


def _cell(entry: Mapping[str, Any]) -> Cell:
    return Cell(interval(entry["auroc"], entry["auroc_low"], entry["auroc_high"], 2))
