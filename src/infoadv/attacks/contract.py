"""The contract of an attack: what it returns, where its randomness comes from, how its passes count, how it leaves a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from infoadv.execution.errors import InfoadvError


class AttackError(InfoadvError):
    """An attack that cannot run as asked."""


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns, image by image.

    Attributes
    ----------
    adversarial
        (N, C, H, W) float32 in [0, 1]: the best attempt, whether it succeeded or not.
    first_success
        (N,) int64: the iteration at which the image was first misclassified as asked, -1 if it never was.
    trace
        Optional record of the run, arrays whose first axis is the image (N, ...) but for ``step`` (P,), the iterations
        that ``margin``, ``estimate`` and ``truth`` (N, P) belong to.
    """

    adversarial: Tensor
    first_success: Tensor
    trace: dict[str, Tensor] = field(default_factory=dict)


def generator(seed: int, index: int) -> torch.Generator:
    """Return the CPU random generator of one image: a function of (seed, data-set index) and of nothing else."""
    # splitmix64 spreads neighbouring pairs over the whole range of seeds.
    state = (seed * 0x9E3779B97F4A7C15 + index + 1) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 31)) * 0x94D049BB133111EB % 2**64
    return torch.Generator().manual_seed((state ^ (state >> 30)) % 2**63)


def draw(sample: Callable[..., Tensor], shape: tuple[int, ...], seed: int, indices: Tensor) -> Tensor:
    """Stack ``sample(shape, generator=...)``, torch.randn or torch.rand, over the images with these ``indices``."""
    return torch.stack([sample(shape, generator=generator(seed, int(index))) for index in indices])


def places(indices: Tensor | None, images: Tensor) -> Tensor:
    """Return ``indices`` (N,), or 0, 1, ... where an attack was called without them."""
    return torch.arange(len(images)) if indices is None else indices


def image_generators(indices: Tensor | None, images: Tensor, seed: int) -> list[torch.Generator]:
    """Return the random generator of each image (:func:`generator`)."""
    return [generator(seed, int(index)) for index in places(indices, images)]


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Bring ``model`` into eval mode without gradients of its parameters; afterwards every module is as it was."""
    modes = {module: module.training for module in model.modules()}
    taking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in taking:
        parameter.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for parameter in taking:
            parameter.requires_grad_(True)
        for module, training in modes.items():
            module.training = training


class CountingModel(nn.Module):
    """Calls a model and counts, per image of the batch, its forward and backward passes.

    ``on_pass`` is called with this object before each forward pass. The counts are on the CPU: reading them waits for no GPU.
    """

    def __init__(self, model: nn.Module, size: int, on_pass: Callable[[CountingModel], None] | None = None) -> None:
        super().__init__()
        self.model, self.on_pass = model, on_pass
        self.forwards = torch.zeros(size, dtype=torch.int64)
        self.backwards = torch.zeros(size, dtype=torch.int64)
        # Libraries ask the model that they are given, not those inside it.
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        # A library may stack several copies of the batch into one call.
        repeats, left = divmod(len(images), len(self.forwards))
        if left or not repeats:
            raise AttackError(
                f"an attack called the model with {len(images)} images, its batch has {len(self.forwards)}: whose passes "
                "they are cannot be known; it must call the model with the whole batch."
            )
        return self._counted(images, torch.full_like(self.forwards, repeats))

    def of_rows(self, images: Tensor, owners: Tensor) -> Tensor:
        """Call the model for some images of the batch, or several variants of one: ``owners`` (R,) says whose row each is."""
        return self._counted(images, torch.bincount(owners.cpu(), minlength=len(self.forwards)))

    def _counted(self, images: Tensor, passes: Tensor) -> Tensor:
        self.forwards += passes
        if self.on_pass is not None:
            self.on_pass(self)
        logits = self.model(images)
        if logits.requires_grad:

            def count(gradient: Tensor) -> None:
                self.backwards += passes

            logits.register_hook(count)
        return logits


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Bring ``model`` into eval mode without gradients of its parameters; afterwards every module is as it was."""
    modes = {module: module.training for module in model.modules()}
    taking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in taking:
        parameter.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for parameter in taking:
            parameter.requires_grad_(True)
        for module, training in modes.items():
            module.training = training
