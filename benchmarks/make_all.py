"""`make all` of this checkout, and of another one before it: wall and processor seconds, and whether they are within bounds.

    git worktree add ../old b673c44
    python benchmarks/make_all.py ../old

Both are cloned into empty folders and set up first, which is not timed. Processor time is that of the whole machine, because jobs
are forks of a process that nobody waits for: run nothing beside it. Linux alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What the default configuration may take on two cores.
WALL, PROCESSOR = 240, 400


def busy() -> float:
    """Return the processor seconds that the machine has spent since it started, without waiting and idleness."""
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def timed(checkout: Path, cores: int) -> tuple[float, float]:
    """Return wall and processor seconds of ``make all`` in a clone of a checkout's commit."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "infoadv")
        subprocess.run(["git", "clone", "--quiet", checkout, clone], check=True)
        subprocess.run(["make", ".venv/.stamp"], cwd=clone, check=True, capture_output=True)
        wall, processor = time.perf_counter(), busy()
        subprocess.run(["make", "all", f"CORES={cores}"], cwd=clone, check=True, capture_output=True)
        return time.perf_counter() - wall, busy() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="the other checkout (default: this one alone)")
    parser.add_argument("--cores", type=int, default=2, help="(default 2)")
    arguments = parser.parse_args()
    other = timed(arguments.other, arguments.cores) if arguments.other else None
    this = timed(ROOT, arguments.cores)
    for name, times in {"other": other, "this": this}.items():
        if times:
            print(f"{name:8s}{times[0]:8.0f} s{times[1]:8.0f} s of processor time")
    if other:
        print(f"{'ratio':8s}{this[0] / other[0]:8.2f}  {this[1] / other[1]:8.2f}")
    if this[0] > WALL or this[1] > PROCESSOR:
        raise SystemExit(f"this checkout: more than {WALL} s, or than {PROCESSOR} s of processor time")


if __name__ == "__main__":
    main()
