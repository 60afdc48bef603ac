"""The stacked MINE attack against the same attack one image at a time: 100 images, two recipes.

The default recipe draws its pairs from their exact distribution; the follow-up's forms 500 projections to 128 rows,
redrawn at each step, one draw for all images of the batch. One image at a time, every step is the same code on a batch of
one. Few steps are timed and the per-step cost compared: all steps cost the same.
"""

from __future__ import annotations

import argparse

import torch
from common import random_images, random_target, ratio, set_up

from infoadv.attacks.mine_attacks import mine, uae_projection

RECIPES = {
    "default": (mine, {"search": "primal_dual"}),
    "follow-up (500 x 128)": (uae_projection, {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="images of the stacked attack (default 100)")
    parser.add_argument("--steps", type=int, default=4, help="steps of each attack that is timed (default 4)")
    parser.add_argument("--singles", type=int, default=8, help="images attacked one at a time, then scaled (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="times both are run (default 3)")
    arguments = parser.parse_args()
    print(set_up())
    shape = (1, 28, 28)
    model = random_target("carlini_wagner", {"variant": "mnist"}, shape)
    images = random_images(arguments.images, shape)
    labels = model(images).argmax(1)
    indices = torch.arange(arguments.images)

    print(f"{arguments.images} MNIST-sized images, Carlini and Wagner's network, seconds a step for all images")
    print(f"{'recipe':24s}{'one at a time':>16s}{'stacked':>12s}{'ratio':>10s}")
    for name, (function, options) in RECIPES.items():

        def attack(first: int, last: int, function=function, options=options) -> None:
            part = slice(first, last)
            function(
                model,
                images[part],
                labels[part],
                indices=indices[part],
                seed=0,
                **{**options, "steps": arguments.steps},
            )

        def one_at_a_time(attack=attack) -> None:
            for number in range(arguments.singles):
                attack(number, number + 1)

        def stacked(attack=attack) -> None:
            attack(0, arguments.images)

        times, alone, together = ratio(one_at_a_time, stacked, arguments.repeats)
        scale = arguments.images / arguments.singles
        print(
            f"{name:24s}{alone * scale / arguments.steps:16.3f}{together / arguments.steps:12.3f}{times * scale:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
