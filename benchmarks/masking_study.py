"""How `masking` was tuned: forms of the weight, and rules of the search, on images apart from those that are reported.

The images are correctly classified ones from the end of the seeded order, where the reported ones are its beginning. Every
variant is one loop, the decoupled search of attacks/decoupled.py written for any positive definite form
delta^T W delta, so that variants differ in what their name says and in nothing else:

- weights of `masking` with a noise floor s_n and a power; plain L2; weights of earlier work;
- W = masking in RGB plus a share of the one on luminance and chrominance (a 3 x 3 matrix a pixel);
- masking in the sub-bands of a Haar wavelet (two levels, noise floor in each);
- shares by which the norm shrinks or grows, falling along the run or constant; momentum; fewer passes.

Printed are the means of metrics after rounding to 8 bits, and for each variant against plain L2 the sign of the median
difference and the p value of Wilcoxon's signed-rank test.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from common import set_up
from scipy.stats import wilcoxon
from torch import Tensor, nn

from infoadv import data, metrics, models
from infoadv.attacks import batch_view, margin
from infoadv.attacks.harness import round_to_8_bits
from infoadv.information import visibility_weights
from infoadv.information.masking import (
    OPPONENT,
    gaussian_window,
    local_mean,
    local_variance,
    masking_weights,
    to_opponent,
)
from infoadv.numerics.margins import smooth_margin
from infoadv.numerics.pixels import to_images

#: Metrics, and whether more of them is better.
JUDGES = {"ssim": True, "haarpsi": True, "gmsd": False, "lpips": False, "nmi": True, "ciede2000": False}


class Matrices:
    """W as a C x C matrix at each pixel (N, C, C, H, W), of mean diagonal 1."""

    def __init__(self, matrices: Tensor) -> None:
        mean = matrices.diagonal(dim1=1, dim2=2).mean((1, 2, 3))
        self.matrices = matrices / batch_view(mean, matrices)
        self.inverse = torch.linalg.inv(self.matrices.permute(0, 3, 4, 1, 2)).permute(0, 3, 4, 1, 2)

    def apply(self, delta: Tensor) -> Tensor:
        return torch.einsum("ncdhw,ndhw->nchw", self.matrices, delta)

    def solve(self, gradient: Tensor) -> Tensor:
        return torch.einsum("ncdhw,ndhw->nchw", self.inverse, gradient)


def diagonal(weights: Tensor) -> Matrices:
    return Matrices(torch.diag_embed(weights.permute(0, 2, 3, 1)).permute(0, 3, 4, 1, 2))


def mixed(clean: Tensor, share: float, floors: list[float]) -> Matrices:
    """Masking in RGB plus ``share`` of masking on luminance and chrominance with noise ``floors``."""
    maps = to_opponent(clean)
    window = gaussian_window(dtype=clean.dtype)
    noise = torch.tensor(floors).view(1, -1, 1, 1)
    # The window is even, so the local mean is its own adjoint but for the border.
    weights = local_mean(1 / (local_variance(maps, window) + noise**2), window)
    axes = OPPONENT.to(clean)
    opponent = Matrices(torch.einsum("oc,nohw,od->ncdhw", axes, weights, axes)).matrices
    return Matrices(diagonal(masking_weights(clean, 0.1)).matrices + share * opponent)


class Haar:
    """W diagonal in the sub-bands of a two-level Haar wavelet, each band masked by its own local energy."""

    LEVELS = 2

    def __init__(self, clean: Tensor, noise: float) -> None:
        window = gaussian_window(5, 1.0, clean.dtype)

        def weights(band: Tensor, centre: bool) -> Tensor:
            texture = band - local_mean(band, window) if centre else band
            return local_mean(1 / (local_mean(texture.square(), window) + noise**2), window)

        low, bands = self._split(clean)
        every = [weights(low, True), *(weights(band, False) for level in bands for band in level)]
        mean = sum(weight.sum((1, 2, 3)) for weight in every) / clean[0].numel()
        self.weights = [weight / batch_view(mean, weight) for weight in every]

    def _split(self, images: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        bands = []
        for _ in range(self.LEVELS):
            a, b, c, d = (images[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
            images = (a + b + c + d) / 2
            bands.append([(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2])
        return images, bands

    def _join(self, low: Tensor, bands: list[list[Tensor]]) -> Tensor:
        for across, down, both in reversed(bands):
            joined = low.new_empty(*low.shape[:2], 2 * low.shape[2], 2 * low.shape[3])
            joined[..., 0::2, 0::2] = (low + across + down + both) / 2
            joined[..., 0::2, 1::2] = (low - across + down - both) / 2
            joined[..., 1::2, 0::2] = (low + across - down - both) / 2
            joined[..., 1::2, 1::2] = (low - across - down + both) / 2
            low = joined
        return low

    def _scaled(self, images: Tensor, power: float) -> Tensor:
        low, bands = self._split(images)
        factors = iter([weight.pow(power) for weight in self.weights])
        return self._join(low * next(factors), [[band * next(factors) for band in level] for level in bands])

    def apply(self, delta: Tensor) -> Tensor:
        return self._scaled(delta, 1.0)

    def solve(self, gradient: Tensor) -> Tensor:
        return self._scaled(gradient, -1.0)


def search(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    form: Matrices | Haar,
    steps: int = 100,
    momentum: float = 0.0,
    shrink: tuple[float, float] = (0.1, 0.01),
) -> Tensor:
    """Return the successful iterate of smallest norm under ``form``, else the clean image."""

    def norm_of(delta: Tensor) -> Tensor:
        return (delta * form.apply(delta)).sum((1, 2, 3)).clamp_min(0).sqrt()

    best, smallest = clean.clone(), torch.full((len(clean),), torch.inf)
    delta, velocity, norm = torch.zeros_like(clean), torch.zeros_like(clean), torch.zeros(len(clean))
    for step in range(steps):
        moved = (clean + delta).clamp(0, 1)
        seen = ((moved * 255).round() / 255).requires_grad_(True)
        logits = model(seen)
        margins = margin(logits, labels).detach()
        (gradient,) = torch.autograd.grad(smooth_margin(logits, labels, None).sum(), seen)
        with torch.no_grad():
            success, size = margins > 0, norm_of(seen - clean)
            better = success & (size < smallest)
            best = torch.where(batch_view(better, seen), seen, best)
            smallest = torch.where(better, size, smallest)
            blocked = ((moved <= 0) & (gradient < 0)) | ((moved >= 1) & (gradient > 0))
            gradient = torch.where(blocked, 0.0, gradient)
            direction = torch.where(blocked, 0.0, form.solve(gradient))
            slope = (gradient * direction).sum((1, 2, 3)).clamp_min(0).sqrt()
            velocity = momentum * velocity + direction / batch_view(norm_of(direction) + 1e-12, direction)
            if step == 0:
                norm = ((-margins).clamp_min(1e-2) / (slope + 1e-12)).clamp(0.05, 2.0)
            else:
                share = shrink[0] * (shrink[1] / shrink[0]) ** (step / steps)
                norm = norm * torch.where(success, 1 - share, 1 + share)
            length = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
            change = moved - clean + batch_view(length * norm / (norm_of(velocity) + 1e-12), velocity) * velocity
            delta = change * batch_view(norm / (norm_of(change) + 1e-12), change)
    return best


def variants(clean: Tensor) -> dict[str, tuple[Callable[[], Matrices | Haar], dict]]:
    """Return what is tried, by name: how to make the form, and the options of the search."""

    def masking(noise: float, power: float = 1.0) -> Callable[[], Matrices]:
        return lambda: diagonal(masking_weights(clean, noise, power))

    tried: dict[str, tuple[Callable[[], Matrices | Haar], dict]] = {
        "L2": (lambda: diagonal(torch.ones_like(clean)), {}),
        "s_n 0.05": (masking(0.05), {}),
        "s_n 0.1": (masking(0.1), {}),
        "s_n 0.2": (masking(0.2), {}),
        "s_n 0.03, W^0.5": (masking(0.03, 0.5), {}),
        "s_n 0.05, W^0.5": (masking(0.05, 0.5), {}),
        "s_n 0.1, shares constant at 0.05": (masking(0.1), {"shrink": (0.05, 0.05)}),
        "s_n 0.1, shares 0.1 to 0.005": (masking(0.1), {"shrink": (0.1, 0.005)}),
        "s_n 0.1, momentum 0.5": (masking(0.1), {"momentum": 0.5}),
        "s_n 0.1, 90 passes": (masking(0.1), {"steps": 90}),
        "s_n 0.1, 75 passes": (masking(0.1), {"steps": 75}),
        "s_n 0.1, 50 passes": (masking(0.1), {"steps": 50}),
        **{
            name: (lambda name=name: diagonal(visibility_weights.visibility_weights(name, clean)), {})
            for name in visibility_weights.NAMES
        },
    }
    if clean.shape[1] == 3:
        for share in (0.1, 0.3, 1.0):
            tried[f"s_n 0.1, + {share} opponent"] = (
                lambda share=share: mixed(clean, share, [0.05, 0.1, 0.1]),
                {},
            )
    if min(clean.shape[2:]) >= 32:
        tried["Haar, s_n 0.1"] = (lambda: Haar(clean, 0.1), {})
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="data artefact")
    parser.add_argument("--model", required=True, help="model artefact to attack")
    parser.add_argument("--reference", required=True, help="model artefact that LPIPS looks through")
    parser.add_argument("--images", type=int, default=48, help="images (default 48)")
    parser.add_argument("--only", help="variants whose name holds this, beside L2")
    arguments = parser.parse_args()
    print(set_up())
    dataset, _ = data.load(arguments.data)
    model, reference = models.load(arguments.model)[0], models.load(arguments.reference)[0]
    order = np.random.default_rng(0).permutation(len(dataset.x_test))[: -4 * arguments.images : -1]
    with torch.no_grad():
        right = model(to_images(dataset.x_test[order], "cpu")).argmax(1).numpy() == dataset.y_test[order]
    chosen = order[right][: arguments.images]
    pixels, labels = torch.from_numpy(dataset.x_test[chosen]), torch.from_numpy(dataset.y_test[chosen])
    clean = to_images(dataset.x_test[chosen], "cpu")
    context = metrics.MetricContext(torch.device("cpu"), 0, torch.from_numpy(chosen), reference)
    judges = {name: better for name, better in JUDGES.items() if clean.shape[1] == 3 or name != "ciede2000"}
    spec: dict[str, dict] = {name: {"backbone": "reference"} if name == "lpips" else {} for name in ["l2", *judges]}
    columns = {name: metrics.column(name, options) for name, options in spec.items()}
    print(f"{len(chosen)} images, {arguments.model}")
    print(f"{'':34s}{'success':>8s}" + "".join(f"{name:>18s}" for name in spec))
    plain: dict[str, Tensor] = {}
    for name, (form, options) in variants(clean).items():
        if name != "L2" and arguments.only and arguments.only not in name:
            continue
        found = search(model, clean, labels, form(), **options)
        images, success, _ = round_to_8_bits(clean, found, lambda some: margin(model(some), labels) > 0)
        values = metrics.evaluate(pixels, (images * 255).round().to(torch.uint8), spec, context)
        plain = plain or values
        line = f"{name:34s}{success.float().mean():8.1%}"
        for metric, column in columns.items():
            line += f"{values[column].mean():9.4f}"
            difference = (values[column] - plain[column]).numpy() * (1 if judges.get(metric) else -1)
            tested = metric in judges and difference.any()
            line += f" {'-+'[int(np.median(difference) > 0)]}{wilcoxon(difference).pvalue:7.0e}" if tested else " " * 9
        print(line, flush=True)


if __name__ == "__main__":
    main()
