"""Adam and SGD by torch's functions ``torch.optim.adam.adam`` and ``torch.optim.sgd.sgd``, whose steps they take to the bit.

The first object of a class of ``torch.optim`` imports torch's compiler, which takes longer than torch itself, and a run of the
pipeline begins a process for each job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Adam:
    """Adam (Kingma and Ba 2015) with its usual constants, on tensors that it changes in place."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.tensor(0.0) for _ in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step down ``gradients``, one for each parameter."""
        adam(
            self.parameters,
            list(gradients),
            self._means,
            self._squares,
            [],
            self._steps,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )


class SGD:
    """Stochastic gradient descent, with Nesterov's ``momentum`` where that is above 0, on tensors that it changes in place.

    ``velocities`` holds the momentum of each parameter, None before the first step.
    """

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay
        self.velocities: list[Tensor | None] = [None] * len(self.parameters)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step down ``gradients``, one for each parameter."""
        sgd(
            self.parameters,
            list(gradients),
            self.velocities,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.learning_rate,
            dampening=0,
            nesterov=self.momentum > 0,
            maximize=False,
        )
