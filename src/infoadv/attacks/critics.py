"""MINE along an attack: one image becomes a batch, and a critic for each image is trained beside it.

(Hsu, Chen and Yu 2020, section II; Belghazi et al. 2018.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, CountingModel
from infoadv.information.bounds import Bound
from infoadv.information.critic_networks import Critics
from infoadv.information.mine import Draws, Mine, draw_normals, draw_pairs, project_pairs
from infoadv.information.projection import difference_information, projection_information

#: Batches of K pairs, the same at every step, on which iterates are judged where ``ranking`` is fixed.
JUDGING_BATCHES = 4
#: The round whose seed those pairs have; no search has so many.
_JUDGING_ROUND = 1008


def first_convolution_maps(model: nn.Module, images: Tensor) -> Tensor:
    """Return the output (N, maps, H, W) of the first convolution of ``model``: a batch made of one image."""
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None:
        raise AttackError("batch: conv needs a model with a Conv2d layer; use batch: projection.")
    captured: list[Tensor] = []

    class MapsReachedError(Exception):
        """Stops the forward pass once the maps are there."""

    def capture(module: nn.Module, inputs: Any, output: Tensor) -> None:
        captured.append(output)
        raise MapsReachedError

    handle = convolution.register_forward_hook(capture)
    try:
        # Past the counter of passes: this is no pass through the whole network.
        (model.model if isinstance(model, CountingModel) else model)(images)
    except MapsReachedError:
        pass
    finally:
        handle.remove()
    return captured[0]


@dataclass(frozen=True, kw_only=True)
class Critic:
    """How one image becomes a batch, and how the critic that judges it is trained: the options of ``mine`` of these names.

    ``convolutional`` critics read the maps of ``batch: conv`` after a ReLU and by filters of their own, as in the follow-up.
    """

    batch: Literal["projection", "conv"]
    sampling: Literal["pairs", "matrix"] = "matrix"
    dimension: int = 1
    samples: int = 2
    redraw: bool = True
    standardize: Literal["norm", "row", "none"] = "row"
    gain: Literal["fixed", "free"] = "free"
    hidden: tuple[int, ...]
    critic_start: Literal["uniform", "glorot"] = "glorot"
    critic_learning_rate: float
    critic_steps: int = 1
    bound: Bound = "donsker_varadhan"
    marginal: Literal["derangement", "offdiagonal", "permutation"] = "permutation"
    clip: float | None = None
    moving_average: float = 1.0
    ranking: Literal["fixed", "step"] = "step"
    convolutional: bool = False


class MineInformation:
    """MINE along an attack: every call estimates on the step's pairs; ``ascend`` trains the critics on them.

    ``number`` counts the rounds of the search: each has critics and pairs of its own.
    """

    def __init__(self, model: nn.Module, clean: Tensor, seed: int, number: int, critic: Critic) -> None:
        self.model, self.clean, self.critic = model, clean, critic
        round_seed = 2 * (seed * 1009 + number)
        self.generator = torch.Generator().manual_seed(round_seed)
        self.fixed_seed = round_seed + 1
        self.samples, dimension, maps = critic.samples, critic.dimension, None
        self.standardize: str = critic.standardize
        if critic.gain == "fixed" and critic.standardize == "norm":
            self.standardize = "clean"
        if critic.batch == "conv":
            with torch.no_grad():
                self.clean_maps = self._maps(clean)
            self.samples, dimension = self.clean_maps.shape[1:]
            if critic.convolutional:
                maps = self.map_size
        elif critic.ranking == "fixed":
            # From their exact distribution, whatever ``sampling``: it is the same.
            judging = torch.Generator().manual_seed(2 * (seed * 1009 + _JUDGING_ROUND))
            draws = [draw_normals(self.samples, dimension, judging, clean.device) for _ in range(JUDGING_BATCHES)]
            self.judging = Draws(torch.cat([one.first for one in draws]), torch.cat([one.second for one in draws]))
        critics = Critics(
            len(clean),
            dimension,
            dimension,
            critic.hidden,
            self.generator,
            start=critic.critic_start,
            difference=critic.gain == "fixed",
            maps=maps,
        )
        self.mine = Mine(
            critics.to(clean.device),
            learning_rate=critic.critic_learning_rate,
            marginal=critic.marginal,
            clip=critic.clip,
            moving_average=critic.moving_average,
            bound=critic.bound,
        )

    def _maps(self, images: Tensor) -> Tensor:
        maps = first_convolution_maps(self.model, images)
        self.map_size = (maps.shape[2], maps.shape[3])
        return (maps.relu() if self.critic.convolutional else maps).flatten(2)

    def _pairs(self, perturbed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.critic.batch == "conv":
            return self.clean_maps, self._maps(perturbed)
        shape = (self.critic.samples, self.critic.dimension)
        if self.critic.sampling == "matrix":
            return project_pairs(self.clean, perturbed, *shape, generator, self.standardize)
        draws = draw_normals(*shape, generator, self.clean.device)
        return draw_pairs(self.clean, perturbed, draws, self.standardize)

    def __call__(self, perturbed: Tensor) -> Tensor:
        shift = int(torch.randint(1, self.samples, (), generator=self.generator))
        for _ in range(self.critic.critic_steps - 1):
            with torch.no_grad():
                u, v = self._pairs(perturbed, self._projections())
            self.mine.ascend(self.mine.objective(u, v, shift)[1])
        u, v = self._pairs(perturbed, self._projections())
        bound, self.pending = self.mine.objective(u, v, shift)
        self.last = bound.detach()
        return bound

    def _projections(self) -> torch.Generator:
        # Projections that are not redrawn come from a generator of their own that starts again at every step.
        return self.generator if self.critic.redraw else torch.Generator().manual_seed(self.fixed_seed)

    def ascend(self) -> None:
        """Train the critics on the pairs of the last call, whose graph must still be there."""
        self.mine.ascend(self.pending)

    @torch.no_grad()
    def judged(self, perturbed: Tensor) -> Tensor:
        """Return (N,) what ``perturbed`` is ranked by.

        With ``ranking`` step that is the last estimate, as published: the best of many noisy numbers is a lucky one. With
        ``fixed`` it is the critics' estimate on pairs that are the same for all iterates, and more of them.
        """
        if self.critic.ranking == "step":
            return self.last
        if self.critic.batch == "conv":
            return self.mine.estimate(*self._pairs(perturbed, self.generator), 1)
        pairs = draw_pairs(self.clean, perturbed, self.judging, self.standardize)
        batches = zip(*(values.split(self.samples, 1) for values in pairs), strict=True)
        return torch.stack([self.mine.estimate(u, v, self.samples // 2) for u, v in batches]).sum(0) / JUDGING_BATCHES

    def truth(self, perturbed: Tensor) -> Tensor:
        """Return (N,) the closed form of what the critics look for; of maps there is none, so one projection's instead."""
        closed = difference_information if self.critic.gain == "fixed" else projection_information
        return closed(self.clean, perturbed, 1 if self.critic.batch == "conv" else self.critic.dimension)
