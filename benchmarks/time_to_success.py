"""Seconds to an adversarial 8-bit image of every image: ``masking`` against foolbox's C&W-L2 and adv-lib's ALMA-SSIM.

Same network, same images, settings that each was tuned to, in turns. An attack's time is that of its whole run, since none
of them stops at the first success; the table says for how many images it succeeded after rounding. C&W and ALMA-SSIM
that miss an image have not reached 100 % in the time that is given for them, so their ratio is a lower bound.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from common import set_up, trained_target

from infoadv.attacks import CountingModel, margin
from infoadv.attacks.harness import round_to_8_bits
from infoadv.registry import plugins

SETTINGS = {
    "masking": ("masking", {}),
    "C&W-L2": ("cw_l2", {"steps": 100, "binary_search_steps": 5, "step_size": 0.03}),
    "ALMA-SSIM": ("alma_ssim", {"steps": 300}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/cifar10.safetensors", help="data artefact")
    parser.add_argument("--model", default="results/models/cifar10/robust.safetensors", help="model artefact")
    parser.add_argument("--images", type=int, default=32, help="images, all in one batch (default 32)")
    parser.add_argument("--repeats", type=int, default=3, help="times each attack is run, in turns (default 3)")
    arguments = parser.parse_args()
    print(set_up())
    _, model, images, labels, indices = trained_target(arguments.data, arguments.model, arguments.images)
    wall: dict[str, list[float]] = {name: [] for name in SETTINGS}
    processor: dict[str, list[float]] = {name: [] for name in SETTINGS}
    seen: dict[str, tuple[float, int, int]] = {}
    for _ in range(arguments.repeats):
        for name, (method, options) in SETTINGS.items():
            counted = CountingModel(model, len(images))
            begin = time.perf_counter(), time.process_time()
            result = plugins.load("attacks", method)(counted, images, labels, indices=indices, seed=0, **options)
            wall[name].append(time.perf_counter() - begin[0])
            processor[name].append(time.process_time() - begin[1])
            with torch.no_grad():
                _, success, _ = round_to_8_bits(
                    images, result.adversarial, lambda some: margin(model(some), labels) > 0
                )
            passes = int(counted.forwards.max()), int(counted.backwards.max())
            seen[name] = (float(success.float().mean()), *passes)
    print(f"{arguments.images} images, network {arguments.model}, one batch")
    print(
        f"{'attack':12s}{'success':>9s}{'forward':>9s}{'backward':>9s}{'seconds':>9s}{'ratio':>7s}{'CPU s':>8s}{'ratio':>7s}"
    )
    for name, (rate, forwards, backwards) in seen.items():
        times = [
            statistics.median(a / b for a, b in zip(x[name], x["masking"], strict=True)) for x in (wall, processor)
        ]
        middle = [statistics.median(x[name]) for x in (wall, processor)]
        print(
            f"{name:12s}{rate:9.1%}{forwards:9d}{backwards:9d}{middle[0]:9.1f}{times[0]:7.2f}{middle[1]:8.1f}{times[1]:7.2f}"
        )


if __name__ == "__main__":
    main()
