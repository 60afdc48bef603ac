"""The package as it is installed: it holds its schema, and checks a configuration far from any checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the files of a wheel of this package, unpacked as an installation unpacks them."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = tmp_path_factory.mktemp("installed")
    (built,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(installed)
    return installed


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    source = ROOT / "src" / "infoadv"
    files = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path.relative_to(wheel / "infoadv") for path in (wheel / "infoadv").rglob("*") if path.is_file()} == files


def test_an_installed_package_checks_a_configuration_outside_a_checkout(wheel, tmp_path):
    shutil.copy(ROOT / "config" / "config.yaml", tmp_path / "mine.yaml")
    program = (
        "import sys, infoadv; from infoadv import cli\n"
        f"assert infoadv.__file__.startswith({str(wheel)!r}), infoadv.__file__\n"
        "sys.exit(cli.main(['check', 'mine.yaml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "digits/standard" in done.stdout


def required(requirements):
    """Return the distributions, installed here, that requirements ask for, and those that these ask for."""
    found, waiting = {}, [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        environments = [{"extra": extra} for extra in (requirement.extras or {""})]
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found[name] = metadata.distribution(name)
            for text in found[name].requires or ():
                below = Requirement(text)
                if below.marker is None or any(below.marker.evaluate(chosen) for chosen in environments):
                    below.marker = None
                    waiting.append(below)
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Return the Python of an environment that holds the wheel and what it requires without an extra, nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    venv.create(folder)
    site = next(folder.glob("lib/python*/site-packages"))
    (described,) = wheel.glob("*.dist-info/METADATA")
    requires = metadata.Distribution.at(described.parent).requires or []
    for distribution in required(text for text in requires if "extra ==" not in text).values():
        for part in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(distribution.locate_file(part))
    (site / "wheel.pth").write_text(f"{wheel}\n")
    return folder / "bin" / "python"


#: What no line of the README calls: metrics and attacks of packages that only they need.
MORE = """
frame = infoadv.measure(images, result.images, metrics=["gmsd", "vif", "nmi", "mi_mine", "psnr"])
assert len(frame) == 16 and frame.notna().all(None), frame
assert infoadv.attack(model, images, labels, "ddn", steps=5).images.shape == images.shape
print(infoadv.__file__)
"""


def readme():
    """Return the Python script of the README."""
    return (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]


def python(environment, *arguments, folder):
    # PYTHONPATH would bring the checkout in.
    return subprocess.run(
        [environment, *arguments], cwd=folder, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def test_the_library_runs_where_only_its_requirements_are(environment, wheel, tmp_path):
    done = python(environment, "-c", readme() + MORE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said, where = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ of 16 succeed, SSIM 0\.\d{3}", said)
    assert where.startswith(str(wheel))


def test_the_command_line_says_what_to_install_for_the_pipeline(environment, tmp_path):
    assert python(environment, "-m", "infoadv", "--help", folder=tmp_path).returncode == 0
    shutil.copy(ROOT / "config" / "config.yaml", tmp_path / "mine.yaml")
    done = python(environment, "-m", "infoadv", "check", "mine.yaml", folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "pip install 'infoadv[pipeline]'" in done.stderr
