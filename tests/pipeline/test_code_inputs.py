"""What runs again after an edit: the committed table, and what may be in it whatever else changes."""

from __future__ import annotations

import pytest

from helpers import code_inputs

#: Rules whose jobs take hours.
DEAR = {"train", "attack"}


@pytest.fixture(scope="module")
def reruns():
    return code_inputs.reruns()[0]


def test_the_table_is_what_the_code_inputs_say():
    written = code_inputs.TABLE.read_text(encoding="utf-8").splitlines()
    assert code_inputs.table().splitlines() == written, "look at what changed, then run `make reruns`"


@pytest.mark.parametrize(
    "part",
    [
        *("execution/locks.py", "execution/run_lock.py", "execution/progress.py", "pipeline/", "report/", "cli.py"),
        *("__main__.py", "__init__.py", "artifacts/", "config/", "registry/"),
    ],
)
def test_what_carries_numbers_and_cannot_change_them_reruns_no_training_and_no_attack(reruns, part):
    rules = [set(rules) for module, rules in reruns.items() if module.startswith(part)]
    assert rules
    assert not DEAR & set().union(*rules)


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("training/loop.py", {"train"}),
        ("stages/train.py", {"train"}),
        ("stages/attack.py", {"attack"}),
        ("attacks/harness.py", {"attack"}),
        ("stages/measure.py", {"metrics"}),
        ("stages/flow.py", {"profiles"}),
        ("report/tables/quality.py", {"table"}),
        ("report/figures/cost.py", {"figure"}),
    ],
)
def test_a_stage_reruns_itself_alone(reruns, module, rules):
    assert set(reruns[module]) == rules


def test_what_decides_numbers_reruns_every_stage_that_runs_networks(reruns):
    for module in ("execution/device.py", "models/__init__.py", "numerics/pixels.py"):
        assert {*DEAR, "metrics", "profiles"} <= set(reruns[module]), module
