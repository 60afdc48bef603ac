"""Where computation runs: the one place that chooses a device and makes torch deterministic.

Jobs on a machine with several GPUs share them out among themselves: each locks one that is free and sees no other. The
lock is a file ``infoadv-gpu-*.lock`` in the folder for temporary files, dropped by the kernel when the process ends.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infoadv.execution.errors import InfoadvError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Seconds between two looks for a free GPU.
_POLL = 0.5
#: The GPU that this process has locked.
_acquired: str | None = None


class DeviceError(InfoadvError):
    """A device that is asked for and not there."""


def prepare_environment(threads: int) -> None:
    """Set what libraries read when they are imported; call it before torch or numpy is imported.

    The number of threads is the caller's, not the scheduler's: sums over another number of threads round differently,
    and the bytes of a result must not depend on how busy the machine was.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)


def _listed() -> dict[str, list[str]] | None:
    """Return {UUID of a GPU: UUIDs of its MIG instances} as nvidia-smi lists them, in its order; None where it cannot."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    gpus: dict[str, list[str]] = {}
    instances: list[str] = []
    for line in listing.splitlines():
        uuid = re.search(r"\(UUID: ([^)\s]+)\)", line)
        if uuid and line.startswith("GPU "):
            instances = gpus[uuid[1]] = []
        elif uuid:
            instances.append(uuid[1])
    return gpus


def visible_gpus() -> list[str]:
    """Return the GPUs and MIG instances that this process may use, as CUDA_VISIBLE_DEVICES names them.

    They are UUIDs where nvidia-smi is there to tell them, because an index means one GPU here and another one inside a
    container or a Slurm job. A GPU that is partitioned stands for its instances. An integer in CUDA_VISIBLE_DEVICES
    counts as nvidia-smi counts, in the order of the bus. As CUDA does, the first entry that is no GPU ends the list, so
    that "" and "-1" mean none.
    """
    listed = _listed()
    usable = [instances or [gpu] for gpu, instances in (listed or {}).items()]
    # CUDA takes the beginning of a UUID for the whole.
    by_uuid = {name: [name] for names in usable for name in names} | dict(zip(listed or {}, usable, strict=True))
    wanted = os.environ.get(_VISIBLE)
    if wanted is None:
        return [name for names in usable for name in names]
    found: list[str] = []
    for entry in map(str.strip, wanted.split(",")):
        if entry.isdecimal():
            if listed is not None and int(entry) >= len(usable):
                break
            found += [entry] if listed is None else usable[int(entry)]
        elif entry.startswith(("GPU-", "MIG-")):
            found += next((names for uuid, names in by_uuid.items() if uuid.startswith(entry)), [entry])
        else:
            break
    return list(dict.fromkeys(found))


def acquire_gpu(name: str) -> str | None:
    """Lock a free GPU for the life of this process and make it the only one that CUDA shows; wait until one is free.

    ``name`` is the configuration's "cpu", "cuda" or "auto". Call it before torch is imported. Returns the GPU as
    CUDA_VISIBLE_DEVICES names it, or None for "cpu" and where no GPU is known of.

    Raises
    ------
    DeviceError
        A lock file cannot be opened.
    """
    global _acquired
    if name == "cpu" or _acquired is not None:
        return _acquired
    from infoadv.execution import locks

    gpus = visible_gpus()
    said = False
    while gpus:
        for gpu in gpus:
            path = Path(tempfile.gettempdir()) / f"infoadv-gpu-{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.lock"
            try:
                locked = locks.attempt(path, everyone=True) is not None
            except OSError as error:
                raise DeviceError(
                    f"{path}: cannot be locked ({error.strerror}); remove it, or set TMPDIR to a folder that all jobs on "
                    "this machine share."
                ) from error
            if locked:
                os.environ[_VISIBLE] = _acquired = gpu
                return gpu
        if not said:
            print(f"waiting for a free GPU: {', '.join(gpus)} in use", file=sys.stderr, flush=True)
            said = True
        time.sleep(_POLL)
    return None


def configure(threads: int) -> None:
    """Fix torch's number of threads and ask for deterministic kernels."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    # TF32, cudnn's default, keeps three digits: an image that an attack left just over the boundary would be back behind
    # it in the batch of the metrics, and a GPU would not agree with a CPU.
    torch.backends.cudnn.allow_tf32 = False
    # A warning, not an error: some CUDA kernels lack a deterministic form although their use here has no race.
    # torch.use_deterministic_algorithms says the same, and imports torch's compiler: 4 s a job.
    torch.set_deterministic_debug_mode("warn")


def resolve(name: str) -> str:
    """Return "cpu" or "cuda" for the configuration's "cpu", "cuda" or "auto" (CUDA where there is some).

    Raises
    ------
    DeviceError
        CUDA is asked for and torch finds none.
    """
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "auto":
        return "cpu"
    raise DeviceError("device 'cuda' was asked for and torch finds no CUDA device; set device to cpu or auto.")
