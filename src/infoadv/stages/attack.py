"""The attack stage: picks the images, cuts them into chunks, attacks each, goes on after a kill, writes the artefact."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from infoadv import artifacts, data, models
from infoadv.artifacts import shards
from infoadv.attacks import AttackError, CountingModel, harness
from infoadv.attacks.smaller_batches import in_pieces
from infoadv.execution.progress import Progress, clear_line
from infoadv.numerics.pixels import batch_size, to_images, to_levels
from infoadv.pipeline import code_inputs
from infoadv.registry import plugins
from infoadv.stages.looking import load_network

_SELECT_BATCH = 250


def select(
    model: nn.Module,
    dataset: data.Dataset,
    images: int,
    seed: int,
    device: torch.device,
    name: str,
    first_image: int = 0,
) -> np.ndarray:
    """Return the indices (n,) of the first ``images`` correctly classified test images in the seeded order of the data set,
    from its place ``first_image`` on.

    Raises ``AttackError`` where there are fewer, ``ModelError`` where the logits are of the wrong shape or not finite.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.x_test))[first_image:]
    chosen: list[int] = []
    size = batch_size(_SELECT_BATCH, dataset.shape)
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        logits = models.check_logits(model, to_images(dataset.x_test[indices], device), dataset.classes, name)
        correct = logits.argmax(1).cpu().numpy() == dataset.y_test[indices]
        chosen.extend(indices[correct].tolist())
        if len(chosen) >= images:
            return np.array(chosen[:images], dtype=np.int64)
    begun = f" from place {first_image} on" if first_image else ""
    raise AttackError(
        f"{name}: {images} images asked for, {len(chosen)} of the {len(order)} test images{begun} are classified correctly; "
        "lower images."
    )


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
    # What a specification is silent about is as it was before it was an option.
    options = plugins.earlier_values("attacks", specification["method"]) | specification.get("options", {})
    options.pop("like", None)
    if norms is not None:
        options["norms"] = torch.from_numpy(norms).to(device)
    if reference is not None:
        options["reference"] = reference
    harness.check_signature(attack, specification["method"], options)
    result = harness.run_batch(
        attack,
        model,
        images,
        labels,
        targets=harness.choose_targets(
            specification.get("target", "untargeted"), model, images, labels, dataset.classes
        ),
        indices=torch.from_numpy(indices),
        seed=seed,
        options=options,
        limits=harness.budget(options, specification["method"]),
        name=specification["method"],
        on_pass=on_pass,
    )
    columns = {
        "adversarial": result.float_images,
        "adversarial_8bit": to_levels(result.images),
        "success_float": result.float_success,
        "success": result.success,
        "factor": result.factor,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "first_success": result.first_success,
        "target": torch.full_like(labels, -1) if result.targets is None else result.targets,
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
    first_image: int = 0,
) -> None:
    """Attack the first ``images`` correctly classified test images and write the attack artefact.

    They are taken in a seeded order of the test part, from its place ``first_image`` on.

    ``model_path`` is ``.../{data set}/{model}.safetensors``: its place names both. ``specification`` holds ``name``,
    ``method``, ``options`` and optionally ``target``; ``like`` is the attack artefact whose L2 norms a control takes over,
    ``reference`` the model artefact that an attack with backbone ``reference`` looks through; ``resume`` a file that holds
    the chunks done so far, so that a killed attack goes on.
    With ``shard`` (K, N) only the chunks of the K-th of N shards run, from 0, and ``out`` becomes one of the files that
    :func:`infoadv.artifacts.shards.gather` joins. Chunks that ran in smaller pieces, because the GPU was out of memory, are
    in the header as ``pieces``: the size of the largest piece by the number of the chunk.
    """
    place, count = shard or (0, 1)
    numbers = shards.chunks_of(place, count, -(-images // chunk))
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    data_digest = artifacts.file_digest(data_path)
    model, model_header = load_network(model_path, data_path, data_digest, device)
    inputs: dict[str, str | Path] = {"data": data_path, "model": model_path}
    selected = select(model, dataset, images, seed, device, str(model_path), first_image)
    norms = None
    if like is not None:
        inputs["like"] = like
        norms = _norms_of(like, selected, dataset, {"data": data_digest, "model": artifacts.file_digest(model_path)})
    looked_through = None
    if reference is not None:
        inputs["reference"] = reference
        looked_through, _ = load_network(reference, data_path, data_digest, device)
    attack = plugins.load("attacks", specification["method"])
    networks = code_inputs.networks_of_header(model_header)

    header = artifacts.provenance(
        "attack",
        specification,
        inputs=inputs,
        libraries=("torch", "foolbox", "adv-lib"),
        device=device.type,
        seed=seed,
        chunk=chunk,
        first_image=first_image,
        dataset=Path(model_path).parent.name,
        model=Path(model_path).stem,
    )
    header_of_shard = shards.header_of_shard(
        header,
        place,
        count,
        chunks=len(numbers),
        images=images,
        threads=torch.get_num_threads(),
        processor=_processor(device),
        code=code_inputs.digest(code_inputs.of_attack(specification["method"], networks)),
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


def _norms_of(like: str | Path, indices: np.ndarray, dataset: data.Dataset, inputs: Mapping[str, str]) -> np.ndarray:
    """Return the L2 norm (N,) of each perturbation of another attack on the same network; ``inputs`` are digests by role."""
    tensors, header = artifacts.load_tensors(like, "attack")
    if any(header["inputs"].get(role) != digest for role, digest in inputs.items()):
        raise artifacts.ArtifactError(f"{like}: is an attack on another network or data set; remove it and run again.")
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
