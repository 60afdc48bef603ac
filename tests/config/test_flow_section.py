"""The section flow: what the profiles run, what they follow in which network, and what the configuration refuses."""

from __future__ import annotations

import copy

import pytest
import yaml

from helpers import ROOT
from infoadv import config
from infoadv.config import Config, ConfigError, Run
from infoadv.config.flow import Flow
from infoadv.numerics.sizes import equalled
from infoadv.pipeline import code_inputs, presentation
from infoadv.registry import plugins

VALUES = {
    "dataset": "d",
    "model": "full",
    "jsma": "jsma",
    "attacks": ["fgsm", "cw"],
    "matched": "fgsm",
    "estimators": ["copula"],
    "evidence": "class",
    "shifts": 24,
    "iterates": 10,
    "probes": 100,
    "layers": {"full": ["a"]},
}
EVERYTHING = {
    "distilled": {"model": "distilled", "regular": "soft", "adaptive": "warm"},
    "trimmed": "small",
    "transfer": ["vgg", "deep"],
    "ensembles": {"full": "without_full", "vgg": "without_vgg", "deep": "without_deep"},
    "untrained": "blank",
}


def followed(values):
    """Return {network: {(source, attack)}}."""
    parts = Flow(values).parts()
    return {network: {(part.source, part.attack) for part in several} for network, several in parts.items()}


def test_profiles_without_options_follow_one_network():
    assert followed(VALUES) == {"full": {("full", "fgsm"), ("full", "cw"), ("full", "jsma")}}
    assert list(Flow(VALUES).runs()) == [("full", "fgsm"), ("full", "cw"), ("full", "jsma")]


def test_every_network_is_followed_with_its_own_examples_and_those_of_the_others():
    assert followed({**VALUES, **EVERYTHING}) == {
        "full": {
            *(("full", attack) for attack in ("fgsm", "cw", "jsma")),
            *((source, "jsma") for source in ("small", "vgg", "deep", "without_full")),
        },
        "small": {("small", "jsma"), ("full", "jsma")},
        "distilled": {("distilled", "soft"), ("distilled", "warm")},
        "vgg": {(source, "jsma") for source in ("vgg", "full", "deep", "without_vgg")},
        "deep": {(source, "jsma") for source in ("deep", "full", "vgg", "without_deep")},
        "blank": {("full", attack) for attack in ("fgsm", "cw", "jsma")},
    }


def test_controls_stand_beside_every_attack_on_its_own_network():
    for network, parts in Flow({**VALUES, **EVERYTHING}).parts().items():
        for part in parts:
            own = part.source == network
            assert "noise" in part.conditions
            assert "native" in part.conditions
            iterates = network == "full" and part.attack == "jsma" and own
            assert {"iterate", "noise_iterate"} <= set(part.conditions) or not iterates
            assert ("iterate" in part.conditions) == iterates
            matched = part.attack in ("fgsm", "cw")
            assert {"matched", "matched_noise"} <= set(part.conditions) or not matched


def test_both_sides_of_a_comparison_are_followed_at_one_size():
    for network, parts in Flow({**VALUES, **EVERYTHING}).parts().items():
        cut = {(part.source, equalled(name)) for part in parts for name in part.conditions if equalled(name)}
        if network == "full":
            assert ("small", "full") in cut
            cut.remove(("small", "full"))
        if network in ("full", "vgg", "deep"):
            others = {"full", "vgg", "deep"} - {network}
            pairs = {(side, other) for side in (network, f"without_{network}") for other in others}
            assert cut == pairs | {(other, side) for side, other in pairs}
        else:
            assert cut == ({("full", "small")} if network == "small" else set())


def test_each_attack_is_run_once():
    runs = list(Flow({**VALUES, **EVERYTHING}).runs())
    assert len(set(runs)) == len(runs)
    assert {("without_full", "jsma"), ("distilled", "warm"), ("small", "jsma")} <= set(runs)


def test_a_specification_holds_what_determines_the_profiles_and_no_role():
    flow = Flow({**VALUES, **EVERYTHING})
    assert flow.specification("full")["layers"] == ["a"]
    assert flow.specification("vgg")["layers"] is None
    assert set(flow.specification("vgg")) == {
        *("estimators", "evidence", "shifts", "iterates", "probes", "matched", "layers", "studies")
    }


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def test_attacks_of_the_profiles_alone_are_run_and_not_compared(raw):
    checked = Config(raw)
    alone = set(checked.flow_runs()) - set(checked.runs)
    assert Run("digits", "good_init", "jsma") in alone
    assert not {run.attack for run in checked.runs} & {"jsma", "jsma_regular", "jsma_adaptive"}
    assert checked.flow.values["matched"] == "fgsm_0.1"
    assert checked.flow.values["evidence"] == "class"


def test_tables_and_figures_of_the_profiles_belong_to_the_section(raw):
    with_flow = Config(raw)
    for name in [name for name in raw["figures"] if config.stage_inputs("figures", name)["stage"] == "flow"]:
        assert presentation.of(with_flow, "figures", name)["flow"]["model"] == "good_init"
        del raw["figures"][name]
    del raw["flow"]
    without = Config(raw)
    assert without.flow is None
    assert without.flow_runs() == []
    assert set(with_flow.tables()) - set(without.tables()) == {"claims", "detection", "profiles"}
    assert "flow" not in presentation.of(without, "tables", "quality")


def test_profiles_of_networks_that_no_attack_is_compared_on_have_no_tables_of_metrics(tmp_path):
    (tmp_path / "networks").mkdir()
    alone = config.load(ROOT / "config" / "profiles.yaml", tmp_path)
    assert alone.runs == []
    assert set(alone.tables()) == {"claims", "detection", "profiles", "provenance", "runtime", "targets"}
    raw = yaml.safe_load((ROOT / "config" / "profiles.yaml").read_text())
    raw["figures"]["cost"] = {}
    with pytest.raises(ConfigError, match=r"figures\.cost: needs 'models\.<a network that is attacked>'"):
        Config(raw, tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", "nobody", "flow.model: there is no network of digits named 'nobody'"),
        ("jsma", "cw_l2", "flow.jsma: there is no such attack 'cw_l2'"),
        ("attacks", ["fgsm_0.1", "noise"], "flow.attacks: 'noise' is a control"),
        ("matched", "ddn", "flow.matched: there is no such attack 'ddn'"),
        ("transfer", ["good_init", "deep_conv"], "flow: 'good_init' has two roles"),
        ("distilled", {"model": "distilled", "regular": "ddn", "adaptive": "jsma"}, "flow.distilled.regular"),
        ("layers", {"nobody": ["x"]}, "flow.layers: there is no network"),
        ("shifts", 5, "flow.shifts: 5 is not allowed; give at least 20"),
        ("estimators", ["histogram"], "allowed: copula, quantile"),
        ("trimmed", None, "flow.trimmed"),
    ],
)
def test_a_wrong_section_is_refused(raw, path, value, message):
    raw["flow"][path] = value
    with pytest.raises(ConfigError) as caught:
        Config(raw)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "models/without_good_init/members",
            ["good_init", "deep_conv"],
            "flow.ensembles.good_init: 'without_good_init' consists of",
        ),
        ("flow/ensembles", {"good_init": "without_good_init"}, "flow.ensembles: needs one for each of"),
        ("flow/isolated", "standard", "flow.isolated: 'standard' is none of the networks"),
        ("models/untrained/training/epochs", 3, "flow.untrained: 'untrained' must have"),
        ("models/untrained/options/dense", 8, "flow.untrained: 'untrained' must have"),
        ("flow/trimmed", "reference", "flow.trimmed: 'reference' does not come from 'good_init'"),
        ("attacks/jsma_adaptive/options/temperature", 10, "temperature: 100"),
        ("attacks/cw_l2/target", "next", "the profiles compare untargeted attacks"),
    ],
)
def test_a_network_that_is_not_what_its_role_says_is_refused(raw, path, value, message):
    *parents, last = path.split("/")
    below = raw
    for key in parents:
        below = below[key]
    below[last] = value
    with pytest.raises(ConfigError) as caught:
        Config(raw)
    assert message in str(caught.value)


def test_an_ensemble_needs_networks_to_transfer_to(raw):
    del raw["flow"]["transfer"]
    del raw["flow"]["isolated"]
    with pytest.raises(ConfigError, match=r"flow.ensembles: goes with 'transfer'"):
        Config(raw)


def test_a_figure_whose_role_is_left_out_is_refused(raw):
    changed = copy.deepcopy(raw)
    del changed["flow"]["distilled"]
    with pytest.raises(ConfigError, match=r"figures.profiles_adaptive: needs 'flow.distilled'"):
        Config(changed)
    del raw["flow"]
    with pytest.raises(ConfigError, match="needs 'flow'; add it or remove the figure"):
        Config(raw)


def test_code_of_the_profiles_holds_its_estimators_and_no_report():
    checked = config.load(ROOT / "config" / "config.yaml")
    names = {path.relative_to(plugins.PACKAGE).as_posix() for path in code_inputs.of_flow(checked, "deep_conv")}
    assert {"flow/profiles.py", "information/spatial.py", "models/deep_conv.py", "attacks/noise.py"} <= names
    assert not any(name.startswith(("report/", "training/")) for name in names)
