"""How long Snakemake plans a large run, and in how much memory: 10 data sets, 10 networks, 20 attacks of 40 shards each."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 10


def configuration(datasets: int, networks: int, attacks: int, shards: int) -> dict:
    """Return a configuration of this size, as small as possible otherwise."""
    network = {"architecture": "small_cnn", "options": {}, "training": {"epochs": 1}}
    return {
        "seed": 0,
        "device": "cpu",
        "images": shards * CHUNK,
        "chunk": CHUNK,
        "datasets": {f"data_{number}": {"source": "digits", "size": 28} for number in range(datasets)},
        "models": {f"network_{number}": network for number in range(networks)},
        "attacks": {
            f"attack_{number}": {"method": "ddn", "shards": shards, "options": {"steps": 10 + number}}
            for number in range(attacks)
        },
        "metrics": {"l2": {}, "ssim": {}},
        "figures": {},
        "statistics": {"reference": "attack_0"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, number in {"datasets": 10, "networks": 10, "attacks": 20, "shards": 40}.items():
        parser.add_argument(f"--{name}", type=int, default=number, help=f"(default {number})")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(yaml.safe_dump(configuration(**vars(arguments))), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "8", "all"]
        command += ["--configfile", str(path), "--directory", folder, "--dry-run", "--quiet", "rules"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(" ".join(line for line in done.stdout.splitlines() if line.startswith("total")))
    print(f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, {used.ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
