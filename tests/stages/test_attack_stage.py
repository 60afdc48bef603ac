"""The attack stage: what a specification is silent about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from infoadv import artifacts
from infoadv.stages import attack


def test_an_option_that_a_specification_does_not_know_is_as_it_was_before(
    digits_data: Path, trained_model: Path, tmp_path: Path
) -> None:
    def found(name: str, **options: Any) -> np.ndarray:
        out = tmp_path / f"{name}.safetensors"
        specification = {"name": "masking", "method": "masking", "options": {"steps": 12, "first_step": 1.0, **options}}
        attack.run(digits_data, trained_model, specification, images=4, chunk=4, seed=0, device="cpu", out=out)
        arrays, _ = artifacts.load_tensors(out, "attack")
        return arrays["adversarial"]

    silent = found("silent")
    assert (silent == found("then", norm_change=0.1, momentum=0.0, temperature=1.0)).all()
    assert (silent != found("now", norm_change=0.4, momentum=0.0, temperature=0.03)).any()
