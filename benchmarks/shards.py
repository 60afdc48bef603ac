"""CPU time of an attack in one job against the same attack in shards that are gathered, beyond the start of the jobs.

Everything runs as in the workflow: a process a stage, on the embedded digits. CPU time (user and system, of the processes
alone) says what the work costs, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from infoadv import artifacts, config

CONFIG = {
    "datasets": {"digits": {"source": "digits", "size": 32}},
    "models": {
        "standard": {
            "architecture": "small_cnn",
            "options": {"width": 16},
            "training": {"epochs": 4, "batch_size": 64, "learning_rate": 0.05, "pgd_epsilon": 0.1},
        }
    },
    "attacks": {"cw_l2": {"method": "cw_l2", "options": {"steps": 300, "binary_search_steps": 5}}},
    "metrics": {"l2": {}},
}
# What a job of the stage does before it works: start Python, import, read its inputs.
START_OF_ATTACK = """
import sys
from infoadv import data, models
from infoadv.execution import device
from infoadv.registry import plugins
from infoadv.attacks import harness
device.configure(1)
data.load(sys.argv[1]), models.load(sys.argv[2]), plugins.load("attacks", sys.argv[3])
"""
START_OF_GATHER = "from infoadv import cli\nfrom infoadv.artifacts import shards"


def cpu_seconds(*command: str) -> float:
    """Run ``python command`` and return the user and system time that it took, that of its children included."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Attack once in one job and once in shards; print both times, the starts, and the ratio without the starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160, help="images attacked (default 160)")
    parser.add_argument("--chunk", type=int, default=20, help="images that run together (default 20)")
    parser.add_argument("--shards", type=int, default=4, help="shards (default 4)")
    arguments = parser.parse_args()
    checked = config.Config(CONFIG)
    network = artifacts.canonical_json(checked.models["standard"]["digits"])
    attacked = artifacts.canonical_json(checked.attacks["cw_l2"].specification("digits"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, model = str(folder / "data.safetensors"), str(folder / "digits" / "standard.safetensors")
        infoadv = ("-m", "infoadv")
        cpu_seconds(*infoadv, "data", "--spec", artifacts.canonical_json(checked.datasets["digits"]), "--out", data)
        checkpoint = str(folder / "checkpoint.safetensors")
        options = ("--data", data, "--spec", network, "--checkpoint", checkpoint, "--out", model)
        cpu_seconds(*infoadv, "train", *options)

        def attack(out: Path, *more: str) -> float:
            sizes = ("--images", str(arguments.images), "--chunk", str(arguments.chunk))
            inputs = ("--data", data, "--model", model, "--spec", attacked)
            resume = str(folder / "resume.safetensors")
            return cpu_seconds(*infoadv, "attack", *inputs, *sizes, "--resume", resume, "--out", str(out), *more)

        print(f"C&W-L2, {arguments.images} digits in chunks of {arguments.chunk}, one thread; CPU seconds", flush=True)
        start = statistics.median(cpu_seconds("-c", START_OF_ATTACK, data, model, "cw_l2") for _ in range(3))
        start_of_gather = statistics.median(cpu_seconds("-c", START_OF_GATHER) for _ in range(3))
        print(f"start of a job: attack {start:.2f}, gathering {start_of_gather:.2f}", flush=True)
        whole, gathered = folder / "whole.safetensors", folder / "gathered.safetensors"
        alone = attack(whole)
        print(f"one job: {alone:.2f}, without its start {alone - start:.2f}", flush=True)
        files = [folder / f"{shard}.safetensors" for shard in range(arguments.shards)]
        shards = [attack(file, "--shard", f"{shard}/{arguments.shards}") for shard, file in enumerate(files)]
        gathering = cpu_seconds(*infoadv, "gather", "--out", str(gathered), *map(str, files))
        print(
            f"{arguments.shards} shards: {' + '.join(f'{seconds:.2f}' for seconds in shards)}, gathering {gathering:.2f}"
        )
        same = gathered.read_bytes() == whole.read_bytes()

    several = sum(shards) - arguments.shards * start + gathering - start_of_gather
    print(f"without the starts {several:.2f}: ratio {several / (alone - start):.3f}")
    print(f"with the starts {sum(shards) + gathering:.2f}: ratio {(sum(shards) + gathering) / alone:.3f}")
    print(f"bytes {'equal' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
