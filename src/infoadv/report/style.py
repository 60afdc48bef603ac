"""The one style sheet: sizes, fonts, colours, and the way a figure is written to disk.

An attack has one colour, marker and line style everywhere, given by its ``color_index``. Colours alone cannot tell
twenty attacks apart for everybody, so the cycles have lengths without a common divisor: seven colours (Okabe and Ito
2008, without yellow, which is too light for a line) times ten markers give seventy pairs.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from infoadv import artifacts

#: Widths in inches of one column and of the whole text of a two-column page.
COLUMN_WIDTH = 3.4
TEXT_WIDTH = 7.0

#: Font sizes in points; nothing in a figure is smaller than ``SMALL``.
SMALL, NORMAL, TITLE = 6.0, 7.0, 7.5

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))
FAILED = "#B2182B"
GUIDE = "#888888"

#: Similarities are drawn no closer to 1 than this, where a logarithmic axis of 1 - s would end.
CLOSEST = 1e-5

#: Ticks within a decade where an axis spans a small part of one.
_FINE = tuple(tuple(part / parts for part in range(parts, 10 * parts)) for parts in (10, 5, 2))

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": NORMAL,
    "axes.titlesize": TITLE,
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "figure.titlesize": TITLE,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "mathtext.default": "regular",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class AttackStyle:
    """How one attack looks in every figure."""

    color: str
    marker: str
    line: Any


def attack_style(color_index: int) -> AttackStyle:
    """Return the look of the attack with this index; all pairs of colour and marker differ below seventy.

    >>> len({(attack_style(i).color, attack_style(i).marker) for i in range(70)})
    70
    """
    return AttackStyle(
        COLORS[color_index % len(COLORS)],
        MARKERS[color_index % len(MARKERS)],
        LINES[color_index // len(COLORS) % len(LINES)],
    )


@contextmanager
def applied() -> Iterator[None]:
    """Apply the style sheet inside the block, on top of matplotlib's own defaults and not of a user's settings."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update({**matplotlib.rcParamsDefault, "backend": "agg"})
        matplotlib.rcParams.update(RC)
        yield


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of this size in inches that draws with Agg and belongs to no window system."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: str | Path) -> None:
    """Write ``stem.pdf`` and ``stem.png`` atomically; equal figures give equal bytes (no date goes in)."""
    with artifacts.atomic_path(f"{stem}.pdf") as path:
        figure.savefig(path, metadata={"CreationDate": None})
    with artifacts.atomic_path(f"{stem}.png") as path:
        figure.savefig(path, metadata={"Software": None})


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write a PNG at the figure's own resolution, atomically; equal figures give equal bytes."""
    with artifacts.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=figure.dpi, metadata={"Software": None})


def plain(text: str) -> str:
    """Return a label as matplotlib should print it: a dollar sign is a dollar sign, not mathematics."""
    return text.replace("$", r"\$")


def entitle(axes: Axes, text: str, width: float) -> None:
    """Set the title of a panel ``width`` inches wide, on as many lines as it needs."""
    # An average glyph is 0.57 of the font size wide.
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, int(width * 72 / (TITLE * 0.57)))]
    axes.set_title(plain("\n".join(lines)))


def say(axes: Axes, text: str) -> None:
    """Write why a panel is empty into it, and take its ticks and grid away."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color=GUIDE)


def dark(color: str) -> tuple[float, float, float]:
    """Return a colour mixed with black, in which small text can be read on white."""
    red, green, blue = to_rgb(color)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def similarity_axis(axes: Axes, which: str, distances: list[float], *, most: int = 6) -> None:
    """Make an axis of similarities s that resolves 0.9, 0.99 and 0.999 alike.

    ``distances`` are the drawn values of 1 - s, in (0, 1]; the axis is logarithmic in them, labelled with s, and
    grows towards s = 1. Near-perfect similarities, where attacks on undefended networks lie, would fall on one
    another on a linear axis. ``most`` limits the number of ticks, and with it how near to one another they come.
    """
    low = max(min(distances, default=0.01), CLOSEST)
    high = max(max(distances, default=0.1), low * 1.0001)
    pad = max((high / low) ** 0.08, 1.15)
    low, high = low / pad, min(high * pad, 1.5)
    ticks = _apart(_similarity_ticks(low, high, most), math.log(high / low) / (most + 1))
    labels = [f"{round(1 - tick, 8):.8g}" for tick in ticks]
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(high, low)
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(labels))


def _apart(ticks: list[float], gap: float) -> list[float]:
    """Return the ticks that are ``gap`` apart in the logarithm: the round ones first, then from the similar end."""
    kept: list[float] = []
    for tick in sorted(ticks, key=lambda tick: (len(f"{tick:g}".strip("0.")), tick)):
        if all(abs(math.log(tick / other)) >= gap for other in kept):
            kept.append(tick)
    return sorted(kept)


def _similarity_ticks(low: float, high: float, most: int) -> list[float]:
    ticks: list[float] = []
    for digits in (*_FINE, tuple(range(1, 10)), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            float(f"{digit}e{exponent}")
            for exponent in range(-7, 1)
            for digit in digits
            if low <= float(f"{digit}e{exponent}") <= min(high, 1.0)
        ]
        if len(ticks) <= most:
            return ticks
    # Even whole decades are too many: leave some out, from the similar end, whose labels are the longest.
    return ticks[:: -(-len(ticks) // most)]
