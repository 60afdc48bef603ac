"""A step of ``masking`` (decoupled) or ``observer`` against the model's bare passes: 100 images, residual network."""

from __future__ import annotations

import argparse

import torch
from common import random_images, random_target, ratio, set_up

from infoadv.attacks import margin
from infoadv.registry import plugins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", choices=["masking", "observer"], default="masking", help="(default masking)")
    parser.add_argument("--images", type=int, default=100, help="batch (default 100)")
    parser.add_argument("--steps", type=int, default=6, help="steps timed together (default 6)")
    parser.add_argument("--repeats", type=int, default=5, help="times both are run (default 5)")
    arguments = parser.parse_args()
    print(set_up())
    shape = (3, 32, 32)
    model = random_target("resnet", {"width": 32}, shape)
    images = random_images(arguments.images, shape)
    labels = model(images).argmax(1)

    method = plugins.load("attacks", arguments.attack)

    def attack() -> None:
        method(
            model,
            images,
            labels,
            indices=torch.arange(len(images)),
            seed=0,
            steps=arguments.steps,
        )

    def bare() -> None:
        for _ in range(arguments.steps):
            seen = images.clone().requires_grad_(True)
            torch.autograd.grad(margin(model(seen), labels).sum(), seen)

    times, step, passes = ratio(attack, bare, arguments.repeats)
    print(
        f"{arguments.attack} step {step / arguments.steps:.3f} s, forward and backward {passes / arguments.steps:.3f} s"
    )
    print(f"ratio {times:.2f}")


if __name__ == "__main__":
    main()
