"""The command line: help, provenance, and errors in one line with exit status 2 and no half-written file."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import ROOT
from infoadv import InfoadvError, artifacts, cli
from infoadv.execution import device, run_lock

(_COMMANDS,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Keep what the command line sets for its own process out of this one."""
    monkeypatch.setattr(device, "prepare_environment", lambda threads: None)
    monkeypatch.setattr(device, "configure", lambda threads: None)


def failed(capsys, *arguments):
    assert cli.main(list(map(str, arguments))) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("infoadv: error: ")
    return lines[0]


@pytest.fixture
def digits(tmp_path):
    out = tmp_path / "digits.safetensors"
    assert cli.main(["data", "--spec", '{"source": "digits", "size": 16}', "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("stage", _COMMANDS.choices)
def test_help_explains_and_shows_an_example(stage, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([stage, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  infoadv {stage}" in text


def test_help_needs_no_torch():
    program = (
        "import sys\nfrom infoadv import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert all(stage in done.stdout for stage in _COMMANDS.choices)


def test_show_prints_provenance(digits, capsys):
    assert cli.main(["show", str(digits)]) == 0
    header = json.loads(capsys.readouterr().out)
    assert header["kind"] == "data"
    assert header["specification"] == {"source": "digits", "size": 16}


def test_check_says_what_would_run(capsys):
    assert cli.main(["check", str(ROOT / "tests" / "workflow" / "config.yaml")]) == 0
    text = capsys.readouterr().out
    assert "digits/standard: 4 attacks on 8 images" in text
    assert "2, of which 1 are attacked" in text


def test_check_names_file_and_key(tmp_path, capsys):
    path = tmp_path / "wrong.yaml"
    path.write_text((ROOT / "tests" / "workflow" / "config.yaml").read_text().replace("images: 8", "imags: 8"))
    assert f"{path}: imags: unknown key; did you mean 'images'?" in failed(capsys, "check", path)


def test_usage_errors_exit_with_2(capsys):
    for arguments in ([], ["train"], ["data", "--spec", "{", "--out", "x"], ["data", "--spec", "[]", "--out", "x"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        assert "infoadv" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "foreign", "text", "other kind"])
def test_a_damaged_artefact_is_named_in_one_line_and_nothing_is_written(damage, digits, tmp_path, capsys):
    from safetensors.numpy import save_file

    bad, out = tmp_path / "bad.safetensors", tmp_path / "out.safetensors"
    whole = digits.read_bytes()
    if damage == "truncated":
        bad.write_bytes(whole[: len(whole) // 2])
    elif damage == "altered":
        bad.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "foreign":
        save_file({"x": np.zeros(3)}, bad)
    elif damage == "text":
        bad.write_text("not an artefact")
    elif damage == "other kind":
        artifacts.save_tensors(bad, {"x": np.zeros(3)}, artifacts.provenance("model", {}))
    specification = json.dumps({"architecture": "small_cnn", "options": {}, "training": {}})
    line = failed(
        capsys,
        "train",
        "--data",
        bad,
        "--spec",
        specification,
        "--checkpoint",
        tmp_path / "c.safetensors",
        "--out",
        out,
    )
    assert str(bad) in line
    before = {"digits.safetensors"} | ({bad.name} if damage != "missing" else set())
    assert {path.name for path in tmp_path.iterdir()} == before
    if damage in {"missing", "truncated", "foreign", "text"}:
        assert str(bad) in failed(capsys, "show", bad)


def test_a_truncated_table_of_rows_is_named(tmp_path, capsys):
    import pandas as pd

    path = tmp_path / "rows.parquet"
    artifacts.save_rows(path, pd.DataFrame({"a": [1.0]}), artifacts.provenance("metrics", {}))
    path.write_bytes(path.read_bytes()[:-20])
    assert str(path) in failed(capsys, "table", "quality", "--spec", "{}", "--out-dir", tmp_path / "out", path)
    assert not (tmp_path / "out").exists()


def test_unknown_names_are_answered_with_the_known_ones(tmp_path, capsys):
    line = failed(capsys, "data", "--spec", '{"source": "digitz"}', "--out", tmp_path / "x.safetensors")
    assert "digits" in line
    assert "mnist" in failed(capsys, "fetch", "--source", "imagenet", "--root", tmp_path)
    typed = ("fetch", "--source", "mnist", "--root", tmp_path, "--options", '{"split": "letters"}')
    assert "'mnist' is not downloaded by 'split', but by: nothing." in failed(capsys, *typed)
    assert "quality" in failed(capsys, "table", "qualty", "--spec", "{}", "--out-dir", tmp_path, "x.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--spec", "{}"], "data set out: lacks 'source'; choose one of: cifar10, digits"),
        (
            ["calibrate", "--spec", '{"rhos": [0.5]}'],
            "--spec: lacks the key 'dimensions'; it needs: dimensions, samples",
        ),
        (
            ["attack", "--data", "D", "--model", "M", "--images", "1", "--chunk", "1", "--spec", '{"method": "ddn"}'],
            "--spec: lacks the key 'name'; it needs: name, method.",
        ),
        (
            ["train", "--data", "D", "--checkpoint", "C", "--spec", '{"architecture": "small_cnn"}'],
            "--spec: lacks the key 'options'; it needs: architecture, options, training.",
        ),
        (
            ["flow", "--data", "D", "--model", "M", "--spec", '{"studies": []}', "ATTACK"],
            "--spec: lacks the key 'matched'; it needs: studies, matched",
        ),
    ],
)
def test_a_specification_typed_by_hand_is_checked(arguments, message, tmp_path, capsys):
    assert message in failed(capsys, *arguments, "--out", tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_page_that_is_not_there_cannot_be_filled(tmp_path, capsys):
    assert "page.md: lacks the line" in failed(capsys, "options", "--write", tmp_path / "page.md")


def test_a_data_root_without_the_data_set_says_what_to_do(tmp_path, capsys):
    line = failed(
        capsys, "data", "--spec", '{"source": "mnist"}', "--root", tmp_path, "--out", tmp_path / "m.safetensors"
    )
    assert "INFOADV_DATA" in line
    assert not (tmp_path / "m.safetensors").exists()


def test_a_gpu_that_is_not_there(monkeypatch, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = '{"architecture": "small_cnn", "options": {}, "training": {}}'
    arguments = ("--data", "d", "--spec", spec, "--checkpoint", "c", "--out", tmp_path / "o.safetensors")
    assert "device 'cuda' was asked for" in failed(capsys, "train", *arguments, "--device", "cuda")
    assert device.resolve("auto") == "cpu"
    assert device.resolve("cpu") == "cpu"
    with pytest.raises(InfoadvError, match="cpu or auto"):
        device.resolve("cuda")


def test_python_dash_m_runs_the_same_and_reports_the_exit_status():
    done = subprocess.run([sys.executable, "-m", "infoadv", "show", "absent.parquet"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("infoadv: error: absent.parquet: no such file")


def test_a_job_whose_run_is_over_writes_nothing_and_does_not_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_lock.LOCK.parent.mkdir()
    run_lock.LOCK.write_text("new process 2 on here")
    monkeypatch.setenv(run_lock.VARIABLE, "old process 1 on here")
    assert cli.main(["data", "--spec", '{"source": "digits", "size": 16}', "--out", "digits.safetensors"]) == 0
    assert "another run has begun in this folder (process 2 on here)" in capsys.readouterr().err
    assert not Path("digits.safetensors").exists()
