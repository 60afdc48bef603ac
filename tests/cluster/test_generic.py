"""The pipeline through the executor cluster-generic, which serves every scheduler with a submit command."""

from __future__ import annotations

import pytest
from pipeline_runs import CONFIG, LIMIT, ROOT, SHARDS, assert_same, finish, interrupted_shard, log_of_shard, started

pytest.importorskip(
    "snakemake_executor_plugin_cluster_generic", reason="snakemake-executor-plugin-cluster-generic is not installed"
)

pytestmark = pytest.mark.workflow

#: Without profiles/default, which is for one machine.
CLUSTER = (
    *("--executor", "cluster-generic", "--jobs", "2", "--workflow-profile", "none"),
    *("--cluster-generic-submit-cmd", str(ROOT / "tests" / "cluster" / "submit.sh")),
)


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
    target, config = "results/downloads/mnist", ROOT / "config" / "paper.yaml"
    with started(tmp_path, *CLUSTER, target=target, config=(config,), **nowhere) as run:
        assert run.wait(timeout=LIMIT) != 0
    printed = (tmp_path / "run.log").read_text()
    assert "localrule fetch_mnist" in printed
    assert "Submitted" not in printed
