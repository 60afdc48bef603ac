"""The configuration: what is filled in, what is refused and in which words, what runs, and what code it depends on."""

from __future__ import annotations

import copy
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from helpers import ROOT
from infoadv import cli, config
from infoadv.config import Config, ConfigError, Run, documentation, summary
from infoadv.pipeline import code_inputs
from infoadv.registry import plugins

PACKAGE = plugins.PACKAGE


#: How a network is measured that says nothing of it.
MEASURED = {"pgd_epsilon": 0.1, "apgd_steps": 25, "apgd_images": 1000}


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())


def set_key(raw, path, value):
    changed = copy.deepcopy(raw)
    *parents, last = path.split("/")
    below = changed
    for key in parents:
        below = below[key]
    below[last] = value
    return changed


CONFIGURATIONS = [
    *sorted((ROOT / "config").glob("*.yaml")),
    *(ROOT / "tests" / name for name in ("workflow/config.yaml", "workflow/faults.yaml", "cluster/config.yaml")),
]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_configurations_of_the_repository_are_valid(path, capsys, tmp_path):
    # Photographs lie beside a run, in a folder that `make reference` links there. They are counted and not read.
    for part in ("train", "test"):
        for name in ("hat", "shoe"):
            (tmp_path / "clothing" / part / name).mkdir(parents=True)
            for number in range(100):
                (tmp_path / "clothing" / part / name / f"{number}.jpg").touch()
    (tmp_path / "networks").mkdir()
    settings = config.load(path, tmp_path)
    assert settings.runs or settings.flow_runs()
    assert cli.main(["check", str(path), "--directory", str(tmp_path)]) == 0
    assert (" attacks on " if settings.runs else "profiles   ") in capsys.readouterr().out


def test_embedded_default_runs_every_family_on_two_networks_without_network():
    checked = config.load(ROOT / "config" / "config.yaml")
    assert checked.images >= 64
    assert {entry["source"] for entry in checked.datasets.values()} == {"digits"}
    assert len({run.model for run in checked.runs}) == 2
    methods = {attack.method for attack in checked.attacks.values()}
    # adv-lib's attacks are an extra, and the two networks' share of the nine minutes is used.
    adv_lib = {
        name
        for name in plugins.schemas("attacks")
        if plugins.source_file("attacks", name).stem in ("adv_lib", "adv_lib_lpips")
    }
    # The recipes of the follow-up take a thousand passes an image.
    recipes = {"uae_projection", "uae_conv", "uae_binary"}
    # A floor for JOD, whose steps take a second an image on a CPU.
    floors = {"jod_descent"}
    assert methods == set(plugins.schemas("attacks")) - adv_lib - recipes - floors
    # Three judges take longer than all other metrics together; config/paper.yaml has them.
    assert set(plugins.schemas("metrics")) - set(checked.metrics) == {"jod", "flip", "fsim"}
    assert {"jod", "flip", "fsim", "mdsi", "dss"} <= set(config.load(ROOT / "config" / "paper.yaml").metrics)
    assert checked.metrics["lpips"]["backbone"] == "reference"
    assert set(checked.figures) == set(plugins.names("figures"))


def schemas_with_defaults():
    for folder in ("data", "models", "training", "attacks", "metrics"):
        for options in (config.common_options(folder), *plugins.schemas(folder).values()):
            for name, schema in options.items():
                if "default" in schema:
                    yield pytest.param(schema, id=f"{folder}-{name}")


@pytest.mark.parametrize("schema", schemas_with_defaults())
def test_a_default_is_allowed_by_its_own_schema_and_described(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(schema["default"], schema)
    assert schema["description"]


def test_defaults_are_written_out(raw):
    minimal = {key: raw[key] for key in ("datasets", "models", "attacks", "metrics")}
    checked = Config(minimal)
    assert (checked.seed, checked.device, checked.images) == (0, "cpu", 64)
    assert checked.threads == {"training": 2, "attack": 1, "metrics": 1}
    assert checked.datasets["digits"] == {"source": "digits", "size": 16, "test": 450, "split_seed": 0}
    training = checked.models["standard"]["digits"]["training"]
    assert training["weight_decay"] == config.common_options("training")["weight_decay"]["default"]
    assert checked.attacks["ddn"].options["digits"] == {"steps": 20, "initial_norm": 1.0, "gamma": 0.05}
    assert checked.statistics["reference"] == "ddn"


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({}, "write method: mine."),
        ({"preset": "uae_conv"}, "write method: uae_conv."),
        (
            {"estimator": "masking", "search": "decoupled", "steps": 90},
            'write method: masking and options: {"steps": 90}.',
        ),
        (
            {"estimator": "projection"},
            'write method: projection and options: {"search": "binary", "steps": 200}.',
        ),
    ],
)
def test_the_one_method_of_before_is_refused_with_what_to_write_instead(raw, options, instead):
    entry = {"method": "mutual_information", "options": options}
    with pytest.raises(ConfigError, match=re.escape("attacks.mi_masking.method: ") + ".*" + re.escape(instead)):
        Config(set_key(raw, "attacks/mi_masking", entry))


REFUSED = [
    ("imags", 3, "imags: unknown key; did you mean 'images'?"),
    ("attacks/ddn/options", {"stepz": 3}, "attacks.ddn.options.stepz: unknown key; did you mean 'steps'?"),
    ("attacks/ddn/options", {"steps": 0}, "attacks.ddn.options.steps: 0 is not allowed; give at least 1"),
    ("attacks/ddn/method", "dnn", "attacks.ddn: there is no attack method 'dnn'; did you mean 'ddn'?"),
    ("attacks/ddn/colour", "red", "attacks.ddn.colour: unknown key; allowed: compared"),
    ("attacks/ddn/target", "all", 'attacks.ddn.target: "all" is not allowed; allowed: least_likely, next, untargeted'),
    ("attacks/ddn/models", ["reference"], "attacks.ddn.models: there is no attacked model 'reference'"),
    ("attacks/ddn/per_dataset", {"mnist": {}}, "attacks.ddn.per_dataset: there is no data set 'mnist'"),
    (
        "attacks/f",
        {"method": "fgsm", "options": {"epsilon": 1.5}},
        "attacks.f.options.epsilon: 1.5 is not allowed; give at most 1 or give 'smallest'",
    ),
    (
        "attacks/f",
        {"method": "fgsm", "options": {"epsilon": "1e-2"}},
        'attacks.f.options.epsilon: "1e-2" is not allowed; give a number (YAML reads this as text, write 0.01)',
    ),
    (
        "attacks/f",
        {"method": "fgsm", "options": {"epsilon": -0.1}},
        "attacks.f.options.epsilon: -0.1 is not allowed; give more than 0",
    ),
    ("attacks/f", {"method": "fgsm", "options": {"epsilon": float("nan")}}, "attacks.f.options.epsilon: nan"),
    ("attacks/f", {"label": "F"}, "attacks.f: lacks the key 'method'"),
    ("attacks/f", None, "attacks.f: null is not allowed; give a mapping ({} is an empty one)"),
    ("metrics/ssim", None, "metrics.ssim: null is not allowed; give a mapping ({} is an empty one)"),
    ("attacks/ddn/models", "standard", 'attacks.ddn.models: "standard" is not allowed; give a list'),
    ("attacks/../f", {"method": "fgsm"}, "use letters, digits"),
    ("attacks/noise/options", {}, "attacks.noise.options: lacks the key 'like'"),
    ("attacks/noise/options", {"like": "cw"}, "attacks.noise.options.like: there is no other attack 'cw'"),
    ("attacks/noise/options", {"like": "noise"}, "attacks.noise.options.like: there is no other attack 'noise'"),
    ("datasets/digits/source", "digit", "datasets.digits: there is no data source 'digit'; did you mean 'digits'?"),
    ("datasets/digits/size", 8, "datasets.digits.size: 8 is not allowed; give at least 16"),
    ("models/standard/datasets", ["mnist"], "models.standard.datasets: there is no data set 'mnist'"),
    ("models/standard/architecture", "cnn", "models.standard: there is no architecture 'cnn'"),
    ("models/standard/factory", "m:f", "models.standard: give either 'architecture'"),
    ("models/standard/members", ["a", "b"], "models.standard: give either 'architecture'"),
    ("models/e", {"members": ["standard"]}, 'models.e.members: ["standard"] is not allowed; give at least 2 item(s)'),
    ("models/e", {"members": ["standard", "x"]}, "models.e.members: there is no network of digits named 'x'"),
    ("models/e", {"members": ["standard", "e"]}, "models.e.members: e -> e goes in a circle"),
    ("models/e", {"members": ["standard", "reference"], "start": "standard"}, "models.e.start: not allowed beside"),
    ("models/e", {"members": ["standard", "reference"], "options": {"a": 1}}, "models.e.options: not allowed beside"),
    ("models/e", {"members": ["standard", "reference"], "mean": 0, "std": 1}, "models.e.mean: not allowed beside"),
    ("models/e", {"architecture": "resnet", "mean": 0.5}, "models.e: 'mean' and 'std' go together"),
    ("models/e", {"architecture": "resnet", "mean": 0.5, "std": 0}, "models.e.std: 0 is not allowed; give more than 0"),
    ("models/e", {"architecture": "resnet", "mean": [0.5] * 4, "std": 1}, "models.e.mean: [0.5, 0.5, 0.5, 0.5] is not"),
    ("models/e", {"factory": "m:f"}, "models.e: 'factory' and 'weights' go together"),
    (
        "models/e",
        {"architecture": "resnet", "weights": "../w.safetensors"},
        "models.e.weights: '../w.safetensors' leaves the working directory",
    ),
    (
        "models/e",
        {"architecture": "resnet", "weights": "w.safetensors", "training": {"epochs": 3}},
        "models.e.training.epochs: unknown key; allowed: apgd_images, apgd_steps, pgd_epsilon",
    ),
    (
        "models/e",
        {"architecture": "resnet", "weights": "w.safetensors", "start": "standard"},
        "models.e.start: not allowed beside 'weights'",
    ),
    (
        "models/e",
        {"architecture": "resnet", "weights": "w.safetensors", "options": {"depth": 3}},
        "models.e.options.depth: unknown key; did you mean 'width'?",
    ),
    (
        "models/e",
        {"architecture": "small_cnn", "options": {"width": 4}, "start": "reference", "mean": 0, "std": 1},
        "models.e.start: 'reference' has mean null, this network 0 on digits; training can only begin",
    ),
    (
        "models/e",
        {"members": ["standard", "reference"], "training": {"epochs": 1}},
        "models.e.training.epochs: unknown key; allowed: apgd_images, apgd_steps, pgd_epsilon",
    ),
    ("models/standard/start", "refrence", "models.standard.start: there is no network of digits named 'refrence'; did"),
    ("models/standard/start", "standard", "models.standard.start: standard -> standard goes in a circle"),
    ("models/standard/start", "reference", """models.standard.start: 'reference' has options {"width": 4}"""),
    ("models/standard/teacher", "reference", "models.standard.teacher: training recipe 'standard' has no use for one"),
    (
        "models/standard/training",
        {"recipe": "distillation"},
        "models.standard: training recipe 'distillation' needs the key 'teacher'",
    ),
    (
        "models/standard/training",
        {"recipe": "trimming"},
        "models.standard: training recipe 'trimming' needs the key 'start'",
    ),
    (
        "models/t",
        {
            "architecture": "small_cnn",
            "options": {"width": 8},
            "start": "standard",
            "training": {"recipe": "trimming"},
        },
        "models.t.architecture: 'small_cnn' cannot be trimmed; allowed: deep_conv, fitnet4",
    ),
    (
        "models/t",
        {
            "architecture": "small_cnn",
            "options": {"width": 8},
            "start": "standard",
            "training": {"initialization": "lsuv"},
        },
        "models.t.training.initialization: not allowed beside 'start'",
    ),
    ("models/standard/training", {"recipe": "std"}, "models.standard: there is no training recipe 'std'"),
    ("models/standard/training", {"epsilon": 0.1}, "models.standard.training.epsilon: unknown key"),
    ("models/reference/attacked", True, "metrics.lpips.reference: 'reference' is attacked"),
    ("metrics/lpips", {"reference": "standard"}, "metrics.lpips.reference: 'standard' is attacked"),
    ("metrics/lpisp", {}, "metrics.lpisp: there is no metric 'lpisp'; did you mean 'lpips'?"),
    ("sweeps/ddn", {"option": "kappa", "values": [1]}, "sweeps.ddn.option: there is no option of ddn named 'kappa'"),
    ("sweeps/ddn", {"option": "gamma", "values": [2]}, "sweeps.ddn.values.0: 2 is not allowed; give less than 1"),
    ("sweeps/dnn", {"option": "gamma", "values": [0.1]}, "sweeps: there is no attack 'dnn'; did you mean 'ddn'?"),
    ("statistics/reference", "cw_l2", "statistics.reference: there is no attack 'cw_l2'"),
    (
        "statistics/reference",
        "noise",
        "statistics.reference: 'noise' is a control or a value of a sweep, or runs on no network; choose",
    ),
    (
        "statistics/reference",
        "jsma",
        "statistics.reference: 'jsma' is a control or a value of a sweep, or runs on no network",
    ),
    ("statistics/pairs", [["ddn", "ddm"]], "statistics.pairs: there is no attack 'ddm'"),
    ("statistics/judges", ["ssim", "jodd"], "statistics.judges: there is no metric 'jodd'"),
    ("figures/gird", {}, "figures: there is no figure 'gird'; did you mean 'grid'?"),
    ("figures/tradeoff/metric", "sim", "figures.tradeoff.metric: there is no metric 'sim'; did you mean 'ssim'?"),
    ("figures/grid/attacks", ["pgd"], "figures.grid.attacks: there is no attack 'pgd'"),
    ("figures/convergence/image", 8, "figures.convergence.image: 8 is not allowed; 8 images are attacked"),
    ("device", "gpu", "did you mean 'cpu'? allowed: auto, cpu, cuda"),
    ("images", "many", 'images: "many" is not allowed; give an integer'),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[f"{p}={v}" for p, v, _ in REFUSED])
def test_a_wrong_configuration_is_refused_in_one_line(raw, path, value, message):
    if path == "attacks/../f":
        changed = copy.deepcopy(raw)
        changed["attacks"]["../f"] = value
    else:
        changed = set_key(raw, path, value)
    with pytest.raises(ConfigError) as caught:
        Config(changed)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_does_not_run_the_attack_itself_again(raw):
    raw["sweeps"] = {"ddn": {"each": {"steps": [raw["attacks"]["ddn"]["options"]["steps"], 7]}}}
    swept = [attack for attack in Config(raw).attacks.values() if attack.sweep_of == "ddn"]
    assert [attack.varied for attack in swept] == [{"steps": 7}]


def test_a_figure_of_a_sweep_is_refused_where_nothing_is_swept(raw):
    raw["figures"] = {"budget": {"option": "gamma"}}
    with pytest.raises(
        ConfigError, match=r"figures\.budget\.option: there is no option that a sweep varies alone 'gamma'"
    ):
        Config(raw)


@pytest.mark.parametrize("method", ["fgsm", "deepfool"])
def test_an_attack_without_a_targeted_form_is_refused_with_one_that_has_it(raw, method):
    raw["attacks"]["aimed"] = {"method": method, "target": "least_likely"}
    with pytest.raises(ConfigError, match=rf"attacks\.aimed\.target: {method} takes no target: .*; use "):
        Config(raw)


def test_networks_with_weights_or_a_normalisation_of_their_own(raw):
    given = {"architecture": "resnet", "weights": "./w.safetensors", "mean": 0.5, "std": [0.2]}
    settings = Config(set_key(raw, "models/e", given))
    assert settings.models["e"]["digits"] == {
        "architecture": "resnet",
        "weights": "w.safetensors",
        "options": {"width": 32, "stem": 1},
        "training": MEASURED,
        "mean": 0.5,
        "std": [0.2],
    }
    settings = Config(set_key(raw, "models/e", {"architecture": "resnet", "mean": 0.5, "std": 1}))
    assert settings.models["e"]["digits"]["std"] == 1
    assert settings.models["e"]["digits"]["training"]["recipe"] == "standard"
    # What says nothing of it is specified as before: networks that are there are not made again.
    assert not {"mean", "std"} & settings.models["standard"]["digits"].keys()


def test_lpips_names_its_network_unless_there_is_one_alone(raw):
    del raw["metrics"]["lpips"]["reference"]
    assert Config(raw).lpips_reference == {"digits": "reference"}
    raw["models"]["other"] = {"attacked": False, "architecture": "small_cnn", "training": {}}
    with pytest.raises(ConfigError, match=r"metrics\.lpips\.backbone: several .*\(reference, other\); name the one"):
        Config(raw)
    del raw["models"]["other"]
    raw["models"]["reference"]["attacked"] = True
    with pytest.raises(
        ConfigError, match=r"metrics\.lpips\.backbone: 'reference' needs a network of digits that nobody"
    ):
        Config(raw)


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    for text in ("a: [", "- 1", "\x00"):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"c\.yaml"):
            config.load(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "absent.yaml")


def test_sweeps_become_attacks_of_the_same_colour_that_are_not_compared(raw):
    checked = Config(raw)
    step = checked.attacks["mi_masking-confidence-1"]
    assert step.sweep_of == "mi_masking"
    assert step.color_index == checked.attacks["mi_masking"].color_index
    assert step.options["digits"] == {**checked.attacks["mi_masking"].options["digits"], "confidence": 1}
    assert not step.compared
    assert Run("digits", "standard", step.name) in checked.runs


def test_a_sweep_varies_options_one_at_a_time_or_in_every_combination(raw):
    raw["sweeps"] = {
        "mi_masking": {"each": {"confidence": [1, 2], "quantize": [False]}, "models": ["standard"]},
        "ddn": {"combinations": {"steps": [5, 9], "gamma": [0.1, 0.2]}},
    }
    checked = Config(raw)
    varied = {name: attack.varied for name, attack in checked.attacks.items() if attack.sweep_of}
    assert varied == {
        "mi_masking-confidence-1": {"confidence": 1},
        "mi_masking-confidence-2": {"confidence": 2},
        "mi_masking-quantize-False": {"quantize": False},
        "ddn-steps-5-gamma-0.1": {"steps": 5, "gamma": 0.1},
        "ddn-steps-5-gamma-0.2": {"steps": 5, "gamma": 0.2},
        "ddn-steps-9-gamma-0.1": {"steps": 9, "gamma": 0.1},
        "ddn-steps-9-gamma-0.2": {"steps": 9, "gamma": 0.2},
    }
    for name, point in varied.items():
        attack = checked.attacks[name]
        start = checked.attacks[attack.sweep_of]
        assert attack.options["digits"] == {**start.options["digits"], **point}
    # The attack that is varied has a value of each option as well.
    assert checked.attacks["mi_masking"].varied == {"confidence": 0, "quantize": True}
    assert checked.attacks["ddn"].varied == {"steps": 20, "gamma": 0.05}


def test_an_attack_and_its_sweep_name_the_metrics_that_they_are_measured_with(raw):
    raw["metrics"] = {"l2": {}, "ssim": {}, "linf": {}}
    raw["attacks"]["ddn"] |= {"metrics": ["ssim", "l2"], "compared": False}
    raw["sweeps"] = {
        "ddn": {"option": "gamma", "values": [0.1]},
        "mi_masking": {"each": {"steps": [3]}, "metrics": ["l2"]},
    }
    checked = Config(raw)
    measured = {name: list(checked.metrics_of(name)) for name in checked.attacks}
    assert measured["ddn"] == measured["ddn-gamma-0.1"] == ["l2", "ssim"]
    assert measured["mi_masking"] == ["l2", "ssim", "linf"]
    assert measured["mi_masking-steps-3"] == ["l2"]
    raw["attacks"]["ddn"]["metrics"] = ["sim"]
    with pytest.raises(ConfigError, match=r"attacks\.ddn\.metrics: there is no metric 'sim'; did you mean 'ssim'"):
        Config(raw)


def test_an_option_that_came_later_is_in_a_specification_where_it_is_not_as_it_was_before(raw):
    raw["sweeps"] = {}
    options = raw["attacks"]["mi_masking"].setdefault("options", {})
    plain = config.Config(raw).attacks["mi_masking"]
    # Its default is what it was before, and in the specification is what is not.
    assert plain.options["digits"]["momentum"] == 0
    assert "momentum" not in plain.specification("digits")["options"]
    assert plain.specification("digits")["options"]["norm_change"] == 0.4
    options |= {"momentum": 0.6, "norm_change": 0.1, "temperature": 1}
    changed = config.Config(raw).attacks["mi_masking"].specification("digits")["options"]
    assert changed["momentum"] == 0.6
    assert not {"norm_change", "temperature"} & changed.keys()


def test_an_attack_leaves_networks_out_and_attacks_fewer_images(raw):
    raw["models"]["other"] = copy.deepcopy(raw["models"]["standard"]) | {"options": {"width": 6}}
    raw["attacks"]["mi_masking"] |= {"skip": ["digits/other"], "images": 6, "compared": False}
    raw["sweeps"]["mi_masking"]["images"] = 5
    raw["chunk"], raw["attacks"]["mi_masking"]["shards"] = 2, 4
    checked = config.Config(raw)
    assert {run.model for run in checked.runs if run.attack == "mi_masking"} == {"standard"}
    assert {run.model for run in checked.runs if run.attack == "mi_masking-confidence-1"} == {"standard"}
    assert {run.model for run in checked.runs if run.attack == "ddn"} == {"standard", "other"}
    assert {name: checked.attacks[name].images for name in ("ddn", "mi_masking", "mi_masking-confidence-1")} == {
        "ddn": 8,
        "mi_masking": 6,
        "mi_masking-confidence-1": 5,
    }
    assert "digits/standard: 4 attacks on 8 images, 2 of them on fewer" in summary.text(checked, ROOT)
    # At most one a chunk.
    assert checked.attacks["mi_masking"].shards == 3
    for path, value, named in (
        ("attacks/ddn/skip", ["digits/othre"], "attacks.ddn.skip: .*'other'"),
        ("attacks/ddn/skip", ["mnist/other"], "attacks.ddn.skip"),
        ("attacks/ddn/skip", ["other"], "attacks.ddn.skip"),
        ("attacks/ddn/images", 9, "attacks.ddn.images: 9 is not allowed; 8 images"),
        ("attacks/ddn/images", 6, "attacks.ddn.images: 6 of 8 would take the other images out of every comparison"),
        ("attacks/ddn/metrics", ["ssim"], "attacks.ddn.metrics: the others would be ranked by these metrics alone"),
        ("sweeps/mi_masking/images", 7, "sweeps.mi_masking.images: 7 is not allowed; 6 images"),
        (
            "attacks/noise/images",
            7,
            "attacks.noise.options.like: 'ddn' attacks 8 images, 'noise' 7; give both the same",
        ),
        (
            "figures/convergence",
            {"attack": "mi_masking", "image": 6},
            "figures.convergence.image: 6 is not allowed; 6 images",
        ),
    ):
        with pytest.raises(ConfigError, match=named):
            config.Config(set_key(raw, path, value))


@pytest.mark.parametrize(
    "sweep",
    [{}, {"values": [1]}, {"option": "gamma"}, {"option": "gamma", "values": [0.1], "combinations": {"steps": [5]}}],
)
def test_a_sweep_says_in_one_way_what_varies(raw, sweep):
    raw["sweeps"] = {"ddn": sweep}
    with pytest.raises(ConfigError, match=r"sweeps\.ddn: says what varies in one way: by option and values"):
        Config(raw)


def test_only_attacked_networks_are_attacked_and_options_can_differ_by_data_set(raw):
    raw["datasets"]["large"] = {"source": "digits", "size": 32}
    raw["attacks"]["ddn"]["per_dataset"] = {"large": {"steps": 7}}
    raw["models"]["standard"]["per_dataset"] = {
        "large": {"architecture": "resnet", "options": {"width": 4}, "training": {"epochs": 9}}
    }
    raw["attacks"]["mi_masking"]["datasets"] = ["large"]
    checked = Config(raw)
    assert {run.model for run in checked.runs} == {"standard"}
    steps = {dataset: checked.attacks["ddn"].options[dataset]["steps"] for dataset in checked.datasets}
    assert steps == {"digits": 20, "large": 7}
    assert Run("digits", "standard", "mi_masking") not in checked.runs
    large = checked.models["standard"]["large"]
    assert (large["architecture"], large["options"], large["training"]["epochs"]) == (
        "resnet",
        {"width": 4, "stem": 1},
        9,
    )
    assert checked.models["standard"]["digits"]["options"] == {"width": 8}


def test_labels_are_no_part_of_what_is_run(raw):
    before = Config(raw).attacks["ddn"].specification("digits")
    raw["attacks"]["ddn"]["label"] = "Decoupled"
    assert Config(raw).attacks["ddn"].specification("digits") == before


def test_an_own_network_and_an_own_data_set_are_configuration(raw):
    raw["datasets"]["mine"] = {"source": "npz", "path": "mine.npz"}
    raw["models"]["theirs"] = {"datasets": ["mine"], "factory": "pkg.nets:net", "weights": "w.safetensors"}
    specification = Config(raw).models["theirs"]["mine"]
    assert specification["factory"] == "pkg.nets:net"
    assert specification["training"]["pgd_epsilon"] > 0


def made_from_others(raw):
    """Add a network that starts from another and learns from a third, and an ensemble of an ensemble."""
    raw["models"] |= {
        "late": {
            "architecture": "small_cnn",
            "options": {"width": 8},
            "start": "standard",
            "teacher": "other",
            "training": {"recipe": "distillation"},
        },
        "other": {"architecture": "fitnet4"},
        "pair": {"attacked": False, "members": ["standard", "other"]},
        "all": {"members": ["pair", "late"]},
    }
    return raw


def test_networks_that_others_are_made_from_are_part_of_the_specification(raw):
    checked = Config(made_from_others(raw))
    late = checked.models["late"]["digits"]
    assert (late["start"], late["teacher"]) == ("standard", "other")
    assert late["training"]["temperature"] == 100
    assert checked.origin("digits", "late") == [("start", "standard"), ("teacher", "other")]
    assert checked.models["all"]["digits"] == {"members": ["pair", "late"], "training": MEASURED}
    assert checked.origin("digits", "all") == [("members", "pair"), ("members", "late")]
    assert {"start", "teacher", "members"}.isdisjoint(checked.models["standard"]["digits"])
    assert {run.model for run in checked.runs} == {"standard", "late", "other", "all"}


def test_a_circle_of_networks_is_refused(raw):
    made_from_others(raw)["models"]["standard"] = {"members": ["reference", "all"]}
    with pytest.raises(ConfigError, match="goes in a circle; a network cannot be made from itself"):
        Config(raw)


def test_what_a_network_starts_from_is_of_its_own_data_set(raw):
    raw = made_from_others(raw)
    raw["datasets"]["large"] = {"source": "digits", "size": 32}
    raw["models"]["late"]["per_dataset"] = {"large": {"options": {"width": 12}}}
    with pytest.raises(ConfigError, match=r"'standard' has options .*width.* 8.* on large"):
        Config(raw)
    raw["models"]["standard"]["per_dataset"] = {"large": {"options": {"width": 12}}}
    assert Config(raw).models["late"]["large"]["options"] == {"width": 12}
    raw["models"]["other"]["datasets"] = ["digits"]
    with pytest.raises(ConfigError, match=r"models\.late\.teacher: there is no network of large named 'other'"):
        Config(raw)


def test_code_of_networks_made_from_others_holds_their_architectures(raw):
    checked = Config(made_from_others(raw))
    late = names(code_inputs.of_model(checked, "digits", "late"))
    assert {"training/distillation.py", "models/small_cnn.py", "models/fitnet4.py"} <= late
    for code in (code_inputs.of_model(checked, "digits", "all"), code_inputs.of_run(checked, "digits", "all", "ddn")):
        assert {"models/small_cnn.py", "models/fitnet4.py"} <= names(code)
    assert "models/fitnet4.py" not in names(code_inputs.of_run(checked, "digits", "late", "ddn"))
    assert "training/trimming.py" not in late


def names(files):
    return {file.relative_to(PACKAGE).as_posix() for file in files}


def test_code_of_an_attack_is_its_own_file_and_what_that_imports(raw):
    checked = Config(raw)
    mutual = names(code_inputs.of_run(checked, "digits", "standard", "mi_masking"))
    ddn = names(code_inputs.of_run(checked, "digits", "standard", "ddn"))
    assert {"attacks/information.py", "attacks/harness.py", "information/masking.py"} <= mutual
    assert "models/small_cnn.py" in mutual
    assert "attacks/foolbox.py" in ddn
    assert "attacks/information.py" not in ddn
    assert not any(name.startswith(("metrics/", "report/")) for name in mutual | ddn)


def test_code_of_training_holds_no_attack_and_no_report(raw):
    training = names(code_inputs.of_model(Config(raw), "digits", "standard"))
    assert {"training/__init__.py", "training/recipes.py", "models/small_cnn.py", "data/__init__.py"} <= training
    assert not any(name.startswith(("attacks/", "metrics/", "report/", "information/")) for name in training)
    assert "models/resnet.py" not in training


@pytest.mark.parametrize("figure", plugins.names("figures"))
def test_code_of_a_figure_is_its_own_file_and_no_other_figure(figure):
    code = names(code_inputs.of_figure(figure))
    drawn = {name for name in code if name.startswith("report/figures/")}
    assert drawn == {"report/figures/__init__.py", f"report/figures/{figure}.py"}
    assert not any(name.startswith(("attacks/", "models/", "training/")) for name in code)
    # The grid alone measures something: its maps of visible differences.
    assert any(name.startswith("metrics/") for name in code) == (figure == "grid")


def test_reading_the_configuration_imports_no_torch():
    program = "import sys; from infoadv import config; config.load(sys.argv[1]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program, str(ROOT / "config" / "paper.yaml")], check=True)


def test_the_reference_of_keys_is_in_step_with_the_schemas():
    _, marker, written = (ROOT / "config" / "README.md").read_text(encoding="utf-8").partition(documentation.MARKER)
    assert marker
    assert written.strip() == documentation.text().strip(), "run `make options`"


def objects(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for below in schema.values():
            yield from objects(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from objects(below)


def test_every_mapping_of_the_schema_says_what_it_allows():
    # A data set is the exception: options stand beside its source, and the file that offers it checks them.
    open_ones = [
        schema
        for schema in objects(config.structure_schema()["properties"])
        if "properties" in schema and "additionalProperties" not in schema and "source" not in schema["properties"]
    ]
    assert not open_ones


def test_a_convergence_figure_of_an_attack_without_a_record_is_refused():
    raw = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    raw["figures"]["convergence"] = {"attack": "ddn"}
    with pytest.raises(config.ConfigError, match=r"figures\.convergence\.attack: 'ddn' is of method ddn"):
        config.Config(raw)


def test_a_syntax_error_names_its_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("seed: 0\nmodels: {{\n", encoding="utf-8")
    with pytest.raises(config.ConfigError, match=r"broken\.yaml: line \d+: not YAML"):
        config.load(path)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("seed: 0\nattacks:\n  ddn: {method: ddn}\n  ddn: {method: deepfool}\n", encoding="utf-8")
    with pytest.raises(config.ConfigError, match=r"twice\.yaml: line 4: .*the key 'ddn' is in line 3 already; rename"):
        config.read(path)


def test_a_key_may_override_what_a_merge_brings_in(tmp_path):
    path = tmp_path / "merge.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b\n  <<: *a\n  x: 2\nc:\n  <<: *b\n  x: 3\n", encoding="utf-8")
    assert config.read(path)["c"] == {"x": 3, "y": 1}
