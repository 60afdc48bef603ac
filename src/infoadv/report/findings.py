"""Fills docs/findings.md: the prose is a Jinja template, each number of it a cell of a table that the pipeline writes.

The template calls the public methods of :class:`Tables` by name, ``{{ value("quality", "ssim", 3, dataset="mnist") }}``.
Keywords choose rows by their columns, a list stands for any of its members. Rows of judges, of further references and of
variants are left out unless a keyword asks for them (``role``, ``reference``, ``variant``). A table in a folder below is named by
its path, ``"peers/quality"``. ``level`` is the level of the tests, ``judging_level`` that of the judges. Of p values Holm's alone
can be asked for.
"""

from __future__ import annotations

import re
import textwrap
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from jinja2.sandbox import ImmutableSandboxedEnvironment

from infoadv.execution.errors import InfoadvError
from infoadv.report import judging, rendering, statistics

_COUNTS = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand"
)
#: What a run counts: a number of these is a result, also where it is a word.
_COUNTED = "pair|network|metric|image|attack|judge|rival|test|seed|claim"
#: What no prose may hold: a number with a decimal point or comma, or with a percent sign; a count in words of what a run counts
#: ("the four small networks"), or one that a sentence or clause ends with ("missed in five:").
TYPED = re.compile(
    rf"\d+(?:[.,]\d+)+|\d+\s*%|\b(?:{_COUNTS})\s+(?:of\s+\S+\s+)?(?:[a-z-]+\s+)?(?:{_COUNTED})s?\b"
    rf"|\b(?:in|on|of)\s+(?:{_COUNTS})(?=\s*[.,;:!?)])",
    re.IGNORECASE,
)
#: Columns of p values that nobody corrected, which decide nothing.
_UNCORRECTED = re.compile(r"(?:.+_)?p(?:_(?!holm$)\w+)?")


class FindingsError(InfoadvError):
    """The template asks for what the tables do not hold, holds a number that no table gave, or is no template."""


@dataclass(frozen=True)
class Standing:
    """How many paired tests found an attack better than the reference, worse, or neither, and on which metrics."""

    better: int
    worse: int
    undecided: int
    metrics: list[str]

    @property
    def tests(self) -> int:
        return self.better + self.worse + self.undecided


@dataclass(frozen=True)
class Missed:
    """A pair of an attack and a network on which an aim was missed, and the metrics that are not in favour."""

    attack: str
    dataset: str
    model: str
    metrics: list[str]


@dataclass(frozen=True)
class Aim:
    """How many ``pairs`` of an attack and a network an aim has, how many ``reached`` it, and which ``missed`` it."""

    pairs: int
    reached: int
    missed: list[Missed]


class Tables:
    """The csv tables of a folder, and what a template may ask of them.

    Every method raises ``FindingsError``, naming the call and the way out, if a table, column or row is not there, if a
    cell is empty, or if more rows match than the method takes.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._frames: dict[str, pd.DataFrame] = {}

    def value(self, table: str, column: str, decimals: int = 0, /, **rows: Any) -> str:
        """Return the cell of the one row that matches, a number with this many decimals."""
        return _written(self._cell(table, column, rows), decimals)

    def shared(self, table: str, column: str, decimals: int = 0, /, **rows: Any) -> str:
        """Return the cell that all rows that match have in common."""
        found = self._column(table, column, rows).unique()
        if len(found) > 1:
            raise FindingsError(
                f"{_call(table, rows)}: {column} differs, {_some(found)}; choose rows in which it does not."
            )
        return _written(found[0], decimals)

    def percent(self, table: str, column: str, decimals: int = 0, /, **rows: Any) -> str:
        """Return the share in the one row that matches as ``33 %``."""
        return f"{rendering.number(100 * self._number(table, column, rows), decimals)} %"

    def interval(self, table: str, column: str, decimals: int = 0, /, **rows: Any) -> str:
        """Return ``value [low, high]`` of the one row that matches, limits from ``{column}_low`` or else ``low``."""
        prefix = f"{column}_" if f"{column}_low" in self._frame(table) else ""
        middle, low, high = (self._number(table, name, rows) for name in (column, f"{prefix}low", f"{prefix}high"))
        return rendering.interval(middle, low, high, decimals)

    def p_value(self, table: str, column: str, /, **rows: Any) -> str:
        """Return Holm's p of the one row that matches."""
        return rendering.short_p(self._number(table, column, rows))

    def span(self, table: str, column: str, decimals: int = 0, /, **rows: Any) -> str:
        """Return ``smallest to largest`` of the rows that match, one number where these are written alike."""
        found = self._column(table, column, rows)
        ends = dict.fromkeys(_written(end, decimals) for end in (found.min(), found.max()))
        return " to ".join(ends)

    def values(self, table: str, column: str, /, **rows: Any) -> list[Any]:
        """Return the different cells of the rows that match, in the order of the table."""
        found: list[Any] = self._column(table, column, rows).unique().tolist()
        return found

    def standing(self, attack: str, folder: str = "", /, **rows: Any) -> Standing:
        """Return what the paired tests against the reference, or another one that ``reference`` names, say of an attack on
        the target models that match.

        The metrics are those that the table ``ranking`` ranks on each target, without the attack's own.
        """
        ranking, comparison = self._of(folder)
        against = {"reference": rows.pop("reference")} if "reference" in rows else {}
        ranks = self._rows(ranking, {"attack": attack} | rows)
        verdicts, metrics = [], []
        for _, rank in ranks[ranks["dataset"] != "all"].iterrows():
            home = rank["home"].split() if isinstance(rank["home"], str) else []
            for metric in _ranked(rank):
                if metric not in home:
                    target = {"dataset": rank["dataset"], "model": rank["model"]}
                    metrics.append(metric)
                    verdicts.append(
                        self._cell(comparison, "better", {"attack": attack, "metric": metric} | target | against)
                    )
        better, worse, undecided = (verdicts.count(verdict) for verdict in ("attack", "reference", "no difference"))
        return Standing(better, worse, undecided, list(dict.fromkeys(metrics)))

    def aim(
        self, attacks: list[str], folder: str = "", /, *, but: int = 1, side: str = "reference", **rows: Any
    ) -> Aim:
        """Count the pairs of an attack and a network on which ``side`` is better on all ranked metrics ``but`` some.

        Better is better by Holm's p below the level of the judges. An attack's own metric is one of those that it may be
        better on.
        """
        ranking, comparison = self._of(folder)
        pairs, missed = 0, []
        for attack in attacks:
            ranks = self._rows(ranking, {"attack": attack} | rows)
            for _, rank in ranks[ranks["dataset"] != "all"].iterrows():
                target = {"dataset": rank["dataset"], "model": rank["model"]}
                tests = self._rows(comparison, {"attack": attack} | target)
                won = tests[(tests["better"] == side) & (tests["p_holm"] < judging.LEVEL)]["metric"].tolist()
                open_ = [metric for metric in _ranked(rank) if metric not in won]
                pairs += 1
                if len(open_) > but:
                    missed.append(Missed(attack, rank["dataset"], rank["model"], open_))
        return Aim(pairs, pairs - len(missed), missed)

    def sides(self, attack: str, reference: str, side: str, folder: str = "", /, **rows: Any) -> list[str]:
        """Return the ranked metrics on which ``side`` ("attack", "reference", "no difference") came out of the paired tests.

        With a control as the ``reference`` and "reference" as the side: where noise is better than the attack.
        """
        ranking, comparison = self._of(folder)
        found = self._rows(comparison, {"attack": attack, "reference": reference} | rows)
        found = found[found["better"] == side]
        ranks = self._rows(ranking, {"attack": attack} | rows)
        ranked = {(rank["dataset"], rank["model"], metric) for _, rank in ranks.iterrows() for metric in _ranked(rank)}
        keys = zip(found["dataset"], found["model"], found["metric"], strict=True)
        return list(dict.fromkeys(key[2] for key in keys if key in ranked))

    def outcomes(self, attack: str, folder: str = "", /, **rows: Any) -> dict[str, list[str]]:
        """Return the rivals by the verdict of the judges on ``attack``: "ahead", "behind", "level", "not judged", "floor"."""
        found = self._rows(Path(folder, "verdicts").as_posix(), {"attack": attack} | rows)
        kinds = ("ahead", "behind", "level", "not judged", "floor")
        return {kind: found.loc[found["verdict"] == kind, "rival"].tolist() for kind in kinds}

    def absent(self, attack: str, folder: str = "", /, **rows: Any) -> list[str]:
        """Return the methods that rule 7 of the judges names and that are no rivals of ``attack`` on one network."""
        table = Path(folder, "verdicts").as_posix()
        found = self._rows(table, {"attack": attack} | rows)
        if "absent" not in found:
            raise FindingsError(f"{_call(table, rows)}: {table}.csv has no column 'absent'; make the table again.")
        cells = found["absent"].fillna("").unique()
        if len(cells) > 1:
            raise FindingsError(f"{_call(table, rows)}: absent differs, {_some(cells)}; choose one network.")
        return str(cells[0]).split()

    def near_best(self, folder: str = "", /, **rows: Any) -> list[str]:
        """Return the attacks of one section of ``ranking`` that are not told apart from the best mean rank."""
        ranking, _ = self._of(folder)
        self.shared(ranking, "dataset", **rows)
        self.shared(ranking, "model", **rows)
        found = self._rows(ranking, rows)
        names: list[str] = found["attack"][found["near_best"]].tolist()
        return names

    @staticmethod
    def _of(folder: str) -> tuple[str, str]:
        """Return the names of the tables ``ranking`` and ``comparison`` of a folder."""
        return Path(folder, "ranking").as_posix(), Path(folder, "comparison").as_posix()

    def _frame(self, table: str) -> pd.DataFrame:
        if table not in self._frames:
            path = self._folder / f"{table}.csv"
            try:
                self._frames[table] = pd.read_csv(path)
            except (OSError, ValueError) as error:
                raise FindingsError(
                    f"{path}: cannot be read ({error}); make the table, or take its placeholders out."
                ) from error
        return self._frames[table]

    def _rows(self, table: str, rows: dict[str, Any]) -> pd.DataFrame:
        frame = self._frame(table)
        chosen = pd.Series(True, index=frame.index)
        # Tables hold the judges apart: they are asked for by role="judge", or by the name of one.
        if judging.METRIC in set(frame.get("role", ())) and not {"role", "metric"} & rows.keys():
            chosen &= frame["role"] == judging.METRIC
        # The reference of the configuration comes first.
        if "reference" in frame and "reference" not in rows and len(frame):
            chosen &= frame["reference"] == frame["reference"].iloc[0]
        if "variant" in frame and "variant" not in rows:
            chosen &= frame["variant"] == "all"
        for column, wanted in rows.items():
            if column not in frame:
                raise FindingsError(
                    f"{_call(table, rows)}: {table}.csv has no column {column!r}; choose one of: {_some(frame.columns)}."
                )
            cells = frame[column][chosen].tolist()
            choices = wanted if isinstance(wanted, list) else [wanted]
            absent = [choice for choice in choices if choice not in cells]
            if absent or not choices:
                raise FindingsError(
                    f"{_call(table, rows)}: no row has {column}={(absent or [wanted])[0]!r}, there are {_some(cells)}; "
                    "correct the placeholder, or make the table again."
                )
            chosen &= frame[column].isin(choices)
        return frame[chosen]

    def _column(self, table: str, column: str, rows: dict[str, Any], *, one: bool = False) -> pd.Series:
        found = self._rows(table, rows)
        if column not in found:
            raise FindingsError(
                f"{_call(table, rows)}: {table}.csv has no column {column!r}; choose one of: {_some(found.columns)}."
            )
        if _UNCORRECTED.fullmatch(column):
            raise FindingsError(
                f"{_call(table, rows)}: {column} is not corrected for the number of tests; ask for Holm's p."
            )
        if one and len(found) > 1:
            differing = [name for name in found if name not in rows and found[name].nunique(dropna=False) > 1]
            raise FindingsError(f"{_call(table, rows)}: {len(found)} rows match; choose one by {_some(differing)}.")
        if found[column].isna().any():
            raise FindingsError(
                f"{_call(table, rows)}: {column} is empty there; choose a row or a column where it is not."
            )
        return found[column]

    def _cell(self, table: str, column: str, rows: dict[str, Any]) -> Any:
        return self._column(table, column, rows, one=True).iloc[0]

    def _number(self, table: str, column: str, rows: dict[str, Any]) -> float:
        cell = self._cell(table, column, rows)
        if isinstance(cell, str):
            raise FindingsError(
                f"{_call(table, rows)}: {column} is {cell!r} and no number; choose another column, or write it with value()."
            )
        return float(cell)


def _ranked(rank: pd.Series) -> list[str]:
    """Return the metrics that a row of ``ranking`` has ranks of."""
    return [name.removeprefix("rank_") for name in rank.index[rank.index.str.startswith("rank_") & rank.notna()]]


def _written(cell: Any, decimals: int) -> str:
    return rendering.Cell(cell).markdown() if isinstance(cell, str) else rendering.number(float(cell), decimals)


def _call(table: str, rows: dict[str, Any]) -> str:
    """Return how a placeholder is named in an error."""
    return f"{table} ({', '.join(f'{column}={wanted!r}' for column, wanted in rows.items())})"


def _some(cells: Iterable[Any]) -> str:
    texts = [str(cell) for cell in dict.fromkeys(cells)]
    return ", ".join(texts[:12]) + (", ..." if len(texts) > 12 else "")


def _typed(environment: jinja2.Environment, source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every number that is typed in, in the prose or as a literal of a placeholder."""
    for line, kind, text in environment.lex(source):
        pattern = {"float": re.compile(".+"), "data": TYPED, "string": TYPED}.get(kind)
        found = pattern.search(text) if pattern else None
        if found:
            yield line + text.count("\n", 0, found.start()), found[0]


def _line(error: BaseException) -> int:
    """Return the line of the template that led to ``error``; in a macro, the line that calls it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return lines[0] or 0


def _wrapped(page: str) -> str:
    """Return Markdown with its paragraphs broken anew: what fills a placeholder has not the placeholder's length."""
    blocks = [[line.rstrip() for line in block.splitlines()] for block in re.split(r"\n{2,}", page.strip())]
    return (
        "\n\n".join(
            "\n".join(
                block
                if block[0].startswith(("|", "#", "-"))
                else textwrap.wrap(" ".join(block), 120, break_on_hyphens=False)
            )
            for block in blocks
        )
        + "\n"
    )


def render(template: str | Path, tables: str | Path) -> str:
    """Return the page: ``template`` with its placeholders filled from the csv files in the folder ``tables``.

    Raises
    ------
    FindingsError
        The template cannot be read or is none, its prose holds a number that it may not (``TYPED``), or a
        placeholder asks for a row or cell that is not there or not the only one. The error names the line.
    """
    try:
        source = Path(template).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FindingsError(f"{template}: cannot be read ({error}); name a template with --template.") from error
    # The sandbox: a page is text, whoever wrote its template.
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filled = Tables(tables)
    public = (name for name in vars(Tables) if not name.startswith("_"))
    known: dict[str, Any] = {name: getattr(filled, name) for name in public} | {
        "level": f"{statistics.ALPHA:g}",
        "judging_level": f"{judging.LEVEL:g}",
    }
    try:
        compiled = environment.from_string(source, known)
    except jinja2.TemplateSyntaxError as error:
        raise FindingsError(f"{template}, line {error.lineno}: {error.message}; correct the placeholder.") from error
    for line, text in _typed(environment, source):
        raise FindingsError(f"{template}, line {line}: {text!r} is typed in; take it from a table by a placeholder.")
    try:
        page = compiled.render()
    except FindingsError as error:
        raise FindingsError(f"{template}, line {_line(error)}: {error}") from error
    except (jinja2.TemplateError, TypeError, ArithmeticError) as error:
        raise FindingsError(f"{template}, line {_line(error)}: {error}; correct the placeholder.") from error
    return f"<!-- Written by `make findings` from {Path(template).name} and the tables; do not edit. -->\n\n{_wrapped(page)}"
