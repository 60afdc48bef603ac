"""How nearly `masking` optimises SSIM: perturbation information against -ln SSIM, of perturbations of one L2 norm.

-ln of SSIM's contrast and structure term is ln(1 + s_d^2 / (2 s_x^2 + C2)) in a window whose image and perturbation are
uncorrelated: masking's integrand with the noise s_n = sqrt(C2 / 2) = 0.021. So one reading is that the two are one
quantity. Both are then summed over windows, SSIM before its logarithm and masking after, SSIM has a term of luminance,
and an adversarial perturbation may be correlated with its image.

Rank correlations (Spearman), perturbations clipped to [0, 1] and brought to one L2 norm:

- per window: over the windows of an image, of the two integrands, white noise;
- per image: over perturbations of one image, which is what an attack chooses from, by kind:
  white noise; placed (white noise times a power of the local deviation, -2 to 2); smooth (white noise behind a Gaussian
  filter); patches (what another image of the data set holds); all of them together;
- over images: one perturbation each, which is what a mean over images sees.

The images are places 5,000 and above of the seeded order. Printed is the mean over images with the middle nine tenths.

    OMP_NUM_THREADS=1 python benchmarks/ssim_and_masking.py --data DATA_ROOT
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import set_up
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor

from infoadv.data.cifar10 import cifar10
from infoadv.data.mnist import mnist
from infoadv.information.masking import gaussian_window, local_mean, local_variance, perturbation_information
from infoadv.metrics import MetricContext
from infoadv.metrics.perceptual import ssim

#: The L2 norms are those of attacks on the robust networks.
NORMS = {"mnist": 2.0, "cifar10": 0.9}
#: What keeps SSIM's contrast and structure term finite (Wang et al. 2004).
C2 = 0.03**2
#: Noise floors of the perturbation information: SSIM's own, that of the metric, that of the attack.
FLOORS = {"SSIM's": (C2 / 2) ** 0.5, "metric's": 0.05, "attack's": 0.1}


def to_norm(clean: Tensor, delta: Tensor, norm: float) -> Tensor:
    """Return clean + t delta, clipped, with t such that its distance (N,) is ``norm``, by bisection; NaN where none is."""
    low, high = torch.zeros(len(delta)), torch.full((len(delta),), 1e4)
    delta = delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    for _ in range(60):
        middle = (low + high) / 2
        reached = ((clean + middle.view(-1, 1, 1, 1) * delta).clamp(0, 1) - clean).flatten(1).norm(dim=1)
        low, high = torch.where(reached < norm, middle, low), torch.where(reached < norm, high, middle)
    result = (clean + high.view(-1, 1, 1, 1) * delta).clamp(0, 1)
    found = (result - clean).flatten(1).norm(dim=1)
    result[(found - norm).abs() > 1e-3 * norm] = torch.nan
    return result


def kinds(clean: Tensor, others: Tensor, count: int, generator: np.random.Generator) -> dict[str, Tensor]:
    """Return ``count`` directions (count, C, H, W) of each kind for one image (1, C, H, W)."""

    def white() -> np.ndarray:
        return generator.standard_normal((count, *clean.shape[1:]))

    deviation = (local_variance(clean, gaussian_window(dtype=clean.dtype)) + 0.05**2).sqrt().numpy()
    powers = generator.uniform(-2, 2, (count, 1, 1, 1))
    widths = generator.uniform(0, 2.5, count)
    smooth = [gaussian_filter(noise, (0, width, width)) for noise, width in zip(white(), widths, strict=True)]
    chosen = others[torch.from_numpy(generator.choice(len(others), count, replace=False))]
    return {
        "white": torch.from_numpy(white()).float(),
        "placed": torch.from_numpy(white() * deviation**powers).float(),
        "smooth": torch.from_numpy(np.array(smooth)).float(),
        "patches": chosen - chosen.mean((2, 3), keepdim=True),
    }


def loss(clean: Tensor, changed: Tensor) -> Tensor:
    """Return -ln SSIM (N,)."""
    context = MetricContext(clean.device, 0, torch.arange(len(clean)))
    return -ssim(clean.double(), changed.double(), context=context).log()


def windows(clean: Tensor, changed: Tensor, floor: float) -> float:
    """Return the rank correlation over windows of -ln of SSIM's second term and masking's integrand."""
    window = gaussian_window(11, dtype=clean.dtype)
    delta = changed - clean

    def of(maps: Tensor) -> Tensor:
        return local_mean(maps, window)

    covariance = of(clean * changed) - of(clean) * of(changed)
    own, theirs = local_variance(clean, window), local_variance(changed, window)
    term = (2 * covariance + C2) / (own + theirs + C2)
    integrand = torch.log1p(of(delta.square()) / (own + floor**2))
    kept = term.flatten() > 0
    return float(spearmanr(-term.flatten()[kept].log(), integrand.flatten()[kept]).statistic)


def summary(values: list[float]) -> str:
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root with MNIST and CIFAR-10")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--count", type=int, default=60, help="perturbations of each kind")
    arguments = parser.parse_args()
    print(set_up())
    for name, source in (("mnist", mnist), ("cifar10", cifar10)):
        dataset = source(arguments.data)
        order = np.random.default_rng(0).permutation(len(dataset.x_test))[5000:]
        images = torch.from_numpy(dataset.x_test[order].astype(np.float32) / 255)
        others = images[1000:3000]
        generator = np.random.default_rng(0)
        for label, floor in FLOORS.items():
            generator = np.random.default_rng(0)
            by_kind: dict[str, list[float]] = {}
            one_each: list[tuple[float, float]] = []
            by_window: list[float] = []
            for clean in images[: arguments.images].split(1):
                found = {}
                for kind, delta in kinds(clean, others, arguments.count, generator).items():
                    changed = to_norm(clean, delta, NORMS[name])
                    changed = changed[~changed.isnan().flatten(1).any(1)]
                    same = clean.expand_as(changed)
                    information = perturbation_information(same.double(), changed.double(), floor)
                    found[kind] = torch.stack([information, loss(same, changed)])
                    if kind == "white":
                        by_window.append(windows(clean.double(), changed[:1].double(), floor))
                        one_each.append(tuple(found[kind][:, 0].tolist()))
                found["all"] = torch.cat(list(found.values()), dim=1)
                for kind, pairs in found.items():
                    by_kind.setdefault(kind, []).append(float(spearmanr(*pairs.numpy()).statistic))
            print(f"\n{name}, L2 {NORMS[name]}, noise floor {label} {floor:.3f}, {arguments.images} images")
            print(f"  per window          {summary(by_window)}")
            for kind, values in by_kind.items():
                print(f"  per image, {kind:8s} {summary(values)}")
            print(f"  over images, white  {spearmanr(*np.array(one_each).T).statistic:.3f}", flush=True)


if __name__ == "__main__":
    main()
