"""The real pipeline on the smallest configuration, in a copy of the repository: what tests of the workflow share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from helpers import ROOT

CONFIG = "tests/workflow/config.yaml"


def environment():
    """Return the environment of a run: what the developer has set must not decide what is tested."""
    return {key: value for key, value in os.environ.items() if key not in {"INFOADV_DATA", "SNAKEMAKE_PROFILE"}}


def command(*arguments):
    return [sys.executable, "-m", "snakemake", "--cores", "8", *arguments]


def snakemake(tree, *arguments, config=CONFIG, **variables):
    return subprocess.run(
        [*command(*arguments), "--configfile", config],
        cwd=tree,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
    )


def succeed(tree, *arguments):
    done = snakemake(tree, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def copy_tree(target):
    for name in ("src", "workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (target / "tests" / "workflow").mkdir(parents=True)
    for name in ("Snakefile", "Makefile", "environment.yml", CONFIG):
        shutil.copy(ROOT / name, target / name)
    return target
