"""How many images fit into memory at once, and what a job takes: ``chunk: auto``, and what clusters are asked for.

The amounts are measured ones, rounded up; what was seen stands beside each. No torch here: the Snakefile asks.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from infoadv.config.errors import ConfigError
from infoadv.registry import plugins

#: Megabytes of Python, torch and a data set. Seen: 560 to 900 on a CPU, 1,560 with the metrics.
BASE = 2000
#: Megabytes that the libraries of CUDA add. An assumption.
CUDA = 3000
#: Megabytes per image of a chunk, up to 64 pixels a side; in proportion to the pixels beyond. Seen: 1 to 6 (residual network of
#: width 32), width 64 keeps twice as much; at 224 pixels 55 (resnet18) and 120 (resnet50), for which 196 are asked.
CHUNK_IMAGE = 16

#: Of the memory there is, the share that jobs may take together.
_SHARE = 0.75
#: The largest chunk that is chosen.
_LARGEST = 256
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def times(dataset: Mapping[str, Any], side: int) -> float:
    """Return how many times more pixels an image has than one of ``side`` x ``side``, at least 1, if its ``size`` is known."""
    size = dataset.get("size") or side
    height, width = size if isinstance(size, list) else (size, size)
    return max(1.0, height * width / side**2)


def of_machine() -> float:
    """Return the megabytes of this machine, or of the container that this process is in; in use or not."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # No limit is set ("max"), or none can be.
    with suppress(OSError, ValueError):
        total = min(total, int(_CGROUP.read_text(encoding="ascii")))
    return total / 1e6


def of_gpu() -> float | None:
    """Return the megabytes of the smallest GPU that nvidia-smi lists, None without one."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return min(map(float, listed.split()), default=None)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def chunk(device: str, threads: int, datasets: Mapping[str, Mapping[str, Any]], most: int) -> int:
    """Return how many images of the largest data set fit: a power of two up to 256, or ``most`` where that is less.

    On a CPU as many jobs of ``threads`` threads share the memory as there are cores. On a GPU one job has it. In powers of two,
    machines of about the same size choose the same. Raises ``ConfigError`` where the size of a data set's images is not known.
    """
    sides = plugins.literals("data", "SIDE")
    sized = {name: {"size": sides.get(dataset["source"]), **dataset} for name, dataset in datasets.items()}
    for name, dataset in sized.items():
        if dataset["size"] is None:
            raise ConfigError(
                f"chunk: auto needs the size of the images, and datasets.{name} names none; give chunk a number, or the "
                "data set a size where its source has one."
            )
    gpu = of_gpu() if device != "cpu" else None
    if gpu is not None:
        room = gpu * _SHARE - CUDA
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        room = of_machine() * _SHARE / max(1, cores // threads) - BASE
    images = int(room / (CHUNK_IMAGE * max(times(dataset, 64) for dataset in sized.values())))
    return min(_LARGEST, most, 1 << (images.bit_length() - 1)) if images >= 1 else 1
