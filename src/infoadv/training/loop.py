"""The training loop: augmentation, schedule, checkpoints.

Training is a function of (data, specification, seed): every epoch draws its order and augmentation from a generator
seeded by (seed, epoch), and the learning rate is a function of the step, so a run that was killed goes on from its last
checkpoint to the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infoadv import artifacts, data, models
from infoadv.execution.progress import Progress
from infoadv.numerics.optimizers import SGD
from infoadv.numerics.pixels import to_images
from infoadv.registry import plugins
from infoadv.training import COMMON, TrainingError


def augment(images: Tensor, kinds: list[str], generator: torch.Generator) -> Tensor:
    """Return a batch (N, C, H, W) shifted ("crop") and mirrored ("flip") at random, image by image."""
    count, _, height, width = images.shape
    if "crop" in kinds:
        pad = max(1, height // 8)
        padded = nn.functional.pad(images, (pad, pad, pad, pad), mode="reflect")
        shifts = torch.randint(0, 2 * pad + 1, (count, 2), generator=generator).to(images.device)
        rows = shifts[:, :1] + torch.arange(height, device=images.device)
        columns = shifts[:, 1:] + torch.arange(width, device=images.device)
        picked = torch.arange(count, device=images.device)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if "flip" in kinds:
        mirrored = (torch.rand(count, generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images.contiguous(memory_format=torch.channels_last)


def shrink(images: Tensor) -> Tensor:
    """Return a batch (N, C, H, W) at three quarters of its height and width (progressive resizing)."""
    size = [max(1, images.shape[2] * 3 // 4), max(1, images.shape[3] * 3 // 4)]
    small = nn.functional.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return small.contiguous(memory_format=torch.channels_last)


def learning_rate_at(progress: float, peak: float) -> float:
    """Return the learning rate at ``progress`` in [0, 1): linear up to ``peak`` at 0.2, then linear down to 0."""
    return peak * min(progress / 0.2, (1 - progress) / 0.8)


def recipe_options(training: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the recipe itself, without those that every recipe has."""
    return {name: value for name, value in training.items() if name not in COMMON and name != "recipe"}


def train(
    model: nn.Module,
    dataset: data.Dataset,
    training: dict[str, Any],
    seed: int,
    device: torch.device,
    checkpoint: Path,
    identity: str,
    teacher: nn.Module | None,
) -> None:
    """Train ``model`` in place, from ``checkpoint`` where that was left by a run of the same ``identity``.

    Raises ``TrainingError`` where the loss is not finite.
    """
    options = recipe_options(training)
    if teacher is not None:
        options["teacher"] = teacher
    loss_of = plugins.load("training", training["recipe"])
    # Norms and biases are not decayed: decay there only shifts what the next layer undoes.
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizers = []
    for decayed, weight_decay in ((True, training["weight_decay"]), (False, 0.0)):
        names = [name for name, parameter in parameters.items() if (parameter.ndim > 1) == decayed]
        if names:
            tensors_of = [parameters[name] for name in names]
            optimizers.append(
                (names, SGD(tensors_of, training["learning_rate"], momentum=0.9, weight_decay=weight_decay))
            )
    first_epoch = 0
    if checkpoint.is_file():
        try:
            tensors, header = artifacts.load_tensors(checkpoint, "checkpoint")
        except artifacts.ArtifactError:
            header = {}
        # A checkpoint of another specification, code, device or data set is of no use here: training starts again.
        if header.get("specification") == {"identity": identity}:
            first_epoch = header["epoch"]
            models.set_weights(model, {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, checkpoint)
            for names, optimizer in optimizers:
                optimizer.velocities = [
                    torch.from_numpy(tensors[f"momentum.{name}"]).to(parameters[name]) for name in names
                ]
            print(f"resumed after epoch {first_epoch}", file=sys.stderr, flush=True)

    x_train = torch.from_numpy(dataset.x_train)
    y_train = torch.from_numpy(dataset.y_train)
    size, epochs = training["batch_size"], training["epochs"]
    steps = max(1, len(x_train) // size)
    progress = Progress(epochs * steps, "steps", done=first_epoch * steps)
    for epoch in range(first_epoch, epochs):
        model.train()
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        torch.manual_seed(seed * 1_000_003 + epoch)  # dropout draws from the global generator
        order = torch.randperm(len(x_train), generator=generator)
        correct = seen = 0
        for step in range(steps):
            picked = order[step * size : (step + 1) * size]
            images = to_images(x_train[picked].numpy(), device)
            images = augment(images, training["augment"], generator)
            if epoch < training["small_share"] * epochs:
                images = shrink(images)
            labels = y_train[picked].to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=training["precision"] == "bfloat16"):
                loss, logits = loss_of(
                    model,
                    images,
                    labels,
                    smoothing=training["label_smoothing"],
                    generator=generator,
                    **options,
                )
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} in epoch {epoch + 1}; lower training.learning_rate and run again."
                )
            slopes = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
            gradients = dict(zip(parameters, slopes, strict=True))
            rate = learning_rate_at((epoch * steps + step) / (epochs * steps), training["learning_rate"])
            for names, optimizer in optimizers:
                optimizer.learning_rate = rate
                optimizer.step([gradients[name] for name in names])
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
            progress.update(
                epoch * steps + step + 1,
                f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}  training accuracy {correct / seen:.3f}",
            )
        state = {f"model.{name}": array for name, array in models.weights_of(model).items()}
        for names, optimizer in optimizers:
            for name, velocity in zip(names, optimizer.velocities, strict=True):
                assert velocity is not None
                state[f"momentum.{name}"] = velocity.cpu().contiguous().numpy()
        header = artifacts.provenance("checkpoint", {"identity": identity}, epoch=epoch + 1)
        artifacts.save_tensors(checkpoint, state, header)
