"""Where computation runs: the one place that chooses a device and makes torch deterministic."""

from __future__ import annotations

import os

from infoadv import InfoadvError


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
