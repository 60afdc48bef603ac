"""The command line: a subcommand for each stage, and for questions about configurations, runs and artefacts."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infoadv.execution import usage
from infoadv.execution.errors import InfoadvError
from infoadv.execution.progress import clear_line
from infoadv.execution.run_lock import RunError
from infoadv.execution.version import __version__

#: The subcommands that are jobs of a run.
STAGES = (
    "fetch",
    "data",
    "train",
    "attack",
    "gather",
    "metrics",
    "transfer",
    "flow",
    "calibrate",
    "table",
    "figure",
)
DESCRIPTION = """\
A reproducible benchmark of information-theoretic adversarial examples.

`snakemake --cores 8 all` runs the pipeline. Its stages are the subcommands from fetch to figure: each reads files and writes
files, and can be run by hand. The others answer questions about a configuration, a run or an artefact. Specifications are
JSON; snakemake prints those of its jobs with --printshellcmds.
"""


def _specification(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"a JSON object is needed, this is a {type(value).__name__}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _place(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is less than 0")
    return value


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K from 0 to N - 1")
    return int(number), int(count)


def _named_file(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, path


def _replacement(text: str) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not (old and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


def _require(specification: dict[str, Any], *keys: str) -> None:
    """Raise ``InfoadvError`` unless a specification has these keys; the workflow's have them, those typed by hand may not."""
    missing = [key for key in keys if key not in specification]
    if missing:
        raise InfoadvError(f"--spec: lacks the key {missing[0]!r}; it needs: {', '.join(keys)}.")


def _prepared_device(arguments: argparse.Namespace) -> str:
    from infoadv.execution import device

    device.acquire_gpu(arguments.device)
    device.configure(arguments.threads)
    return device.resolve(arguments.device)


# --- Stages ----------------------------------------------------------------------------------------------------------


def _fetch(arguments: argparse.Namespace) -> None:
    from infoadv.config import fetchable
    from infoadv.registry import plugins

    if arguments.source == "lpips":
        for backbone in arguments.backbone:
            print(plugins.module("metrics", "lpips").fetch(backbone))
        return
    if arguments.source not in fetchable():
        raise InfoadvError(
            f"data source {arguments.source!r} cannot be downloaded; choose one of: {', '.join(fetchable())}, lpips."
        )
    if arguments.root is None:
        raise InfoadvError("--root is needed: the folder to download into.")
    fetch = plugins.module("data", arguments.source).fetch
    wanted = {
        key: parameter
        for key, parameter in inspect.signature(fetch).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for key in arguments.options.keys() - wanted.keys():
        raise InfoadvError(
            f"--options: data source {arguments.source!r} is not downloaded by {key!r}, but by: {', '.join(wanted) or 'nothing'}."
        )
    for key, parameter in wanted.items():
        if parameter.default is parameter.empty and key not in arguments.options:
            raise InfoadvError(f"--options is needed: data source {arguments.source!r} is downloaded by {key!r}.")
    fetch(Path(arguments.root), **arguments.options)


def _data(arguments: argparse.Namespace) -> None:
    from infoadv import data

    data.make(arguments.out, arguments.spec, Path(arguments.root) if arguments.root else None)


def _train(arguments: argparse.Namespace) -> None:
    if not {"members", "weights"} & arguments.spec.keys():
        _require(arguments.spec, "architecture", "options", "training")
    device = _prepared_device(arguments)
    from infoadv.stages import train

    train.run(
        arguments.data,
        arguments.spec,
        seed=arguments.seed,
        device=device,
        checkpoint=arguments.checkpoint,
        out=arguments.out,
        start=arguments.start,
        teacher=arguments.teacher,
        members=dict(arguments.member) if arguments.member else None,
        trained=arguments.trained,
    )


def _attack(arguments: argparse.Namespace) -> None:
    _require(arguments.spec, "name", "method")
    device = _prepared_device(arguments)
    from infoadv.stages import attack

    attack.run(
        arguments.data,
        arguments.model,
        arguments.spec,
        images=arguments.images,
        chunk=arguments.chunk,
        seed=arguments.seed,
        device=device,
        like=arguments.like,
        reference=arguments.reference,
        resume=arguments.resume,
        shard=arguments.shard,
        first_image=arguments.first_image,
        out=arguments.out,
    )


def _gather(arguments: argparse.Namespace) -> None:
    from infoadv.artifacts import shards

    shards.gather(arguments.shards, arguments.out)


def _metrics(arguments: argparse.Namespace) -> None:
    device = _prepared_device(arguments)
    from infoadv.stages import measure

    measure.run(
        arguments.data,
        arguments.model,
        arguments.attack,
        arguments.spec,
        reference=arguments.reference,
        seed=arguments.seed,
        device=device,
        out=arguments.out,
    )


def _transfer(arguments: argparse.Namespace) -> None:
    _require(arguments.spec, "networks")
    device = _prepared_device(arguments)
    from infoadv.stages import transfer

    transfer.run(arguments.data, arguments.model, arguments.attacks, arguments.spec, device=device, out=arguments.out)


def _flow(arguments: argparse.Namespace) -> None:
    _require(arguments.spec, "studies", "matched", "estimators", "evidence", "shifts", "iterates", "probes")
    device = _prepared_device(arguments)
    from infoadv.stages import flow

    flow.run(
        arguments.data,
        arguments.model,
        arguments.attacks,
        arguments.spec,
        seed=arguments.seed,
        device=device,
        out=arguments.out,
    )


def _calibrate(arguments: argparse.Namespace) -> None:
    _require(arguments.spec, "dimensions", "samples", "rhos", "seeds", "steps")
    _prepared_device(arguments)
    from infoadv.stages import calibrate

    calibrate.run(arguments.spec, seed=arguments.seed, out=arguments.out)


def _convert(arguments: argparse.Namespace) -> None:
    from infoadv.models import converting

    kind = "factory" if arguments.factory else "architecture"
    if kind == "architecture" and not (arguments.shape and arguments.classes):
        raise InfoadvError("--architecture needs --shape C H W and --classes N: the data set that the network is for.")
    text = converting.run(
        arguments.checkpoint,
        {kind: getattr(arguments, kind), "options": arguments.options},
        arguments.out,
        shape=arguments.shape or (),
        classes=arguments.classes or 0,
        key=arguments.key,
        renames=arguments.rename,
        dropped=arguments.drop,
        kept=arguments.keep,
    )
    print(text, file=sys.stderr)


def _table(arguments: argparse.Namespace) -> None:
    from infoadv.report import tables

    tables.write(arguments.name, arguments.inputs, arguments.spec, arguments.out_dir)


def _figure(arguments: argparse.Namespace) -> None:
    from infoadv.report import figures

    figures.draw(arguments.name, arguments.inputs, arguments.spec, arguments.out_stem, arguments.numbers)


def _show(arguments: argparse.Namespace) -> None:
    from infoadv import artifacts

    print(json.dumps(artifacts.read_header(arguments.file), indent=2, sort_keys=True))


def _check(arguments: argparse.Namespace) -> int:
    from infoadv import config
    from infoadv.config import outside, summary

    directory = Path(arguments.directory)
    checked = config.load(arguments.config, directory)
    print(summary.text(checked, directory), end="", flush=True)
    problems = outside.problems(checked, directory)
    for problem in problems:
        _complain(f"{arguments.config}: {problem}")
    return 2 if problems else 0


def _status(arguments: argparse.Namespace) -> None:
    from infoadv.pipeline import status

    print(status.report(arguments.configfile, arguments.directory), end="")


def _options(arguments: argparse.Namespace) -> None:
    from infoadv import artifacts
    from infoadv.config import documentation

    if arguments.write is None:
        print(documentation.text(), end="")
        return
    page = Path(arguments.write)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, marker, _ = text.partition(documentation.MARKER)
    if not marker:
        raise InfoadvError(f"{arguments.write}: lacks the line {documentation.MARKER!r}; add it.")
    artifacts.write_text(arguments.write, f"{before}{marker}\n\n{documentation.text()}")


def _new(arguments: argparse.Namespace) -> None:
    from infoadv.registry import source_code, templates

    written = templates.write(arguments.kind, arguments.name, arguments.folder)
    print(
        f"wrote {source_code.shown(written)}, which runs as it is. Add to the configuration, in the sections of these names:"
    )
    for line in templates.lines(arguments.kind, arguments.name, arguments.folder):
        print(f"  {line}")


def _findings(arguments: argparse.Namespace) -> None:
    from infoadv import artifacts
    from infoadv.report import findings

    text = findings.render(arguments.template, arguments.tables)
    if arguments.write is None:
        print(text, end="")
    else:
        artifacts.write_text(arguments.write, text)


# --- Arguments -------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infoadv", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"infoadv {__version__}")
    commands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)

    def command(
        name: str, function: Callable[[argparse.Namespace], int | None], text: str, example: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(function=function, threads=1)
        return sub

    def spec(sub: argparse.ArgumentParser, text: str) -> None:
        sub.add_argument("--spec", type=_specification, required=True, metavar="JSON", help=text)

    def directory(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--directory", metavar="DIR", default=".", help="the folder of the run (default: this one)")

    def seeded(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--seed", type=int, default=0, help="seed of all randomness (default 0)")

    def threaded(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--threads",
            type=_positive,
            default=1,
            help="CPU threads; another number can change the bytes of the result (default 1)",
        )

    def computing(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--device", choices=("cpu", "cuda", "auto"), default="cpu", help="where to compute (default cpu)"
        )
        threaded(sub)

    sub = command(
        "check", _check, "check a configuration and say what it would run", "infoadv check config/config.yaml"
    )
    sub.add_argument("config", help="the configuration, YAML")
    directory(sub)

    sub = command(
        "status",
        _status,
        "list what a run has done and what is left, and which jobs run, are silent or failed",
        "infoadv status --configfile config/paper.yaml --directory runs/paper",
    )
    sub.add_argument("--configfile", metavar="FILE", help="the configuration of the run (default config/config.yaml)")
    directory(sub)

    sub = command("options", _options, "print every key and option of a configuration, as Markdown", "infoadv options")
    sub.add_argument("--write", metavar="FILE", help="replace what follows the marker line in this file instead")

    sub = command(
        "new",
        _new,
        "write a file of your own, as a template that runs, and print the lines of a configuration that ask for it",
        "infoadv new attack my_attack",
    )
    sub.add_argument("kind", choices=("attack", "metric", "data", "model", "recipe", "figure", "table"))
    sub.add_argument("name", help="its name in configurations, tables and figures")
    sub.add_argument(
        "--folder", metavar="DIR", default="plugins", help="your plugin folder, made if need be (default %(default)s)"
    )

    sub = command(
        "findings",
        _findings,
        "fill a Markdown template from the csv tables, and print what they say of the papers' claims",
        "infoadv findings --tables results/reference --write docs/findings.md",
    )
    sub.add_argument(
        "--tables", metavar="DIR", default="results/reference", help="folder of the tables (default %(default)s)"
    )
    sub.add_argument(
        "--template",
        metavar="FILE",
        default="docs/findings.template.md",
        help="prose with placeholders (default %(default)s)",
    )
    sub.add_argument("--write", metavar="FILE", help="write the page into this file instead")

    sub = command(
        "show", _show, "print the provenance of an artefact", "infoadv show results/models/digits/standard.safetensors"
    )
    sub.add_argument("file", help="the artefact, .safetensors or .parquet")

    sub = command(
        "fetch",
        _fetch,
        "download a data set or the weights of an LPIPS backbone, and check its digest",
        "infoadv fetch --source mnist --root results/downloads/mnist",
    )
    sub.add_argument("--source", required=True, help="data source, or lpips")
    sub.add_argument("--root", help="folder to download a data set into")
    sub.add_argument(
        "--options",
        type=_specification,
        default={},
        metavar="JSON",
        help='options of the data source that say what to download, such as {"name": "FashionMNIST"} of torchvision',
    )
    sub.add_argument(
        "--backbone", choices=("alex", "vgg", "squeeze"), nargs="+", default=["alex"], help="of LPIPS (default alex)"
    )

    sub = command(
        "data",
        _data,
        "turn a data source into a data artefact",
        """infoadv data --spec '{"source": "digits", "size": 32}' --out results/data/digits.safetensors""",
    )
    spec(sub, "source and its options")
    sub.add_argument(
        "--root",
        default=os.environ.get("INFOADV_DATA"),
        help="folder that holds the data set, where the source needs one (default: INFOADV_DATA)",
    )
    sub.add_argument("--out", required=True, help="data artefact to write")

    sub = command(
        "train",
        _train,
        "train a target network, load your own, or join an ensemble; then measure its accuracy",
        "infoadv train --data DATA --spec JSON --checkpoint FILE --out results/models/digits/standard.safetensors",
    )
    sub.add_argument("--data", required=True, help="data artefact")
    spec(sub, "architecture, options and training; or factory, weights and options; or members")
    sub.add_argument("--start", metavar="FILE", help="model artefact with the weights that training starts from")
    sub.add_argument(
        "--teacher", metavar="FILE", help="model artefact whose outputs are the labels (recipe distillation)"
    )
    sub.add_argument(
        "--member",
        type=_named_file,
        action="append",
        metavar="NAME=FILE",
        help="member of an ensemble and its model artefact; once for each, in the order of the specification",
    )
    sub.add_argument(
        "--trained",
        metavar="FILE",
        help="model artefact of an earlier run, taken if it is what the specification asks for",
    )
    seeded(sub)
    computing(sub)
    sub.add_argument("--checkpoint", required=True, help="file from which a killed job goes on; removed at the end")
    sub.add_argument("--out", required=True, help="model artefact to write")

    sub = command(
        "convert",
        _convert,
        "turn a checkpoint (.pt, .pth) into weights (.safetensors) that fit a network",
        "infoadv convert lenet5.pth --factory my_package.models:lenet5 --out lenet5.safetensors",
    )
    sub.add_argument("checkpoint", help="state dict, or a dictionary that holds one; .pt, .pth or .safetensors")
    network = sub.add_mutually_exclusive_group(required=True)
    network.add_argument(
        "--factory", metavar="MODULE:FUNCTION", help="your function that builds the network; it is called"
    )
    network.add_argument("--architecture", metavar="NAME", help="an architecture of config/README.md instead")
    sub.add_argument(
        "--options", type=_specification, default={}, metavar="JSON", help="options of either (default {})"
    )
    sub.add_argument(
        "--shape", type=_positive, nargs=3, metavar=("C", "H", "W"), help="with --architecture: of an image"
    )
    sub.add_argument("--classes", type=_positive, metavar="N", help="with --architecture: how many classes")
    sub.add_argument("--key", help="key of the state dict, where the checkpoint holds several")
    sub.add_argument(
        "--rename",
        type=_replacement,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="prefix of names, and what stands there in the network; once for each",
    )
    sub.add_argument("--drop", action="append", default=[], metavar="PREFIX", help="leave out tensors of this prefix")
    sub.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PREFIX",
        help="leave tensors of the network as it is built where the checkpoint lacks them, such as those of its normalisation",
    )
    sub.add_argument("--out", required=True, help="weights to write, .safetensors")

    sub = command(
        "attack",
        _attack,
        "attack a network and write adversarial images",
        "infoadv attack --data DATA --model MODEL --spec JSON --images 64 --chunk 32 --out ATTACK",
    )
    sub.add_argument("--data", required=True, help="data artefact")
    sub.add_argument("--model", required=True, help="model artefact")
    spec(
        sub,
        "name, method, target and options; an option that is left out has its default, or its value before it was an "
        "option ('before' in attacks/options.py)",
    )
    sub.add_argument("--images", type=_positive, required=True, help="images to attack")
    sub.add_argument(
        "--first-image",
        type=_place,
        default=0,
        metavar="N",
        help="place in the seeded order to take them from (default: 0)",
    )
    sub.add_argument("--chunk", type=_positive, required=True, help="images that run together")
    seeded(sub)
    computing(sub)
    sub.add_argument("--like", help="attack artefact; the control takes its perturbation norms")
    sub.add_argument("--reference", help="model artefact for an attack with backbone: reference")
    sub.add_argument("--resume", help="file from which a killed job goes on; removed at the end")
    sub.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="run shard K of N, from 0, for `infoadv gather` to join (default: all)",
    )
    sub.add_argument("--out", required=True, help="attack artefact to write, with --shard one shard of it")

    sub = command(
        "gather",
        _gather,
        "join the shards of an attack into the attack artefact",
        "infoadv gather --out ATTACK SHARD...",
    )
    sub.add_argument("--out", required=True, help="attack artefact to write")
    sub.add_argument("shards", nargs="+", metavar="SHARD", help="all shards of one attack, in any order")

    sub = command(
        "metrics",
        _metrics,
        "measure the images of an attack",
        """infoadv metrics --data DATA --model MODEL --attack ATTACK --spec '{"l2": {}, "ssim": {}}' --out ROWS.parquet""",
    )
    sub.add_argument("--data", required=True, help="data artefact")
    sub.add_argument("--model", required=True, help="model artefact that was attacked")
    sub.add_argument("--attack", required=True, help="attack artefact")
    spec(sub, "options of each metric, by name")
    sub.add_argument("--reference", help="model artefact whose features LPIPS with backbone reference compares")
    seeded(sub)
    computing(sub)
    sub.add_argument("--out", required=True, help="metrics artefact to write")

    sub = command(
        "transfer",
        _transfer,
        "show the images of attacks to the networks that they were not made for",
        """infoadv transfer --data DATA --model ONE --model OTHER --spec '{"networks": ["one", "other"]}' """
        "--out ROWS.parquet ATTACK...",
    )
    sub.add_argument("--data", required=True, help="data artefact")
    sub.add_argument("--model", required=True, action="append", help="model artefact; once for each network")
    spec(sub, "networks: their names, in this order")
    computing(sub)
    sub.add_argument("--out", required=True, help="transfer artefact to write")
    sub.add_argument("attacks", nargs="+", metavar="ATTACK", help="attack artefacts on these networks")

    sub = command(
        "flow",
        _flow,
        "measure the information profiles of clean and adversarial images in a network",
        "infoadv flow --data DATA --model MODEL --spec JSON --out PROFILES.parquet ATTACK...",
    )
    sub.add_argument("--data", required=True, help="data artefact")
    sub.add_argument("--model", required=True, help="model artefact in which the images are followed")
    spec(sub, "studies and how profiles are measured: the section flow of the configuration, for this network")
    seeded(sub)
    computing(sub)
    sub.add_argument("--out", required=True, help="flow artefact to write")
    sub.add_argument("attacks", nargs="+", metavar="ATTACK", help="attack artefacts, on this network or another one")

    sub = command(
        "calibrate",
        _calibrate,
        "calibrate MINE against the closed form",
        """infoadv calibrate --spec '{"dimensions": [1], "samples": [128], "rhos": [0.5], "seeds": 1, "steps": 600}' """
        "--out results/calibration/mine.parquet",
    )
    spec(sub, "dimensions, samples, rhos, seeds and steps, and where wanted critics, bounds and attack_steps")
    seeded(sub)
    threaded(sub)
    sub.add_argument("--out", required=True, help="calibration artefact to write")
    sub.set_defaults(device="cpu")

    sub = command(
        "table",
        _table,
        "write a table as csv, md, tex and html",
        "infoadv table targets --spec '{}' --out-dir results/tables results/models/digits/standard.safetensors",
    )
    sub.add_argument("name", help="the table")
    spec(sub, "seed, statistics, attacks and metrics")
    sub.add_argument("--out-dir", required=True, help="folder to write into")
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="artefacts")

    sub = command(
        "figure",
        _figure,
        "draw a figure as pdf and png, and write the numbers drawn",
        "infoadv figure calibration --spec '{}' --out-stem figures/calibration --numbers NUMBERS.csv "
        "results/calibration/mine.parquet",
    )
    sub.add_argument("name", help="the figure")
    spec(sub, "figure, seed, statistics, attacks and metrics")
    sub.add_argument("--out-stem", required=True, help="path of the figure without its suffix")
    sub.add_argument("--numbers", required=True, help="csv of the numbers drawn")
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="artefacts")

    for name in STAGES:
        commands.choices[name].add_argument(
            "--benchmark", metavar="FILE", help="tsv to write of what the job used: seconds, processor time, memory"
        )
    return parser


def _complain(message: str) -> None:
    """Print an error as one line."""
    text = " ".join(message.split())
    # A message may quote a stranger's file, and a terminal obeys control characters.
    print(f"infoadv: error: {''.join(c if c.isprintable() else '?' for c in text)}", file=sys.stderr)


def _write_usage(path: str) -> None:
    """Write what this job used. A failure is a warning: what the job has made is on the disk."""
    from infoadv import artifacts

    try:
        artifacts.write_text(path, usage.text())
    except artifacts.ArtifactError as error:
        print(f"infoadv: warning: {error}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status: 0, or 2 after an error that the user can act on."""
    arguments = _parser().parse_args(argv)
    try:
        from infoadv.execution.device import prepare_environment

        prepare_environment(arguments.threads)
        status = arguments.function(arguments) or 0
        if getattr(arguments, "benchmark", None):
            _write_usage(arguments.benchmark)
        return status
    except RunError as error:
        # No failure: on a cluster, Snakemake would delete what the other run has made in the meantime.
        clear_line()
        print(f"infoadv: {error}", file=sys.stderr)
        return 0
    except InfoadvError as error:
        clear_line()
        _complain(str(error))
        return 2
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "infoadv":
            raise
        print(
            f"infoadv: error: the package {error.name!r} is not installed; the pipeline needs more than the library: "
            "pip install 'infoadv[pipeline]'.",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:
        # `infoadv show FILE | head`: the reader has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
