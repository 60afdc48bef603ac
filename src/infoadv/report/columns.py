"""The metrics of a report: what they are called and which way they point, as their artefacts declare it.

A metrics artefact carries the ``ABOUT`` of each of its columns (:mod:`infoadv.metrics`), so a table drawn from it says what
was measured, whatever has become of the metric's file. That file is asked for two things alone: which columns every table
has, and how to show an artefact that was written before ``ABOUT`` said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infoadv.registry import plugins
from infoadv.report.rendering import tex
from infoadv.report.style import plain

#: Digits after the point of a metric that declares none; and the most that one can ask for.
_DECIMALS, _MOST_DECIMALS = 4, 10
#: What an artefact may call a metric in mathematics, which is passed on to LaTeX as it is: letters or a Greek one, with an
#: index and an exponent. Anything else in its place may be a stranger's command, and is left out.
_LETTER = r"(?:[A-Za-z]+|\\(?:alpha|beta|delta|epsilon|lambda|mu|rho|sigma|tau|phi|Delta|Sigma|infty|ell))"
_RAISED = rf"(?:[0-9]|{_LETTER}|\{{[A-Za-z0-9 ]+\}})"
SYMBOL = re.compile(rf"\${_LETTER}(?:_{_RAISED})?(?:\^{_RAISED})?\$")


@dataclass(frozen=True)
class Metric:
    """A metric of the report.

    ``column`` is its column in tables and ``measured`` that in artefacts; ``symbol`` and ``short`` are "" where the label
    serves; ``order`` is None for a metric that stands in tables only where it was computed; ``options`` are those that it was
    computed with.
    """

    column: str
    measured: str
    label: str
    better: str
    symbol: str = ""
    short: str = ""
    decimals: int = _DECIMALS
    group: str = ""
    colour_only: bool = False
    order: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def arrow(self) -> str:
        return {"higher": "\u2191", "lower": "\u2193"}.get(self.better, "")

    @property
    def axis(self) -> str:
        """The name as matplotlib should print it."""
        return self.symbol or plain(self.label)

    @property
    def tex(self) -> str:
        """The name as LaTeX."""
        return self.symbol or tex(self.label)


def shared(measured: str) -> str:
    """Return the column of tables that a column of artefacts goes into: LPIPS has one, whatever its backbone."""
    return "lpips" if measured.startswith("lpips") else measured


def _installed() -> dict[str, dict[str, Any]]:
    return plugins.literals("metrics", "ABOUT")


def declared(header: Mapping[str, Any], measured: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what an artefact with this ``header`` declares of its columns ``measured``, as far as they are metrics.

    An artefact from before a declaration said how to show a metric (it has no ``group``) is shown as the metric's file says
    now. Which attacks minimise a metric, which such an artefact says as well, is theirs to tell.
    """
    given = header.get("metrics") or {}
    found = {}
    for column in measured:
        if column not in given and column not in _installed():
            continue
        about = {key: value for key, value in given.get(column, {}).items() if key != "home"}
        found[column] = about if "group" in about else {**about, **_installed().get(column, {})}
    return found


def standard() -> list[str]:
    """Return the columns of tables that every run has, in their order, empty where a metric was not computed."""
    placed = {shared(column): about["order"] for column, about in _installed().items() if "order" in about}
    return sorted(placed, key=lambda column: (placed[column], column))


def metrics(about: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """Return the metrics of a run, whose columns are ``about`` with what is declared of them, in the order of tables.

    Those of ``standard`` are always there; one that was not computed points nowhere.
    """
    wanted = standard()
    computed = {shared(column): _metric(column, entry) for column, entry in about.items()}
    first = {shared(column): {**entry, "better": "none"} for column, entry in reversed(_installed().items())}
    found = [computed.get(column) or _metric(column, first[column]) for column in wanted]
    others = [metric for metric in computed.values() if metric.column not in wanted]
    return [*found, *sorted(others, key=lambda metric: metric.column)]


def _metric(measured: str, about: Mapping[str, Any]) -> Metric:
    decimals, order, symbol = about.get("decimals"), about.get("order"), str(about.get("symbol") or "")
    return Metric(
        shared(measured),
        measured,
        str(about.get("label") or measured),
        str(about.get("better") or "none"),
        symbol if SYMBOL.fullmatch(symbol) else "",
        str(about.get("short") or ""),
        decimals if type(decimals) is int and 0 <= decimals <= _MOST_DECIMALS else _DECIMALS,
        str(about.get("group") or ""),
        about.get("colour_only") is True,
        order if type(order) in (int, float) else None,
        dict(about.get("options") or {}),
    )
