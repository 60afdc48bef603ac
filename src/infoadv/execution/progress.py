"""How far a stage is, on standard error: now and then a line in a log, a bar on a terminal, both with the same text.

Not tqdm: in a file its lines end in carriage returns, and its rate forgets the beginning of a run.
"""

from __future__ import annotations

import shutil
import sys
import time

#: Seconds between two lines of a log, and between two states of a bar.
LOG_INTERVAL = 10.0
BAR_INTERVAL = 0.2
_BAR_WIDTH = 20


def duration(seconds: float) -> str:
    """Return a time in the largest unit that says it well.

    >>> duration(42), duration(600), duration(12600)
    ('42 s', '10 min', '3.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def rate(per_second: float, unit: str) -> str:
    """Return a rate per second, minute or hour, whichever is the first of at least one ``unit``.

    >>> rate(12.34, "images"), rate(0.5, "images"), rate(0.001, "studies")
    ('12.3 images/s', '30.0 images/min', '3.6 studies/h')
    """
    value, name = next(
        ((per_second * seconds, name) for seconds, name in ((1, "s"), (60, "min")) if per_second * seconds >= 1),
        (per_second * 3600, "h"),
    )
    return f"{value:.{0 if value >= 100 else 1}f} {unit}/{name}"


def clear_line() -> None:
    """Blank the line of a terminal that a bar may be on, so that an error begins on an empty one."""
    if sys.stderr.isatty():
        sys.stderr.write(" " * (shutil.get_terminal_size().columns - 1) + "\r")


class Progress:
    """Follows work of a known size. It says at once where it begins, then every few seconds, and at the end.

    Parameters
    ----------
    total
        All the work, in ``unit``.
    unit
        What is counted, in the plural: "images".
    done
        What a run before this one has left; the rate is that of the rest.
    note
        What else is known by then, such as the success so far.
    """

    def __init__(self, total: int, unit: str, *, done: int = 0, note: str = "") -> None:
        self.total, self.unit = total, unit
        self._done = self._before = done
        self._note = note
        self._started = self._reached = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._show()

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the total are done."""
        self._done, self._note, self._reached = done, note, time.monotonic()
        if self.due() or done >= self.total:
            self._show()

    def alive(self, detail: str) -> None:
        """Say what goes on inside one unit of work, so that a long one is seen to go on."""
        if self.due():
            self._show(detail)

    def due(self) -> bool:
        """Return whether anything said now would be shown: ask before making up a costly text."""
        return time.monotonic() - self._shown >= (BAR_INTERVAL if self._terminal else LOG_INTERVAL)

    def _text(self, detail: str) -> str:
        parts = [f"{self._done}/{self.total} {self.unit}"]
        if self.total:
            parts.append(f"{self._done / self.total:.0%}")
        parts.append(self._note)
        taken, here = self._reached - self._started, self._done - self._before
        if here > 0 and taken > 0:
            left = (self.total - self._done) * taken / here - (time.monotonic() - self._reached)
            parts.append(rate(here / taken, self.unit))
            parts.append(f"{duration(max(0.0, left))} left" if self._done < self.total else f"in {duration(taken)}")
        return "  ".join(filter(None, [*parts, detail]))

    def _show(self, detail: str = "") -> None:
        self._shown = time.monotonic()
        text = self._text(detail)
        if self._terminal:
            filled = _BAR_WIDTH * self._done // self.total if self.total else _BAR_WIDTH
            width = shutil.get_terminal_size().columns - 1
            line = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}"[:width].ljust(width)
            # The cursor stays at the beginning, so that whatever comes next, a warning say, begins there.
            text = line + ("\r" if self._done < self.total else "\n")
        else:
            text += "\n"
        sys.stderr.write(text)
        sys.stderr.flush()
