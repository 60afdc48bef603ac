# What the rules share: the checked configuration, paths, code inputs, threads. Everything here runs at each parse, also in
# every cluster job, so nothing here imports torch.
import math
import re
import shutil

# The code that is listed among the inputs is the code that runs, whatever else is installed; and the commands are found
# when `.venv/bin/snakemake` is called without activating the environment.
sys.path.insert(0, str(ROOT / "src"))
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
)

from infoadv import InfoadvError
from infoadv import config as configuration
from infoadv import layout
from infoadv.layout import attack_file, metrics_file, model_file

try:
    settings = configuration.Config(config)
except InfoadvError as error:
    sys.exit(f"infoadv: error: config: {error}")

for result in [*settings.tables(), *settings.figures]:
    caption = ROOT / "workflow" / "report" / f"{result}.rst"
    if not caption.is_file():
        sys.exit(f"infoadv: error: {result}: has no caption for the report; write {caption}.")

DATA_ROOT = settings.data_root or os.environ.get("INFOADV_DATA")
if DATA_ROOT and not Path(DATA_ROOT).is_dir():
    sys.exit(
        f"infoadv: error: data root {DATA_ROOT}: no such folder; correct data_root or INFOADV_DATA, or unset both to download."
    )

if DATA_ROOT:
    os.environ.update(INFOADV_DATA=str(DATA_ROOT))

# A model artefact names the factory of its network; jobs call those of the configuration and no other.
os.environ.update(INFOADV_FACTORIES=",".join(settings.factories()))

# Jobs that want a GPU take turns (resources.gpu in profiles/default). On a machine without one, `device: auto` runs on the
# CPU and asks for none.
GPUS = int(
    settings.device == "cuda"
    or (settings.device == "auto" and (workflow.non_local_exec or shutil.which("nvidia-smi") is not None))
)


def alternatives(names):
    """Return a pattern that matches these names and nothing else."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    dataset=alternatives(settings.datasets),
    model=alternatives(settings.models),
    attack=alternatives(settings.attacks),


def as_inputs(files):
    """Return code files as a rule's inputs: relative where the workflow runs in the repository."""
    here = Path.cwd()
    return [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]


def cores(wanted):
    """Return the share of `--cores` that a job which keeps ``wanted`` real cores busy takes.

    Every job uses its own fixed number of threads, so that its bytes do not depend on --cores. On a machine with
    fewer cores than --cores says, each therefore counts for more: `--cores 8` on two cores runs two of them at once.
    """
    if workflow.non_local_exec:
        return wanted
    try:
        offered = int(workflow.cores)
    except WorkflowError:
        return wanted
    if hasattr(os, "sched_getaffinity"):
        real = len(os.sched_getaffinity(0))
    else:
        real = os.cpu_count() or 1
    return min(offered, math.ceil(wanted * max(1, offered / real)))


# --- Data ---------------------------------------------------------------------------------------------------
def raw_inputs(wildcards):
    """Return what a data set is made from: a user's file, the download, or nothing (a data root is no part of the result)."""
    specification = settings.datasets[wildcards.dataset]
    if "path" in specification:
        return [specification["path"]]
    if specification["source"] in configuration.fetchable() and not DATA_ROOT:
        return [f"results/downloads/{specification['source']}"]
    return []


def root_arguments(wildcards):
    source = settings.source(wildcards.dataset)
    # A data root travels in the environment: as a parameter, moving that folder would make everything again.
    if source not in configuration.fetchable() or DATA_ROOT:
        return []
    return ["--root", f"results/downloads/{source}"]


# --- Networks -----------------------------------------------------------------------------------------------
def origin_files(wildcards):
    """Return the networks that one is made from: what its training begins from, its teacher, its members."""
    return [
        model_file(wildcards.dataset, name) for _, name in settings.origin(wildcards.dataset, wildcards.model)
    ]


def origin_arguments(wildcards):
    arguments = []
    for key, name in settings.origin(wildcards.dataset, wildcards.model):
        file = model_file(wildcards.dataset, name)
        arguments += ["--member", f"{name}={file}"] if key == "members" else [f"--{key}", file]
    return arguments


# --- Attacks ------------------------------------------------------------------------------------------------
def liked_file(wildcards):
    """Return the attack whose norms this one copies, if it is such a control."""
    like = settings.attacks[wildcards.attack].like(wildcards.dataset)
    if like is None:
        return []
    return [attack_file(configuration.Run(wildcards.dataset, wildcards.model, like))]


def attack_weights(wildcards):
    """Return the pretrained weights that an attack looks through, if it does."""
    return [ancient(lpips_weights("alex"))] if settings.attacks[wildcards.attack].method == "alma_lpips" else []


# --- Metrics ------------------------------------------------------------------------------------------------
LPIPS_BACKBONE = settings.metrics.get("lpips", {}).get("backbone", "reference")
LPIPS_WEIGHTS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
# What is downloaded: the backbone of the metric, AlexNet for alma_lpips, and AlexNet where that is asked for by hand.
LPIPS_FETCHED = sorted(
    {LPIPS_BACKBONE} & LPIPS_WEIGHTS.keys()
    | {"alex" for attack in settings.attacks.values() if attack.method == "alma_lpips"}
) or ["alex"]


def lpips_weights(backbone):
    """Return where torch keeps the downloaded weights of a backbone: weights that are cached are not fetched again."""
    cache = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    home = Path(os.environ.get("TORCH_HOME", Path(cache) / "torch"))
    return str(home / "hub" / "checkpoints" / LPIPS_WEIGHTS[backbone])


def pretrained_inputs(wildcards):
    if LPIPS_BACKBONE not in LPIPS_WEIGHTS:
        return []
    return [ancient(lpips_weights(LPIPS_BACKBONE))]


def reference_file(wildcards):
    """Return the network that LPIPS looks through, if it is one of ours."""
    if not settings.lpips_reference:
        return []
    return [model_file(wildcards.dataset, settings.lpips_reference[wildcards.dataset])]


# --- Information profiles -----------------------------------------------------------------------------------
def flow_files():
    return layout.flow_files(settings)


def followed_attacks(wildcards):
    """Return the attacks whose images are followed in one network."""
    parts = settings.flow.parts()[wildcards.model]
    runs = [configuration.Run(wildcards.dataset, part.source, part.attack) for part in parts]
    return [attack_file(run) for run in dict.fromkeys(runs)]


# --- Tables -------------------------------------------------------------------------------------------------
def table_files():
    return [file for table in settings.tables() for file in layout.table_files(table)]


def computing_benchmarks():
    """Return the benchmark files of the jobs that compute. Those of tables and figures would tie these to each other."""
    files = [f"results/benchmarks/dataset/{name}.tsv" for name in settings.datasets]
    if "calibration" in settings.figures:
        files.append("results/benchmarks/calibration/mine.tsv")
    files += [f"results/benchmarks/train/{d}/{m}.tsv" for d, m in settings.trained()]
    for stage, runs in (("attack", layout.attacked(settings)), ("metrics", settings.runs)):
        files += [f"results/benchmarks/{stage}/{run.dataset}/{run.model}/{run.attack}.tsv" for run in runs]
    if settings.flow:
        files += [
            f"results/benchmarks/flow/{settings.flow.dataset}/{name}.tsv" for name in settings.flow.parts()
        ]
    return files


def table_inputs(table):
    """Return what a table is made from; a table that was added gets the metrics of every attack, or says what it wants."""
    if configuration.stage_inputs("tables", table)["stage"] == "flow":
        return flow_files()
    if table == "targets":
        return [model_file(dataset, model) for dataset, model in settings.trained()]
    if table == "runtime":
        return computing_benchmarks()
    return [metrics_file(run) for run in settings.runs]


# --- Figures ------------------------------------------------------------------------------------------------
def drawn_figures():
    return layout.drawn_figures(settings)


def figure_files():
    return [file for _, stem in drawn_figures() for file in layout.figure_files(stem)]


def figure_inputs(figure, stem):
    """Return what a figure is drawn from; a figure that was added gets the metrics of every attack, or says what it wants."""
    if configuration.stage_inputs("figures", figure)["stage"] == "flow":
        return flow_files()
    if figure == "grid":
        dataset = stem.removeprefix("grid_")
        _, runs = settings.grid(dataset)
        return [
            layout.data_file(dataset),
            *map(attack_file, runs),
            *map(metrics_file, runs),
        ]
    if figure == "calibration":
        return [layout.CALIBRATION_FILE]
    if figure == "convergence":
        return [attack_file(settings.matching_runs(settings.figures[figure])[0])]
    return [metrics_file(run) for run in settings.runs]


def figure_specification(figure, stem):
    if figure == "grid":
        dataset = stem.removeprefix("grid_")
        options, _ = settings.grid(dataset)
        return {"figure": options, "dataset": dataset, **settings.presentation}
    return {"figure": settings.figures[figure], **settings.presentation_of("figures", figure)}
