"""Calibration of MINE: its estimate beside the closed form, for dimensions d', batch sizes K, critics and bounds.

A large critic that is trained long shows what is the bound's fault; beside it a small one shows what is the critic's. The critic
of the attack itself is trained along a path of images, one step at each, and never catches up.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from infoadv import artifacts
from infoadv.attacks.critics import Critic, MineInformation
from infoadv.execution.progress import Progress
from infoadv.information.mine import measure
from infoadv.information.projection import projection_information

#: What the bound "smile" is called with: the clip that Song and Ermon (2020) call tau.
SMILE_CLIP = 5.0
#: What a row's critic is called where it is that of the attack.
ALONG = "along an attack"
#: The cosine at which the path of an attack begins.
_FIRST_RHO = 0.9999


def images_at(rhos: list[float]) -> tuple[Tensor, Tensor]:
    """Return two batches (N, 1, 1, 2) of images whose angle has the given cosines."""
    first = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(len(rhos), -1, -1, -1).contiguous()
    second = torch.tensor([[rho, math.sqrt(1 - rho**2)] for rho in rhos]).view(-1, 1, 1, 2)
    return first, second


def along(rhos: list[float], *, dimension: int, samples: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return (N,) mean and standard deviation of the estimates that an attack sees, whose critic is trained along.

    The images move from near the clean one to the angle of cosine ``rhos`` in the first half of ``steps``, and stay there in
    the second, over which both are taken. The critic has the defaults of :func:`infoadv.attacks.mine_attacks.mine`, but sees
    both projections.
    """
    clean, _ = images_at(rhos)
    critic = Critic(
        batch="projection",
        sampling="pairs",
        dimension=dimension,
        samples=samples,
        standardize="norm",
        hidden=(32,),
        critic_start="uniform",
        critic_learning_rate=0.01,
        marginal="derangement",
        moving_average=0.1,
    )
    # No network is asked: the batch is not its maps.
    information = MineInformation(torch.nn.Identity(), clean, seed, 0, critic)
    begin = math.acos(_FIRST_RHO)
    found = []
    for step in range(steps):
        share = min(1.0, 2 * step / steps)
        now = [math.cos(begin + share * (math.acos(rho) - begin)) for rho in rhos]
        estimate = information(images_at(now)[1])
        information.ascend()
        if 2 * step >= steps:
            found.append(estimate.detach())
    estimates = torch.stack(found)
    return estimates.mean(0), estimates.std(0)


def _bound(name: str) -> dict[str, Any]:
    return {"bound": "donsker_varadhan", "clip": SMILE_CLIP} if name == "smile" else {"bound": name}


def _called(critic: dict[str, Any]) -> str:
    units = critic["hidden"] if isinstance(critic["hidden"], list) else [critic["hidden"]]
    return f"{'-'.join(map(str, units))} units, {critic['steps']} steps"


def run(specification: dict[str, Any], *, seed: int, out: str | Path) -> None:
    """Measure every combination of the lists of ``specification``, ``seeds`` times; write one row each.

    ``critics`` (each with ``hidden``, ``steps`` and ``learning_rate``) and ``bounds`` default to one of 32 units, trained for
    ``steps``, and Donsker-Varadhan. With ``attack_steps`` the critic of an attack of so many steps is measured as well.
    """
    rhos = specification["rhos"]
    clean, perturbed = images_at(rhos)
    critics = specification.get("critics") or [{"hidden": 32, "steps": specification["steps"]}]
    bounds, attack_steps = specification.get("bounds") or ["donsker_varadhan"], specification.get("attack_steps")
    grid = list(product(specification["dimensions"], specification["samples"], range(specification["seeds"])))
    rows: list[tuple[Any, ...]] = []
    progress = Progress(len(grid) * (len(critics) * len(bounds) + bool(attack_steps)), "estimates")
    done = 0

    def add(place: tuple[int, int, int], critic: str, bound: str, estimate: Tensor, spread: list[float]) -> None:
        dimension, samples, repeat = place
        truth = projection_information(clean.double(), perturbed.double(), dimension).tolist()
        for rho, exact, value, width in zip(rhos, truth, estimate.tolist(), spread, strict=True):
            rows.append((dimension, samples, rho, exact, value, repeat, critic, bound, width))
        nonlocal done
        done += 1
        progress.update(done, f"d' = {dimension}, K = {samples}, {critic}, {bound}")

    for dimension, samples, repeat in grid:
        place, start = (dimension, samples, repeat), seed * 1000 + repeat
        for critic, bound in product(critics, bounds):
            estimate = measure(
                clean,
                perturbed,
                dimension=dimension,
                samples=samples,
                steps=critic["steps"],
                hidden=critic["hidden"],
                learning_rate=critic.get("learning_rate", 0.03),
                seed=start,
                **_bound(bound),
            )
            add(place, _called(critic), bound, estimate, [math.nan] * len(rhos))
        if attack_steps:
            mean, spread = along(rhos, dimension=dimension, samples=samples, steps=attack_steps, seed=start)
            add(place, ALONG, "donsker_varadhan", mean, spread.tolist())
    columns = ["dimension", "samples", "rho", "truth", "estimate", "seed", "critic", "bound", "spread"]
    frame = pd.DataFrame(rows, columns=columns)
    artifacts.save_rows(out, frame, artifacts.provenance("calibration", specification, libraries=("torch",), seed=seed))
