"""The fork server: a job runs as by an interpreter of its own, sooner, and leaves neither its run nor its shell behind."""

from __future__ import annotations

import os
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
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    variable = run.stdout.readline().strip()
    plugins = {"INFOADV_PLUGINS": str(folder / "plugins")}
    yield folder, environment | plugins | {forkserver.VARIABLE: variable, "MARK": "of the job"}
    run.communicate()


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


def test_the_status_of_a_job_is_that_of_its_shell(server):
    folder, _ = server
    plugin(folder, "raise ValueError('of the plugin')")
    failed = job(server)
    assert failed.returncode == 1
    assert "ValueError: of the plugin" in failed.stderr
    plugin(folder, "os.kill(os.getpid(), 9)")
    assert job(server).returncode == -signal.SIGKILL
    assert job(server, "--no-such-option").returncode == 2


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


@pytest.mark.parametrize("change", [["--threads", "2"], "interpreter", "nobody"])
def test_otherwise_it_runs_by_itself(server, change, monkeypatch):
    folder, environment = server
    variable = environment[forkserver.VARIABLE]
    arguments = change if isinstance(change, list) else []
    if change == "interpreter":
        variable = f"{variable}-of-another-environment"
    if change == "nobody":
        variable = f"nowhere{variable}"
    monkeypatch.chdir(folder)
    monkeypatch.setenv(forkserver.VARIABLE, variable)
    assert forkserver.hand_over(["show", *arguments, "x"]) is None


def test_the_server_ends_with_its_run(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    run.stdout.readline()
    (server,) = (int(child) for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split())
    run.kill()
    run.communicate()
    until(lambda: not alive(server))
