"""Adam and SGD take the steps of the classes of torch.optim, to the bit."""

from __future__ import annotations

import pytest
import torch

from infoadv.numerics.optimizers import SGD, Adam

SHAPES = [(3, 4), (7,), (2, 3, 5, 5)]


@pytest.mark.parametrize("name", ["Adam", "SGD", "SGD with momentum and decay"])
def test_steps_are_those_of_torch_optim(name):
    seed = int(torch.randint(2**31, ()))
    generator = torch.Generator().manual_seed(seed)
    ours = [torch.randn(shape, generator=generator) for shape in SHAPES]
    theirs = [tensor.clone().requires_grad_(True) for tensor in ours]
    options = {"momentum": 0.9, "weight_decay": 5e-4} if name.endswith("decay") else {}
    optimizer = Adam(ours, 0.1) if name == "Adam" else SGD(ours, 0.1, **options)
    if name == "Adam":
        reference = torch.optim.Adam(theirs, lr=0.1)
    else:
        reference = torch.optim.SGD(theirs, lr=0.1, nesterov=bool(options), **options)
    for step in range(20):
        gradients = [torch.randn(shape, generator=generator) for shape in SHAPES]
        optimizer.learning_rate = reference.param_groups[0]["lr"] = 0.1 / (1 + step)
        optimizer.step(gradients)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True)), (
            f"seed {seed}, step {step}"
        )
