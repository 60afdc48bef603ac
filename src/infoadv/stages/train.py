"""The training stage: trains a target network, or takes a user's own or an ensemble, measures it, writes the model artefact."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from infoadv import artifacts, data, models
from infoadv.numerics.pixels import to_images
from infoadv.pipeline import code_inputs
from infoadv.registry import factories, plugins
from infoadv.training import COMMON, MEASURED, TrainingError, loop
from infoadv.training.evaluation import PGD_IMAGES, accuracy, apgd_accuracy, pgd_accuracy
from infoadv.training.initialization import lsuv

#: Values of training images whose moments are taken of all at once, as 32-bit numbers: three times a gigabyte.
_MOMENTS_AT_ONCE = 1 << 28
#: Training images on which LSUV measures the variances.
INITIALIZATION_IMAGES = 512


def _other(path: str | Path, data_path: str | Path, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network that another one is made from; it must be of the same data set."""
    model, header = models.load(path, device)
    if header["inputs"].get("data") != artifacts.file_digest(data_path):
        raise TrainingError(f"{path}: made on another data set than {data_path}; train it again on this one.")
    return model, header


def _check_others(specification: Mapping[str, Any], given: Mapping[str, Any], trained: str | Path | None) -> None:
    """Raise ``TrainingError`` unless the files given are those that the specification names, and ``trained`` one to train."""
    for role, file in given.items():
        if (role in specification) != (file is not None):
            raise TrainingError(
                f"{role}: the specification names {specification.get(role, 'none')}, {file or 'no file'} is given; "
                f"give a file with --{role.removesuffix('s')} if and only if the specification names it."
            )
    if trained is not None and ("members" in specification or "weights" in specification):
        raise TrainingError(
            f"{trained}: this network is not trained but made of what its entry names; leave --trained out."
        )
    members = given["members"] or {}
    if list(members) != list(specification.get("members", [])):
        raise TrainingError(
            f"members: the specification names {', '.join(specification['members'])}, the files are of "
            f"{', '.join(members)}; give one file each, in this order."
        )


def _moments(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of uint8 ``images`` (N, C, H, W), in [0, 1]."""
    if images.size > _MOMENTS_AT_ONCE:
        return _moments_of_counts(images)
    pixels = images.astype(np.float32) / 255
    return pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()


def _moments_of_counts(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the same moments, but for rounding, from how often each of the 256 values occurs: without a copy of the images."""
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = sum(np.bincount(image[channel].ravel(), minlength=256) for image in images)
        mean.append(float(np.average(levels, weights=counts)))
        std.append(float(np.average((levels - mean[-1]) ** 2, weights=counts)) ** 0.5)
    return mean, std


def _spread(count: int, wanted: int) -> np.ndarray:
    """Return ``wanted`` of ``count`` places, or all, evenly spaced, so that images sorted by class do no harm."""
    return np.linspace(0, count - 1, min(count, wanted)).astype(np.int64)


def _judging(labels: np.ndarray, wanted: int) -> np.ndarray:
    """Return the places of the test images by which robustness is judged: the first, or evenly spaced ones of images sorted by
    class, as those of a folder are.
    """
    return _spread(len(labels), wanted) if (np.diff(labels) >= 0).all() else np.arange(min(len(labels), wanted))


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
    mean, std = models.normalisation(specification, dataset.shape[0]) or _moments(dataset.x_train)

    def built(chosen: dict[str, Any], weights: nn.Module | None = None) -> nn.Module:
        model = models.build(architecture, chosen, dataset.shape, dataset.classes, mean, std)
        if weights is not None:
            models.set_weights(model, models.weights_of(weights), start or architecture)
        return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    if start is None:
        model = built(options)
        if training["initialization"] == "lsuv":
            sample = to_images(dataset.x_train[_spread(len(dataset.x_train), INITIALIZATION_IMAGES)], device)
            about["lsuv_variances"] = lsuv(model, sample)
    else:
        weights, header = _other(start, data_path, device)
        if header["specification"].get("architecture") != architecture:
            raise TrainingError(f"{start}: a network of another architecture; start from a network of {architecture}.")
        # A trimmed network has other options than the configuration says.
        options = header.get("architecture_options", options)
        model = built(options, weights)
    prepare = getattr(plugins.module("training", training["recipe"]), "prepare", None)
    if prepare is not None:
        order = torch.randperm(len(dataset.x_train), generator=torch.Generator().manual_seed(seed)).numpy()
        prepared, options, about[training["recipe"]] = prepare(
            model,
            architecture,
            options,
            sample=lambda count: to_images(dataset.x_train[order[:count]], device),
            measure=lambda network: accuracy(network.eval(), dataset.x_test, dataset.y_test, device),
            **loop.recipe_options(training),
        )
        model = built(options, prepared)
    if options != specification["options"]:
        about["architecture_options"] = options
    return model, about


def _code(specification: Mapping[str, Any], origin: list[str | Path]) -> list[Path]:
    """Return the code that makes a network from the networks of ``origin``."""
    own = code_inputs.network_files(specification, lambda name: [])
    others = [code_inputs.networks_of_header(artifacts.read_header(path, "model")) for path in origin]
    return code_inputs.of_training(specification, [*own, *(file for files in others for file in files)])


def _taken(trained: str | Path, wanted: Mapping[str, Any], out: str | Path, inputs: Mapping[str, str | Path]) -> bool:
    """Write the network of ``trained`` to ``out`` if it is the one ``wanted``: of this specification, seed, device, data set
    and origin. Return whether it is.

    Code and libraries are not asked: like weights from elsewhere the file is data, and its own provenance, which is kept,
    says what made it. ``trained_commit`` is the commit that did.
    """
    tensors, header = artifacts.load_tensors(trained, "model")
    differs = [key for key, value in wanted.items() if header.get(key) != value]
    if differs:
        print(f"{trained}: has another {', '.join(differs)}; trained anew", file=sys.stderr, flush=True)
        return False
    now = artifacts.provenance("model", header["specification"], inputs={**inputs, "trained": trained})
    fresh = {key: now[key] for key in ("format", "version", "commit", "inputs")}
    artifacts.save_tensors(
        out, tensors, {**header, "trained_commit": header.get("trained_commit", header["commit"]), **fresh}
    )
    print(f"taken from {trained}, clean accuracy {header['clean_accuracy']:.4f}", file=sys.stderr, flush=True)
    return True


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
    trained: str | Path | None = None,
) -> None:
    """Make a model artefact: train ``specification["architecture"]``, or take a user's ``weights`` for it or for a
    ``factory``, or join ``members``.

    ``start`` and ``teacher`` are model artefacts, of the network that training begins from and of the one whose outputs
    are learnt; ``members`` are those of the ensemble, by name. Each is given if and only if the specification names it.
    ``trained`` is a model artefact of an earlier run: it is taken where it fits (:func:`_taken`), and where it does not the
    network is trained.
    ``checkpoint`` holds what has been trained so far; it is written after every epoch and removed at the end.
    Raises ``TrainingError`` where the clean accuracy is near chance (unless no epoch was asked for) and where a network
    given does not fit, ``ModelError`` where a user's model does not fit.
    """
    _check_others(specification, {"start": start, "teacher": teacher, "members": members}, trained)
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
    elif "weights" in specification:
        path = specification["weights"]
        tensors = artifacts.load_foreign_tensors(path)
        model = models.with_weights(specification, tensors, path, dataset.shape, dataset.classes).to(device)
        inputs["weights"] = path
        if "factory" in specification:
            code = factories.sources(specification["factory"])
            inputs |= {f"code {file.relative_to(Path.cwd()).as_posix()}": file for file in code}
    else:
        inputs |= {role: path for role, path in (("start", start), ("teacher", teacher)) if path is not None}
        # Of the content of files, not of what they say of themselves: another commit makes the same network from them.
        made_from = {role: artifacts.read_header(path).get("payload") for role, path in inputs.items()}
        if trained is not None:
            wanted = {"specification": specification, "seed": seed, "device": device.type, "made_from": made_from}
            if _taken(trained, wanted, out, inputs):
                # That of a training that was killed before this network was there.
                checkpoint.unlink(missing_ok=True)
                return
        measured["made_from"] = made_from
        identity = artifacts.canonical_json(
            {
                "specification": specification,
                "seed": seed,
                "device": device.type,
                "threads": torch.get_num_threads(),
                "made_from": made_from,
                "code": code_inputs.digest(_code(specification, [path for path in (start, teacher) if path])),
            }
        )
        model, about = _begin(specification, dataset, data_path, start, seed, device)
        measured |= about
        taught_by = _other(teacher, data_path, device)[0] if teacher is not None else None
        if training["small_share"]:
            small = loop.shrink(to_images(dataset.x_train[:8], device))
            for network, name in ((model, out), (taught_by, teacher)):
                if network is not None:
                    models.check_logits(network, small, dataset.classes, name or out)
        loop.train(model, dataset, training, seed, device, checkpoint, identity, taught_by)
    model.eval()

    models.check_logits(model, to_images(dataset.x_test[:8], device), dataset.classes, out)
    clean = accuracy(model, dataset.x_test, dataset.y_test, device)
    chance = float(np.bincount(dataset.y_test).max()) / len(dataset.y_test)
    if training.get("epochs") != 0 and clean < chance + 0.1 * (1 - chance):
        # Kept, the finished checkpoint would be taken up again and fail for ever.
        checkpoint.unlink(missing_ok=True)
        raise TrainingError(
            f"clean accuracy {clean:.3f} is near chance ({chance:.3f}); raise training.epochs, change "
            "training.learning_rate, or check the labels."
        )
    epsilon, steps, images = (training.get(name, COMMON[name]["default"]) for name in MEASURED)
    model.requires_grad_(False)
    shown = _judging(dataset.y_test, PGD_IMAGES)
    robust = pgd_accuracy(model, dataset.x_test[shown], dataset.y_test[shown], device, epsilon, seed)
    strongest = None
    if steps:
        shown = _judging(dataset.y_test, images)
        strongest = apgd_accuracy(model, dataset.x_test[shown], dataset.y_test[shown], device, epsilon, seed, steps)
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
        apgd_accuracy=strongest,
        apgd_steps=steps,
        apgd_images=min(images, len(dataset.x_test)),
        **measured,
    )
    artifacts.save_tensors(out, models.weights_of(model), header)
    checkpoint.unlink(missing_ok=True)
    print(
        f"clean accuracy {clean:.4f}, PGD accuracy {robust:.4f}"
        f"{'' if strongest is None else f', APGD accuracy {strongest:.4f}'} (epsilon {epsilon:.4g})",
        file=sys.stderr,
        flush=True,
    )
