"""What jobs ask a cluster for: in proportion to the work, within reason."""

from __future__ import annotations

import pytest
import yaml

from helpers import ROOT
from infoadv.config import Config
from infoadv.pipeline import resources


def paper(**changes):
    values = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    return Config({**values, **changes})


def test_the_passes_of_a_recipe_are_those_of_its_defaults():
    attacks = paper().attacks
    assert resources.passes(attacks["mi_uae_conv"].options["mnist"]) == 1000
    assert resources.passes(attacks["mi_uae_binary"].options["mnist"]) == 9000


def test_passes_are_not_fewer_than_those_of_the_attacks():
    # What results/reference counted.
    options = paper().attacks
    counted = {"mi_masking": 90, "ddn": 100, "fgsm_smallest": 12, "bim": 120, "pgd_linf": 480, "fgsm_budget": 1}
    for name, count in counted.items():
        assert count <= resources.passes(options[name].options["cifar10"]) <= 1.3 * count


def test_an_attack_of_ones_own_without_steps_is_taken_for_a_long_one():
    assert resources.passes({"strength": 3}) >= 1000


def test_time_grows_with_images_and_steps_and_shrinks_on_a_gpu():
    config, slow = paper(), paper(device="cpu")
    few, many = (resources.attack_minutes(config, "cifar10", "cw_l2", images) for images in (1000, 10_000))
    assert many - resources.START == pytest.approx(10 * (few - resources.START), abs=10)
    assert resources.attack_minutes(config, "cifar10", "ddn", 1000) < few
    assert resources.attack_minutes(slow, "cifar10", "cw_l2", 1000) > 10 * few
    epochs = [resources.training_minutes(config, "cifar10", name, 185) for name in ("untrained", "resnet", "good_init")]
    assert epochs == sorted(epochs)


def test_memory_grows_with_the_chunk_and_the_images():
    config, halved = paper(), paper(chunk=125)
    assert resources.attack_memory(halved, "cifar10", 1000) < resources.attack_memory(config, "cifar10", 1000)
    assert (
        resources.attack_memory(config, "cifar10", 1000) < resources.attack_memory(config, "cifar10", 10_000) < 32_000
    )
    assert resources.attack_memory(paper(device="cpu"), "cifar10", 1000) < resources.attack_memory(
        config, "cifar10", 1000
    )


def test_an_attack_on_large_images_asks_for_more():
    config = paper()

    def wanted():
        memory = resources.attack_memory(config, "cifar10", 100)
        return memory, resources.attack_minutes(config, "cifar10", "ddn", 10_000)

    before = wanted()
    for size, more in ((None, False), (32, False), ([224, 224], True), (224, True)):
        config.datasets["cifar10"]["size"] = size
        after = (
            resources.attack_memory(config, "cifar10", 100),
            resources.attack_minutes(config, "cifar10", "ddn", 10_000),
        )
        assert after > before if more else after == before
    # What resnet50 took on one image of 224 pixels, and more.
    assert resources.attack_memory(config, "cifar10", 1) - resources.BASE > config.chunk * 120


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml", "reference.yaml", "profiles.yaml"])
def test_every_job_of_the_configurations_asks_for_what_a_node_has(name):
    config = Config(yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")))
    minutes = [resources.attack_minutes(config, run.dataset, run.attack, config.images) for run in config.runs]
    minutes += [resources.training_minutes(config, dataset, model, 185) for dataset, model in config.trained()]
    profiled = config.flow.parts() if config.flow else []
    minutes += [resources.profiles_minutes(config, model) for model in profiled]
    if config.runs:  # with no attack to compare a table takes no more than its start
        minutes += [resources.metrics_minutes(config), resources.report_minutes(config)]
    if "calibration" in config.values:
        minutes.append(resources.calibration_minutes(config))
    assert min(minutes) > resources.START
    assert max(minutes) < 7 * 24 * 60
    memory = [resources.attack_memory(config, dataset, config.images) for dataset in config.datasets]
    memory.append(resources.training_memory(config, 185))
    memory += [resources.profiles_memory(config, model) for model in profiled]
    memory += [resources.metrics_memory(config), resources.report_memory(config)]
    assert min(memory) >= 1000
    assert max(memory) < 16_000
