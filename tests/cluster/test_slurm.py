"""The pipeline on a real Slurm, through profiles/slurm: a job killed, a node lost, and the bytes of a run without both."""

from __future__ import annotations

import re

import pytest
from pipeline_runs import ROOT, assert_same, finish, interrupted_attack, running_attack, started, wait_for

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
    with started(folder, *PROFILE, *HERE, **slurm.variables) as run:
        killed = interrupted_attack(folder, "mi_masking", run)

        def again():
            job = running_attack(folder, "mi_masking")
            return job if job and job.environment["SLURM_JOB_ID"] != killed.environment["SLURM_JOB_ID"] else None

        lost = wait_for(again, "the attack was tried again", run)
        slurm.crash_node()
        slurm.start_node()
        printed = finish(run, folder)

    assert_same(folder, local)
    assert "resumed after" in (folder / "logs" / "attack" / "digits" / "standard" / "mi_masking.log").read_text()
    # Slurm gave each of them one of its two GPUs.
    for job in (killed, lost):
        assert job.environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")

    # The killed job failed, and Snakemake asked for more; the lost one went back into the queue as it was.
    first, second = slurm.jobs("rule_attack_wildcards_digits_standard_mi_masking")
    assert first["JobState"] == "FAILED"
    assert (second["JobState"], second["Restarts"]) == ("COMPLETED", "1")
    assert memory(second) == 2 * memory(first)
    assert len(re.findall("Trying to restart job", printed)) == 1
    assert first["TresPerJob"] == "gres:gpu:1"
    # A table asks for no GPU and less memory.
    (table,) = slurm.jobs("rule_table_quality")
    assert "TresPerJob" not in table
    assert memory(table) < memory(first)

    kept = {
        path.parent.relative_to(folder / "logs" / "slurm").as_posix() for path in folder.glob("logs/slurm/**/*.log")
    }
    assert {"rule_train/digits_standard", "rule_attack/digits_standard_ddn", "rule_table_quality"} <= kept


def memory(job):
    """Return the memory that a job asked for, in megabytes."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return float(number) * {"M": 1, "G": 1024}[unit]
