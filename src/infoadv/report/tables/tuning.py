"""How the options of each attack were chosen: every setting of a grid, and the one that the rule picks.

The rule, ``_NOTE``, stands above the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from infoadv.report import statistics
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex
from infoadv.report.rows import Attack, Rows, load

INPUTS = {"stage": "metrics", "needs": ["combinations"]}

_NOTE = (
    "The rule is the same for every attack, and was written down before any grid ran. Settings are eligible that succeed on "
    "as many images as the best setting, or on 99 % of them, after rounding to 8 bits. On every image on which all eligible "
    "settings succeed each metric that is no judge ranks them, 1 for the best; ranks are averaged over metrics and images "
    "of a network, and then over networks, each counting once. The smallest mean rank wins; of equal ones, the setting that "
    "stands in the configuration, else the first of the grid. An attack may be tuned on the metric that it optimises: "
    "others are tuned so by their authors. Bold: the setting that the rule picks."
)
#: Share of images on which a setting has to succeed, unless no setting does.
SUCCESS = 0.99
#: What stands for all data sets together.
ALL = "all"

_COLUMNS = (
    "attack",
    "dataset",
    "setting",
    "configured",
    "winner",
    "n",
    "success",
    "forwards",
    "backwards",
    "mean_rank",
)


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: sections of each attack that a sweep varies, over all data sets and over each."""
    rows = load(inputs, specification)
    judges = statistics.Settings.of(specification).judges
    metrics = [
        metric for metric in rows.metrics if metric.column not in judges and metric.better in ("higher", "lower")
    ]
    records = [record for settings in _families(rows) for record in _section(rows, settings, metrics)]
    frame = pd.DataFrame(records, columns=[*_COLUMNS, *(metric.column for metric in metrics)])
    labels = {attack.name: attack.label for attack in rows.attacks}
    sections = [
        (f"{labels[name]}, {'all data sets' if dataset == ALL else dataset}", part)
        for (name, dataset), part in frame.groupby(["attack", "dataset"], sort=False)
    ]
    header = ["Setting", "n", "Success", "Passes", "Mean rank"]
    markdown = _NOTE + "\n"
    for title, part in sections:
        names = [*header, *(metric.label for metric in metrics)]
        markdown += f"\n### {title}\n\n{markdown_table(names, _lines(part, metrics))}"
    latex = latex_table(
        [*header, *(metric.tex for metric in metrics)],
        [(title, _lines(part, metrics)) for title, part in sections],
        tex(_NOTE),
        "tuning",
    )
    return Table(frame, markdown, latex)


def _families(rows: Rows) -> Iterator[list[Attack]]:
    """Yield each attack whose options a sweep varies, followed by its settings."""
    for attack in rows.attacks:
        settings = [other for other in rows.attacks if other.sweep_of == attack.name]
        if settings and attack.sweep_of is None:
            yield [attack, *settings]


def _section(rows: Rows, settings: Sequence[Attack], metrics: Sequence[Metric]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one attack: its settings over all data sets, then over each."""
    start = settings[0]
    networks = [target for target in rows.targets if all(len(rows.of(*target, setting.name)) for setting in settings)]
    datasets = list(dict.fromkeys(dataset for dataset, _ in networks))
    for dataset in [*([ALL] if len(datasets) > 1 else []), *datasets]:
        chosen = [target for target in networks if dataset in (ALL, target[0])]
        parts = {setting.name: [rows.of(*target, setting.name) for target in chosen] for setting in settings}
        success = {name: float(pd.concat(part)["success"].mean()) for name, part in parts.items()}
        enough = min(SUCCESS, max(success.values()))
        eligible = [setting.name for setting in settings if success[setting.name] >= enough]
        ranks = _mean_ranks({name: parts[name] for name in eligible}, metrics)
        winner = min(eligible, key=lambda name: ranks[name]) if not all(np.isnan(list(ranks.values()))) else ""
        for setting in settings:
            everything = pd.concat(parts[setting.name])
            won = everything[everything["success"]]
            yield {
                "attack": start.name,
                "dataset": dataset,
                "setting": _words({**start.varied, **setting.varied}),
                "configured": setting is start,
                "winner": setting.name == winner,
                "n": len(everything),
                "success": success[setting.name],
                "forwards": float(everything["forwards"].mean()),
                "backwards": float(everything["backwards"].mean()),
                "mean_rank": ranks.get(setting.name, float("nan")),
                **{metric.column: statistics.mean(won[metric.column].to_numpy(dtype=float)) for metric in metrics},
            }


def _mean_ranks(parts: Mapping[str, Sequence[pd.DataFrame]], metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the mean rank of each setting; ``parts`` holds its rows by network."""
    columns = [metric.column for metric in metrics]
    sign = np.array([-1.0 if metric.better == "higher" else 1.0 for metric in metrics])
    by_network = []
    for network in zip(*parts.values(), strict=True):
        tables = [rows[rows["success"]].set_index("index")[columns] for rows in network]
        common = sorted(set.intersection(*(set(table.index) for table in tables)))
        values = np.stack([table.loc[common].to_numpy(dtype=float) * sign for table in tables])
        # Gray images lack the metrics of colour.
        values = values[:, :, ~np.isnan(values).any(axis=(0, 1))]
        if values.size:
            by_network.append(rankdata(values, axis=0).mean(axis=(1, 2)))
    means = np.mean(by_network, axis=0) if by_network else np.full(len(parts), np.nan)
    return dict(zip(parts, (float(mean) for mean in means), strict=True))


def _words(varied: Mapping[str, Any]) -> str:
    return ", ".join(f"{option} {value}" for option, value in varied.items())


def _lines(part: pd.DataFrame, metrics: Sequence[Metric]) -> list[list[Cell]]:
    return [
        [
            Cell(str(row["setting"]), strong=bool(row["winner"])),
            Cell(str(row["n"])),
            Cell(number(row["success"], 3)),
            Cell(number(row["forwards"], 0)),
            Cell(number(row["mean_rank"], 2), strong=bool(row["winner"])),
            *(Cell(number(row[metric.column], metric.decimals)) for metric in metrics),
        ]
        for _, row in part.iterrows()
    ]
