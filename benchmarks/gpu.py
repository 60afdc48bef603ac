"""CPU against GPU, the stacked attack against one image at a time, masking against rivals and the bare passes, and CUDA graphs,
compilation and bfloat16 against neither.

The stacked attacks run on MNIST-sized images and Carlini and Wagner's network, all else on the residual network and CIFAR-sized
ones, with the settings of a job (infoadv.execution.device): deterministic, no TF32. Without a GPU only the second and the third
comparison are made.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import random_images, random_target, ratio, set_up
from torch import Tensor, nn

from infoadv import data, training
from infoadv.attacks import margin
from infoadv.execution import device
from infoadv.registry import plugins
from infoadv.training import loop

#: Few steps: all steps of an attack cost the same.
ATTACKS = {
    "masking": ("masking", {"steps": 10}),
    "MINE": ("mine", {"search": "primal_dual", "steps": 10}),
    "C&W-L2": ("cw_l2", {"steps": 10, "binary_search_steps": 1}),
    "DDN": ("ddn", {"steps": 10}),
    "JSMA": ("jsma", {"gamma": 0.02}),
}
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
STEP_BATCHES = (1, 25, 100, 400)
#: The attacks that are compared on the residual network of this width, with the steps of the reference.
WIDTH = 64
RIVALS = {
    "masking": ("masking", {"steps": 90}),
    "DDN": ("ddn", {"steps": 100}),
    "C&W-L2": ("cw_l2", {"steps": 100, "binary_search_steps": 5}),
}
CHUNK = 250
TRAINING_IMAGES = 1024


def attack(name: str, where: str, count: int) -> Callable[[int], None]:
    """Return a function that attacks the first images, as many as it is told, of ``count`` on the device ``where``."""
    method, options = ATTACKS[name]
    run = plugins.load("attacks", method)
    model = random_target("carlini_wagner", {"variant": "mnist"}, MNIST).to(where)
    images = random_images(count, MNIST).to(where)
    labels = model(images).argmax(1)

    def first(number: int, start: int = 0) -> None:
        part = slice(start, start + number)
        run(model, images[part], labels[part], indices=torch.arange(count)[part], seed=0, **options)

    return first


def epoch(where: str, folder: Path) -> Callable[[], None]:
    """Return a function that trains the residual network for one epoch of random images on the device ``where``."""
    images = (random_images(TRAINING_IMAGES, CIFAR) * 255).round().to(torch.uint8).contiguous().numpy()
    labels = np.arange(TRAINING_IMAGES, dtype=np.int64) % 10
    dataset = data.Dataset(images, labels, images[:10], labels[:10], tuple("0123456789"))
    options = {name: option["default"] for name, option in training.COMMON.items()}
    options |= {"recipe": "standard", "epochs": 1, "augment": ["flip", "crop"]}

    def run() -> None:
        model = random_target("resnet", {"width": 32}, CIFAR).requires_grad_(True).to(where)
        # That of the last repeat would be taken up, and nothing be left to train.
        checkpoint = folder / f"{where}.safetensors"
        checkpoint.unlink(missing_ok=True)
        loop.train(model, dataset, options, 0, torch.device(where), checkpoint, "", None)

    return run


def step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Return a function that takes what most attacks spend their time on: a forward and a backward pass to the images."""

    def run() -> Tensor:
        seen = images.detach().requires_grad_(True)
        return torch.autograd.grad(margin(model(seen), labels).sum(), seen)[0]

    return run


def captured(run: Callable[[], Tensor]) -> Callable[[], None]:
    """Return ``run`` as a CUDA graph: the same kernels, launched together."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def compare_stacked(where: str, images: int, singles: int, repeats: int) -> None:
    """Print the ratio of one image at a time, ``singles`` of them scaled to ``images``, and all together."""
    print(f"\n{images} images one at a time against stacked, on {where}")
    for name in ATTACKS:
        run = attack(name, where, images)

        def one_at_a_time(run: Callable[..., None] = run) -> None:
            for number in range(singles):
                run(1, number)

        times, alone, together = ratio(one_at_a_time, partial(run, images), repeats)
        scale = images / singles
        print(f"{name:16}{alone * scale:10.3f} s{together:10.3f} s  ratio {times * scale:8.1f}", flush=True)


def compare_devices(images: int, repeats: int) -> None:
    """Print the ratio of CPU and GPU for the stacked attacks and for one epoch of training."""
    print(f"\nCPU against GPU, attacks on {images} images, an epoch of {TRAINING_IMAGES}")
    with tempfile.TemporaryDirectory() as folder:
        pairs = {name: [partial(attack(name, where, images), images) for where in ("cpu", "cuda")] for name in ATTACKS}
        pairs["training epoch"] = [epoch(where, Path(folder)) for where in ("cpu", "cuda")]
        for name, (cpu, gpu) in pairs.items():
            times, slow, fast = ratio(cpu, gpu, repeats)
            print(f"{name:16}{slow:10.3f} s{fast:10.3f} s  ratio {times:8.1f}", flush=True)


def compare_rivals(where: str, count: int, repeats: int) -> None:
    """Print seconds of masking on ``count`` images, and its ratio to foolbox's attacks and to the bare passes of its steps."""
    print(f"\n{count} images, residual network of width {WIDTH}, {CHUNK} at once, on {where}")
    model = random_target("resnet", {"width": WIDTH}, CIFAR).to(where)
    parts = [images.to(where) for images in random_images(count, CIFAR).split(CHUNK)]
    labels = [model(images).argmax(1) for images in parts]

    def attacked(name: str) -> None:
        method, options = RIVALS[name]
        run = plugins.load("attacks", method)
        for images, truth in zip(parts, labels, strict=True):
            run(model, images, truth, indices=torch.arange(len(images)), seed=0, **options)

    def bare() -> None:
        for images, truth in zip(parts, labels, strict=True):
            run = step(model, images, truth)
            for _ in range(RIVALS["masking"][1]["steps"]):
                run()

    ours = partial(attacked, "masking")
    for name, other in {
        "bare passes": bare,
        "DDN": partial(attacked, "DDN"),
        "C&W-L2": partial(attacked, "C&W-L2"),
    }.items():
        times, mine, theirs = ratio(ours, other, repeats)
        print(f"masking {mine:10.3f} s, {name:12}{theirs:10.3f} s  ratio {times:6.2f}", flush=True)


def compare_precision(where: str, batch: int, repeats: int) -> None:
    """Print the ratio of one step in float32 and in bfloat16, and the share of signs of the gradient that both agree on."""
    print("\none step of an attack in float32 against bfloat16 (autocast)")
    model = random_target("resnet", {"width": WIDTH}, CIFAR).to(where)
    images = random_images(batch, CIFAR).to(where)
    plain = step(model, images, model(images).argmax(1))

    def half() -> Tensor:
        with torch.autocast(where, dtype=torch.bfloat16):
            return plain()

    times, before, after = ratio(plain, half, repeats)
    alike = float((plain().sign() == half().sign()).float().mean())
    print(
        f"batch {batch:4} {1000 * before:9.2f} ms{1000 * after:9.2f} ms  ratio {times:6.2f}  signs alike {alike:.3f}",
        flush=True,
    )


def compare_graphs(where: str, batches: tuple[int, ...], repeats: int) -> None:
    """Print the ratio of one step as it is and as a CUDA graph, and as it is and with a compiled network."""
    print("\none step of an attack as it is against a CUDA graph, and against a compiled network")
    model = random_target("resnet", {"width": 32}, CIFAR).to(where)
    for batch in batches:
        images = random_images(batch, CIFAR).to(where)
        labels = model(images).argmax(1)
        plain = step(model, images, labels)
        others = {
            "graph": lambda plain=plain: captured(plain),
            "compiled": lambda images=images, labels=labels: step(torch.compile(model), images, labels),
        }
        for name, make in others.items():
            try:
                times, before, after = ratio(plain, make(), repeats)
            except Exception as error:
                # A compiler may be missing; the other numbers stand.
                print(f"batch {batch:4} {name:10} not possible here: {str(error).strip().splitlines()[0]}")
                continue
            print(
                f"batch {batch:4} {name:10}{1000 * before:9.2f} ms{1000 * after:9.2f} ms  ratio {times:6.2f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="images of the stacked attacks (default 100)")
    parser.add_argument("--singles", type=int, default=4, help="images attacked one at a time, then scaled (default 4)")
    parser.add_argument(
        "--rivals", type=int, default=None, help="images of masking against rivals (default 1000, without a GPU 8)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="times everything is run (default 3)")
    arguments = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    device.prepare_environment(threads)
    device.configure(threads)
    print(set_up())
    if not torch.cuda.is_available():
        compare_stacked("cpu", arguments.images, arguments.singles, arguments.repeats)
        compare_rivals("cpu", arguments.rivals or 8, arguments.repeats)
        print("\nno GPU is here: CPU against GPU, bfloat16, CUDA graphs and compilation are not measured")
        return
    print(f"GPU: {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    compare_devices(arguments.images, arguments.repeats)
    for where in ("cpu", "cuda"):
        compare_stacked(where, arguments.images, arguments.singles, arguments.repeats)
    compare_rivals("cuda", arguments.rivals or 1000, arguments.repeats)
    compare_precision("cuda", CHUNK, arguments.repeats)
    compare_graphs("cuda", STEP_BATCHES, arguments.repeats)


if __name__ == "__main__":
    main()
