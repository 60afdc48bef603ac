"""The values that sweeps tried, one option at a time, for the table and the figure that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infoadv.report import statistics
from infoadv.report.rows import Attack, Rows


def values_of(rows: Rows, target: tuple[str, str], attack: Attack) -> dict[str, list[tuple[Any, Attack]]]:
    """Return what ran on a target of each option that a sweep varies alone: its values in order, with their attacks."""
    found: dict[str, list[tuple[Any, Attack]]] = {}
    for other in rows.attacks:
        if other.sweep_of == attack.name and len(other.varied) == 1 and len(rows.of(*target, other.name)):
            ((option, value),) = other.varied.items()
            # An option that differs between data sets has no value that the sweep starts from.
            if option in attack.varied:
                found.setdefault(option, [(attack.varied[option], attack)]).append((value, other))
    return {option: sorted(values, key=_order) for option, values in found.items()}


def _order(entry: tuple[Any, Attack]) -> tuple[bool, bool, Any]:
    """Return what values are sorted by: null first, words last."""
    value = entry[0]
    return value is not None, isinstance(value, str), 0 if value is None else value


def common(rows: Rows, target: tuple[str, str], attacks: Sequence[Attack]) -> list[int]:
    """Return the data-set indices of the images on which those attacks succeed that do not fail often."""
    names = [attack.name for attack in rows.counting(*target, attacks)]
    return sorted(statistics.common_successes(rows.of(*target), names))
