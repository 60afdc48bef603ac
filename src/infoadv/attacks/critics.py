"""MINE along an attack: one image becomes a batch, and a critic for each image is trained beside it.

(Hsu, Chen and Yu 2020, section II; Belghazi et al. 2018.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from infoadv.attacks.contract import AttackError, CountingModel
from infoadv.information.mine import Mine, draw_normals, draw_pairs, project_pairs


def first_convolution_maps(model: nn.Module, images: Tensor) -> Tensor:
    """Return the output (N, maps, positions) of the first convolution of ``model``: a batch made of one image."""
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
    return captured[0].flatten(2)


@dataclass(frozen=True)
class Critic:
    """How one image becomes a batch, and how the critic that judges it is trained: the options of ``mine`` of these names."""

    batch: Literal["projection", "conv"]
    sampling: Literal["pairs", "matrix"]
    dimension: int
    samples: int
    redraw: bool
    standardize: Literal["norm", "row", "none"]
    hidden: int
    critic_learning_rate: float
    critic_steps: int
    marginal: Literal["derangement", "offdiagonal", "permutation"]
    clip: float | None
    moving_average: float


class MineInformation:
    """MINE along an attack: every call estimates on the step's pairs; ``ascend`` trains the critics on them."""

    def __init__(self, model: nn.Module, clean: Tensor, seed: int, critic: Critic) -> None:
        self.model, self.clean, self.critic = model, clean, critic
        self.generator = torch.Generator().manual_seed(seed)
        self.fixed_seed = seed + 1
        self.samples, dimension = critic.samples, critic.dimension
        if critic.batch == "conv":
            with torch.no_grad():
                self.clean_maps = first_convolution_maps(model, clean)
            self.samples, dimension = self.clean_maps.shape[1:]
        self.mine = Mine(
            len(clean),
            dimension,
            dimension,
            hidden=critic.hidden,
            learning_rate=critic.critic_learning_rate,
            marginal=critic.marginal,
            clip=critic.clip,
            moving_average=critic.moving_average,
            generator=self.generator,
            device=clean.device,
        )

    def _pairs(self, perturbed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.critic.batch == "conv":
            return self.clean_maps, first_convolution_maps(self.model, perturbed)
        shape = (self.critic.samples, self.critic.dimension)
        if self.critic.sampling == "matrix":
            return project_pairs(self.clean, perturbed, *shape, generator, self.critic.standardize)
        draws = draw_normals(*shape, generator, self.clean.device)
        return draw_pairs(self.clean, perturbed, draws, self.critic.standardize)

    def __call__(self, perturbed: Tensor) -> Tensor:
        shift = int(torch.randint(1, self.samples, (), generator=self.generator))
        for _ in range(self.critic.critic_steps - 1):
            with torch.no_grad():
                u, v = self._pairs(perturbed, self._projections())
            self.mine.ascend(self.mine.objective(u, v, shift)[1])
        u, v = self._pairs(perturbed, self._projections())
        bound, self.pending = self.mine.objective(u, v, shift)
        return bound

    def _projections(self) -> torch.Generator:
        # Projections that are not redrawn come from a generator of their own that starts again at every step.
        return self.generator if self.critic.redraw else torch.Generator().manual_seed(self.fixed_seed)

    def ascend(self) -> None:
        """Train the critics on the pairs of the last call, whose graph must still be there."""
        self.mine.ascend(self.pending)
