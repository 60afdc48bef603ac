"""How `observer` was tuned, and what options of the search gain: attacks on tuning images alone.

The images are correctly classified ones from place 5,000 of the seeded order on (docs/judges.md), and the networks are to be of
training seed 2. Printed for each attack are the success, the means of metrics after rounding to 8 bits, and beside each metric
the sign of the median difference from the first row with p of Wilcoxon's signed-rank test, uncorrected. The first row is the
closed form (plain L2) under the search as it was, unless another is named.
"""

from __future__ import annotations

import argparse
from inspect import signature
from typing import Any

import numpy as np
import torch
from common import set_up
from scipy.stats import wilcoxon

import infoadv
from infoadv import data, models
from infoadv.attacks.information import masking
from infoadv.numerics.pixels import to_images

#: First place of the tuning images in the seeded order of a test part. Later ones are fresh to what was chosen on these.
FIRST = 5000
#: Metrics, and the sign that makes more of them better. The last are judges.
METRICS = {
    "l2": -1, "perturbation_information": -1, "ssim": 1, "haarpsi": 1, "gmsd": -1, "ciede2000": -1,
    "jod": 1, "flip": -1, "mdsi": -1, "fsim": 1, "dss": 1,
}  # fmt: skip

#: The search as it was when these were tried first; a row that says otherwise has what it says.
EARLIER = {"first_step": 1.0, "norm_change": 0.1, "temperature": 1.0}
#: The search as it is.
NOW = {name: signature(masking).parameters[name].default for name in EARLIER}
#: What is tried: method and options.
TRIED: dict[str, tuple[str, dict[str, Any]]] = {
    "closed form": ("projection", {}),
    "masking": ("masking", {}),
    "masking, s_n 0.2": ("masking", {"noise": 0.2}),
    "inverse deviation": ("weighted_l2", {}),
    "observer": ("observer", {}),
    "observer, sensitivity 0": ("observer", {"sensitivity": 0.0}),
    "observer, sensitivity 0.35": ("observer", {"sensitivity": 0.35}),
    "observer, sensitivity 0.5": ("observer", {"sensitivity": 0.5}),
    "observer, chrominance 0.1": ("observer", {"chrominance_noise": 0.1}),
    "observer, chrominance 0.3": ("observer", {"chrominance_noise": 0.3}),
    "observer, luminance 0.15": ("observer", {"luminance_noise": 0.15}),
    "masking, 2 classes": ("masking", {"classes": 2}),
    "masking, 4 classes": ("masking", {"classes": 4}),
    "observer, 4 classes": ("observer", {"classes": 4}),
    "masking, first step 0.5": ("masking", {"first_step": 0.5}),
    "masking, first step 0.3": ("masking", {"first_step": 0.3}),
    "closed form, norm change 0.4": ("projection", {"norm_change": 0.4}),
    "closed form, temperature 0.03": ("projection", {"temperature": 0.03}),
    "masking, norm change 0.4": ("masking", {"norm_change": 0.4}),
    "masking, temperature 0.03": ("masking", {"temperature": 0.03}),
    "masking, norm change 0.4, temperature 0.03": ("masking", {"norm_change": 0.4, "temperature": 0.03}),
    "masking, first step 0.5, both": ("masking", NOW),
    "masking, first step 0.5, both, 50 steps": ("masking", NOW | {"steps": 50}),
    "closed form, first step 0.5, both": ("projection", NOW),
    "closed form, first step 0.5, both, 50 steps": ("projection", NOW | {"steps": 50}),
    "masking, momentum and norm change": ("masking", {"first_step": 0.8, "norm_change": 0.3, "momentum": 0.6}),
    "masking, momentum and norm change, 60 steps": (
        "masking",
        {"first_step": 0.8, "norm_change": 0.3, "momentum": 0.6, "steps": 60},
    ),
    "observer, momentum and norm change": (
        "observer",
        {"sensitivity": 0.0, "first_step": 0.8, "norm_change": 0.3, "momentum": 0.6},
    ),
}

#: Of the column of names.
WIDTH = 1 + max(map(len, TRIED))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="data artefact")
    parser.add_argument("--model", required=True, help="model artefact to attack, of training seed 2")
    parser.add_argument("--images", type=int, default=48, help="images (default 48)")
    parser.add_argument("--against", default="closed form", choices=TRIED, help="the first row (default: closed form)")
    parser.add_argument("--only", default="", help="attacks whose name holds this, beside the first row")
    parser.add_argument("--without", nargs="*", default=[], help="metrics to leave out: FSIM takes half of the time")
    parser.add_argument("--first", type=int, default=FIRST, help=f"place of the first image (default {FIRST})")
    arguments = parser.parse_args()
    if arguments.first < FIRST:
        parser.error(f"--first: tuning takes no image before place {FIRST}.")
    print(set_up())
    dataset, _ = data.load(arguments.data)
    model = models.load(arguments.model)[0].eval()
    order = np.random.default_rng(0).permutation(len(dataset.x_test))[arguments.first :][: 4 * arguments.images]
    with torch.no_grad():
        right = model(to_images(dataset.x_test[order])).argmax(1).numpy() == dataset.y_test[order]
    chosen = order[right][: arguments.images]
    images, labels = to_images(dataset.x_test[chosen]), torch.from_numpy(dataset.y_test[chosen])
    gray = images.shape[1] == 1
    asked = [name for name in METRICS if name not in arguments.without and not (gray and name == "ciede2000")]
    print(f"{len(chosen)} images, {arguments.model}")
    print(f"{'':{WIDTH}s}{'success':>8s}" + "".join(f"{name[:10]:>18s}" for name in asked))
    plain = None
    others = [name for name in TRIED if name != arguments.against and arguments.only in name]
    for name in [arguments.against, *others]:
        method, options = TRIED[name]
        result = infoadv.attack(model, images, labels, method, **EARLIER | options)
        values = infoadv.measure(images, result.images, asked)
        plain = values if plain is None else plain
        line = f"{name:{WIDTH}s}{result.success.float().mean():8.1%}"
        for metric in asked:
            line += f"{values[metric].mean():10.4f}"
            difference = METRICS[metric] * (values[metric] - plain[metric]).to_numpy()
            tested = (
                f" {'-+'[int(np.median(difference) > 0)]}{wilcoxon(difference).pvalue:6.0e}" if difference.any() else ""
            )
            line += f"{tested:8s}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
