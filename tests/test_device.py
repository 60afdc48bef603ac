"""Choosing a device: what is asked for and not there is an error, what is there gives the same results."""

from __future__ import annotations

import pytest
import torch

from infoadv import artifacts, device
from infoadv.attacks import harness


def test_cpu_is_always_there_and_auto_falls_back_to_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve("cpu") == "cpu"
    assert device.resolve("auto") == "cpu"
    with pytest.raises(device.DeviceError, match="set device to cpu or auto"):
        device.resolve("cuda")


@pytest.mark.gpu
def test_an_attack_on_the_gpu_agrees_with_the_cpu(digits_data, trained_model, tmp_path):
    specification = {
        "name": "masking",
        "method": "mutual_information",
        "options": {"estimator": "masking", "search": "decoupled", "steps": 40},
    }
    norms = []
    for name in ("cpu", "cuda"):
        out = tmp_path / f"{name}.safetensors"
        harness.run(digits_data, trained_model, specification, images=8, chunk=8, seed=0, device=name, out=out)
        tensors, _ = artifacts.load_tensors(out, "attack")
        assert tensors["success"].all()
        norms.append(tensors["adversarial_8bit"].astype(float).std())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
