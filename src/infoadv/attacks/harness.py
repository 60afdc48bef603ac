"""Runs one attack on one model: picks the images, cuts them into chunks, rounds to 8 bits, writes the artefact.

An adversarial example is an image file. Attacks differ in how far past the boundary they happen to stop, so after any
attack the harness looks, per image, for the smallest factor s >= 1 at which round8(clip(x + s delta)) is still
adversarial; that 8-bit image is the result on which all metrics are taken.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infoadv import artifacts, data, dependencies, factory, models, plugins, shards
from infoadv.attacks import AttackError, CountingModel, batch_view, margin
from infoadv.attacks.pieces import in_pieces
from infoadv.progress import Progress, clear_line

#: Largest factor tried, and the ratio between the factors of the first sweep; BISECTIONS then refine.
MAX_FACTOR = 16.0
FACTOR_RATIO = 2**0.25
BISECTIONS = 8
_SELECT_BATCH = 250


def select(
    model: nn.Module, dataset: data.Dataset, images: int, seed: int, device: torch.device, name: str
) -> np.ndarray:
    """Return the places (n,) of the first ``images`` correctly classified test images in the seeded order of the data set.

    Raises ``AttackError`` where there are fewer, ``ModelError`` where the logits are of the wrong shape or not finite.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.x_test))
    chosen: list[int] = []
    for start in range(0, len(order), _SELECT_BATCH):
        indices = order[start : start + _SELECT_BATCH]
        logits = models.check_logits(model, to_images(dataset.x_test[indices], device), dataset.classes, name)
        correct = logits.argmax(1).cpu().numpy() == dataset.y_test[indices]
        chosen.extend(indices[correct].tolist())
        if len(chosen) >= images:
            return np.array(chosen[:images], dtype=np.int64)
    raise AttackError(
        f"{name}: {images} images asked for, {len(chosen)} of the {len(order)} test images are classified correctly; "
        "lower images."
    )


def to_images(pixels: np.ndarray, device: torch.device | str) -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [0, 1] on ``device``."""
    return (torch.from_numpy(pixels).to(device).float() / 255).contiguous(memory_format=torch.channels_last)


def choose_targets(kind: str, model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Tensor | None:
    """Return the target class of each image (N,), or None for "untargeted".

    "next" is the label plus one, "least_likely" the class with the smallest logit of the clean image.
    """
    if kind == "untargeted":
        return None
    if kind == "next":
        return (labels + 1) % classes
    with torch.no_grad():
        logits = model(images)
    return logits.scatter(1, labels[:, None], torch.inf).argmin(1)


def round_to_8_bits(
    clean: Tensor,
    adversarial: Tensor,
    is_adversarial: Callable[[Tensor], Tensor],
    linf: float | None = None,
    l2: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return 8-bit images (N, C, H, W) as float32 levels / 255, whether each is adversarial, and its factor s.

    Images whose float version is not adversarial are rounded as they are (s = 1). ``linf`` and ``l2`` are the budget of
    the attack: the scaled perturbation stays inside it (the L-infinity budget also after rounding).
    """
    delta = adversarial - clean
    limit = torch.full((len(clean),), MAX_FACTOR, device=clean.device)
    if l2 is not None:
        limit = (l2 / delta.flatten(1).norm(dim=1).clamp_min(1e-12)).clamp(1.0, MAX_FACTOR)

    def scaled(factor: Tensor) -> Tensor:
        change = batch_view(torch.minimum(factor, limit), delta) * delta
        if linf is not None:
            levels = math.floor(linf * 255 + 1e-6) / 255
            change = change.clamp(-levels, levels)
        return ((clean + change).clamp(0, 1) * 255).round() / 255

    one = torch.ones(len(clean), device=clean.device)
    factor, images = one, scaled(one)
    reached = is_adversarial(images)
    searching = is_adversarial(adversarial) & ~reached
    if bool(searching.any()):
        low, high = one.clone(), torch.full_like(one, torch.inf)
        trial = one
        while bool((searching & high.isinf()).any()) and float(trial[0]) < MAX_FACTOR:
            trial = trial * FACTOR_RATIO
            now = is_adversarial(scaled(trial)) & searching
            high = torch.where(now & high.isinf(), trial, high)
            low = torch.where(searching & high.isinf(), trial, low)
        found = searching & ~high.isinf()
        for _ in range(BISECTIONS):
            middle = torch.where(found, (low + high) / 2, one)
            now = is_adversarial(scaled(middle))
            high = torch.where(found & now, middle, high)
            low = torch.where(found & ~now, middle, low)
        factor = torch.where(found, high, one)
        images = torch.where(batch_view(found, images), scaled(factor), images)
        reached = reached | found
    return images, reached, factor


def _budget(options: dict[str, Any], method: str) -> dict[str, float]:
    """Return the named budget of an attack as arguments of ``round_to_8_bits``; an attack without one has none.

    ``epsilon`` is an L-infinity budget unless its schema says ``"norm": "l2"``.
    """
    epsilon = options.get("epsilon")
    if not isinstance(epsilon, int | float):
        return {}
    return {plugins.schemas("attacks")[method]["epsilon"].get("norm", "linf"): float(epsilon)}


def _attack_chunk(
    attack: Callable[..., Any],
    specification: dict[str, Any],
    model: nn.Module,
    dataset: data.Dataset,
    indices: np.ndarray,
    norms: np.ndarray | None,
    reference: nn.Module | None,
    seed: int,
    device: torch.device,
    on_pass: Callable[[CountingModel], None] | None = None,
) -> dict[str, np.ndarray]:
    images = to_images(dataset.x_test[indices], device)
    labels = torch.from_numpy(dataset.y_test[indices]).to(device)
    targets = choose_targets(specification.get("target", "untargeted"), model, images, labels, dataset.classes)
    options = {name: value for name, value in specification.get("options", {}).items() if name != "like"}
    if norms is not None:
        options["norms"] = torch.from_numpy(norms).to(device)
    if reference is not None:
        options["reference"] = reference
    counting = CountingModel(model, len(indices), on_pass).to(device)
    result = attack(counting, images, labels, indices=torch.from_numpy(indices), seed=seed, targets=targets, **options)
    adversarial = result.adversarial.detach()
    if not torch.isfinite(adversarial).all() or adversarial.min() < -1e-6 or adversarial.max() > 1 + 1e-6:
        raise AttackError(f"{specification['method']} returned images outside [0, 1] or not finite; it must clip them.")
    adversarial = adversarial.clamp(0, 1)

    def is_adversarial(candidates: Tensor) -> Tensor:
        with torch.no_grad():
            return margin(model(candidates), labels, targets) > 0

    # A control is not enlarged until it succeeds: its size is what it controls for.
    budget = {"l2": 0.0} if norms is not None else _budget(options, specification["method"])
    eight_bit, success, factor = round_to_8_bits(images, adversarial, is_adversarial, **budget)
    columns = {
        "adversarial": adversarial,
        "adversarial_8bit": (eight_bit * 255).round().to(torch.uint8),
        "success_float": is_adversarial(adversarial),
        "success": success,
        "factor": factor,
        "forwards": counting.forwards,
        "backwards": counting.backwards,
        "first_success": result.first_success,
        "target": torch.full_like(labels, -1) if targets is None else targets,
        **{f"trace_{name}": value for name, value in result.trace.items()},
    }
    return {name: value.cpu().contiguous().numpy() for name, value in columns.items()}


def run(
    data_path: str | Path,
    model_path: str | Path,
    specification: dict[str, Any],
    *,
    images: int,
    chunk: int,
    seed: int,
    device: torch.device | str,
    out: str | Path,
    like: str | Path | None = None,
    reference: str | Path | None = None,
    resume: str | Path | None = None,
    shard: tuple[int, int] | None = None,
) -> None:
    """Attack the first ``images`` correctly classified test images and write the attack artefact.

    ``model_path`` is ``.../{data set}/{model}.safetensors``: its place names both. ``specification`` holds ``name``,
    ``method``, ``options`` and optionally ``target``; ``like`` is the attack artefact whose L2 norms a control takes over,
    ``reference`` the model artefact that an attack with backbone ``reference`` looks through; ``resume`` a file that holds
    the chunks done so far, so that a killed attack goes on.
    With ``shard`` (K, N) only the chunks of the K-th of N shards run, from 0, and ``out`` becomes one of the files that
    :func:`infoadv.shards.gather` joins. Chunks that ran in smaller pieces, because the GPU was out of memory, are in the
    header as ``pieces``: the size of the largest piece by the number of the chunk.
    """
    place, count = shard or (0, 1)
    numbers = shards.chunks_of(place, count, -(-images // chunk))
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    model, model_header = models.load(model_path, device)
    data_digest = artifacts.file_digest(data_path)
    if model_header["inputs"].get("data") != data_digest:
        raise artifacts.ArtifactError(
            f"{model_path}: was trained on another data set than {data_path}; remove it and run again."
        )
    inputs: dict[str, str | Path] = {"data": data_path, "model": model_path}
    selected = select(model, dataset, images, seed, device, str(model_path))
    norms = None
    if like is not None:
        inputs["like"] = like
        norms = _norms_of(like, selected, dataset)
    looked_through = None
    if reference is not None:
        inputs["reference"] = reference
        looked_through, _ = models.load(reference, device)
    attack = plugins.load("attacks", specification["method"])

    header = artifacts.provenance(
        "attack",
        specification,
        inputs=inputs,
        libraries=("torch", "foolbox", "adv-lib"),
        device=device.type,
        seed=seed,
        chunk=chunk,
        dataset=Path(model_path).parent.name,
        model=Path(model_path).stem,
        estimator=specification.get("estimator", ""),
    )
    header_of_shard = shards.header_of_shard(
        header,
        place,
        count,
        chunks=len(numbers),
        images=images,
        threads=torch.get_num_threads(),
        processor=_processor(device),
        code=_code_digest(specification["method"], model_header),
    )
    # Chunks of another specification, code, input or machine must not meet in one artefact; a commit elsewhere is none.
    identity = artifacts.canonical_json({**header_of_shard, "commit": None})
    parts, pieces = _resumed(resume, identity)
    indices = selected[numbers.start * chunk : numbers.stop * chunk]

    def attack_places(where: np.ndarray, on_pass: Callable[[CountingModel], None]) -> dict[str, np.ndarray]:
        own_norms = None if norms is None else norms[where]
        own = (own_norms, looked_through)
        return _attack_chunk(attack, specification, model, dataset, selected[where], *own, seed, device, on_pass)

    before = min(len(parts) * chunk, len(indices))
    progress = Progress(len(indices), "images", done=before, note=_success(parts, before))
    for number in range(len(parts), len(numbers)):
        # The last chunk is padded with the first images.
        where = np.arange(numbers[number] * chunk, (numbers[number] + 1) * chunk) % images
        on_pass = partial(_say_passes, progress, f"chunk {number + 1}/{len(numbers)}")
        results, size = in_pieces(partial(attack_places, on_pass=on_pass), where)
        if size < chunk:
            pieces[str(numbers[number])] = size
            clear_line()
            print(
                f"out of memory with {chunk} images at once: chunk {numbers[number]} ran {size} at a time",
                file=sys.stderr,
            )
        parts.append(shards.join(results))
        if resume is not None and number + 1 < len(numbers):
            _save_resume(resume, identity, parts, pieces)
        done = min((number + 1) * chunk, len(indices))
        progress.update(done, _success(parts, done))
    columns = {"index": indices, "label": dataset.y_test[indices], **shards.join(parts, len(indices))}
    own = header if shard is None else header_of_shard
    artifacts.save_tensors(out, columns, {**own, **({"pieces": pieces} if pieces else {})})
    if resume is not None:
        Path(resume).unlink(missing_ok=True)


def _success(parts: list[dict[str, np.ndarray]], count: int) -> str:
    """Return what the progress says of the first ``count`` images."""
    return f"success {np.concatenate([part['success'] for part in parts])[:count].mean():.1%}" if parts else ""


def _say_passes(progress: Progress, chunk: str, model: CountingModel) -> None:
    if progress.due():
        progress.alive(f"{chunk}: {int(model.forwards.max())} forward passes")


def _processor(device: torch.device) -> str:
    """Return what kernels are chosen by: the name of the GPU, or the vector instructions of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()


def _code_digest(method: str, model_header: dict[str, Any]) -> str:
    """Return the digest of the files that the workflow lists as code of this attack (``infoadv.config.attack_code``)."""

    def network(header: dict[str, Any]) -> list[Path]:
        specification = header["specification"]
        if "factory" in specification:
            return factory.sources(specification["factory"])
        if "architecture" in specification:
            return [plugins.source_file("models", specification["architecture"])]
        return [file for member in specification.get("members", ()) for file in network(header["members"][member])]

    return dependencies.digest(
        plugins.PACKAGE / "device.py", Path(__file__), plugins.source_file("attacks", method), *network(model_header)
    )


def _norms_of(like: str | Path, indices: np.ndarray, dataset: data.Dataset) -> np.ndarray:
    tensors, _ = artifacts.load_tensors(like, "attack")
    if not np.array_equal(tensors["index"], indices):
        raise artifacts.ArtifactError(f"{like}: holds other images than this attack; remove it and run again.")
    change = tensors["adversarial_8bit"].astype(np.float64) - dataset.x_test[indices]
    return np.sqrt((change**2).sum((1, 2, 3)) / 255**2).astype(np.float32)


def _resumed(resume: str | Path | None, identity: str) -> tuple[list[dict[str, np.ndarray]], dict[str, int]]:
    if resume is None or not Path(resume).is_file():
        return [], {}
    try:
        tensors, header = artifacts.load_tensors(resume, "resume")
    except artifacts.ArtifactError:
        return [], {}
    if header["specification"] != {"identity": identity}:
        return [], {}
    print(f"resumed after {header['chunks']} chunks", file=sys.stderr, flush=True)
    parts = [
        {name.split(".", 1)[1]: array for name, array in tensors.items() if name.startswith(f"{number}.")}
        for number in range(header["chunks"])
    ]
    return parts, header["pieces"]


def _save_resume(resume: str | Path, identity: str, parts: list[dict[str, np.ndarray]], pieces: dict[str, int]) -> None:
    tensors = {f"{number}.{name}": array for number, part in enumerate(parts) for name, array in part.items()}
    header = artifacts.provenance("resume", {"identity": identity}, chunks=len(parts), pieces=pieces)
    artifacts.save_tensors(resume, tensors, header)
