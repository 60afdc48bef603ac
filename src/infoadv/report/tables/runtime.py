"""What the run cost: one row per job, as it measured itself. The only table that holds times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infoadv.execution.errors import InfoadvError
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number

INPUTS = {"stage": "benchmarks"}

COLUMNS = ("rule", "wildcards", "seconds", "cpu_seconds", "max_rss_mb", "mean_load")
_FOLDER = "benchmarks"


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from files ``.../benchmarks/{rule}/{wildcards}.tsv`` (:mod:`infoadv.execution.usage`).

    Raises
    ------
    InfoadvError
        A file is no benchmark file, or lies outside a folder named ``benchmarks``.
    """
    records = [record for path in inputs for record in _read(Path(path))]
    frame = pd.DataFrame(records, columns=list(COLUMNS)).sort_values(["rule", "wildcards"], kind="stable")
    names = ["Rule", "Jobs", "Total (s)", "Median (s)", "Longest (s)", "CPU (s)", "Peak memory (MB)"]
    lines = [_summary(str(rule), jobs) for rule, jobs in frame.groupby("rule", sort=True)]
    jobs = [
        [
            Cell(row["rule"]),
            Cell(row["wildcards"]),
            Cell(number(row["seconds"], 1)),
            Cell(number(row["cpu_seconds"], 1)),
            Cell(number(row["max_rss_mb"], 0)),
        ]
        for row in frame.to_dict("records")
    ]
    sharded = _sharded(frame)
    shard_lines = [_summary(str(attack), jobs) for attack, jobs in frame.loc[sharded.index].groupby(sharded, sort=True)]
    job_names = ["Rule", "Job", "Seconds", "CPU (s)", "Peak memory (MB)"]
    markdown = markdown_table(names, lines)
    if shard_lines:
        markdown += (
            f"\n### Sharded attacks, shards and gathering\n\n{markdown_table(['Attack', *names[1:]], shard_lines)}"
        )
    markdown += f"\n### Jobs\n\n{markdown_table(job_names, jobs, left=2)}"
    caption = "Run time of the pipeline by rule, as its jobs measured themselves on the machine that made this report."
    return Table(frame, markdown, latex_table(names, [("", lines)], caption, "runtime"))


def _read(path: Path) -> list[dict[str, Any]]:
    if _FOLDER not in path.parts:
        raise InfoadvError(f"{path}: expected a path .../{_FOLDER}/<rule>/<wildcards>.tsv.")
    try:
        # Empty where a job could not write it: Snakemake makes the logs that a job leaves out.
        empty = path.stat().st_size == 0
        table = pd.DataFrame({"s": [float("nan")]}) if empty else pd.read_csv(path, sep="\t", na_values=["-", "NA"])
    except (OSError, ValueError) as error:
        raise InfoadvError(f"{path}: cannot be read as a benchmark file ({error}); run its rule again.") from error
    if "s" not in table:
        raise InfoadvError(f"{path}: no column 's', so not the benchmark file of a job; run its rule again.")
    last = len(path.parts) - 1 - path.parts[::-1].index(_FOLDER)
    rule, *wildcards = path.with_suffix("").parts[last + 1 :]
    return [
        {
            "rule": rule,
            "wildcards": "/".join(wildcards),
            "seconds": _cell(row, "s"),
            "cpu_seconds": _cell(row, "cpu_time"),
            "max_rss_mb": _cell(row, "max_rss"),
            "mean_load": _cell(row, "mean_load"),
        }
        for row in table.to_dict("records")
    ]


def _sharded(frame: pd.DataFrame) -> pd.Series:
    """Return the attack of each job of a sharded attack, {data set}/{model}/{attack}; other jobs are left out."""
    jobs = frame["wildcards"].where(frame["rule"] != "attack_shard", frame["wildcards"].str.rsplit("/", n=1).str[0])
    return jobs[frame["rule"].isin(["attack_shard", "gather"])]


def _cell(row: Mapping[Any, Any], column: str) -> float:
    return float(pd.to_numeric(row.get(column, float("nan")), errors="coerce"))


def _summary(rule: str, jobs: pd.DataFrame) -> list[Cell]:
    seconds = jobs["seconds"]
    return [
        Cell(rule),
        Cell(str(len(jobs))),
        Cell(number(seconds.sum(), 1)),
        Cell(number(seconds.median(), 1)),
        Cell(number(seconds.max(), 1)),
        Cell(number(jobs["cpu_seconds"].sum(min_count=1), 1)),
        Cell(number(jobs["max_rss_mb"].max(), 0)),
    ]
