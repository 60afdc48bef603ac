"""What is done and what is left of a run, read from its artefacts, checkpoints and logs.

Headers alone are read, and torch is never imported. A job is done when its files are there. Whether they still fit the
configuration and the code is not asked: Snakemake knows (`snakemake -n`).
"""

from __future__ import annotations

import re
import shlex
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from infoadv import artifacts, config
from infoadv.config import Config
from infoadv.execution.errors import InfoadvError
from infoadv.execution.progress import duration
from infoadv.pipeline import layout, remaining
from infoadv.pipeline.layout import Job
from infoadv.registry import plugins

#: Seconds after which a log without a new line counts as silent; one is due every ten, but for steps that count nothing.
SILENT_AFTER = 60.0
_DEFAULT_CONFIG = plugins.PACKAGE.parents[1] / "config" / "config.yaml"
_ARTEFACTS = {".safetensors", ".parquet"}
_TAIL_BYTES = 4096
_WIDTH = 80
_LISTED = 8
#: The end of a log that says why its job failed: our own error, Python's, the shell's or the scheduler's.
_FAILURE = re.compile(r"infoadv: error: |slurmstepd: error: |[\w.]+(Error|Exception)\b|Killed\b|Segmentation fault\b")


class StatusError(InfoadvError):
    """A folder of a run that is not there."""


@dataclass(frozen=True)
class Standing:
    """How one job stands.

    Attributes
    ----------
    job
        The job.
    state
        "done", "running", "silent" (begun, and nothing said for a minute: interrupted, or in a long step), "failed", or
        "left" (not begun).
    kept
        What a checkpoint holds: a job that begins again goes on from there.
    said
        The last line of its log, or what is wrong with its file.
    age
        Seconds since it last wrote something.
    """

    job: Job
    state: str
    kept: str = ""
    said: str = ""
    age: float = 0.0


def _last_line(path: Path) -> str:
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = handle.read().decode("utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    # What a log holds must not steer the terminal.
    return "".join(character if character.isprintable() else " " for character in last)


def _damage(files: Iterable[Path]) -> str:
    """Return why one of the artefacts among ``files`` cannot be read, "" if all can."""
    for file in files:
        if file.suffix in _ARTEFACTS:
            try:
                artifacts.read_header(file)
            except artifacts.ArtifactError as error:
                return str(error)
    return ""


def _kept(checkpoints: Iterable[Path], job: Job, chunk: int) -> str:
    kept, unit = 0, ""
    training = job.stage == "models"
    kinds, counted = ({"checkpoint"}, "epochs") if training else ({"resume", "shard"}, "images")
    for checkpoint in checkpoints:
        try:
            header = artifacts.read_header(checkpoint)
        except artifacts.ArtifactError:
            # Its job begins again.
            continue
        # Neither is another kind of artefact of any use to it.
        if header["kind"] in kinds:
            unit = counted
            kept += header["epoch"] if training else header["chunks"] * chunk
    return f"{min(kept, job.size)} of {job.size} {unit} kept" if unit else ""


def standing(job: Job, settings: Config, directory: Path, now: float) -> Standing:
    """Return how ``job`` stands in the run in ``directory`` at ``now`` (seconds since the epoch)."""
    files = [directory / file for file in job.files]
    if all(file.is_file() for file in files):
        damage = _damage(files)
        return Standing(job, "failed", said=damage) if damage else Standing(job, "done")
    logs, checkpoints = (
        [file for file in map(directory.joinpath, names) if file.is_file()] for names in (job.logs, job.checkpoints)
    )
    if not logs and not checkpoints:
        return Standing(job, "left")
    kept = _kept(checkpoints, job, settings.chunk)
    age = max(0.0, now - max(file.stat().st_mtime for file in (*logs, *checkpoints)))
    # The newest last, so that it is what the job is said to say.
    said = [_last_line(log) for log in sorted(logs, key=lambda log: log.stat().st_mtime)]
    for line in said:
        if _FAILURE.match(line):
            return Standing(job, "failed", kept, line, age)
    return Standing(job, "running" if age < SILENT_AFTER else "silent", kept, said[-1] if said else "", age)


def standings(settings: Config, directory: str | Path) -> list[Standing]:
    """Return how every job of a run stands, in the order of the stages."""
    now, found = time.time(), []
    for job in layout.jobs(settings):
        try:
            found.append(standing(job, settings, Path(directory), now))
        except FileNotFoundError:
            # A job removed a file between two looks at it: by now it has ended or begun again.
            found.append(standing(job, settings, Path(directory), now))
    return found


def _table(found: list[Standing]) -> list[str]:
    lines = ["stage          done    of"]
    for stage in dict.fromkeys(each.job.stage for each in found):
        states = Counter(each.state for each in found if each.job.stage == stage)
        others = ", ".join(f"{states[state]} {state}" for state in ("running", "silent", "failed") if states[state])
        lines.append(f"{stage:<13}{states['done']:>6}{states.total():>6}   {others}".rstrip())
    return lines


def _listed(title: str, found: list[Standing], describe: Callable[[Standing], list[str]]) -> list[str]:
    if not found:
        return []
    lines = ["", title]
    for each in found[:_LISTED]:
        lines.append(f"  {each.job.stage} {each.job.name}")
        for text in filter(None, describe(each)):
            lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    if len(found) > _LISTED:
        lines.append(f"  and {len(found) - _LISTED} more")
    return lines


def _begun(each: Standing) -> list[str]:
    said = f"{duration(each.age)} ago: {each.said}" if each.said else f"began {duration(each.age)} ago"
    return [each.kept, said]


def report(configfile: str | Path | None, directory: str | Path) -> str:
    """Return the summary of a run as text of 80 columns.

    Parameters
    ----------
    configfile
        The configuration of the run, or None for the default configuration.
    directory
        The folder that it runs in.

    Raises
    ------
    ConfigError
        The configuration cannot run.
    StatusError
        There is no such folder, or no default configuration.
    """
    if not Path(directory).is_dir():
        raise StatusError(f"{directory}: no such folder; give the folder of the run with --directory.")
    if configfile is None and not _DEFAULT_CONFIG.is_file():
        raise StatusError(
            "there is no default configuration outside a checkout; name that of the run with --configfile."
        )
    settings = config.load(configfile or _DEFAULT_CONFIG, directory)
    found = standings(settings, directory)
    in_state = {
        name: [each for each in found if each.state == name] for name in ("done", "running", "silent", "failed")
    }
    command = "snakemake --cores 8 all"
    if Path(directory) != Path("."):
        command += f" --directory {shlex.quote(str(directory))}"
    if configfile is not None:
        command += f" --configfile {shlex.quote(str(configfile))}"

    lines = _table(found)
    left = [each.job for each in found if each.state != "done"]
    if left and in_state["done"]:
        rest = remaining.seconds(settings, Path(directory), [each.job for each in in_state["done"]], left)
        lines.append(f"About {duration(rest)} of work left, of jobs that run one after the other.")
    lines += _listed("Running", in_state["running"], _begun)
    lines += _listed("Silent: interrupted, or in a step that counts nothing", in_state["silent"], _begun)
    lines += _listed("Failed", in_state["failed"], lambda each: [each.kept, each.said])
    lines.append("")
    if not any(in_state.values()):
        lines.append("Nothing is done or begun in this folder; --directory names another one.")
    if len(in_state["done"]) < len(found):
        lines.append("To begin or to go on:" if not in_state["running"] else "Once it has stopped, this goes on:")
        lines.append(f"  {command}")
    lines.append("Done means that the files are there. What is out of date, and why, says:")
    lines.append(f"  {command} --dry-run")
    return "\n".join(lines) + "\n"
