"""The pipeline on a real Slurm, through profiles/slurm: a job killed, a node lost, and the bytes of a run without both."""

from __future__ import annotations

import re

import pytest

from helpers import ROOT
from helpers.cluster_runs import (
    CONFIG,
    SHARDS,
    assert_same,
    finish,
    interrupted_shard,
    log_of_shard,
    running_attack,
    started,
    wait_for,
)
from infoadv.execution import run_lock

pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is not installed")

pytestmark = [pytest.mark.workflow, pytest.mark.slurm]

PROFILE = ("--workflow-profile", str(ROOT / "profiles" / "slurm"))
#: This Slurm keeps no accounts, so sacct says nothing; and its jobs last seconds.
HERE = (
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1"),
)


def test_with_a_job_killed_and_a_node_lost_it_makes_the_same_bytes(slurm, local, tmp_path):
    folder = tmp_path / "run"
    with started(folder, *PROFILE, *HERE, config=(CONFIG, SHARDS), **slurm.variables) as run:
        resume, killed = interrupted_shard(folder, run)

        def again():
            job = running_attack(folder, resume)
            return job if job and job.environment["SLURM_JOB_ID"] != killed.environment["SLURM_JOB_ID"] else None

        lost = wait_for(again, "the shard was tried again", run)
        slurm.crash_node()
        slurm.start_node()
        finish(run, folder)

    assert_same(folder, local)
    assert "resumed after" in log_of_shard(folder, resume)
    # Slurm gave each of them one of its two GPUs, and the name of its run.
    for job in (killed, lost):
        assert job.environment[run_lock.VARIABLE] == (folder / run_lock.LOCK).read_text()
        assert job.environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")

    # The killed job failed, and Snakemake asked for more at each attempt; the lost one went back into the queue as it was. A
    # late message of the controller about the lost job can end it once more, so there may be a third attempt.
    attempts = slurm.jobs(f"rule_attack_shard_wildcards_digits_standard_mi_masking_{resume.stem}")
    assert len(attempts) in (2, 3)
    assert [job["JobState"] for job in (attempts[0], attempts[-1])] == ["FAILED", "COMPLETED"]
    assert attempts[1]["Restarts"] == "1"
    assert [memory(job) for job in attempts] == [(i + 1) * memory(attempts[0]) for i in range(len(attempts))]
    assert attempts[0]["TresPerJob"] == "gres:gpu:1"
    # A table asks for no GPU and less memory.
    (table,) = slurm.jobs("rule_table_quality")
    assert "TresPerJob" not in table
    assert memory(table) < memory(attempts[0])

    kept = {
        path.parent.relative_to(folder / "logs" / "slurm").as_posix() for path in folder.glob("logs/slurm/**/*.log")
    }
    assert {"rule_train/digits_standard", "rule_attack/digits_standard_ddn", "rule_table_quality"} <= kept


def memory(job):
    """Return the memory that a job asked for, in megabytes."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return float(number) * {"M": 1, "G": 1024}[unit]
