"""The pipeline through the executor cluster-generic, which serves every scheduler with a submit command."""

from __future__ import annotations

import os
import subprocess

import pytest

from helpers import ROOT
from helpers.cluster_runs import (
    CONFIG,
    LIMIT,
    SHARDS,
    assert_same,
    finish,
    interrupted_shard,
    log_of_shard,
    started,
    wait_for,
)
from infoadv.execution import run_lock

pytest.importorskip(
    "snakemake_executor_plugin_cluster_generic", reason="snakemake-executor-plugin-cluster-generic is not installed"
)

pytestmark = pytest.mark.workflow

#: Without profiles/default, which is for one machine.
EXECUTOR = ("--executor", "cluster-generic", "--jobs", "2", "--workflow-profile", "none")
#: The smallest job.
DATA = ("results/data/digits.safetensors",)
CLUSTER = (*EXECUTOR, "--cluster-generic-submit-cmd", str(ROOT / "tests" / "cluster" / "submit.sh"))


def test_with_a_job_killed_it_makes_the_same_bytes(local, tmp_path):
    folder = tmp_path / "run"
    options = ("--retries", "1", "--nolock", "--seconds-between-status-checks", "1")
    with started(folder, *CLUSTER, *options, config=(CONFIG, SHARDS)) as run:
        resume, _ = interrupted_shard(folder, run)
        printed = finish(run, folder)
    assert_same(folder, local)
    assert "Trying to restart job" in printed
    assert "resumed after" in log_of_shard(folder, resume)


def test_downloads_stay_where_snakemake_runs(tmp_path):
    # Nothing listens there: the download fails at once, in this process and not in a job.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    targets, config = ("results/downloads/mnist",), ROOT / "config" / "paper.yaml"
    with started(tmp_path, *CLUSTER, targets=targets, config=(config,), **nowhere) as run:
        assert run.wait(timeout=LIMIT) != 0
    printed = (tmp_path / "run.log").read_text()
    assert "localrule fetch_mnist" in printed
    assert "Submitted" not in printed


def test_a_job_asks_for_its_own_threads_whatever_cores_says(tmp_path):
    # Says what is asked for, and fails: no job runs.
    submit = ("--cluster-generic-submit-cmd", "echo {threads} > asked; false")
    with started(tmp_path, *EXECUTOR, *submit, "--cores", "64", targets=DATA) as run:
        assert run.wait(timeout=LIMIT) != 0
    assert (tmp_path / "asked").read_text() == "1\n"


def test_a_job_of_a_dead_run_that_starts_late_deletes_nothing(tmp_path):
    # A queue in which the job stays until its Snakemake has been killed.
    submit = ("--cluster-generic-submit-cmd", "sh -c 'cp $0 part; mv part job.sh; echo 1'")
    with started(tmp_path, *EXECUTOR, *submit, targets=DATA) as run:
        wait_for((tmp_path / "job.sh").is_file, "the job was in the queue", run)
    lock, result = tmp_path / run_lock.LOCK, tmp_path / "results" / "data" / "digits.safetensors"
    name = lock.read_text()

    def job():
        environment = {**os.environ, run_lock.VARIABLE: name}
        return subprocess.run(["sh", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True).stderr

    printed = job()
    assert result.is_file(), printed
    before = result.stat()
    lock.write_text("another process 1 on elsewhere")
    printed = job()
    assert result.is_file(), printed
    assert result.stat() == before
    assert "another run has begun in this folder (process 1 on elsewhere)" in printed
