"""The flow stage: measures the profiles of every input that is followed in one network, a row for each input and layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from infoadv import artifacts, data
from infoadv.execution.progress import Progress
from infoadv.flow import conditions
from infoadv.flow.conditions import Crafted
from infoadv.flow.measuring import Network, attack_rows, clean_rows
from infoadv.flow.recording import FlowError
from infoadv.numerics.sizes import equal_to, equalled
from infoadv.stages.looking import load_network


def run(
    data_path: str | Path,
    model_path: str | Path,
    attack_paths: Sequence[str | Path],
    specification: dict[str, Any],
    *,
    seed: int,
    device: torch.device | str,
    out: str | Path,
) -> None:
    """Measure the profiles of clean and adversarial inputs inside one network, and write the flow artefact.

    Parameters
    ----------
    model_path
        ``.../{data set}/{model}.safetensors``, the network in which the inputs are followed.
    attack_paths
        Attack artefacts, on this network or others of the data set.
    specification
        ``studies``: a list of {source, attack, conditions}, one for each attack artefact (:mod:`infoadv.flow.conditions`);
        ``matched``: the attack to whose L2 the others are brought image by image, or None; and ``estimators``, ``evidence``,
        ``shifts``, ``iterates``, ``probes`` and ``layers`` of the configuration.

    Raises
    ------
    FlowError
        A study without its attack artefact or of an unknown condition, or a network whose layers cannot be recorded.
    """
    device = torch.device(device)
    dataset, _ = data.load(data_path)
    digest = artifacts.file_digest(data_path)
    model, _ = load_network(model_path, data_path, digest, device)
    attacks: dict[tuple[str, str], Crafted] = {}
    for path in attack_paths:
        crafted = conditions.read(path, digest)
        if crafted.index.max(initial=0) >= len(dataset.x_test) or crafted.eight_bit.shape[1:] != dataset.shape:
            raise artifacts.ArtifactError(f"{path}: its images do not fit the data set; remove it and run again.")
        if (crafted.source, crafted.attack) in attacks:
            raise FlowError(f"{path}: {crafted.attack!r} on {crafted.source!r} is given twice; give each attack once.")
        attacks[crafted.source, crafted.attack] = crafted
    for study in specification["studies"]:
        for source in filter(None, (study["source"], *map(equalled, study["conditions"]))):
            if (source, study["attack"]) not in attacks:
                raise FlowError(f"{model_path}: the attack {study['attack']!r} on {source!r} is not among the inputs.")
        for condition in study["conditions"]:
            if condition not in conditions.CONDITIONS and not equalled(condition):
                known = ", ".join((*conditions.CONDITIONS, equal_to("NETWORK")))
                raise FlowError(
                    f"studies: there is no condition {condition!r} of {study['attack']!r}; choose of: {known}."
                )
    index = np.unique(np.concatenate([crafted.index for crafted in attacks.values()]))
    network = Network(model, dataset, index, specification, seed, device)
    progress = Progress(len(specification["studies"]), "studies")
    frames = [clean_rows(network, index)]
    for number, study in enumerate(specification["studies"], 1):
        crafted = attacks[study["source"], study["attack"]]
        reference = attacks.get((study["source"], specification["matched"]))
        others = {source: made for (source, attack), made in attacks.items() if attack == study["attack"]}
        wanted = study["conditions"]
        frames += attack_rows(network, crafted, wanted, reference, others, specification["iterates"], seed, progress)
        progress.update(number, f"{study['attack']} on {study['source']}: {', '.join(wanted)}")
    layers = list(dict.fromkeys(frames[0]["layer_name"]))
    crafted_by = {f"attack {Path(path).parent.name}/{Path(path).stem}": path for path in attack_paths}
    header = artifacts.provenance(
        "flow",
        specification,
        inputs={"data": data_path, "model": model_path, **crafted_by},
        libraries=("torch", "scikit-learn"),
        device=device.type,
        seed=seed,
        dataset=Path(model_path).parent.name,
        model=Path(model_path).stem,
        layers=layers,
        estimators=list(specification["estimators"]),
        features_count=int(np.prod(dataset.shape)),
        # The images may be removed to save space: what made them stays known.
        attacked={role: artifacts.read_header(path) for role, path in crafted_by.items()},
    )
    artifacts.save_rows(out, pd.concat(frames, ignore_index=True), header)
