# What the rules share: the checked configuration, paths, code inputs, threads. Everything here runs at each parse, also in
# every cluster job, so nothing here imports torch.
import functools
import json
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
from infoadv.artifacts import canonical_json, checks
from infoadv.config import outside
from infoadv.execution import forkserver, run_lock
from infoadv.pipeline import code_inputs, layout, presentation, raw_data, report_inputs
from infoadv.pipeline import resources as need
from infoadv.pipeline.captions import caption_file
from infoadv.pipeline.drawings import drawings
from infoadv.pipeline.layout import attack_file, metrics_file, model_file

if workflow.remote_exec:
    # A job of a dead run that leaves the queue of a cluster late: going on, Snakemake would begin by deleting its output,
    # which the next run may have made.
    try:
        run_lock.check()
    except InfoadvError as error:
        sys.exit(f"infoadv: {error}")

try:
    # Snakemake has read them and has dropped, without a word, what stands above a second entry of the same name.
    for path in workflow.configfiles:
        configuration.read(path)
    settings = configuration.Config(config)
except InfoadvError as error:
    sys.exit(f"infoadv: error: config: {error}")

try:
    CAPTIONS = {
        (kind, name): str(caption_file(kind, name, ROOT / "workflow" / "report"))
        for kind, names in (("tables", settings.tables()), ("figures", settings.figures))
        for name in names
    }
except InfoadvError as error:
    sys.exit(f"infoadv: error: {error}")

DATA_ROOT = settings.data_root or os.environ.get("INFOADV_DATA")
if DATA_ROOT and not Path(DATA_ROOT).is_dir():
    sys.exit(
        f"infoadv: error: data root {DATA_ROOT}: no such folder; correct data_root or INFOADV_DATA, or unset both to download."
    )

if DATA_ROOT:
    os.environ.update(INFOADV_DATA=str(DATA_ROOT))

# A model artefact names the factory of its network; jobs call those of the configuration and no other.
os.environ.update(INFOADV_FACTORIES=",".join(settings.factories()))
# Their plugin folders are in the environment since the configuration was read (INFOADV_PLUGINS).


def gpus(wildcards):
    """Return how many GPUs a job that runs a network asks for; profiles/default lets those of one machine take turns.

    On a machine without one, `device: auto` runs on the CPU and asks for none. A function, because Snakemake learns after
    parsing whether jobs go to a cluster.
    """
    possible = workflow.non_local_exec or shutil.which("nvidia-smi") is not None
    return int(settings.device == "cuda" or (settings.device == "auto" and possible))


def alternatives(names):
    """Return a pattern that matches these names and nothing else; without names it matches nothing at all."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


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
    fewer cores than --cores says, each therefore counts for more: `--cores 8` on two cores runs two of them at once. On a
    cluster it is what the job asks for. A function, like ``gpus``: only after parsing is it known whether that is so.
    """

    def share(wildcards):
        if workflow.non_local_exec:
            return wanted
        offered = int(workflow.cores)
        if hasattr(os, "sched_getaffinity"):
            real = len(os.sched_getaffinity(0))
        else:
            real = os.cpu_count() or 1
        return min(offered, math.ceil(wanted * max(1, offered / real)))

    return share


# The wildcards that the provenance of an artefact holds as well.
NAMES = ("dataset", "model", "attack")


def maker(dag, job):
    """Return the job whose parameters and inputs the artefact of ``job`` tells: of a gathered attack, that of a shard."""
    return next((other for other in dag.job_dependencies(job) if other.rule.name == "attack_shard"), job)


def check_outside():
    """Check the functions of the user's and the number of images, before jobs fail for them one by one.

    Missing files are left to Snakemake, which knows whether a job of this run reads them.
    """
    if CHUNK_OF_THIS_MACHINE and workflow.non_local_exec:
        raise configuration.ConfigError(
            "chunk: auto looks at the machine that plans the run, and jobs of a cluster run elsewhere; give a number."
        )
    found = [*outside.missing_code(settings, Path()), *outside.missing_images(settings, Path())]
    if found:
        raise configuration.ConfigError(" ".join(found))


def check_existing(dag):
    """Check what is there already and is read by a job of this run: its time, and of an artefact what it is."""
    checks.check_times({file for job in dag.needrun_jobs() for file in job.input})
    digest = functools.cache(checks.artifacts.file_digest)
    for job in dag.jobs:
        made_by = maker(dag, job)
        if (
            dag.needrun(job)
            or not any(map(dag.needrun, dag.depending[job]))
            or made_by.params.get("spec") is None
        ):
            continue
        for path in job.output:
            # A temporary one is gone once it has been used.
            if Path(path).is_file() and Path(path).suffix in (".safetensors", ".parquet"):
                checks.check(
                    path,
                    specification=json.loads(made_by.params.spec),
                    seed=made_by.params.get("seed"),
                    names={name: value for name, value in job.wildcards_dict.items() if name in NAMES},
                    inputs=[file for file in made_by.input if not file.endswith(".py")],
                    digest=digest,
                )


def larger(amount):
    """Return a resource of ``amount(wildcards)`` that grows with each attempt; only a cluster or a given limit heeds it."""
    return lambda wildcards, attempt: attempt * amount(wildcards)


# --- Data ---------------------------------------------------------------------------------------------------
def downloaded(wildcards):
    """Return whether a data set is downloaded: where no data root is given that holds it."""
    return settings.source(wildcards.dataset) in configuration.fetchable() and not DATA_ROOT


def raw_inputs(wildcards):
    """Return what a data set is made from: a user's files, the download, or nothing (a data root is no part of the result)."""
    specification = settings.datasets[wildcards.dataset]
    if "path" not in specification:
        folder = raw_data.download_folder(specification["source"], wildcards.dataset)
        return folder if downloaded(wildcards) else []
    path = specification["path"]
    # Of a folder the digest of its files decides, a parameter of the rule.
    return ancient(path) if Path(path).is_dir() else path


def root_arguments(wildcards):
    # A data root travels in the environment: as a parameter, moving that folder would make everything again.
    return ["--root", raw_inputs(wildcards)] if downloaded(wildcards) else []


# --- Networks -----------------------------------------------------------------------------------------------
def origin_files(wildcards):
    """Return the networks that one is made from: what its training begins from, its teacher, its members."""
    return [
        model_file(wildcards.dataset, name) for _, name in settings.origin(wildcards.dataset, wildcards.model)
    ]


def trained_file(wildcards):
    """Return the network that an earlier run has trained, where `networks` holds one of this name."""
    specification = settings.models[wildcards.model][wildcards.dataset]
    if settings.networks is None or "members" in specification or "weights" in specification:
        return []
    file = Path(settings.networks, wildcards.dataset, f"{wildcards.model}.safetensors")
    return str(file) if file.is_file() else []


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


UNSHARDED = alternatives(name for name, attack in settings.attacks.items() if attack.shards == 1)
SHARDED = alternatives(name for name, attack in settings.attacks.items() if attack.shards > 1)


def images_of_job(wildcards):
    """Return how many images a job attacks at most: all, or those of the chunks of one shard."""
    images = settings.attacks[wildcards.attack].images
    chunks = math.ceil(images / settings.chunk)
    return min(
        images,
        math.ceil(chunks / settings.attacks[wildcards.attack].shards) * settings.chunk,
    )


@functools.cache
def attack_specification(dataset, attack):
    return canonical_json(settings.attacks[attack].specification(dataset))


@functools.cache
def attack_code(dataset, model, attack):
    """Return the code of an attack, looked for once for all its shards and the job that gathers them."""
    return code_inputs.of_run(settings, dataset, model, attack)


@functools.cache
def code_digest(dataset, model, attack):
    return code_inputs.digest(attack_code(dataset, model, attack))


def shard_files(wildcards):
    run = configuration.Run(wildcards.dataset, wildcards.model, wildcards.attack)
    return layout.shard_files(run, settings.attacks[run.attack].shards)


def attack_weights(wildcards):
    """Return the pretrained weights that an attack looks through, if it does."""
    options = settings.attacks[wildcards.attack].options[wildcards.dataset]
    return [ancient(lpips_weights("alex"))] if options.get("backbone") == "alex" else []


def attack_reference(wildcards):
    """Return the network of ours that an attack looks through, if it does."""
    name = settings.looks_through(wildcards.attack, wildcards.dataset)
    return [model_file(wildcards.dataset, name)] if name else []


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
    | {
        "alex"
        for attack in settings.attacks.values()
        for options in attack.options.values()
        if options.get("backbone") == "alex"
    }
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
    if not settings.lpips_reference or "lpips" not in settings.metrics_of(wildcards.attack):
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


# --- Figures ------------------------------------------------------------------------------------------------
DRAWINGS = drawings(settings)


def figure_files():
    return [file for drawing in DRAWINGS for file in layout.figure_files(drawing)]


# The captions of the report tell what ran: the configuration with its defaults filled in.
CHUNK_OF_THIS_MACHINE = config.get("chunk") == "auto"
config.update(settings.values, statistics=settings.statistics)
