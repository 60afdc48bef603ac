"""Turns a data frame into the three files of a table: CSV for machines, Markdown for reading, LaTeX for the paper."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from infoadv import artifacts

DAGGER = "\u2020"
#: Control characters and the line ends of Unicode, which end a row of a table: spaces instead.
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u221e": r"$\infty$",
    "\u2013": "--",
    "\u2212": "$-$",
    DAGGER: r"$^\dagger$",
}


@dataclass(frozen=True)
class Table:
    """A finished table: the full frame and its two readable renderings."""

    frame: pd.DataFrame
    markdown: str
    latex: str


@dataclass(frozen=True)
class Cell:
    """Text of a cell; ``strong`` marks the best value, ``emphasis`` a worse one, ``home`` a metric on home ground."""

    text: str
    strong: bool = False
    emphasis: bool = False
    home: bool = False

    def markdown(self) -> str:
        # Text may be a stranger's: no HTML, no link, no end of the row.
        text = self.text.translate(_CONTROL).replace("|", r"\|").replace("](", r"]\(")
        # A tag begins with these; "<0.001" is none.
        text = re.sub("<(?=[A-Za-z/!?])", "&lt;", text)
        text = f"**{text}**" if self.strong else f"*{text}*" if self.emphasis else text
        return text + (DAGGER if self.home else "")

    def latex(self) -> str:
        text = tex(self.text)
        text = rf"\textbf{{{text}}}" if self.strong else rf"\textit{{{text}}}" if self.emphasis else text
        return text + (tex(DAGGER) if self.home else "")


def csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV: ten significant digits, empty where undefined, ``inf`` where infinite."""
    return frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def write(table: Table, name: str, folder: str | Path) -> None:
    """Write ``name.csv``, ``name.md`` and ``name.tex`` into a folder, each atomically."""
    for suffix, text in (("csv", csv(table.frame)), ("md", table.markdown), ("tex", table.latex)):
        artifacts.write_text(Path(folder) / f"{name}.{suffix}", text)


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number as a reader wants it; a dash where undefined.

    >>> [ascii(number(value, 2)) for value in (float("nan"), 1.239, -0.0001)]
    ["'\\\\u2013'", "'1.24'", "'0.00'"]
    """
    if math.isnan(value):
        return "\u2013"
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\u2212")


def interval(value: float, low: float, high: float, decimals: int) -> str:
    """Return a number with the limits of its interval; a dash alone where the number is undefined.

    >>> ascii(interval(0.51, 0.4, 0.62, 1)), ascii(interval(float("nan"), 0.4, 0.62, 1))
    ("'0.5 [0.4, 0.6]'", "'\\\\u2013'")
    """
    middle = number(value, decimals)
    return middle if math.isnan(value) else f"{middle} [{number(low, decimals)}, {number(high, decimals)}]"


def short_p(p: float) -> str:
    """Return a p value as a cell holds it.

    >>> short_p(0.0004), short_p(0.0312)
    ('<0.001', '0.031')
    """
    return "<0.001" if p < 0.001 else number(p, 3)


def p_value(p: float) -> str:
    """Return a p value after Holm as a reader wants it, with its sign of relation.

    >>> [p_value(value) for value in (0.0004, 0.0312)]
    ["Holm's p < 0.001", "Holm's p = 0.031"]
    """
    return "Holm's p < 0.001" if p < 0.001 else f"Holm's p = {number(p, 3)}"


def tex(text: str) -> str:
    """Return plain text with everything escaped that LaTeX would read as a command.

    >>> tex("C&W_2")
    'C\\\\&W\\\\_2'
    """
    # After the end of a row a bracket or a star would be read as its option.
    guard = "{}" if text.startswith(("[", "*")) else ""
    return guard + "".join(_TEX.get(character, character) for character in text.translate(_CONTROL))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Cell]], left: int = 1) -> str:
    """Return a Markdown table whose first ``left`` columns are left-aligned, the others right-aligned."""
    rule = [":--" if column < left else "--:" for column in range(len(header))]
    lines = [[Cell(text).markdown() for text in header], rule, *([cell.markdown() for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(
    header: Sequence[str],
    sections: Iterable[tuple[str, Sequence[Sequence[Cell]]]],
    caption: str,
    label: str,
    left: int = 1,
) -> str:
    """Return a LaTeX ``table*`` with booktabs rules.

    ``header`` is LaTeX already; ``sections`` are (plain title, rows), the title spanning all columns, left out if
    empty; ``caption`` is LaTeX.
    """
    columns = "l" * left + "r" * (len(header) - left)
    body = []
    for title, rows in sections:
        body.append(r"\midrule")
        if title:
            body.append(rf"\multicolumn{{{len(header)}}}{{l}}{{\textit{{{tex(title)}}}}} \\")
        body += [" & ".join(cell.latex() for cell in row) + r" \\" for row in rows]
    lines = [
        r"\begin{table*}",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{3.5pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def tex_arrow(better: str) -> str:
    """Return the LaTeX arrow of a direction, with a space before it, or nothing."""
    return {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}.get(better, "")
