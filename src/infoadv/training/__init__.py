"""Trains a target network, or takes a user's own or an ensemble, measures it, and writes the model artefact.

Training is a function of (data, specification, seed): every epoch draws its order and augmentation from a generator
seeded by (seed, epoch), and the learning rate is a function of the step, so a run that was killed goes on from its last
checkpoint to the same weights.

A recipe is a file here with a literal ``SCHEMA`` and a function of the same name that returns the loss and the logits of a
batch. A literal ``NEEDS`` names the keys ``start`` and ``teacher`` of the model's entry that it cannot do without: the
teacher reaches it as the argument ``teacher``. If the file has a function ``prepare``, the network goes through it first
(:func:`infoadv.training.trimming.prepare`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infoadv import InfoadvError, artifacts, data, factory, models, plugins
from infoadv.progress import Progress
from infoadv.training.initialization import lsuv
from infoadv.training.recipes import linf_step

#: Options of every recipe, beside those that a recipe declares itself.
COMMON: dict[str, dict[str, Any]] = {
    "epochs": {
        "type": "integer",
        "minimum": 0,
        "default": 10,
        "description": "passes over the training images; 0 leaves the network as it is initialised, as a control",
    },
    "batch_size": {"type": "integer", "minimum": 2, "default": 128, "description": "images a step"},
    "learning_rate": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 0.1,
        "description": "peak of the schedule: up in the first fifth of training, then down to 0, both linearly",
    },
    "weight_decay": {
        "type": "number",
        "minimum": 0,
        "default": 0.0005,
        "description": "of SGD with Nesterov momentum 0.9",
    },
    "label_smoothing": {
        "type": "number",
        "minimum": 0,
        "maximum": 0.5,
        "default": 0.0,
        "description": "of the cross-entropy",
    },
    "augment": {
        "type": "array",
        "items": {"enum": ["flip", "crop"]},
        "uniqueItems": True,
        "default": [],
        "description": "flip: mirrored half of the time; crop: shifted by up to an eighth of the size",
    },
    "initialization": {
        "enum": ["default", "lsuv"],
        "default": "default",
        "description": "lsuv: orthonormal weights, each layer scaled to unit output variance (Mishkin and Matas 2016)",
    },
    "small_share": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.0,
        "description": "share of the epochs, the first ones, on images of three quarters of the size: "
        "half the work, for networks that take any size",
    },
    "precision": {
        "enum": ["float32", "bfloat16"],
        "default": "float32",
        "description": "of the forward and backward pass",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "added to the seed of the run: networks that share it start from the same weights",
    },
    "pgd_epsilon": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "default": 0.1,
        "description": "L-infinity radius at which the PGD accuracy is measured (20 steps)",
    },
}
#: Test images on which the PGD accuracy is measured.
PGD_IMAGES = 1000
PGD_STEPS = 20
#: Training images on which LSUV measures the variances.
INITIALIZATION_IMAGES = 512
_BATCH = 250


class TrainingError(InfoadvError):
    """Training that ended in a network nobody should attack."""


def _device_images(images: np.ndarray, device: torch.device) -> Tensor:
    scaled = torch.from_numpy(images).to(device).float().div_(255)
    return scaled.contiguous(memory_format=torch.channels_last)


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


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray, device: torch.device) -> float:
    """Return the share of uint8 ``images`` (N, C, H, W) that ``model`` classifies correctly."""
    correct = 0
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            logits = model(_device_images(images[start : start + _BATCH], device))
            correct += int((logits.argmax(1).cpu().numpy() == labels[start : start + _BATCH]).sum())
    return correct / len(images)


def pgd_accuracy(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, device: torch.device, epsilon: float, seed: int
) -> float:
    """Return the accuracy under PGD in the L-infinity ball (Madry et al. 2018): random start, step epsilon / 8."""
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    for start in range(0, len(images), _BATCH):
        batch = _device_images(images[start : start + _BATCH], device)
        truth = torch.from_numpy(labels[start : start + _BATCH]).to(device)
        noise = torch.rand(batch.shape, generator=generator).to(device)
        delta = (batch + (2 * noise - 1) * epsilon).clamp(0, 1) - batch
        # The clean image lies in the ball as well.
        with torch.no_grad():
            standing = model(batch).argmax(1) == truth
        for _ in range(PGD_STEPS):
            delta = linf_step(model, batch, truth, delta, epsilon, epsilon / 8)
            with torch.no_grad():
                standing &= model(batch + delta).argmax(1) == truth
        correct += int(standing.sum())
    return correct / len(images)


def learning_rate_at(progress: float, peak: float) -> float:
    """Return the learning rate at ``progress`` in [0, 1): linear up to ``peak`` at 0.2, then linear down to 0."""
    return peak * min(progress / 0.2, (1 - progress) / 0.8)


def _recipe_options(training: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in training.items() if name not in COMMON and name != "recipe"}


def _train(
    model: nn.Module,
    dataset: data.Dataset,
    training: dict[str, Any],
    seed: int,
    device: torch.device,
    checkpoint: Path,
    identity: str,
    teacher: nn.Module | None,
) -> None:
    options = _recipe_options(training)
    if teacher is not None:
        options["teacher"] = teacher
    loss_of = plugins.load("training", training["recipe"])
    # Norms and biases are not decayed: decay there only shifts what the next layer undoes.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": training["weight_decay"]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=0.1, momentum=0.9, nesterov=True)
    parameters = dict(model.named_parameters())
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
            for name, parameter in parameters.items():
                momentum = torch.from_numpy(tensors[f"momentum.{name}"]).to(parameter)
                optimizer.state[parameter]["momentum_buffer"] = momentum.contiguous(memory_format=torch.preserve_format)
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
            images = _device_images(x_train[picked].numpy(), device)
            images = augment(images, training["augment"], generator)
            if epoch < training["small_share"] * epochs:
                images = shrink(images)
            labels = y_train[picked].to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at((epoch * steps + step) / (epochs * steps), training["learning_rate"])
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
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
            progress.update(
                epoch * steps + step + 1,
                f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}  training accuracy {correct / seen:.3f}",
            )
        state = {f"model.{name}": array for name, array in models.weights_of(model).items()}
        for name, parameter in parameters.items():
            buffer = optimizer.state[parameter]["momentum_buffer"]
            state[f"momentum.{name}"] = buffer.detach().cpu().contiguous().numpy()
        header = artifacts.provenance("checkpoint", {"identity": identity}, epoch=epoch + 1)
        artifacts.save_tensors(checkpoint, state, header)


def _other(path: str | Path, data_path: str | Path, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network that another one is made from; it must be of the same data set."""
    model, header = models.load(path, device)
    if header["inputs"].get("data") != artifacts.file_digest(data_path):
        raise TrainingError(f"{path}: made on another data set than {data_path}; train it again on this one.")
    return model, header


def _check_others(specification: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise ``TrainingError`` unless the files given are those that the specification names."""
    for role, file in given.items():
        if (role in specification) != (file is not None):
            raise TrainingError(
                f"{role}: the specification names {specification.get(role, 'none')}, {file or 'no file'} is given; "
                f"give a file with --{role.removesuffix('s')} if and only if the specification names it."
            )
    members = given["members"] or {}
    if list(members) != list(specification.get("members", [])):
        raise TrainingError(
            f"members: the specification names {', '.join(specification['members'])}, the files are of "
            f"{', '.join(members)}; give one file each, in this order."
        )


def _begin(
    specification: dict[str, Any],
    dataset: data.Dataset,
    data_path: str | Path,
    start: str | Path | None,
    seed: int,
    device: torch.device,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that training begins from, and what the artefact says of it."""
    architecture, options, training = (specification[key] for key in ("architecture", "options", "training"))
    about: dict[str, Any] = {}
    pixels = dataset.x_train.astype(np.float32) / 255
    mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
    del pixels

    def built(chosen: dict[str, Any], weights: nn.Module | None = None) -> nn.Module:
        model = models.build(architecture, chosen, dataset.shape, dataset.classes, mean, std)
        if weights is not None:
            models.set_weights(model, models.weights_of(weights), start or architecture)
        return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    if start is None:
        model = built(options)
        if training["initialization"] == "lsuv":
            # Evenly spaced, so that images sorted by class do no harm.
            places = np.linspace(0, len(dataset.x_train) - 1, INITIALIZATION_IMAGES).astype(np.int64)
            sample = _device_images(dataset.x_train[places], device)
            about["lsuv_variances"] = lsuv(model, sample)
    else:
        weights, header = _other(start, data_path, device)
        if header["specification"].get("architecture") != architecture:
            raise TrainingError(f"{start}: a network of another architecture; start from a network of {architecture}.")
        # A trimmed network has other options than the configuration says.
        options = header.get("architecture_options", options)
        model = built(options, weights)
    prepare = getattr(importlib.import_module(plugins.load("training", training["recipe"]).__module__), "prepare", None)
    if prepare is not None:
        order = torch.randperm(len(dataset.x_train), generator=torch.Generator().manual_seed(seed)).numpy()
        prepared, options, about[training["recipe"]] = prepare(
            model,
            architecture,
            options,
            sample=lambda count: _device_images(dataset.x_train[order[:count]], device),
            measure=lambda network: accuracy(network.eval(), dataset.x_test, dataset.y_test, device),
            **_recipe_options(training),
        )
        model = built(options, prepared)
    if options != specification["options"]:
        about["architecture_options"] = options
    return model, about


def run(
    data_path: str | Path,
    specification: dict[str, Any],
    *,
    seed: int,
    device: torch.device | str,
    checkpoint: str | Path,
    out: str | Path,
    start: str | Path | None = None,
    teacher: str | Path | None = None,
    members: Mapping[str, str | Path] | None = None,
) -> None:
    """Make a model artefact: train ``specification["architecture"]``, or take a user's ``factory`` and ``weights``, or
    join ``members``.

    ``start`` and ``teacher`` are model artefacts, of the network that training begins from and of the one whose outputs
    are learnt; ``members`` are those of the ensemble, by name. Each is given if and only if the specification names it.
    ``checkpoint`` holds what has been trained so far; it is written after every epoch and removed at the end.
    Raises ``TrainingError`` where the clean accuracy is near chance (unless no epoch was asked for) and where a network
    given does not fit, ``ModelError`` where a user's model does not fit.
    """
    _check_others(specification, {"start": start, "teacher": teacher, "members": members})
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    checkpoint = Path(checkpoint)
    inputs: dict[str, str | Path] = {"data": data_path}
    training = specification.get("training", {})
    measured: dict[str, Any] = {}
    seed += training.get("seed", 0)
    torch.manual_seed(seed)
    if members is not None:
        networks = {name: _other(path, data_path, device) for name, path in members.items()}
        model: nn.Module = models.Ensemble([network for network, _ in networks.values()])
        measured["members"] = {name: header for name, (_, header) in networks.items()}
        inputs |= {f"member {name}": path for name, path in members.items()}
    elif "factory" in specification:
        model = models.from_factory(specification["factory"], specification.get("options", {}))
        models.set_weights(model, artifacts.load_foreign_tensors(specification["weights"]), specification["weights"])
        inputs["weights"] = specification["weights"]
        code = factory.sources(specification["factory"])
        inputs |= {f"code {path.relative_to(Path.cwd()).as_posix()}": path for path in code}
        model = model.to(device)
    else:
        inputs |= {role: path for role, path in (("start", start), ("teacher", teacher)) if path is not None}
        identity = artifacts.canonical_json(
            {
                "specification": specification,
                "seed": seed,
                "device": device.type,
                "threads": torch.get_num_threads(),
                **{role: artifacts.file_digest(path) for role, path in inputs.items()},
                "code": [
                    artifacts.file_digest(path)
                    for folder in ("training", "models")
                    for path in sorted((plugins.PACKAGE / folder).glob("*.py"))
                ],
            }
        )
        model, about = _begin(specification, dataset, data_path, start, seed, device)
        measured |= about
        taught_by = _other(teacher, data_path, device)[0] if teacher is not None else None
        if training["small_share"]:
            small = shrink(_device_images(dataset.x_train[:8], device))
            for network, name in ((model, out), (taught_by, teacher)):
                if network is not None:
                    models.check_logits(network, small, dataset.classes, name or out)
        _train(model, dataset, training, seed, device, checkpoint, identity, taught_by)
    model.eval()

    models.check_logits(model, _device_images(dataset.x_test[:8], device), dataset.classes, out)
    clean = accuracy(model, dataset.x_test, dataset.y_test, device)
    chance = float(np.bincount(dataset.y_test).max()) / len(dataset.y_test)
    if training.get("epochs") != 0 and clean < chance + 0.1 * (1 - chance):
        # Kept, the finished checkpoint would be taken up again and fail for ever.
        checkpoint.unlink(missing_ok=True)
        raise TrainingError(
            f"clean accuracy {clean:.3f} is near chance ({chance:.3f}); raise training.epochs, change "
            "training.learning_rate, or check the labels."
        )
    epsilon = training.get("pgd_epsilon", COMMON["pgd_epsilon"]["default"])
    model.requires_grad_(False)
    robust = pgd_accuracy(model, dataset.x_test[:PGD_IMAGES], dataset.y_test[:PGD_IMAGES], device, epsilon, seed)
    header = artifacts.provenance(
        "model",
        specification,
        inputs=inputs,
        libraries=("torch",),
        device=device.type,
        seed=seed,
        dataset_shape=list(dataset.shape),
        classes=dataset.classes,
        parameters_count=sum(p.numel() for p in model.parameters()),
        clean_accuracy=clean,
        pgd_accuracy=robust,
        pgd_epsilon=epsilon,
        pgd_images=min(PGD_IMAGES, len(dataset.x_test)),
        **measured,
    )
    artifacts.save_tensors(out, models.weights_of(model), header)
    checkpoint.unlink(missing_ok=True)
    print(
        f"clean accuracy {clean:.4f}, PGD accuracy {robust:.4f} (epsilon {epsilon:.4g})",
        file=sys.stderr,
        flush=True,
    )
