"""How long the rest of a run takes: what each job that is left asks for, at the speed of those that are done.

Speeds differ by network and data set more than by anything else, so a job is compared with finished ones of its stage on the
same network, or on the same data set where there is none, or of the same stage. Of a stage that has not begun the rates are
those that clusters are asked by (:mod:`infoadv.pipeline.resources`), which err on the large side. No torch here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median

from infoadv.config import Config
from infoadv.pipeline import layout, resources
from infoadv.pipeline.layout import Job

#: Megabytes of a data set whose artefact is not there yet.
_UNKNOWN_MB = 50.0


def seconds(settings: Config, directory: Path, done: Iterable[Job], left: Iterable[Job]) -> float:
    """Return the seconds that the jobs that are ``left`` take one after the other, as far as one can tell."""
    ratios: dict[tuple[str, ...], list[float]] = {}
    for job in done:
        asked, took = _asked(settings, directory, job), _measured(directory, job)
        if took is not None:
            for key in _keys(job):
                ratios.setdefault(key, []).append(took / asked)
    total = 0.0
    for job in left:
        known = next((ratios[key] for key in _keys(job) if key in ratios), [1.0])
        total += median(known) * _asked(settings, directory, job)
    return total


def _keys(job: Job) -> list[tuple[str, ...]]:
    """Return the groups that a job is in, the closest first."""
    parts = job.name.split("/")[:2]
    return [(job.stage, *parts[:count]) for count in range(len(parts), -1, -1)]


def _measured(directory: Path, job: Job) -> float | None:
    """Return the seconds that a job took, None where it was not measured in all parts."""
    total = 0.0
    for name in job.benchmarks:
        try:
            with open(directory / name, encoding="utf-8", newline="") as handle:
                total += sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
        except (OSError, KeyError, TypeError, ValueError):
            return None
    return total if total > 0 else None


def _asked(settings: Config, directory: Path, job: Job) -> float:
    """Return the seconds that a job is expected to take, in proportion to its work."""
    dataset, _, rest = job.name.partition("/")
    model, _, attack = rest.partition("/")
    expected: Mapping[str, Callable[[], float]] = {
        "models": lambda: resources.training_seconds(settings, dataset, model, _megabytes(directory, dataset)),
        "attacks": lambda: resources.attack_seconds(settings, dataset, attack, settings.attacks[attack].images),
        "metrics": lambda: settings.attacks[attack].images * resources.METRICS,
        "profiles": lambda: 60.0 * (resources.profiles_minutes(settings, model) - resources.START),
        "transfer": lambda: 60.0 * (resources.transfer_minutes(settings, dataset) - resources.START),
        "calibration": lambda: 60.0 * (resources.calibration_minutes(settings) - resources.START),
    }
    return max(expected[job.stage]() if job.stage in expected else 0.0, 1.0)


def _megabytes(directory: Path, dataset: str) -> float:
    try:
        return (directory / layout.data_file(dataset)).stat().st_size / 1e6
    except OSError:
        return _UNKNOWN_MB
