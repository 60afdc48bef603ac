"""Cost per image of ``masking`` and of the stacked MINE attack as the batch grows: it must not rise."""

from __future__ import annotations

import argparse

import torch
from common import random_images, random_target, seconds, set_up

from infoadv.attacks.information import masking
from infoadv.attacks.mine_attacks import mine

ATTACKS = {"masking": (masking, {}), "mine": (mine, {"search": "primal_dual"})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 5, 25, 100, 200], help="batch sizes")
    parser.add_argument("--steps", type=int, default=8, help="steps timed together (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all sizes; the best is taken (default 3)")
    arguments = parser.parse_args()
    print(set_up())
    shape = (1, 28, 28)
    model = random_target("carlini_wagner", {"variant": "mnist"}, shape)
    images = random_images(max(arguments.batches), shape)
    labels = model(images).argmax(1)
    indices = torch.arange(len(images))

    print("milliseconds per image and step, and relative to the smallest batch")
    for name, (function, options) in ATTACKS.items():

        def attack(size: int, function=function, options=options) -> None:
            function(
                model, images[:size], labels[:size], indices=indices[:size], seed=0, steps=arguments.steps, **options
            )

        best = dict.fromkeys(arguments.batches, float("inf"))
        for round_number in range(arguments.repeats + 1):
            for size in arguments.batches:
                taken = seconds(lambda size=size: attack(size)) / size / arguments.steps
                if round_number:
                    best[size] = min(best[size], taken)
        first = best[arguments.batches[0]]
        for size, taken in best.items():
            print(f"{name:10s} batch {size:4d}  {1000 * taken:8.3f} ms  {taken / first:6.2f}", flush=True)


if __name__ == "__main__":
    main()
