"""This checkout against another one, such as a worktree of an older commit: CPU seconds of whole processes, in turns.

    git worktree add ../old e7722b8
    python benchmarks/against.py ../old

A process begins anew each time, so that what it imports counts; the time of an empty one is shown as well. The median of the
repeats is printed, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN = "import torch; torch.set_num_threads(1); torch.manual_seed(0)\n"
#: What is timed, as a program.
WORK = {
    "start of a job": "",
    "MINE of 64 images, 28 x 28": (
        "from infoadv.information.mine import measure\n"
        "images = torch.rand(64, 1, 28, 28)\n"
        "measure(images, (images + 0.05 * torch.randn_like(images)).clamp(0, 1))\n"
    ),
    "PGD accuracy, 250 images, FitNet-4": (
        "from common import random_images, random_target\n"
        "from infoadv.training.evaluation import pgd_accuracy\n"
        "model, images = random_target('fitnet4', {}, (3, 32, 32)), random_images(250, (3, 32, 32))\n"
        "pixels = (images * 255).round().byte().numpy()\n"
        "labels = model(torch.from_numpy(pixels).float() / 255).argmax(1).numpy()\n"
        "pgd_accuracy(model, pixels, labels, torch.device('cpu'), 8 / 255, 0)\n"
    ),
    "attack mine, 32 gray images": (
        "from common import random_images, random_target\n"
        "from infoadv.attacks.mine_attacks import mine\n"
        "model, images = random_target('small_cnn', {'width': 16}, (1, 32, 32)), random_images(32, (1, 32, 32))\n"
        "mine(model, images, model(images).argmax(1), search_steps=2)\n"
    ),
    "100 passes, 64 gray images": (
        "from common import random_images, random_target\n"
        "model, images = random_target('small_cnn', {'width': 16}, (1, 32, 32)), random_images(64, (1, 32, 32))\n"
        "for _ in range(100):\n"
        "    points = images.clone().requires_grad_(True)\n"
        "    torch.autograd.grad(model(points).logsumexp(1).sum(), points)\n"
    ),
    "profiles of 25 inputs, FitNet-4": (
        "from common import random_images, random_target\n"
        "from infoadv.flow.profiles import profile\n"
        "model = random_target('fitnet4', {}, (3, 32, 32))\n"
        "profile(model, random_images(25, (3, 32, 32)), estimators=['copula', 'quantile'])\n"
    ),
}


def seconds(checkout: Path, program: str) -> float:
    """Return the CPU seconds of a process that runs ``program`` with the package of a checkout."""
    path = os.pathsep.join([str(checkout / "src"), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", BEGIN + program], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--repeats", type=int, default=3, help="times each is run (default 3)")
    arguments = parser.parse_args()
    if not (arguments.other / "src" / "infoadv").is_dir():
        parser.error(f"{arguments.other}: no checkout of infoadv.")
    print(f"{'':36s}{'other':>8s}{'this':>8s}{'ratio':>8s}")
    for name, program in WORK.items():
        pairs = [(seconds(arguments.other, program), seconds(HERE.parent, program)) for _ in range(arguments.repeats)]
        other, this = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{name:36s}{other:8.2f}{this:8.2f}{other / this:8.2f}", flush=True)


if __name__ == "__main__":
    main()
