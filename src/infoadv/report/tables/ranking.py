"""Mean rank of every attack over the perceptual metrics, for each target model and over all, with what is more than chance.

The metrics that judge, by which no setting was chosen, rank the attacks apart. Variants leave out the saturated networks, or the
metrics that an attack nearly optimises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import judging, ranking, statistics
from infoadv.report import rows as reading
from infoadv.report.columns import Metric
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, p_value, tex
from infoadv.report.rows import Rows, load

_COLUMNS = (
    *("dataset", "model", "role", "variant", "attack", "networks", "n", "mean_rank", "low", "high", "near_best"),
    *("critical_difference", "p_friedman", "p_holm", "home"),
)
#: The ranking that counts, and what is left out of its variants.
ALL = "all"
_VARIANTS = {
    "unsaturated": "without saturated networks",
    "strict": "without metrics nearly optimised",
    "unsaturated strict": "without both",
}


@dataclass(frozen=True)
class _Section:
    """A ranking with the names of its data set and model, "all" where it is over all of them, and the role of its metrics.

    ``variants`` are the rankings that leave something out, by name.
    """

    names: tuple[str, str]
    role: str
    found: ranking.Ranking
    variants: Mapping[str, ranking.Ranking] = field(default_factory=dict)

    def rankings(self) -> dict[str, ranking.Ranking]:
        return {ALL: self.found, **self.variants}


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from metric artefacts: a section over all target models, then one for each.

    The first holds the attacks that run on every target and the metrics that are defined on all; data set and model are
    "all" there. It is left out where there is one target. Of networks that differ in the seed of their training alone it has the
    first. The sections of ``role`` "metric" rank by the perceptual metrics
    that attacks may be tuned on, those of "judge", where any was computed, by the others (``statistics.judges``). ``variant``
    is "all", or says what is left out: "unsaturated" the networks of :func:`infoadv.report.judging.saturated`, "strict" the
    metrics that an attack nearly optimises, of its own score. ``p_holm`` corrects ``p_friedman`` after Holm over the sections
    of a role; variants are the same data again, corrected among themselves.
    """
    rows = load(inputs, specification)
    settings = statistics.Settings.of(specification)
    by_role = ranking.by_role(rows, settings)
    # Those that gray images lack come last: the columns before them are filled on every target.
    by_role[judging.METRIC].sort(key=lambda metric: metric.colour_only)
    sections = [
        _section(rows, names, role, targets, metrics)
        for role, metrics in by_role.items()
        if metrics
        for names, targets in _parts(rows)
    ]
    columns = [*_COLUMNS, *(f"rank_{metric.column}" for metrics in by_role.values() for metric in metrics)]
    frame = pd.concat([_frame(section, settings) for section in sections], ignore_index=True).reindex(columns=columns)
    keys = ["dataset", "model", "role", "variant"]
    each = frame.drop_duplicates(keys).set_index(keys)["p_friedman"]
    families = each.groupby(["role", "variant"], sort=False)
    corrected = families.transform(lambda p: statistics.holm(p.to_numpy(dtype=float))).rename("p_holm")
    frame = frame.drop(columns="p_holm").join(corrected, on=keys)[columns]
    return Table(frame, _markdown(rows, sections, frame), _latex(rows, sections, frame))


def _parts(rows: Rows) -> Iterator[tuple[tuple[str, str], list[tuple[str, str]]]]:
    if len(rows.independent) > 1:
        yield (ALL, ALL), rows.independent
    for target in rows.targets:
        yield target, [target]


def _section(
    rows: Rows, names: tuple[str, str], role: str, targets: list[tuple[str, str]], metrics: Sequence[Metric]
) -> _Section:
    found = ranking.rank(rows, targets, metrics)
    same = {attack.name for attack in found.attacks}
    seen = [target for target in targets if not judging.saturated(rows, target)]
    nearly = any(metric.measured in attack.nearly for attack in found.attacks for metric in found.metrics)
    variants = {}
    if 0 < len(seen) < len(targets):
        variants["unsaturated"] = ranking.rank(rows, seen, found.metrics, names=same)
    if nearly:
        variants["strict"] = ranking.rank(rows, targets, found.metrics, names=same, strict=True)
    if len(variants) > 1:
        variants["unsaturated strict"] = ranking.rank(rows, seen, found.metrics, names=same, strict=True)
    return _Section(names, role, found, variants)


def _frame(section: _Section, settings: statistics.Settings) -> pd.DataFrame:
    records = []
    for variant, found in section.rankings().items():
        low, high = found.interval(settings)
        near = found.near_best(settings)
        for place in _order(found):
            own = {
                f"rank_{metric.column}": statistics.mean(found.by_metric[:, place, column])
                for column, metric in enumerate(found.metrics)
            }
            at_home = [metric.column for column, metric in enumerate(found.metrics) if found.home[place, column]]
            records.append(
                {
                    "dataset": section.names[0],
                    "model": section.names[1],
                    "role": section.role,
                    "variant": variant,
                    "attack": found.attacks[place].name,
                    "networks": found.count,
                    "n": len(found.ranks),
                    "mean_rank": found.mean[place],
                    "low": low[place],
                    "high": high[place],
                    "near_best": bool(near[place]),
                    "critical_difference": found.critical_difference,
                    "p_friedman": found.p,
                    "home": " ".join(at_home),
                    **own,
                }
            )
    return pd.DataFrame(records, columns=None if records else list(_COLUMNS))


def _order(found: ranking.Ranking) -> list[int]:
    return [int(place) for place in np.argsort(found.mean, kind="stable")]


def _own(section: _Section, frame: pd.DataFrame) -> pd.DataFrame:
    chosen = (frame["dataset"] == section.names[0]) & (frame["model"] == section.names[1])
    return frame[chosen & (frame["role"] == section.role)]


def _title(section: _Section, own: pd.DataFrame) -> str:
    found = section.found
    name = "All networks" if section.names == (ALL, ALL) else ", ".join(section.names)
    name += ", judges" if section.role == judging.JUDGE else ""
    p = float(own["p_holm"].iloc[0]) if len(own) else np.nan
    blocks = f"n = {len(found.ranks)}" + (f" on {found.count} networks" if found.count > 1 else "")
    test = "" if np.isnan(p) else f", Friedman's test {p_value(p)}"
    return f"{name}: {blocks}{test}, critical difference = {number(found.critical_difference, 2)}"


def _header(section: _Section, names: Sequence[str], arrow: str) -> list[str]:
    return ["Attack", f"Mean rank {arrow}", *section.variants, *names]


def _lines(section: _Section, own: pd.DataFrame) -> list[list[Cell]]:
    found = section.found
    by_variant = {variant: part.set_index("attack") for variant, part in own.groupby("variant", sort=False)}
    lines = []
    for place in _order(found):
        name = found.attacks[place].name
        line = [Cell(found.attacks[place].title)]
        for variant in section.rankings():
            entry = by_variant[variant].loc[name] if name in by_variant[variant].index else None
            if entry is None:
                line.append(Cell(number(np.nan, 2)))
                continue
            text = number(entry["mean_rank"], 2)
            if variant == ALL:
                text += f" [{number(entry['low'], 2)}, {number(entry['high'], 2)}]"
            line.append(Cell(text, strong=bool(entry["near_best"])))
        line += [
            Cell(number(statistics.mean(found.by_metric[:, place, column]), 2), home=bool(found.home[place, column]))
            for column in range(len(found.metrics))
        ]
        lines.append(line)
    return lines


_NOTE = (
    "On every common image each metric ranks the attacks, 1 for the best and a failure last; an attack's score is the mean of "
    "its ranks over the metrics that it does not optimise itself, and scores are ranked again. Mean rank: mean over images of "
    "that rank, with its interval. Bold: not told apart from the best, on one network by Nemenyi's critical difference at "
    f"{statistics.ALPHA:g}. Over all networks the mean is that of the networks, intervals resample networks and images, bold "
    "means that the interval of the difference to the best holds 0, and the blocks of the test and of the critical difference "
    "are networks. p is Friedman's, corrected after Holm over all sections with these metrics. The columns of "
    "metrics hold the mean rank on that metric alone. {mark}: the metric that the attack itself optimises, not counted."
)
_OVER_NETWORKS = (
    " Of networks that differ in the seed of their training alone, the section over all networks has the first."
)


def _note(rows: Rows, sections: Sequence[_Section], mark: str) -> str:
    text = f"{_NOTE.format(mark=mark)} {reading.COMMON}"
    if rows.reseeded:
        text += _OVER_NETWORKS
    used = [name for name in _VARIANTS if any(name in section.variants for section in sections)]
    if used:
        text += (
            " Columns beside the mean rank leave something out: "
            + ", ".join(f"{n} is {_VARIANTS[n]}" for n in used)
            + "."
        )
    flat = [", ".join(target) for target in rows.targets if judging.saturated(rows, target)]
    if flat and any("unsaturated" in name for name in used):
        text += f" Saturated, since DDN loses less than {judging.SATURATED:g} of SSIM: {'; '.join(flat)}."
    nearly = {
        (attack.title, metric.label)
        for section in sections
        for attack in section.found.attacks
        for metric in section.found.metrics
        if metric.measured in attack.nearly
    }
    if nearly:
        text += " Nearly optimised: " + ", ".join(f"{metric} by {attack}" for attack, metric in sorted(nearly)) + "."
    return text


def _markdown(rows: Rows, sections: Sequence[_Section], frame: pd.DataFrame) -> str:
    text = _note(rows, sections, "\u2020") + _judges_note(sections) + "\n"
    for section in sections:
        own = _own(section, frame)
        header = _header(section, [metric.label for metric in section.found.metrics], "\u2193")
        text += f"\n### {_title(section, own)}\n\n{markdown_table(header, _lines(section, own))}"
    return text


def _judges_note(sections: Sequence[_Section]) -> str:
    judging_sections = (section for section in sections if section.role == judging.JUDGE)
    judges = {metric.column: metric for section in judging_sections for metric in section.found.metrics}
    return judging.note(list(judges.values())) if judges else ""


def _latex(rows: Rows, sections: Sequence[_Section], frame: pd.DataFrame) -> str:
    tables = []
    for position, section in enumerate(sections, start=1):
        own = _own(section, frame)
        header = _header(section, [metric.tex for metric in section.found.metrics], r"$\downarrow$")
        note = tex(_note(rows, [section], "\u2020") + _judges_note([section]))
        caption = f"{tex(_title(section, own))}. {note}"
        tables.append(latex_table(header, [("", _lines(section, own))], caption, f"ranking-{position}"))
    return "\n".join(tables)
