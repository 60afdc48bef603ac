"""What a command imports before it does anything: not what takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers import ROOT

#: Seconds together: what computes, what draws, what the workflow runs on.
HEAVY = {
    "torch",
    "torchvision",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "skimage",
    "matplotlib",
    "seaborn",
    "snakemake",
}
#: Tenths of a second: what reads configurations and artefacts.
LIGHT = {"numpy", "safetensors", "jsonschema", "yaml", "jinja2"}


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (["--help"], HEAVY | LIGHT),
        (["attack", "--help"], HEAVY | LIGHT),
        (["check", "config/config.yaml"], HEAVY | (LIGHT - {"jsonschema", "yaml"})),
        (["check", "config/paper.yaml"], HEAVY | (LIGHT - {"jsonschema", "yaml"})),
        (["options"], HEAVY),
        (["status"], HEAVY),
    ],
    # In the same words in every process of the tests, which a set is not.
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_a_command_that_computes_nothing_imports_nothing_heavy(arguments, without):
    program = (
        "import sys\nfrom infoadv import cli\n"
        "try: cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout
    assert without.isdisjoint(done.stderr.splitlines()[-1].split())
