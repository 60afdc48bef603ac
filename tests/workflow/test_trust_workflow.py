"""What a configuration may hold on its way through Snakemake: text with braces and tags, a user's own code, no way out."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from helpers import ROOT
from helpers.pipeline import environment

pytestmark = pytest.mark.workflow

NETWORK = """\
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
"""


def run(folder, raw, *arguments):
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "8"]
    return subprocess.run([*command, *arguments], cwd=folder, env=environment(), capture_output=True, text=True)


def dry_run(folder, raw, *arguments):
    return run(folder, raw, "all", "--dry-run", "--configfile", "config.yaml", *arguments)


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())


def test_a_label_with_braces_quotes_and_tags_is_carried_as_text(tmp_path, raw):
    raw["attacks"]["ddn"]["label"] = "{dataset} $(touch owned) `x` ' </script>"
    done = dry_run(tmp_path, raw, "--printshellcmds")
    assert done.returncode == 0, done.stderr
    # As the shell reads it: one word, in which no quote ends.
    assert """{dataset} $(touch owned) `x` '"'"' \\u003c/script>""" in done.stdout
    assert "</script>" not in done.stdout


def test_a_path_outside_the_project_stops_in_one_line(tmp_path, raw):
    raw["datasets"]["mine"] = {"source": "npz", "path": "../secret.npz"}
    done = dry_run(tmp_path, raw)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, done.stderr
    assert "datasets.mine.path: '../secret.npz' leaves the working directory" in errors[0]


def test_a_users_own_code_is_an_input_of_the_job_that_runs_it(tmp_path, raw):
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "w.safetensors").write_text("")
    raw["models"]["theirs"] = {"factory": "nets:network", "weights": "w.safetensors"}
    done = dry_run(tmp_path, raw)
    assert done.returncode == 0, done.stderr
    jobs = [block for block in done.stdout.split("\n\n") if "nets.py" in block]
    assert any("rule train:" in job for job in jobs)
    assert any("rule attack:" in job for job in jobs)
    assert all("model=theirs" in job for job in jobs if "wildcards:" in job)


def test_missing_code_and_images_stop_a_run_before_its_first_job(tmp_path, raw):
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "w.safetensors").write_text("")
    raw["models"]["theirs"] = {"factory": "nets:netwrk", "weights": "w.safetensors"}
    raw["images"] = 1000
    done = run(tmp_path, raw, "data", "--configfile", "config.yaml")
    assert done.returncode != 0
    assert "models.theirs.factory: nets.py has no function 'netwrk'; did you mean 'network'?" in done.stderr
    assert "images: 1,000 are to be attacked, datasets.digits has 450 test images" in done.stderr
    assert not (tmp_path / "results").exists()
    raw["models"]["theirs"]["factory"] = "nets:network"
    raw["images"] = 8
    done = run(tmp_path, raw, "data", "--configfile", "config.yaml")
    assert done.returncode == 0, done.stderr


def test_a_target_behind_the_configuration_is_named_by_snakemake(tmp_path, raw):
    """It reads the target as a second configuration before it reads the Snakefile, which therefore cannot say more."""
    done = run(tmp_path, raw, "--configfile", "config.yaml", "tables")
    assert done.returncode != 0
    assert "No such file or directory: 'tables'" in done.stdout + done.stderr
