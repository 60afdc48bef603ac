"""The calibration stage: which critics and bounds it measures, and that the one along an attack is that of the attack."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from infoadv import artifacts
from infoadv.attacks.mine_attacks import mine
from infoadv.stages import calibrate


def test_every_critic_and_bound_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    original = calibrate.measure

    def measure(*pair: Any, **options: Any) -> Any:
        asked.append(options)
        return original(*pair, **options)

    monkeypatch.setattr(calibrate, "measure", measure)
    critics = [{"hidden": 4, "steps": 10}, {"hidden": [8, 4], "steps": 12, "learning_rate": 0.01}]
    grid = {"dimensions": [1], "samples": [16], "rhos": [0.5, 0.9], "seeds": 1, "steps": 10}
    bounds = ["donsker_varadhan", "smile", "nwj", "infonce"]
    specification = {**grid, "critics": critics, "bounds": bounds, "attack_steps": 4}
    calibrate.run(specification, seed=3, out=tmp_path / "mine.parquet")
    frame, _ = artifacts.load_rows(tmp_path / "mine.parquet", "calibration")
    assert len(frame) == 2 * (2 * 4 + 1)
    assert set(frame["critic"]) == {"4 units, 10 steps", "8-4 units, 12 steps", calibrate.ALONG}
    clips = [("donsker_varadhan", None), ("donsker_varadhan", calibrate.SMILE_CLIP), ("nwj", None), ("infonce", None)]
    assert [(one["bound"], one.get("clip")) for one in asked] == 2 * clips
    assert [one["learning_rate"] for one in asked] == [0.03] * 4 + [0.01] * 4
    assert (frame["spread"].notna() == (frame["critic"] == calibrate.ALONG)).all()


def test_the_critic_along_an_attack_has_the_defaults_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    original = calibrate.Critic

    def critic(**options: Any) -> Any:
        made.append(original(**options))
        return made[-1]

    monkeypatch.setattr(calibrate, "Critic", critic)
    calibrate.along([0.5], dimension=1, samples=16, steps=4, seed=0)
    defaults = {name: one.default for name, one in inspect.signature(mine).parameters.items()}
    for name in (
        *("batch", "sampling", "redraw", "standardize", "critic_start", "critic_learning_rate", "critic_steps"),
        *("bound", "marginal", "clip", "moving_average"),
    ):
        assert getattr(made[0], name) == defaults[name], name
    assert made[0].hidden == (defaults["hidden"],)
