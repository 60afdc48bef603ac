"""Information metrics: the closed form, MINE and the perturbation information of an image and its adversarial copy."""

from __future__ import annotations

import torch
from torch import Tensor

from infoadv.information import masking, mine, projection
from infoadv.metrics import MetricContext

SCHEMA: dict[str, dict] = {
    "mi_projection": {},
    "mi_mine": {
        "samples": {"minimum": 16, "description": "projections a step, K"},
        "steps": {"minimum": 10, "description": "steps that train each critic"},
        "hidden": {"minimum": 1, "description": "units of the critic"},
        "seeds": {"minimum": 1, "description": "critics averaged"},
    },
    "perturbation_information": {"noise": {"exclusiveMinimum": 0, "description": "the observer's noise s_n"}},
}
ABOUT = {
    "mi_projection": {
        "label": "Projected MI",
        "short": "Proj. MI",
        "better": "higher",
        "decimals": 2,
        "group": "information",
        "order": 120,
        "description": (
            "Mutual information of one Gaussian random projection of the clean and of the adversarial image: "
            "-1/2 ln(1 - rho^2) with rho the cosine of the two, infinite for images that are parallel."
        ),
    },
    "mi_mine": {
        "label": "MINE",
        "better": "higher",
        "decimals": 2,
        "group": "information",
        "order": 130,
        "description": (
            "The same quantity as MINE estimates it, on projections that its critic has not seen, mean of several critics."
        ),
    },
    "perturbation_information": {
        "label": "Perturbation information",
        "short": "Pert. inf.",
        "better": "lower",
        "decimals": 2,
        "group": "information",
        "order": 140,
        "description": (
            "Information that the adversarial image carries about the perturbation, in a Gaussian channel whose noise is "
            "the image's own local texture and an observer's noise; sum over windows and channels."
        ),
    },
}


def mi_projection(clean: Tensor, adversarial: Tensor, *, context: MetricContext) -> Tensor:
    """Return the information of one random projection in nats; d' projections carry d' times as much.

        -1/2 ln(1 - rho^2),   rho = <x, x'> / (|x| |x'|)

    Mutual information of a bivariate normal pair (Hsu, Chen and Yu 2020 estimate it).
    """
    return projection.projection_information(clean.double(), adversarial.double())


def mi_mine(
    clean: Tensor,
    adversarial: Tensor,
    *,
    context: MetricContext,
    samples: int = 256,
    steps: int = 200,
    hidden: int = 32,
    seeds: int = 2,
) -> Tensor:
    """Return MINE's estimate of ``mi_projection`` on held-out projections, mean over ``seeds`` critics.

        E[T(u, v)] - ln E[exp T(u, v~)],   u = a x,   v = a x',   v~ of another projection,   T: the critic

    (Belghazi et al. 2018.)

    All images are judged with the same random numbers, other ones than the attack's own critics start from.
    """
    seed = 2 * 1009 * context.seed + 1_000_001
    estimates = [
        mine.measure(clean, adversarial, samples=samples, steps=steps, hidden=hidden, seed=seed + repeat)
        for repeat in range(seeds)
    ]
    return torch.stack(estimates).double().mean(0)


def perturbation_information(
    clean: Tensor, adversarial: Tensor, *, context: MetricContext, noise: float = 0.05
) -> Tensor:
    """Return the perturbation information in nats, each colour channel by itself.

        1/2 sum over windows and channels of ln(1 + s_d^2 / (s_x^2 + s_n^2))

    s_d^2 is the local energy of the perturbation, s_x^2 the local variance of the clean image, s_n the observer's noise.
    This project's own quantity, which the attack ``masking`` minimises.
    """
    return masking.perturbation_information(clean.double(), adversarial.double(), noise)
