"""Jobs of a run start from one process that has imported what they import: a fork takes 0.01 s, the imports up to 5 s.

:func:`start` is called by the workflow and starts the server; ``python -m infoadv`` hands its arguments over to it
(:func:`hand_over`), and ends as the job ends. A job imports infoadv and plugins itself, after the fork, so it runs the code that
is on the disk by then, as without a server. Nothing is computed before the fork, so threads and devices begin in the job. Jobs
end with the server, and the server ends with the run.

A job runs as ever, by an interpreter of its own, where there is no server: on a cluster, by hand, on a machine that is no Linux;
and where the server cannot take it. So it does with more threads than one, which the libraries fix when they are imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Where jobs find the server, and its environment: jobs may have another one.
VARIABLE = "INFOADV_FORKSERVER"
#: What one job of a run or another imports, and takes long. What cannot be imported is left to the job that needs it.
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
#: Seconds that a client may take to say what it wants.
_PATIENCE = 10.0
_STARTED = "started\n"
#: Of prctl(2).
_SET_PARENT_DEATH_SIGNAL, _SET_NAME = 1, 15
#: Of the process that has started the server, never inherited by jobs: the server ends when it is closed.
_lifeline: int | None = None


def start() -> None:
    """Start the server of a run, where there is one: on Linux. Jobs find it by the environment; it ends with this process."""
    global _lifeline
    try:
        # Linux from 5.3 on, and not every build of Python.
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return
    # Nobody else can enter it.
    folder = tempfile.mkdtemp(prefix="infoadv-")
    listener = socket.socket(socket.AF_UNIX)
    path = os.path.join(folder, "jobs")
    try:
        listener.bind(path)
    except OSError:
        # Its path has 107 characters at most.
        listener.close()
        os.rmdir(folder)
        return
    # Jobs that come before its imports have ended wait for them.
    listener.listen(128)
    ending, _lifeline = os.pipe()
    with listener:
        subprocess.Popen(
            [sys.executable, "-m", __name__, folder, str(listener.fileno()), str(ending)],
            pass_fds=(listener.fileno(), ending),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    os.close(ending)
    os.environ[VARIABLE] = json.dumps([path, sys.prefix])


def hand_over(arguments: Sequence[str]) -> int | None:
    """Have the server run a job with these arguments; return its exit status, None where this process has to run it."""
    if VARIABLE not in os.environ:
        return None
    path, prefix = json.loads(os.environ[VARIABLE])
    if prefix != sys.prefix or _threads(arguments) != str(_THREADS):
        return None
    try:
        for stream in (0, 1, 2):
            os.fstat(stream)
    except OSError:
        # A closed one, whose number the connection would take.
        return None
    request = json.dumps(
        {"arguments": list(arguments), "environment": dict(os.environ), "directory": os.getcwd()}
    ).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [len(request).to_bytes(_LENGTH)], [0, 1, 2])
            connection.sendall(request)
            answers = connection.makefile()
            if answers.readline() != _STARTED:
                return None
        except OSError:
            return None
        try:
            answer = answers.readline()
        except OSError:
            answer = ""
    if not answer:
        print("infoadv: error: the process that this job was forked from has ended; run again.", file=sys.stderr)
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
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    # No collection touches the pages of what is there by now, so that jobs go on sharing them.
    gc.collect()
    gc.freeze()
    jobs: list[_Job] = []
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(ending, selectors.EVENT_READ)
        while True:
            events = [key for key, _ in selector.select()]
            if any(key.fileobj == ending for key in events):
                return
            for key in events:
                job = key.data
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    try:
                        job = _fork(connection, [listener.fileno(), ending], jobs)
                    except (OSError, ValueError):
                        # The client sees no start, and runs its job itself.
                        connection.close()
                        continue
                    jobs.append(job)
                    selector.register(job.ended, selectors.EVENT_READ, job)
                    selector.register(connection, selectors.EVENT_READ, job)
                elif key.fileobj == job.ended:
                    _, status = os.waitpid(job.process, 0)
                    jobs.remove(job)
                    selector.unregister(job.ended)
                    if job.connection in selector.get_map():
                        selector.unregister(job.connection)
                        _answer(job.connection, f"{os.waitstatus_to_exitcode(status)}\n")
                    job.close()
                elif job in jobs:
                    # Its client was killed.
                    selector.unregister(job.connection)
                    os.kill(job.process, signal.SIGTERM)


def _fork(connection: socket.socket, own: Sequence[int], jobs: Sequence[_Job]) -> _Job:
    """Fork the job that a client asks for, and tell the client; ``own`` descriptors of the server are closed in the job.

    Raises
    ------
    OSError, ValueError
        The client is gone, is silent or asks for nothing that can be read; or no process can be made.
    """
    connection.settimeout(_PATIENCE)
    head, streams, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    try:
        request = json.loads(connection.makefile("rb").read(int.from_bytes(head)))
        connection.settimeout(None)
        server = os.getpid()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                for descriptor in (connection.detach(), *own):
                    os.close(descriptor)
                for job in jobs:
                    job.close()
                status = _work(request, streams, server)
                for stream in filter(None, (sys.stdout, sys.stderr)):
                    stream.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                # As forks of multiprocessing end: what was imported is not taken down piece by piece.
                os._exit(status)
    finally:
        for stream in streams:
            os.close(stream)
    _answer(connection, _STARTED)
    return _Job(connection, process)


def _answer(connection: socket.socket, text: str) -> None:
    # A client that is gone is seen elsewhere.
    with contextlib.suppress(OSError):
        connection.sendall(text.encode())


def _work(request: dict[str, Any], streams: Sequence[int], server: int) -> int:
    """Run a job in this process, which has just been forked; return its exit status."""
    system = ctypes.CDLL(None)
    system.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != server:
        return 1
    # What `top` shows.
    system.prctl(_SET_NAME, f"infoadv {request['arguments'][0]}".encode() if request["arguments"] else b"infoadv")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # This is where it runs.
    del os.environ[VARIABLE]
    # The code that is on the disk by now, also of what the server needed itself.
    for name in [name for name in sys.modules if name.partition(".")[0] == "infoadv"]:
        del sys.modules[name]
    sys.argv = ["infoadv", *request["arguments"]]
    try:
        runpy.run_module("infoadv", run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from infoadv.execution.device import prepare_environment

    prepare_environment(_THREADS)
    # The allocator of pyarrow starts a thread when it is loaded.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    try:
        _serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
    finally:
        shutil.rmtree(Path(sys.argv[1]), ignore_errors=True)
    os._exit(0)
