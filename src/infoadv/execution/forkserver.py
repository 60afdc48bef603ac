"""Jobs of a run start from one process that has imported what they import: a fork takes 0.01 s, the imports up to 5 s.

:func:`start` is called by the workflow and starts the server; ``python -m infoadv`` hands its arguments over to it
(:func:`hand_over`), and ends as the job ends. The server imports other people's packages alone: a job imports infoadv and
plugins itself, after the fork, so it runs the code that is on the disk by then, as without a server. Nothing is computed before
the fork, so threads and devices begin in the job.

A job runs as ever, by an interpreter of its own, where there is no server: on a cluster, by hand, on a machine that is no Linux.
So it does with more threads than one, which the libraries fix when they are imported.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import traceback
import uuid
from collections.abc import Sequence
from typing import Any

#: Where jobs find the server, and the interpreter that it is: jobs may have another one, in an environment of their own.
VARIABLE = "INFOADV_FORKSERVER"
#: What one job of a run or another imports, and takes long. A package that is not installed is left out.
PRELOADED = (
    "jsonschema",
    "lpips",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.figure",
    "pandas",
    "piq",
    "pyarrow.parquet",
    "safetensors.numpy",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.stats",
    "seaborn",
    "skimage.color",
    "sklearn.linear_model",
    "torch",
    "torchvision",
)
_THREADS = 1
_LENGTH = 8
#: Of the server, never inherited by jobs: it ends when its run has closed the other end.
_lifeline: int | None = None


def start() -> None:
    """Start the server of a run, where there is one: on Linux. Jobs find it by the environment; it ends with this process."""
    global _lifeline
    if sys.platform != "linux":
        return
    listener = socket.socket(socket.AF_UNIX)
    # In the namespace of names that are no files: none is left behind, and no file system has to hold it.
    name = f"infoadv-{uuid.uuid4().hex}"
    listener.bind(f"\0{name}")
    # Jobs that come before its imports have ended wait for them.
    listener.listen(128)
    ending, _lifeline = os.pipe()
    with listener:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno()), str(ending)],
            pass_fds=(listener.fileno(), ending),
            stdin=subprocess.DEVNULL,
        )
    os.close(ending)
    os.environ[VARIABLE] = f"{name}:{sys.executable}"


def hand_over(arguments: Sequence[str]) -> int | None:
    """Have the server run a job with these arguments; return its exit status, None where this process has to run it."""
    name, _, interpreter = os.environ.get(VARIABLE, "").partition(":")
    if interpreter != sys.executable or _threads(arguments) != str(_THREADS):
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"\0{name}")
    except OSError:
        return None
    with connection:
        request = json.dumps(
            {"arguments": list(arguments), "environment": dict(os.environ), "directory": os.getcwd()}
        ).encode()
        socket.send_fds(connection, [len(request).to_bytes(_LENGTH)], [0, 1, 2])
        connection.sendall(request)
        answer = connection.makefile().readline()
    if not answer:
        print("infoadv: error: the process that starts the jobs of this run has ended; run again.", file=sys.stderr)
        return 1
    status = int(answer)
    if status < 0:
        # SIGKILL has none.
        with contextlib.suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _threads(arguments: Sequence[str]) -> str:
    """Return what follows ``--threads``, as the rules write it."""
    return dict(itertools.pairwise(arguments)).get("--threads", str(_THREADS))


class _Job:
    """A job, in the eyes of the server."""

    def __init__(self, connection: socket.socket, process: int) -> None:
        self.connection = connection
        self.process = process
        self.ended = os.pidfd_open(process)

    def close(self) -> None:
        self.connection.close()
        os.close(self.ended)


def _serve(listener: socket.socket, ending: int) -> None:
    """Fork a job for each connection until the run ends."""
    # Of a terminal's Ctrl-C the jobs hear by themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    # No collection touches the pages of what is there by now, so that jobs go on sharing them.
    gc.collect()
    gc.freeze()
    jobs: list[_Job] = []
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(ending, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                job = key.data
                if key.fileobj == ending:
                    return
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    request = _request(connection)
                    if request is None:
                        connection.close()
                        continue
                    process = os.fork()
                    if process == 0:
                        connection.close()
                        listener.close()
                        os.close(ending)
                        for other in jobs:
                            other.close()
                        status = _work(*request)
                        sys.stdout.flush()
                        sys.stderr.flush()
                        # As forks of multiprocessing end: what was imported is not taken down piece by piece.
                        os._exit(status)
                    for descriptor in request[1]:
                        os.close(descriptor)
                    job = _Job(connection, process)
                    jobs.append(job)
                    selector.register(job.ended, selectors.EVENT_READ, job)
                    selector.register(connection, selectors.EVENT_READ, job)
                elif key.fileobj == job.ended:
                    _, status = os.waitpid(job.process, 0)
                    jobs.remove(job)
                    selector.unregister(job.ended)
                    if job.connection in selector.get_map():
                        selector.unregister(job.connection)
                        with contextlib.suppress(OSError):
                            job.connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                    job.close()
                elif job in jobs:
                    # Its shell was killed.
                    selector.unregister(job.connection)
                    os.kill(job.process, signal.SIGTERM)


def _request(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return what a job is to run and its standard streams, or None if whoever asks is gone or another user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != os.getuid():
        return None
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    body = connection.makefile("rb").read(int.from_bytes(head)) if len(head) == _LENGTH else b""
    if len(body) == int.from_bytes(head) > 0:
        return json.loads(body), descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def _work(request: dict[str, Any], streams: list[int]) -> int:
    """Run a job in this process, which has just been forked; return its exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # This is where it runs.
    del os.environ[VARIABLE]
    sys.argv = ["infoadv", *request["arguments"]]
    try:
        runpy.run_module("infoadv", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    from infoadv.execution.device import prepare_environment

    prepare_environment(_THREADS)
    # The allocator of pyarrow starts a thread when it is loaded.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    os._exit(0)
