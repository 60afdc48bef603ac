"""What tables and figures are made from: their own literals decide, and no rule knows one by name."""

from __future__ import annotations

import copy
import re

import pytest
import yaml

from helpers import ROOT
from infoadv.config import Config, ConfigError, Run, stage_inputs
from infoadv.pipeline import code_inputs, layout, presentation, report_inputs
from infoadv.pipeline.drawings import drawings
from infoadv.registry import plugins


@pytest.fixture(scope="module")
def small():
    return yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def raw(small):
    """Return the smallest configuration on two data sets; one network is there on the second alone."""
    raw = copy.deepcopy(small)
    raw["datasets"]["large"] = {"source": "digits", "size": 32}
    raw["models"]["other"] = {"architecture": "small_cnn", "datasets": ["large"], "training": {}}
    return raw


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a plugin folder of the user's, ``own`` in the working directory, which is in use."""
    for kind in ("figures", "tables"):
        (tmp_path / "own" / kind).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "own"))
    return tmp_path / "own"


DRAW = "def draw(inputs, specification): ...\n"
BUILD = "def build(inputs, specification): ...\n"


def by_stem(settings):
    return {drawing.stem: drawing for drawing in drawings(settings)}


def test_a_figure_is_drawn_once_or_once_a_data_set(raw):
    drawn = by_stem(Config(raw))
    once = set(raw["figures"]) - {"grid", "examples"}
    assert set(drawn) == once | {
        f"{name}_{dataset}" for name in ("grid", "examples") for dataset in ("digits", "large")
    }


def test_the_grid_shows_its_network_or_the_first_and_no_sweep(raw):
    raw["figures"]["grid"] = {"images": 2, "model": "other", "attacks": ["noise", "ddn"]}
    drawn = by_stem(Config(raw))
    assert drawn["grid_large"].runs == (Run("large", "other", "ddn"), Run("large", "other", "noise"))
    # This network is not there on the other data set.
    assert drawn["grid_digits"].options["model"] == "standard"
    assert {run.model for run in drawn["grid_digits"].runs} == {"standard"}
    raw["figures"]["grid"] = {}
    everything = by_stem(Config(raw))["grid_digits"]
    assert {run.attack for run in everything.runs} == {"ddn", "mi_masking", "noise"}
    shown = ["ddn", "mi_masking", "noise", "jsma"]
    assert everything.options == {"images": 4, "map": "none", "model": "standard", "attacks": shown}


def test_pictures_are_made_from_the_images_the_attacks_and_the_metrics_of_what_they_show(raw):
    settings = Config(raw)
    drawn = by_stem(settings)
    runs = [run for run in settings.runs if run.dataset == "large"]
    wanted = ["results/data/large.safetensors", *map(layout.attack_file, runs), *map(layout.metrics_file, runs)]
    assert report_inputs.of_drawing(settings, drawn["examples_large"]) == wanted
    assert {run.model for run in runs} == {"standard", "other"}
    assert any("confidence-1" in file for file in wanted)


def test_a_figure_of_one_attack_is_made_from_that_artefact_alone(raw):
    settings = Config(raw)
    drawing = by_stem(settings)["convergence"]
    assert report_inputs.of_drawing(settings, drawing) == ["results/attacks/digits/standard/mi_masking.safetensors"]
    told = presentation.of_drawing(settings, drawing)["figure"]
    assert told == {"dataset": "digits", "model": "standard", "attack": "mi_masking", "image": 0}
    raw["figures"]["convergence"] |= {"dataset": "large", "model": "other"}
    settings = Config(raw)
    (file,) = report_inputs.of_drawing(settings, by_stem(settings)["convergence"])
    assert file == "results/attacks/large/other/mi_masking.safetensors"


def test_tables_are_made_from_what_they_say(raw):
    settings = Config(raw)
    metrics = [layout.metrics_file(run) for run in settings.runs]
    for table in ("quality", "comparison", "ranking"):
        assert report_inputs.of_table(settings, table) == metrics
    assert report_inputs.of_table(settings, "claims") == ["results/flow/digits/standard.parquet"]
    models = report_inputs.of_table(settings, "targets")
    assert models == [layout.model_file(dataset, model) for dataset, model in settings.trained()]
    everything = report_inputs.of_table(settings, "provenance")
    assert {*metrics, *models, "results/data/large.safetensors", layout.CALIBRATION_FILE} <= set(everything)
    assert set(layout.flow_files(settings)) <= set(everything)
    assert all(file.endswith(".tsv") for file in report_inputs.of_table(settings, "runtime"))


def test_benchmarks_are_those_of_every_job_that_computes(raw):
    raw["attacks"]["ddn"]["shards"] = 2
    settings = Config(raw)
    files = report_inputs.benchmarks(settings)
    assert len(files) == len(set(files))
    for name in ("dataset/large", "calibration/mine", "train/digits/reference", "flow/digits/standard"):
        assert f"results/benchmarks/{name}.tsv" in files
    job = "digits/standard/ddn"
    assert f"results/benchmarks/attack/{job}.tsv" not in files
    shards = {f"results/benchmarks/attack_shard/{job}/{shard}.tsv" for shard in range(2)}
    assert shards | {f"results/benchmarks/gather/{job}.tsv"} <= set(files)
    assert not [file for file in files if "/figure/" in file or "/table/" in file]


def test_mine_is_calibrated_where_a_figure_asks_for_it(raw):
    assert layout.calibrates(Config(raw))
    del raw["figures"]["calibration"]
    settings = Config(raw)
    assert not layout.calibrates(settings)
    assert layout.CALIBRATION_FILE not in report_inputs.artefacts(settings)
    assert "calibration" not in {job.stage for job in layout.jobs(settings)}


def test_the_report_lists_what_a_figure_shows(raw):
    settings = Config(raw)
    shown = {stem: presentation.labels(settings, drawing) for stem, drawing in by_stem(settings).items()}
    rest = {"data set": "all", "model": "all", "attack": "all"}
    assert shown["cost"] == {"figure": "cost", **rest}
    assert shown["grid_large"] == {"figure": "grid_large", "data set": "large", "model": "standard", "attack": "all"}
    run = {"data set": "digits", "model": "standard", "attack": "mi_masking"}
    assert shown["convergence"] == {"figure": "convergence", **run}
    assert shown["calibration"] == {"figure": "calibration", **dict.fromkeys(rest, "none")}
    assert shown["profiles_attacks"] == {"figure": "profiles_attacks", **rest, "data set": "digits"}
    assert shown["examples_large"] == {"data set": "large", "model": "{model}", "attack": "{attack}"}


def test_tables_and_figures_are_told_what_attacks_optimise(raw):
    attacks = presentation.of_attacks(Config(raw))["attacks"]
    assert attacks["ddn"]["optimises"] == ["l2", "psnr"]
    assert attacks["mi_masking"]["optimises"] == attacks["mi_masking-confidence-1"]["optimises"]
    assert attacks["mi_masking"]["optimises"] == ["perturbation_information"]
    assert attacks["noise"]["optimises"] == []


def test_a_figure_of_one_run_is_told_what_attacks_call_their_estimate(raw):
    raw["figures"]["convergence"] = {"attack": "mi_masking"}
    settings = Config(raw)
    told = presentation.of_drawing(settings, by_stem(settings)["convergence"])["traces"]
    assert told["mi_masking"] == told["mi_masking-confidence-1"] == "attack's estimate"
    assert "ddn" not in told
    assert "traces" not in presentation.of(settings, "tables", "quality")


def test_declaring_an_attack_measures_nothing_again(raw):
    """What an attack optimises stands in its file, and no attack is among the code of the metrics."""
    code = code_inputs.of_metrics(Config(raw), "digits", "standard")
    assert plugins.source_file("metrics", "l2") in code
    assert not [file for file in code if file.parent == plugins.PACKAGE / "attacks"]


def test_a_figure_of_the_users_is_drawn_as_its_file_says(raw, folder):
    (folder / "figures" / "mine.py").write_text(
        'INPUTS = {"stage": "pictures", "per": "dataset"}\n'
        'OUTPUTS = {"pictures": "{model}.png"}\n'
        'SCHEMA = {"mine": {"size": {"type": "integer", "default": 3}, "model": {"type": "string"}}}\n' + DRAW
    )
    (folder / "figures" / "plain.py").write_text("import nothing_of_this_name\n" + DRAW)
    raw["plugins"] = ["own"]
    raw["figures"] = {"mine": {"model": "other"}, "plain": {}}
    settings = Config(raw)
    drawn = by_stem(settings)
    assert set(drawn) == {"mine_digits", "mine_large", "plain"}
    assert layout.figure_files(drawn["mine_large"]) == ["figures/mine/large"]
    told = presentation.of_drawing(settings, drawn["mine_large"])
    assert (told["figure"], told["dataset"]) == ({"size": 3, "model": "other"}, "large")
    assert {run.model for run in drawn["mine_large"].runs} == {"other"}
    assert presentation.labels(settings, drawn["mine_large"])["model"] == "{model}"
    assert report_inputs.of_drawing(settings, drawn["plain"]) == [layout.metrics_file(run) for run in settings.runs]
    for change, message in (
        ({"size": "3"}, r"figures\.mine\.size: \"3\" is not allowed; give an integer"),
        ({"sise": 3}, r"figures\.mine\.sise: unknown key; did you mean 'size'"),
        ({"model": "nobody"}, r"figures\.mine\.model: there is no model 'nobody'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Config({**raw, "figures": {"mine": change}})
    with pytest.raises(ConfigError, match=r"figures\.plain\.size: unknown key"):
        Config({**raw, "figures": {"plain": {"size": 3}}})


def test_a_table_of_the_users_is_left_out_without_what_it_needs(raw, folder):
    (folder / "tables" / "network.py").write_text('INPUTS = {"stage": "models"}\n' + BUILD)
    (folder / "tables" / "checked.py").write_text('INPUTS = {"stage": "calibration"}\n' + BUILD)
    (folder / "tables" / "passed.py").write_text('INPUTS = {"stage": "flow", "needs": ["transfer"]}\n' + BUILD)
    raw["plugins"] = ["own"]
    settings = Config(raw)
    assert {"network", "checked"} <= set(settings.tables())
    assert "passed" not in settings.tables()
    del raw["figures"]["calibration"]
    # The table asks for it as the figure did.
    assert layout.calibrates(Config(raw))
    assert report_inputs.of_table(settings, "checked") == [layout.CALIBRATION_FILE]
    del raw["calibration"]
    assert "checked" not in Config(raw).tables()


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        (
            "figures",
            {"stage": "metric"},
            r"wrong\.py: INPUTS\.stage: \"metric\" is not allowed; did you mean 'metrics'",
        ),
        ("tables", {"stage": "attack"}, r"wrong\.py: INPUTS\.stage: \"attack\" is not allowed"),
        ("figures", {"stage": "flow", "per": "dataset"}, r"INPUTS\.per: unknown key"),
        ("tables", {"stage": "models", "per": "dataset"}, r"INPUTS\.per: unknown key"),
        ("figures", {"per": "model"}, r"INPUTS\.per: \"model\" is not allowed; give 'dataset'"),
        ("figures", {"needs": ["transfer"]}, r"INPUTS\.needs: unknown key"),
        ("figures", {"trace": True}, r"INPUTS\.trace: unknown key"),
    ],
)
def test_what_no_result_can_be_made_from_is_refused_by_the_file(folder, kind, inputs, message):
    (folder / kind / "wrong.py").write_text(f"INPUTS = {inputs!r}\n")
    with pytest.raises(ConfigError, match=message):
        stage_inputs(kind, "wrong")


def test_a_figure_of_one_attack_is_told_which(raw, folder):
    (folder / "figures" / "one.py").write_text(
        'INPUTS = {"stage": "attack"}\nSCHEMA = {"one": {"attack": {"type": "string"}, "image": {"type": "integer"}}}\n'
        + DRAW
    )
    raw["plugins"] = ["own"]
    with pytest.raises(ConfigError, match=r"figures\.one: lacks the key 'attack'"):
        Config({**raw, "figures": {"one": {}}})
    with pytest.raises(ConfigError, match=r"figures\.one: no such attack runs"):
        Config({**raw, "figures": {"one": {"attack": "jsma"}}})
    with pytest.raises(
        ConfigError, match=r"figures\.one\.image: 8 is not allowed; 8 images are attacked, give at most 7"
    ):
        Config({**raw, "figures": {"one": {"attack": "ddn", "image": 8}}})
    # It asks for no attack that records its run.
    assert by_stem(Config({**raw, "figures": {"one": {"attack": "ddn"}}}))["one"].runs[0].attack == "ddn"


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_every_result_of_the_package_says_rightly_what_it_is_made_from(kind):
    for name in plugins.names(kind):
        assert stage_inputs(kind, name)["stage"]
        described = plugins.literals("figures", "ABOUT")
        assert kind == "tables" or name in described


def test_no_result_is_known_by_name_to_rules_layout_and_configuration():
    """But what is the name of a section or stage as well: the calibration of MINE, information profiles."""
    names = {*plugins.names("tables"), *plugins.names("figures")} - {
        "calibration",
        "profiles",
        "sweeps",
        "transfer",
        "tuning",
    }
    files = [*(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow" / "Snakefile"]
    files += [path for part in ("pipeline", "config") for path in (plugins.PACKAGE / part).glob("*.[pj]*")]
    assert len(files) > 20
    for path in files:
        found = set(re.findall(r"[\"']([a-z_]+)[\"']", path.read_text(encoding="utf-8"))) & names
        assert not found, path


def test_a_targeted_attack_says_so_and_takes_no_image_out_of_the_comparison(raw):
    raw["attacks"]["aimed"] = {"method": "ddn", "label": "DDN", "target": "least_likely"}
    raw["attacks"]["next"] = {"method": "ddn", "label": "DDN (next class)", "target": "next"}
    told = presentation.of_attacks(Config(raw))["attacks"]
    assert told["aimed"]["label"] == "DDN, least likely class"
    assert told["next"]["label"] == "DDN (next class)"
    assert (told["ddn"]["compared"], told["aimed"]["compared"], told["next"]["compared"]) == (True, False, False)


def test_transfer_is_a_job_of_each_data_set_with_two_attacked_networks(raw):
    settings = Config(raw)
    assert layout.transfers(settings) == {"large": ["standard", "other"]}
    assert report_inputs.of_table(settings, "transfer") == ["results/transfer/large.parquet"]
    assert [job.name for job in layout.jobs(settings) if job.stage == "transfer"] == ["large"]
    # A single network has nobody to transfer to.
    del raw["models"]["other"]
    alone = Config(raw)
    assert "transfer" not in alone.tables()
    assert layout.transfers(alone) == {}
