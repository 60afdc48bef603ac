"""The package as it is installed: it holds its schema, and checks a configuration far from any checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

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
