"""Which rules would run again if a module of the package were edited: computed from the code inputs, kept as a table.

``make reruns`` writes the table. A change of it in a commit shows what an import more or less costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from helpers import ROOT
from infoadv import config
from infoadv.config import Config
from infoadv.pipeline import code_inputs, layout
from infoadv.registry.plugins import PACKAGE

CONFIGURATIONS = ("config/config.yaml", "config/paper.yaml")
TABLE = ROOT / "tests" / "pipeline" / "code_inputs.txt"
HEAD = """\
# Rules that run again when a module is edited, in config/config.yaml and config/paper.yaml together. In brackets: which of a
# rule's jobs, where not all: data sets, networks, methods of attack. Written by `make reruns`, compared by a test.
"""

#: A module, as its path in the package, and {rule: its jobs that the module is an input of}.
Reruns = dict[str, dict[str, set[str]]]


def jobs(settings: Config) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield (rule, which of its jobs, code inputs) for the rules of a configuration; "" stands for the only job."""
    for dataset in settings.datasets:
        yield "dataset", dataset, code_inputs.of_data(settings, dataset)
    for dataset, model in settings.trained():
        yield "train", model, code_inputs.of_model(settings, dataset, model)
    for run in layout.attacked(settings):
        files = code_inputs.of_run(settings, run.dataset, run.model, run.attack)
        yield "attack", settings.attacks[run.attack].method, files
    for dataset, model in dict.fromkeys((run.dataset, run.model) for run in settings.runs):
        yield "metrics", model, code_inputs.of_metrics(settings, dataset, model)
    for model in settings.flow.parts() if settings.flow else ():
        yield "profiles", model, code_inputs.of_flow(settings, model)
    for dataset in layout.transfers(settings):
        yield "transfer", dataset, code_inputs.of_transfer(settings, dataset)
    yield "calibration", "", code_inputs.of_calibration()
    yield "gather", "", code_inputs.of_gathering()
    for table in settings.tables():
        yield "table", table, code_inputs.of_table(table)
    for figure in settings.figures:
        yield "figure", figure, code_inputs.of_figure(figure)


def reruns() -> tuple[Reruns, dict[str, set[str]]]:
    """Return what each module makes run again, and all jobs of each rule."""
    found: Reruns = {path.relative_to(PACKAGE).as_posix(): defaultdict(set) for path in sorted(PACKAGE.rglob("*.py"))}
    every: dict[str, set[str]] = defaultdict(set)
    for name in CONFIGURATIONS:
        for rule, job, files in jobs(config.load(ROOT / name)):
            every[rule].add(job)
            for file in files:
                found[file.relative_to(PACKAGE).as_posix()][rule].add(job)
    return found, every


def table() -> str:
    """Return the table as text: a line a module, a dash where nothing runs again."""
    found, every = reruns()
    lines = []
    for module, rules in found.items():
        parts = [
            rule if rules[rule] == every[rule] else f"{rule}({', '.join(sorted(rules[rule]))})"
            for rule in every
            if rules[rule]
        ]
        lines.append(f"{module}: {', '.join(parts) or '-'}\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
