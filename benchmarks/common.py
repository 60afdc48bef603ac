"""What the benchmarks share: images, models, and timing in turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from infoadv import data, models
from infoadv.numerics.pixels import to_images
from infoadv.stages.attack import select


def set_up() -> str:
    """Fix the number of threads (OMP_NUM_THREADS, 2 if unset); return a line that names device and versions."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    torch.set_num_threads(threads)
    return f"torch {torch.__version__.split('+')[0]}, CPU, {threads} threads"


def trained_target(
    data_path: str, model_path: str, count: int
) -> tuple[data.Dataset, nn.Module, Tensor, Tensor, Tensor]:
    """Return data set and network of two artefacts, with images that it gets right, their labels and their places."""
    dataset, _ = data.load(data_path)
    model, _ = models.load(model_path)
    indices = select(model, dataset, count, 0, torch.device("cpu"), model_path)
    labels = torch.from_numpy(dataset.y_test[indices])
    return dataset, model, to_images(dataset.x_test[indices], "cpu"), labels, torch.from_numpy(indices)


def random_target(architecture: str, options: dict, shape: tuple[int, int, int]) -> nn.Module:
    """Return an untrained target network in eval mode: its speed is that of a trained one."""
    torch.manual_seed(0)
    model = models.build(architecture, options, shape, 10, [0.5] * shape[0], [0.25] * shape[0])
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def random_images(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Return 8-bit images (count, C, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), generator=generator) / 255
    return images.contiguous(memory_format=torch.channels_last)


def seconds(function: Callable[[], object]) -> float:
    """Return the wall time of one call, until a GPU has done what it was given."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratio(slow: Callable[[], object], fast: Callable[[], object], repeats: int = 5) -> tuple[float, float, float]:
    """Time both in turns after a warm-up; return the median ratio slow / fast and both median times."""
    slow(), fast()
    pairs = [(seconds(slow), seconds(fast)) for _ in range(repeats)]
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )
