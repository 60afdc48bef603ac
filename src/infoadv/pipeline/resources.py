"""What jobs ask a cluster for: megabytes of memory and minutes of run time, in proportion to their work.

The rates are measured ones, rounded up: of the default configuration (64 images) and of ``results/reference`` (100 images), one
thread each, on two cores of x86-64 that did other work as well. What was seen stands beside each constant. Networks differ
by two orders of magnitude and machines by one, so a request errs on the large side. A job that runs out of memory or time
all the same asks for more at its next attempt; training and attacks then go on where they were.

No torch here: the Snakefile asks, in every cluster job again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from infoadv.config import Config
from infoadv.config.memory import BASE, CHUNK_IMAGE, CUDA, times

#: Minutes for what each job does first: start Snakemake, import, read the inputs. Seen: 5 to 30 s.
START = 10
#: How many times faster than one core a GPU trains and attacks, at least. An assumption: none has been measured.
GPU_SPEED = 20

#: Seconds per image and forward-backward pass of an attack. Seen: 0.0005 (small_cnn) to 0.012 (JSMA on fitnet4).
PASS = 0.02
#: Seconds per megabyte of data set and epoch. Seen: 0.4 (deep_conv) to 1.2 (fitnet4) on the 185 MB of CIFAR-10.
EPOCH = 3.0
#: Seconds per image that all metrics take. Seen: 0.11, and 0.4 with the judges of the paper's configuration.
METRICS = 1.0
#: Seconds per image and attack that is followed in one network. Seen: 0.8 (fitnet4, two estimators).
FOLLOWED = 3.0
#: Seconds per point of the calibration. Seen: 0.25.
POINT = 2.0
#: Seconds per image and attack of a table or figure. Seen: 0.002.
ROW = 0.01

#: Megabytes per attacked image of 32 pixels, in proportion beyond. Its artefact has 0.016; a job holds up to three copies.
IMAGE = 0.05
#: Megabytes of training per megabyte of data set. Seen: 10 on CIFAR-10 beside the 560 that every job has.
DATA = 15

#: Options whose product is the number of passes, and that number where none of them is given: JSMA took 11 to 330.
_PASSES = ("steps", "search_steps", "binary_search_steps", "trials", "candidates", "classes")
_UNKNOWN = 1000


def passes(options: Mapping[str, Any]) -> int:
    """Return how many forward-backward passes an attack with these options takes at most, per image.

    >>> passes({"steps": 100, "binary_search_steps": 9})
    900
    >>> passes({"epsilon": "smallest", "steps": 40, "trials": 12}), passes({"epsilon": 0.3, "steps": 40, "trials": 12})
    (480, 40)
    """
    if "like" in options:
        # A control looks at no gradient.
        return 1
    idle = set()
    if isinstance(options.get("epsilon"), int | float):
        # A named budget is tried once.
        idle.add("trials")
    if options.get("search") in ("decoupled", "primal_dual"):
        idle.add("search_steps")
    elif "search" in options:
        idle.add("classes")
    given = [name for name in _PASSES if name in options]
    return math.prod(options[name] for name in given if name not in idle) if given else _UNKNOWN


def _minutes(config: Config, seconds: float, on_device: bool = True) -> int:
    fast = on_device and config.device != "cpu"
    return START + math.ceil(seconds / (GPU_SPEED if fast else 1) / 60)


def _memory(config: Config, working: float) -> int:
    return math.ceil(BASE + (config.device != "cpu") * CUDA + working)


def attack_seconds(config: Config, dataset: str, attack: str, images: int) -> float:
    """Return the seconds that one attack on ``images`` images takes on a core."""
    return images * passes(config.attacks[attack].options[dataset]) * PASS * times(config.datasets[dataset], 64)


def attack_minutes(config: Config, dataset: str, attack: str, images: int) -> int:
    """Return the run time of a job that runs one attack on ``images`` images."""
    return _minutes(config, attack_seconds(config, dataset, attack, images))


def attack_memory(config: Config, dataset: str, images: int) -> int:
    """Return the memory of a job that attacks ``images`` images, a chunk at a time."""
    chunk = config.chunk * CHUNK_IMAGE * times(config.datasets[dataset], 64)
    return _memory(config, chunk + images * IMAGE * times(config.datasets[dataset], 32))


def training_seconds(config: Config, dataset: str, model: str, data_mb: float) -> float:
    """Return the seconds that training a network on a data set of ``data_mb`` megabytes, and measuring it, takes on a core."""
    training = config.models[model][dataset].get("training", {})
    # Measuring it takes as long as an epoch; so does a network that was trained elsewhere.
    epochs = 1 + training.get("epochs", 0) * (1 + training.get("steps", 0))
    return epochs * data_mb * EPOCH


def training_minutes(config: Config, dataset: str, model: str, data_mb: float) -> int:
    """Return the run time of a job that trains a network on a data set of ``data_mb`` megabytes and measures it."""
    return _minutes(config, training_seconds(config, dataset, model, data_mb))


def training_memory(config: Config, data_mb: float) -> int:
    """Return the memory of a job that trains a network on a data set of ``data_mb`` megabytes."""
    return _memory(config, data_mb * DATA)


def metrics_minutes(config: Config) -> int:
    """Return the run time of a job that measures one attack; most metrics are as slow on a GPU as beside it."""
    return _minutes(config, config.images * METRICS, on_device=False)


def metrics_memory(config: Config) -> int:
    """Return the memory of a job that measures one attack."""
    return _memory(config, 1000 + config.images * IMAGE)


def transfer_minutes(config: Config, dataset: str) -> int:
    """Return the run time of the job that shows the images of every attack on a data set to its other networks."""
    runs = [run for run in config.runs if run.dataset == dataset]
    networks = len({run.model for run in runs})
    return _minutes(config, len(runs) * (networks - 1) * config.images * PASS * times(config.datasets[dataset], 64))


def transfer_memory(config: Config, dataset: str) -> int:
    """Return the memory of that job, which reads one attack at a time."""
    return _memory(config, 1000 + config.images * IMAGE * times(config.datasets[dataset], 32))


def profiles_minutes(config: Config, model: str) -> int:
    """Return the run time of a job that follows every part of the profiles through one network."""
    parts = config.flow.parts()[model] if config.flow else []
    return _minutes(config, len(parts) * config.images * FOLLOWED, on_device=False)


def profiles_memory(config: Config, model: str) -> int:
    """Return the memory of a job that follows every part of the profiles through one network."""
    parts = config.flow.parts()[model] if config.flow else []
    return _memory(config, 2000 + len(parts) * config.images * IMAGE)


def calibration_minutes(config: Config) -> int:
    """Return the run time of the calibration of MINE."""
    grid = config.calibration or {}
    points = math.prod(len(grid.get(key, ())) for key in ("dimensions", "samples", "rhos")) * grid.get("seeds", 1)
    steps = sum(critic["steps"] for critic in grid.get("critics", [{"steps": grid.get("steps", 0)}]))
    steps = steps * len(grid.get("bounds", ("donsker_varadhan",))) + grid.get("attack_steps", 0)
    # A point is one of as many steps as the default.
    points *= max(1, steps / 600)
    return _minutes(config, points * POINT, on_device=False)


def report_minutes(config: Config) -> int:
    """Return the run time of a table or figure: its intervals are resampled over the images of every attack."""
    return _minutes(config, len(config.runs) * config.images * ROW, on_device=False)


def report_memory(config: Config) -> int:
    """Return the memory of a table or figure: 400 MB seen, and the resamples of the images as 8-byte numbers, three times."""
    return math.ceil(1000 + 3 * 8e-6 * config.images * config.statistics["bootstrap"])
