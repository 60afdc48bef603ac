"""Kill -9, then the same command: everything is byte for byte what an undisturbed run makes.

Once in training and in an attack, which go on from where they were; then at random moments.

INFOADV_KILLS sets the number of kills (default 3), INFOADV_KILL_SEED the seed of the moments (default: a new one, printed).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from helpers import small_run

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to see which jobs run"),
]

#: What is killed, in turn: everything; Snakemake alone, so that its jobs live on; one job alone.
KINDS = ("all", "snakemake", "job")
#: Jobs of the small run, and the most of them that begin before a kill.
ALL_JOBS, MOST_JOBS = 9, 3


def kill(process, kind, jobs, seconds, rng):
    """Kill a run so many seconds after so many jobs began; return the stages that ran then, or None if it was over before.

    A run of which one job is killed ends by itself, and must say that it failed.
    """
    begun = set()
    small_run.wait_until(
        lambda: begun.update(small_run.stages(process.pid)) or len(begun) >= jobs or process.poll() is not None, "a job"
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if kind == "job":
        # A job alone can be killed only while one runs.
        small_run.wait_until(lambda: small_run.stages(process.pid) or process.poll() is not None, "a job")
    running = small_run.stages(process.pid)
    if process.poll() is not None or (kind == "job" and not running):
        assert process.wait(small_run.LIMIT) == 0
        return None
    if kind == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif kind == "snakemake":
        os.kill(process.pid, signal.SIGKILL)
    else:
        victim = rng.choice(sorted(running))
        running = {victim: running[victim]}
        os.kill(victim, signal.SIGKILL)
    status = process.wait(small_run.LIMIT)
    assert status == (1 if kind == "job" else -signal.SIGKILL)
    return sorted(running.values())


def test_after_every_kill_the_same_command_makes_the_same_bytes(undisturbed, tmp_path):
    tree, seconds = undisturbed
    expected = small_run.contents(tree)
    kills = int(os.environ.get("INFOADV_KILLS", "3"))
    seed = int(os.environ.get("INFOADV_KILL_SEED", random.SystemRandom().randrange(10**6)))
    rng = random.Random(seed)
    print(f"\n{kills} kills, INFOADV_KILL_SEED={seed}, an undisturbed run takes {seconds:.0f} s", flush=True)
    sessions = []
    done = 0
    try:
        for attempt in itertools.count():
            folder = tmp_path / str(attempt)
            folder.mkdir()
            finished = False
            while done < kills and not finished:
                process = small_run.start(folder)
                sessions.append(process.pid)
                kind = KINDS[done % len(KINDS)]
                # Counted in jobs, because the machine may be busier now than during the undisturbed run.
                jobs, moment = rng.randrange(MOST_JOBS + 1), rng.uniform(0, seconds / ALL_JOBS)
                ran = kill(process, kind, jobs, moment, rng)
                finished = ran is None
                if not finished:
                    done += 1
                    print(
                        f"kill {done}: {kind}, {moment:.1f} s after job {jobs}, in {', '.join(ran) or 'no job'}",
                        flush=True,
                    )
            small_run.succeed(folder)
            # Jobs whose Snakemake was killed may still be at work, and must change nothing any more.
            small_run.wait_until(lambda: not any(map(small_run.alive, sessions)), "jobs that lived on")
            small_run.check_same(folder, expected)
            print(f"run {attempt + 1}: equal bytes after {done} kills", flush=True)
            if done == kills:
                break
    finally:
        for session in sessions:
            small_run.end(session)


def kill_when(tree, path, target):
    """Start a run that makes ``target`` and kill all of it as soon as ``path`` is there."""
    process = small_run.start(tree, target)
    try:
        while not path.is_file():
            assert process.poll() is None, f"the run ended before {path} was there"
            time.sleep(0.002)
    finally:
        small_run.end(process.pid)
        process.wait()


def test_killed_in_training_and_in_an_attack_it_goes_on_from_there(undisturbed, tmp_path):
    # What is made from these is compared in the other test.
    target = "results/attacks/digits/standard/masking.safetensors"
    results = tmp_path / "results"
    checkpoints = results / "checkpoints" / "digits"
    kill_when(tmp_path, checkpoints / "standard.safetensors", target)
    assert not (results / "models" / "digits" / "standard.safetensors").exists()
    kill_when(tmp_path, checkpoints / "standard" / "masking.safetensors", target)
    assert "resumed after epoch" in (tmp_path / "logs" / "train" / "digits" / "standard.log").read_text()
    assert not (tmp_path / target).exists()
    small_run.succeed(tmp_path, target)
    assert "resumed after" in (tmp_path / "logs" / "attack" / "digits" / "standard" / "masking.log").read_text()
    expected = small_run.contents(undisturbed[0])
    made = small_run.contents(tmp_path)
    assert len(made) == 3
    assert [name for name in made if made[name] != expected[name]] == []
