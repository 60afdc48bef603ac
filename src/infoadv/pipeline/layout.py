"""Where a run keeps its files, relative to its folder: what the workflow makes and what `infoadv status` looks for.

Everything here derives from the checked configuration. No torch here: the Snakefile asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infoadv.config import Config, Run, stage_inputs, transferable
from infoadv.pipeline.drawings import Drawing, drawings

CALIBRATION_FILE = "results/calibration/mine.parquet"
#: What each job measures of itself: time and memory.
BENCHMARKS = "results/benchmarks"


def data_file(dataset: str) -> str:
    """Return the data artefact of a data set."""
    return f"results/data/{dataset}.safetensors"


def model_file(dataset: str, model: str) -> str:
    """Return the model artefact of a network."""
    return f"results/models/{dataset}/{model}.safetensors"


def attack_file(run: Run) -> str:
    """Return the attack artefact of a run."""
    return f"results/attacks/{run.dataset}/{run.model}/{run.attack}.safetensors"


def shard_files(run: Run, shards: int) -> list[str]:
    """Return the shards of a run, which are there until they are gathered."""
    return [f"results/shards/{run.dataset}/{run.model}/{run.attack}/{shard}.safetensors" for shard in range(shards)]


def metrics_file(run: Run) -> str:
    """Return the metrics artefact of a run."""
    return f"results/metrics/{run.dataset}/{run.model}/{run.attack}.parquet"


def transfer_file(dataset: str) -> str:
    """Return the transfer artefact of a data set."""
    return f"results/transfer/{dataset}.parquet"


def flow_file(dataset: str, model: str) -> str:
    """Return the flow artefact of a network."""
    return f"results/flow/{dataset}/{model}.parquet"


def flow_files(settings: Config) -> list[str]:
    """Return the flow artefacts of a run, none where it has no information profiles."""
    return [flow_file(settings.flow.dataset, model) for model in settings.flow.parts()] if settings.flow else []


def attacked(settings: Config) -> list[Run]:
    """Return every attack of a run, once: those of the benchmark and those of the information profiles."""
    return list(dict.fromkeys([*settings.runs, *settings.flow_runs()]))


def calibrates(settings: Config) -> bool:
    """Return whether a table or figure of this run needs the calibration of MINE."""
    return "calibration" in _stages(settings)


def transfers(settings: Config) -> dict[str, list[str]]:
    """Return the networks that are shown each other's adversarial images, by data set; none where nobody asks for it."""
    wanted = _stages(settings)
    return transferable(settings.runs) if "transfer" in wanted else {}


def _stages(settings: Config) -> list[str]:
    """Return the stages that the tables and figures of a run are made from."""
    tables = [stage_inputs("tables", name)["stage"] for name in settings.tables()]
    return [*tables, *(stage_inputs("figures", name)["stage"] for name in settings.figures)]


def table_files(table: str) -> list[str]:
    """Return the forms of a table."""
    return [f"results/tables/{table}.{suffix}" for suffix in ("csv", "md", "tex", "html")]


def figure_files(drawing: Drawing) -> list[str]:
    """Return the forms of a figure, or the folder of one that consists of many pictures."""
    if drawing.pictures:
        return ["/".join(filter(None, ("figures", drawing.figure, drawing.dataset)))]
    return [f"figures/{drawing.stem}.{suffix}" for suffix in ("pdf", "png")]


def numbers_file(drawing: Drawing) -> str:
    """Return the numbers that a figure shows."""
    return f"results/tables/figure_{drawing.stem}.csv"


@dataclass(frozen=True)
class Job:
    """What makes one artefact, table or figure.

    Attributes
    ----------
    stage
        The line of the summary that it counts in.
    name
        Data set, network and attack, or the table or figure.
    files
        What it makes.
    logs
        What it says.
    checkpoints
        What it goes on from after a kill, if it can.
    size
        Epochs or images that finished checkpoints would hold together.
    benchmarks
        What it measures of itself.
    """

    stage: str
    name: str
    files: tuple[str, ...]
    logs: tuple[str, ...]
    checkpoints: tuple[str, ...] = ()
    size: int = 0
    benchmarks: tuple[str, ...] = ()


def _attack_job(run: Run, shards: int, images: int) -> Job:
    name = f"{run.dataset}/{run.model}/{run.attack}"
    if shards == 1:
        checkpoints, logs = [f"results/checkpoints/{name}.safetensors"], [f"logs/attack/{name}.log"]
        measured = [f"{BENCHMARKS}/attack/{name}.tsv"]
    else:
        # A shard that is done is kept like the checkpoint of one that is not.
        checkpoints = [f"results/checkpoints/{name}/{shard}.safetensors" for shard in range(shards)]
        checkpoints += shard_files(run, shards)
        logs = [f"logs/attack_shard/{name}/{shard}.log" for shard in range(shards)] + [f"logs/gather/{name}.log"]
        measured = [f"{BENCHMARKS}/attack_shard/{name}/{shard}.tsv" for shard in range(shards)]
        measured.append(f"{BENCHMARKS}/gather/{name}.tsv")
    return Job("attacks", name, (attack_file(run),), tuple(logs), tuple(checkpoints), images, tuple(measured))


def jobs(settings: Config) -> Iterator[Job]:
    """Yield what makes all tables and figures, stage by stage; downloads are left out."""
    for dataset in settings.datasets:
        measured = (f"{BENCHMARKS}/dataset/{dataset}.tsv",)
        yield Job("data", dataset, (data_file(dataset),), (f"logs/dataset/{dataset}.log",), benchmarks=measured)
    for dataset, model in settings.trained():
        name = f"{dataset}/{model}"
        checkpoints = (f"results/checkpoints/{name}.safetensors",)
        epochs = settings.models[model][dataset].get("training", {}).get("epochs", 0)
        measured = (f"{BENCHMARKS}/train/{name}.tsv",)
        files = (model_file(dataset, model),)
        yield Job("models", name, files, (f"logs/train/{name}.log",), checkpoints, epochs, measured)
    for run in attacked(settings):
        yield _attack_job(run, settings.attacks[run.attack].shards, settings.attacks[run.attack].images)
    for run in settings.runs:
        name = f"{run.dataset}/{run.model}/{run.attack}"
        measured = (f"{BENCHMARKS}/metrics/{name}.tsv",)
        yield Job("metrics", name, (metrics_file(run),), (f"logs/metrics/{name}.log",), benchmarks=measured)
    for dataset in transfers(settings):
        measured = (f"{BENCHMARKS}/transfer/{dataset}.tsv",)
        yield Job(
            "transfer", dataset, (transfer_file(dataset),), (f"logs/transfer/{dataset}.log",), benchmarks=measured
        )
    if calibrates(settings):
        measured = (f"{BENCHMARKS}/calibration/mine.tsv",)
        yield Job("calibration", "mine", (CALIBRATION_FILE,), ("logs/calibration/mine.log",), benchmarks=measured)
    if settings.flow is not None:
        for model in settings.flow.parts():
            name = f"{settings.flow.dataset}/{model}"
            measured = (f"{BENCHMARKS}/flow/{name}.tsv",)
            files = (flow_file(settings.flow.dataset, model),)
            yield Job("profiles", name, files, (f"logs/flow/{name}.log",), benchmarks=measured)
    for table in settings.tables():
        measured = (f"{BENCHMARKS}/table/{table}.tsv",)
        yield Job("tables", table, tuple(table_files(table)), (f"logs/table/{table}.log",), benchmarks=measured)
    for drawing in drawings(settings):
        # A folder is there before all of its pictures are; the numbers come last.
        drawn = [numbers_file(drawing)] if drawing.pictures else figure_files(drawing)
        measured = (f"{BENCHMARKS}/figure/{drawing.stem}.tsv",)
        yield Job("figures", drawing.stem, tuple(drawn), (f"logs/figure/{drawing.stem}.log",), benchmarks=measured)
