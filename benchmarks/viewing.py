"""How much the judges say the same of a picture under the same angle at half the pixels: each pixel repeated 8 times and 60 of
them to a degree, against 4 times and 30.

    python benchmarks/viewing.py DATA [--images 24]

DATA is a data artefact (results/data/cifar10.safetensors). Its last test images are disturbed by noise of five kinds. For each
judge: the means under both conditions, the mean rank correlation among the images of one kind, and processor seconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import avg_pool2d

from infoadv import data, metrics

JUDGES = {"jod": True, "flip": True, "fsim": False, "mdsi": False, "dss": False}


def disturbed(images: Tensor) -> list[Tensor]:
    """Return ``images`` (N, C, H, W) under noise that is weak, strong, smooth, on bright pixels alone, and sparse."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    kinds = [
        0.03 * noise,
        0.06 * noise,
        0.1 * avg_pool2d(noise, 3, 1, 1),
        0.05 * noise * (images > 0.1),
        0.3 * (noise.abs() > 2.5) * noise.sign(),
    ]
    return [((images + kind).clamp(0, 1) * 255).round() / 255 for kind in kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset, _ = data.load(arguments.data)
    clean = torch.from_numpy(dataset.x_test[-arguments.images :]).float() / 255
    kinds = disturbed(clean)
    print("| judge | mean, 8 times | mean, 4 times | rank correlation | seconds, 8 times | 4 times |")
    print("|---|---|---|---|---|---|")
    for name, angular in JUDGES.items():
        judge = getattr(metrics, name)
        found, seconds = [], []
        for enlarge in (8, 4):
            options = {"enlarge": enlarge, **({"pixels_per_degree": 7.5 * enlarge} if angular else {})}
            begun = time.process_time()
            found.append([judge(clean, kind, **options).numpy() for kind in kinds])
            seconds.append(time.process_time() - begun)
        ranks = np.mean([spearmanr(*pair).statistic for pair in zip(*found, strict=True)])
        before, after = (np.mean(values) for values in found)
        print(
            f"| {name} | {before:.4f} | {after:.4f} | {ranks:.4f} | {seconds[0]:.1f} | {seconds[1]:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
