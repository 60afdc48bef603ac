"""Seconds that the information profiles of 100 inputs take on FitNet-4, by estimator, beside a bare forward pass."""

from __future__ import annotations

import torch
from common import random_images, random_target, seconds, set_up

from infoadv.flow.profiles import profile

INPUTS = 100


def main() -> None:
    """Time all three profiles of all 17 layers, twice each; the second is printed."""
    print(set_up())
    model, images = random_target("fitnet4", {}, (3, 32, 32)), random_images(INPUTS, (3, 32, 32))

    def forward() -> None:
        with torch.no_grad():
            model(images)

    print(f"{INPUTS} inputs, 17 layers, 24 shifts")
    forward()
    print(f"forward pass         {seconds(forward):6.2f} s")
    for names in (["copula"], ["quantile"], ["copula", "quantile"]):

        def measure(names: list[str] = names) -> None:
            profile(model, images, estimators=names)

        measure()
        print(f"{' and '.join(names):19}  {seconds(measure):6.2f} s")


if __name__ == "__main__":
    main()
