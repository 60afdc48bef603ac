"""What the benchmark costs at paper scale: 10 networks and 20 attacks of config/paper.yaml on 10,000 images each.

The tables that docs/cluster.md shows. Measured, in the results folders that are given: passes per image, seconds of each
job, bytes of each artefact. Counted: the operations of each network. Extrapolated from these, linearly in images, passes
and operations: hours and gigabytes. Assumed: what a GPU sustains.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from infoadv import artifacts, models
from infoadv.config import Config, PlannedAttack
from infoadv.pipeline import resources
from infoadv.registry import plugins

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
TRAINING_IMAGES = {"mnist": 60_000, "cifar10": 50_000}
NETWORKS = {
    "mnist": ["carlini_wagner", "robust"],
    "cifar10": [
        *("carlini_wagner", "resnet", "robust", "good_init"),
        *("deep_conv", "trimmed", "distilled", "without_good_init"),
    ],
}
#: Methods whose artefacts hold the course of the attack.
RECORDING = plugins.literals("attacks", "TRACES")
#: JSMA is counted once.
LEFT_OUT = {"jsma_regular", "jsma_adaptive"}
#: Attacks that compute next to nothing outside the passes: what a core sustains in them is the rate of the passes.
PLAIN = {"ddn", "cw_l2", "pgd_l2", "pgd_linf", "bim"}
#: Seconds of a core to profile one input on FitNet-4, by estimator: benchmarks/RESULTS.md.
PROFILE = {"copula": 0.043, "quantile": 0.175}
#: Operations a second that a GPU sustains on networks this small, in float32. An assumption.
GPU = (1e12, 1e13)


@dataclass(frozen=True)
class Job:
    """One measured attack: passes per image, operations of these per image, seconds per image (start left out)."""

    method: str
    options: dict[str, Any]
    dataset: str
    forwards: float
    backwards: float
    operations: float
    seconds: float
    size: float


def operations(model: nn.Module, dataset: str) -> tuple[float, float]:
    """Return the operations of a forward pass of one image, and of the backward pass to that image."""
    image = torch.zeros(1, *SHAPES[dataset], requires_grad=True)
    counter = FlopCounterMode(display=False)
    with counter:
        logits = model.eval().requires_grad_(False)(image)
        forward = counter.get_total_flops()
        logits.sum().backward()
    return forward, counter.get_total_flops() - forward


def seconds(results: Path, stage: str, artefact: Path) -> float | None:
    """Return the wall time of the job that made an artefact, from Snakemake's benchmark file, if that is there."""
    path = results.joinpath("benchmarks", stage, artefact.parent.parent.name, artefact.parent.name, artefact.stem)
    if not path.with_name(f"{path.name}.tsv").is_file():
        return None
    with open(path.with_name(f"{path.name}.tsv"), newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


def measured_jobs(results: Path) -> Iterable[Job]:
    """Yield the timed attacks of a results folder. The fastest one on each network is taken for the start of all."""
    for folder in sorted((results / "attacks").glob("*/*")):
        dataset = folder.parent.name
        times = {path: seconds(results, "attack", path) for path in sorted(folder.glob("*.safetensors"))}
        timed = {path: time for path, time in times.items() if time is not None}
        if not timed:
            continue
        model, _ = models.load(results / "models" / dataset / f"{folder.name}.safetensors", "cpu")
        forward, backward = operations(model, dataset)
        for path, time in timed.items():
            tensors, header = artifacts.load_tensors(path, "attack")
            forwards, backwards = float(tensors["forwards"].mean()), float(tensors["backwards"].mean())
            images = len(tensors["index"])
            yield Job(
                method=header["specification"]["method"],
                options=header["specification"]["options"],
                dataset=dataset,
                forwards=forwards,
                backwards=backwards,
                operations=forwards * forward + backwards * backward,
                seconds=(time - min(timed.values())) / images,
                size=path.stat().st_size / images,
            )


def network(config: Config, dataset: str, name: str) -> nn.Module:
    """Return an untrained network of the configuration: its operations are those of the trained one."""
    specification = config.models[name][dataset]
    if "members" in specification:
        return models.Ensemble([network(config, dataset, member) for member in specification["members"]])
    channels = SHAPES[dataset][0]
    moments = [0.5] * channels, [0.25] * channels
    return models.build(specification["architecture"], specification["options"], SHAPES[dataset], 10, *moments)


def passes(attack: PlannedAttack, dataset: str, jobs: list[Job]) -> tuple[float, float]:
    """Return forward and backward passes per image: measured with the same options, or else what the options say."""
    same = [job for job in jobs if (job.method, job.options) == (attack.method, attack.options[dataset])]
    if same:
        return statistics.mean(job.forwards for job in same), statistics.mean(job.backwards for job in same)
    return (resources.passes(attack.options[dataset]),) * 2


def hours(work: float) -> str:
    """Return the GPU hours of so many operations, from the faster to the slower assumption."""
    ends = (work / speed / 3600 for speed in reversed(GPU))
    return " to ".join(f"{end:,.0f}" if end >= 10 else f"{end:.2g}" for end in ends)


def print_attacks(
    attacks: list[PlannedAttack], jobs: list[Job], costs: dict[tuple[str, str], tuple], images: int
) -> None:
    """Print what the attacks cost, the dearest first."""
    # A job of some seconds is mostly start.
    long = [job for job in jobs if job.seconds > 0.1]
    rate = statistics.median(job.operations / job.seconds for job in long if job.method in PLAIN)
    beside: dict[str, list[float]] = {}
    for job in long:
        if job.method not in PLAIN:
            extra = (job.seconds - job.operations / rate) / job.forwards
            beside.setdefault(job.method, []).append(max(0.0, extra))
    rows = []
    for attack in attacks:
        # A recipe that was not measured is taken for the dearest of the same file.
        file = plugins.source_file("attacks", attack.method)
        alike = [values for other, values in beside.items() if plugins.source_file("attacks", other) == file]
        extra = statistics.median(beside.get(attack.method) or max(alike, key=statistics.median, default=[0.0]))
        total, counts = 0.0, []
        for (dataset, _), (forward, backward) in costs.items():
            forwards, backwards = passes(attack, dataset, jobs)
            total += images * ((forwards * forward + backwards * backward) / rate + forwards * extra)
            counts.append(forwards)
        rows.append((total, attack.name, statistics.mean(counts), extra))
    everything = sum(row[0] for row in rows)
    print("| attack | passes per image | outside the passes, ms | core hours | share | GPU hours |")
    print("| --- | --: | --: | --: | --: | --: |")
    for total, name, count, extra in sorted(rows, reverse=True):
        cells = f"{count:,.0f} | {1000 * extra:.1f} | {total / 3600:,.0f} | {total / everything:.1%}"
        print(f"| `{name}` | {cells} | {hours(total * rate)} |")
    print(f"| all | | | {everything / 3600:,.0f} | | {hours(everything * rate)} |")
    print(f"\nA core sustained {rate / 1e9:.0f} GFLOP/s. Millions of operations of a forward pass (backward alike):")
    print(", ".join(f"{dataset}/{name} {forward / 1e6:.0f}" for (dataset, name), (forward, _) in costs.items()))


def print_training(config: Config, costs: dict[tuple[str, str], tuple]) -> None:
    """Print what training the networks costs: a forward pass, and a backward pass to the image and to the weights."""
    work = 0.0
    for (dataset, name), (forward, _) in costs.items():
        training = config.models[name][dataset]["training"]
        rounds = 2 if training.get("recipe") == "fast_adversarial" else 1
        work += 3 * forward * rounds * training.get("epochs", 0) * TRAINING_IMAGES[dataset]
    print(f"\nTraining: {work:.1e} operations, {hours(work)} GPU hours.")


def print_storage(attacks: list[PlannedAttack], jobs: list[Job], folders: list[Path], images: int) -> None:
    """Print bytes per image and what they come to, and the time of the metrics."""
    print("\n| artefact | bytes per image | files | GB |\n| --- | --: | --: | --: |")
    for dataset, names in NETWORKS.items():
        for told, mutual in (("attack with its course", True), ("attack", False)):
            size = statistics.mean(
                job.size for job in jobs if job.dataset == dataset and (job.method in RECORDING) == mutual
            )
            files = len(names) * sum((attack.method in RECORDING) == mutual for attack in attacks)
            print(f"| {dataset}, {told} | {size:,.0f} | {files} | {size * files * images / 1e9:.1f} |")
    sizes, times = [], []
    for folder in folders:
        for path in sorted((folder / "metrics").glob("*/*/*.parquet")):
            rows = len(artifacts.load_rows(path, "metrics")[0])
            sizes.append(path.stat().st_size / rows)
            time = seconds(folder, "metrics", path)
            times += [] if time is None else [time / rows]
    files = len(attacks) * sum(map(len, NETWORKS.values()))
    print(
        f"| metrics | {statistics.mean(sizes):,.0f} | {files} | {statistics.mean(sizes) * files * images / 1e9:.1f} |"
    )
    time = statistics.median(times)
    print(
        f"\nMetrics: {time:.2f} s per image of one core, start included: {time * files * images / 3600:,.0f} core hours."
    )


def print_profiles(config: Config, images: int) -> None:
    """Print what the information profiles cost, as if every network were FitNet-4."""
    assert config.flow is not None
    sets = sum(len(part.conditions) for parts in config.flow.parts().values() for part in parts)
    costs = ", ".join(f"{name} {sets * images * each / 3600:,.0f}" for name, each in PROFILE.items())
    print(f"\nProfiles: {sets} sets of inputs; core hours: {costs}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="results folders of finished runs on MNIST and CIFAR-10")
    parser.add_argument("--images", type=int, default=10_000, help="images of each network (default 10,000)")
    arguments = parser.parse_args()
    config = Config(yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8")))
    attacks = [attack for attack in config.attacks.values() if attack.sweep_of is None and attack.name not in LEFT_OUT]
    costs = {
        (dataset, name): operations(network(config, dataset, name), dataset)
        for dataset, names in NETWORKS.items()
        for name in names
    }
    jobs = [job for folder in arguments.results for job in measured_jobs(folder)]
    print_attacks(attacks, jobs, costs, arguments.images)
    print_training(config, costs)
    print_storage(attacks, jobs, arguments.results, arguments.images)
    print_profiles(config, arguments.images)


if __name__ == "__main__":
    main()
