"""The transfer stage: shows what every attack made for one network to the other networks of the data set, a row an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from infoadv import artifacts, data
from infoadv.execution.errors import InfoadvError
from infoadv.execution.progress import Progress
from infoadv.numerics.pixels import batch_size
from infoadv.stages.looking import aimed, check_images, classified, load_network

#: Images that a network sees at once.
_BATCH = 250


def run(
    data_path: str | Path,
    model_paths: Sequence[str | Path],
    attack_paths: Sequence[str | Path],
    specification: Mapping[str, Any],
    *,
    device: torch.device | str,
    out: str | Path,
) -> None:
    """Classify the 8-bit images of every attack by the networks that they were not made for; write a parquet artefact.

    A row is an image of one attack seen by one other network: ``model`` is the network that was attacked, ``network`` the one
    that looks. ``success`` says whether the attack succeeds on its own network, ``known`` whether the other one classifies the
    clean image rightly, ``transferred`` whether it classifies the adversarial image as the attack asks: as another class, or as
    the target class.

    Parameters
    ----------
    model_paths
        The networks, ``.../{data set}/{model}.safetensors``.
    attack_paths
        Attack artefacts on these networks.
    specification
        ``networks``: the names of the networks, in the order of ``model_paths``.

    Raises
    ------
    InfoadvError
        The networks are not those of the specification, or an attack is on another network or data set.
    """
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    digest = artifacts.file_digest(data_path)
    names = [Path(path).stem for path in model_paths]
    if names != specification["networks"]:
        raise InfoadvError(
            f"networks: the specification names {', '.join(specification['networks'])}, the files are of {', '.join(names)}; "
            "give one file each, in this order."
        )
    networks = {
        name: load_network(path, data_path, digest, device)[0] for name, path in zip(names, model_paths, strict=True)
    }
    digests = {name: artifacts.file_digest(path) for name, path in zip(names, model_paths, strict=True)}
    progress = Progress(len(attack_paths), "attacks")
    known: dict[str, dict[int, bool]] = {name: {} for name in names}
    frames = []
    for number, path in enumerate(attack_paths, 1):
        arrays, header = artifacts.load_tensors(path, "attack")
        own = header["model"]
        if (
            own not in networks
            or header["inputs"].get("data") != digest
            or header["inputs"].get("model") != digests[own]
        ):
            raise artifacts.ArtifactError(
                f"{path}: was made on another network or data set than these; remove it and run again."
            )
        check_images(path, arrays, dataset)
        for name, network in networks.items():
            if name != own:
                frames.append(_rows(arrays, header, name, network, dataset, known[name], device))
        progress.update(number, f"{header['specification']['name']} on {own}")
    if not frames:
        raise InfoadvError("there is nothing to show to another network; give two networks and the attacks on them.")
    header = artifacts.provenance(
        "transfer",
        specification,
        inputs={
            "data": data_path,
            **{f"model {Path(path).stem}": path for path in model_paths},
            **{f"attack {Path(path).parent.name}/{Path(path).stem}": path for path in attack_paths},
        },
        libraries=("torch",),
        device=device.type,
        dataset=Path(model_paths[0]).parent.name,
    )
    artifacts.save_rows(out, pd.concat(frames, ignore_index=True), header)


def _rows(
    arrays: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    name: str,
    network: nn.Module,
    dataset: data.Dataset,
    known: dict[int, bool],
    device: torch.device,
) -> pd.DataFrame:
    """Return the rows of one attack as ``network`` sees them; ``known`` keeps what it says of clean images, by their index."""
    index, label, target = arrays["index"], arrays["label"], arrays["target"]
    new = np.array([place for place, one in enumerate(index) if int(one) not in known], dtype=np.int64)
    size = batch_size(_BATCH, dataset.shape)
    seen: dict[str, Any] = {"classes": dataset.classes, "name": name, "device": device, "size": size}
    clean, _ = classified(network, dataset.x_test[index[new]], label[new], None, **seen)
    known.update(zip(index[new].tolist(), (clean == label[new]).tolist(), strict=True))
    prediction, margins = classified(network, arrays["adversarial_8bit"], label, aimed(target), **seen)
    return pd.DataFrame(
        {
            "dataset": header["dataset"],
            "model": header["model"],
            "attack": header["specification"]["name"],
            "network": name,
            "index": index,
            "label": label,
            "target": target,
            "success": arrays["success"],
            "known": [known[int(one)] for one in index],
            "prediction": prediction,
            "transferred": margins > 0,
        }
    )
