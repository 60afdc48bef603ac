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


@pytest.mark.parametrize(
    "work",
    [
        "from infoadv.information.mine import measure; measure(images, images + 0.01, steps=2, held_out=1)",
        "infoadv.attack(model, images, model(images).argmax(1), 'mine', steps=2, search_steps=1)",
        "from infoadv.numerics.optimizers import SGD; SGD([images], 0.1, momentum=0.9).step([images])",
    ],
    ids=["metric", "attack", "training"],
)
def test_a_job_does_not_import_the_compiler_of_torch(work):
    program = (
        "import sys, torch, infoadv\n"
        "images = torch.rand(2, 1, 8, 8)\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))\n"
        f"{work}\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == "False"
