"""Choosing a device: what is asked for and not there is an error, what is there gives the same results."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from infoadv import artifacts
from infoadv.execution import device
from infoadv.stages import attack as attack_stage


def test_cpu_is_always_there_and_auto_falls_back_to_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve("cpu") == "cpu"
    assert device.resolve("auto") == "cpu"
    with pytest.raises(device.DeviceError, match="set device to cpu or auto"):
        device.resolve("cuda")


def test_what_is_configured_is_deterministic_and_exact(monkeypatch):
    before = torch.get_deterministic_debug_mode()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    try:
        device.configure(torch.get_num_threads())
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_deterministic_debug_mode(before)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "specification",
    [
        {"name": "mine", "method": "mine", "options": {"search": "binary", "steps": 20}},
        {"name": "ddn", "method": "ddn", "options": {"steps": 20}},
        {"name": "jsma", "method": "jsma"},
    ],
    ids=lambda specification: specification["name"],
)
def test_two_jobs_on_the_gpu_give_the_same_bytes(specification, digits_data, trained_model, tmp_path):
    made = []
    # Processes of their own: what makes CUDA deterministic is read when it starts.
    for name in ("first", "second"):
        out = tmp_path / f"{name}.safetensors"
        command = [sys.executable, "-m", "infoadv", "attack", "--device", "cuda", "--images", "8", "--chunk", "8"]
        command += ["--data", str(digits_data), "--model", str(trained_model), "--spec", json.dumps(specification)]
        done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1]


@pytest.mark.gpu
def test_an_attack_on_the_gpu_agrees_with_the_cpu(digits_data, trained_model, tmp_path):
    specification = {
        "name": "masking",
        "method": "masking",
        "options": {"steps": 40},
    }
    norms = []
    for name in ("cpu", "cuda"):
        out = tmp_path / f"{name}.safetensors"
        attack_stage.run(digits_data, trained_model, specification, images=8, chunk=8, seed=0, device=name, out=out)
        tensors, _ = artifacts.load_tensors(out, "attack")
        assert tensors["success"].all()
        norms.append(tensors["adversarial_8bit"].astype(float).std())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
