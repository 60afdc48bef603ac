"""The files that tables and figures are made from: what the literal ``INPUTS`` of each says, as paths of a run.

No torch here: the Snakefile asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from infoadv.config import Config, Run, stage_inputs
from infoadv.pipeline import layout
from infoadv.pipeline.drawings import Drawing


def of_table(settings: Config, name: str) -> list[str]:
    """Return the files that a table is made from."""
    return _files(settings, stage_inputs("tables", name)["stage"], settings.runs, settings.datasets)


def of_drawing(settings: Config, drawing: Drawing) -> list[str]:
    """Return the files that a figure is drawn from."""
    datasets = settings.datasets if drawing.dataset is None else [drawing.dataset]
    return _files(settings, drawing.stage, drawing.runs, datasets)


def _files(settings: Config, stage: str, runs: Iterable[Run], datasets: Iterable[str]) -> list[str]:
    """Return the files of a stage that belong to ``runs`` or ``datasets``, where it has files of each."""
    runs, datasets = list(runs), list(datasets)
    if stage == "metrics":
        return [layout.metrics_file(run) for run in runs]
    if stage == "models":
        return [layout.model_file(dataset, model) for dataset, model in settings.trained() if dataset in datasets]
    if stage == "pictures":
        data = [layout.data_file(dataset) for dataset in datasets]
        return [*data, *map(layout.attack_file, runs), *map(layout.metrics_file, runs)]
    if stage == "attack":
        return [layout.attack_file(run) for run in runs]
    if stage == "transfer":
        return [layout.transfer_file(dataset) for dataset in layout.transfers(settings) if dataset in datasets]
    if stage == "flow":
        return layout.flow_files(settings)
    if stage == "calibration":
        return [layout.CALIBRATION_FILE]
    if stage == "benchmarks":
        return benchmarks(settings)
    assert stage == "artefacts", stage
    return artefacts(settings)


def benchmarks(settings: Config) -> list[str]:
    """Return the benchmark files of the jobs that compute. Those of tables and figures would tie these to each other."""
    computing = (job for job in layout.jobs(settings) if job.stage not in ("tables", "figures"))
    return [file for job in computing for file in job.benchmarks]


def artefacts(settings: Config) -> list[str]:
    """Return every artefact that a table or figure is made from, and those that these are made from.

    But for the attacks: what is measured of them tells what made them, also where their images were removed.
    """
    files = [layout.data_file(dataset) for dataset in settings.datasets]
    files += [layout.model_file(dataset, model) for dataset, model in settings.trained()]
    files += [layout.metrics_file(run) for run in settings.runs]
    files += [layout.transfer_file(dataset) for dataset in layout.transfers(settings)]
    files += [layout.CALIBRATION_FILE] if layout.calibrates(settings) else []
    return files + layout.flow_files(settings)
