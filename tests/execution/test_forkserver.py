"""The fork server: a job runs as by an interpreter of its own, sooner, and leaves neither its run nor its shell behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import ROOT
from infoadv.execution import forkserver

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is no fork server")

#: Starts the server as a run does, and waits.
HOLD = """\
import os, sys
from infoadv.execution import forkserver
forkserver.start()
print(os.environ[forkserver.VARIABLE], flush=True)
sys.stdin.read()
"""
#: A table of a plugin, whose job says where it runs.
PLUGIN = """\
import os, sys, threading, time
from pathlib import Path
import pandas as pd
from infoadv.report.rendering import Table

INPUTS = {{"stage": "models"}}


def build(inputs, specification):
    Path("pid").write_text(str(os.getpid()))
    print(os.environ["MARK"], "torch" in sys.modules, len(os.listdir("/proc/self/task")), os.getppid())
    print("complaint", file=sys.stderr)
    {body}
    return Table(pd.DataFrame({{"a": [1]}}), "", "")
"""
COMMAND = ("-m", "infoadv", "table", "probe", "--spec", "{}", "--out-dir", "made", "input")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return (folder, environment of a job there); its server ends with the module."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "plugins" / "tables").mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "MARK": "of the run"}
    run = start(folder, environment)
    plugins = {"INFOADV_PLUGINS": str(folder / "plugins")}
    yield folder, environment | plugins | {forkserver.VARIABLE: run.variable, "MARK": "of the job"}
    run.communicate()


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a server as a run does; what jobs find it by is its ``variable``."""
    command = [sys.executable, "-c", HOLD]
    run = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    run.variable = run.stdout.readline().strip()
    return run


def server_of(run: subprocess.Popen[str]) -> int:
    (server,) = (int(child) for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split())
    return server


def plugin(folder: Path, body: str = "pass") -> None:
    (folder / "pid").unlink(missing_ok=True)
    (folder / "plugins" / "tables" / "probe.py").write_text(PLUGIN.format(body=body))


def job(server, *extra):
    folder, environment = server
    return subprocess.run(
        [sys.executable, *COMMAND, *extra], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_has_the_imports_of_the_server_and_its_own_environment_streams_and_code(server):
    folder, _ = server
    plugin(folder)
    done = job(server)
    assert done.returncode == 0, done.stderr
    mark, torch, threads, parent = done.stdout.rsplit(maxsplit=3)
    assert (mark, torch, threads) == ("of the job", "True", "1")
    # A thread of the server would not be in its forks, and what it holds would be locked there.
    assert len(os.listdir(f"/proc/{parent}/task")) == 1
    assert done.stderr.endswith("complaint\n")
    assert (folder / "made" / "probe.csv").read_text() == "a\n1\n"
    # Another file of the same name by now.
    plugin(folder, "print('edited')")
    assert job(server).stdout.endswith("edited\n")


def test_a_job_runs_the_code_of_infoadv_that_is_there_by_now(server, tmp_path):
    folder, environment = server
    plugin(folder, "from infoadv.execution.version import __version__; print(__version__)")
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "src" / "infoadv", copy / "infoadv", ignore=shutil.ignore_patterns("__pycache__"))
    # The server has imported this module itself.
    (copy / "infoadv" / "execution" / "version.py").write_text('__version__ = "edited"\n')
    run = start(folder, environment | {"PYTHONPATH": str(copy)})
    try:
        edited = copy / "infoadv" / "execution" / "version.py"
        edited.write_text('__version__ = "edited twice"\n')
        mine = environment | {"PYTHONPATH": str(copy), forkserver.VARIABLE: run.variable}
        done = subprocess.run([sys.executable, *COMMAND], cwd=folder, env=mine, capture_output=True, text=True)
        assert done.stdout.endswith("edited twice\n"), done.stderr
    finally:
        run.communicate()


def test_what_a_job_computes_has_the_same_bytes_as_alone(server):
    folder, environment = server
    alone = {name: value for name, value in environment.items() if name != forkserver.VARIABLE}
    spec = json.dumps({"dimensions": [2], "samples": [64], "rhos": [0.5, 0.9], "seeds": 2, "steps": 30})
    for out, mine in {"forked.parquet": environment, "alone.parquet": alone}.items():
        command = [sys.executable, "-m", "infoadv", "calibrate", "--spec", spec, "--threads", "1", "--out", out]
        subprocess.run(command, cwd=folder, env=mine, check=True, timeout=600)
    assert (folder / "forked.parquet").read_bytes() == (folder / "alone.parquet").read_bytes()


def test_the_status_of_a_job_is_that_of_its_shell(server):
    folder, _ = server
    plugin(folder, "raise ValueError('of the plugin')")
    failed = job(server)
    assert failed.returncode == 1
    assert "ValueError: of the plugin" in failed.stderr
    plugin(folder, "os.kill(os.getpid(), 9)")
    assert job(server).returncode == -signal.SIGKILL
    assert job(server, "--no-such-option").returncode == 2
    plugin(folder, "sys.exit()")
    assert job(server).returncode == 0
    plugin(folder, "sys.exit('of the plugin')")
    failed = job(server)
    assert failed.returncode == 1
    assert failed.stderr.endswith("of the plugin\n")


def test_what_a_job_used_is_its_own(server):
    folder, _ = server
    plugin(folder, "end = time.process_time() + 1\n    while time.process_time() < end: pass")
    assert job(server, "--benchmark", "used.tsv").returncode == 0
    names, values = ((folder / "used.tsv").read_text().splitlines()[row].split("\t") for row in (0, 1))
    used = dict(zip(names, map(float, values), strict=True))
    # The imports of the server took several seconds, and a job's share of its memory counts.
    assert 1 <= used["cpu_time"] < 3
    assert used["s"] >= used["cpu_time"] - 0.1
    assert used["max_rss"] > 100
    assert used["mean_load"] == pytest.approx(100 * used["cpu_time"] / used["s"], abs=1)


def test_a_job_whose_shell_is_killed_ends(server):
    folder, environment = server
    plugin(folder, "time.sleep(600)")
    shell = subprocess.Popen([sys.executable, *COMMAND], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    worker = int((folder / "pid").read_text())
    assert worker != shell.pid
    assert alive(worker)
    shell.kill()
    shell.wait()
    until(lambda: not alive(worker))
    # The server goes on.
    plugin(folder)
    assert job(server).returncode == 0


@pytest.mark.parametrize("change", ["threads", "environment", "nobody", "closed"])
def test_otherwise_it_runs_by_itself(server, change):
    folder, environment = server
    path, prefix = json.loads(environment[forkserver.VARIABLE])
    if change == "environment":
        prefix = f"{prefix}-of-another"
    if change == "nobody":
        path = f"{path}-of-nobody"
    plugin(folder, "print(os.getppid() == int(os.environ['PARENT']))")
    mine = environment | {forkserver.VARIABLE: json.dumps([path, prefix]), "PARENT": str(os.getpid())}
    options = {"preexec_fn": lambda: os.close(0)} if change == "closed" else {}
    # A table has no threads: its job says so, and says it itself.
    extra = ("--threads", "2") if change == "threads" else ()
    command = [sys.executable, *COMMAND, *extra]
    done = subprocess.run(command, cwd=folder, env=mine, capture_output=True, text=True, check=False, **options)
    if change == "threads":
        assert done.returncode == 2
        assert not (folder / "pid").exists()
    else:
        assert done.stdout.endswith("True\n"), done.stderr


def test_where_the_kernel_or_the_build_of_python_lacks_what_it_takes_there_is_none(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delenv(forkserver.VARIABLE, raising=False)
    forkserver.start()
    assert forkserver.VARIABLE not in os.environ
    assert forkserver.hand_over(["show", "x"]) is None


@pytest.mark.parametrize("killed", ["run", "server"])
def test_server_and_jobs_end_with_the_run_and_jobs_with_the_server(server, killed):
    folder, environment = server
    run = start(folder, environment)
    process = server_of(run)
    plugin(folder, "time.sleep(600)")
    mine = environment | {forkserver.VARIABLE: run.variable}
    client = subprocess.Popen([sys.executable, *COMMAND], cwd=folder, env=mine, stderr=subprocess.PIPE, text=True)
    until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    worker = int((folder / "pid").read_text())
    assert Path(f"/proc/{worker}/comm").read_text() == "infoadv table\n"
    os.kill(run.pid if killed == "run" else process, signal.SIGKILL)
    assert client.wait(600) == 1
    assert "the process that this job was forked from has ended" in client.stderr.read()
    until(lambda: not alive(worker) and not alive(process))
    run.communicate()
    if killed == "run":
        assert not Path(json.loads(run.variable)[0]).parent.exists()
