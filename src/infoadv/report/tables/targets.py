"""The target models: architecture, size, clean and robust accuracy, and how they were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report.rendering import Cell, Table, latex_table, markdown_table, number, tex

INPUTS = {"stage": "models"}

COLUMNS = (
    "dataset",
    "model",
    "architecture",
    "parameters",
    "clean_accuracy",
    "pgd_accuracy",
    "pgd_epsilon",
    "apgd_accuracy",
    "apgd_steps",
    "apgd_images",
    "training",
    "training_options",
    "widths_before",
    "widths_after",
    "parameters_before",
    "parameters_after",
    "accuracy_before",
    "accuracy_trimmed",
    "lsuv_deviation",
)

_TRIMMED = ("Data set", "Model", "Channels", "Parameters", "Accuracy before", "Trimmed", "Retrained")
_INITIALIZED = ("Data set", "Model", "Largest |variance - 1|")


def build(inputs: Sequence[str], specification: Mapping[str, Any]) -> Table:
    """Return the table from the headers of model artefacts ``{dataset}/{model}.safetensors``; weights stay unread."""
    frame = pd.DataFrame([_record(Path(path)) for path in inputs], columns=list(COLUMNS))
    names = [
        "Data set",
        "Model",
        "Architecture",
        "Parameters",
        "Clean accuracy",
        "PGD accuracy",
        "APGD accuracy",
        "Training",
    ]
    lines = [
        [
            Cell(row["dataset"]),
            Cell(row["model"]),
            Cell(row["architecture"]),
            Cell(f"{row['parameters']:,}".replace(",", " ")),
            Cell(number(row["clean_accuracy"], 3)),
            Cell(_robust(row)),
            Cell(number(row["apgd_accuracy"], 3)),
            Cell(row["training"]),
        ]
        for row in frame.to_dict("records")
    ]
    caption = (
        r"Target models. Clean accuracy is over the whole test part; PGD accuracy is over the first 1,000 test images "
        r"(evenly spaced ones where they are sorted by class, all where there are fewer), against projected gradient descent in "
        r"$L_\infty$ with 20 steps at the budget in "
        r"brackets. Of a distilled network it says nothing: there the gradient of the softmax vanishes and the attack stands "
        rf"still (Carlini and Wagner 2016). {_strongest(frame)}"
    )
    markdown = markdown_table(names, lines, left=3)
    latex = latex_table(names, [("", lines)], caption, "targets", left=3)
    trimmed = [_trimmed(row) for row in frame.to_dict("records") if row["widths_before"]]
    if trimmed:
        note = (
            "Trimmed networks: channels of the layers and parameters before and after the last round, and the accuracy "
            "before it, after it without retraining, and in the end, over the whole test part."
        )
        markdown += f"\n{note}\n\n{markdown_table(_TRIMMED, trimmed, left=3)}"
        latex += "\n" + latex_table(_TRIMMED, [("", trimmed)], tex(note), "targets-trimmed", left=3)
    initialized = [
        [Cell(row["dataset"]), Cell(row["model"]), Cell(number(row["lsuv_deviation"], 4))]
        for row in frame.to_dict("records")
        if row["lsuv_deviation"] == row["lsuv_deviation"]
    ]
    if initialized:
        note = "LSUV initialisation: largest distance of a layer's output variance from 1 before training."
        markdown += f"\n{note}\n\n{markdown_table(_INITIALIZED, initialized, left=2)}"
        header = [*_INITIALIZED[:2], r"Largest $|\mathrm{variance} - 1|$"]
        latex += "\n" + latex_table(header, [("", initialized)], note, "targets-lsuv", left=2)
    return Table(frame, markdown, latex)


def _strongest(frame: pd.DataFrame) -> str:
    """Return what the caption says of APGD: its steps and images where they are the same for all networks."""
    measured = frame[frame["apgd_accuracy"].notna()]

    def shared(column: str, words: str) -> str:
        values = measured[column].unique()
        return f" {int(values[0]):,} {words}" if len(values) == 1 else f" the {words} in the csv file"

    if measured.empty:
        return "APGD was not run."
    return (
        f"APGD (Croce and Hein 2020), at the same budget: Auto-PGD with{shared('apgd_steps', 'steps')} of the cross-entropy and "
        f"as many of the difference of logits ratio, over{shared('apgd_images', 'test images')}, chosen likewise; an image "
        "counts where it stands both."
    )


def _trimmed(row: Mapping[str, Any]) -> list[Cell]:
    before, after = (f"{int(row[f'parameters_{when}']):,}".replace(",", " ") for when in ("before", "after"))
    return [
        Cell(row["dataset"]),
        Cell(row["model"]),
        Cell(f"{row['widths_before']} to {row['widths_after']}"),
        Cell(f"{before} to {after}"),
        *(Cell(number(row[key], 3)) for key in ("accuracy_before", "accuracy_trimmed", "clean_accuracy")),
    ]


def _record(path: Path) -> dict[str, Any]:
    header = artifacts.read_header(path, "model")
    specification = header["specification"]
    if not isinstance(header.get("parameters_count"), int):
        raise InfoadvError(f"{path}: its header names no parameters_count; remove it and run again.")
    training = specification.get("training") or {}
    options = {name: value for name, value in sorted(training.items()) if name != "recipe"}
    trimming = header.get("trimming") or {}
    variances = _values(header.get("lsuv_variances") or [])
    return {
        "dataset": header.get("dataset") or path.parent.name,
        "model": header.get("model") or path.stem,
        "architecture": _architecture(specification),
        "parameters": int(header["parameters_count"]),
        "clean_accuracy": _number(header.get("clean_accuracy")),
        "pgd_accuracy": _number(header.get("pgd_accuracy")),
        "pgd_epsilon": _number(header.get("pgd_epsilon")),
        **{key: _number(header.get(key)) for key in ("apgd_accuracy", "apgd_steps", "apgd_images")},
        "training": _training(specification),
        "training_options": ", ".join(f"{name}={value}" for name, value in options.items()),
        **{key: "-".join(map(str, _values(trimming.get(key) or []))) for key in ("widths_before", "widths_after")},
        **{
            key: _number(trimming.get(key))
            for key in ("parameters_before", "parameters_after", "accuracy_before", "accuracy_trimmed")
        },
        "lsuv_deviation": max((abs(float(value) - 1) for value in variances), default=float("nan")),
    }


def _values(given: Any) -> list[Any]:
    """Return what a header lists, by layer or by the layer's name."""
    return list(given.values() if isinstance(given, Mapping) else given)


def _architecture(specification: Mapping[str, Any]) -> str:
    if "members" in specification:
        return f"ensemble of {', '.join(specification['members'])}"
    return str(specification.get("architecture") or specification.get("factory") or "")


def _training(specification: Mapping[str, Any]) -> str:
    if "members" in specification:
        return "none of its own"
    training = specification.get("training") or {}
    if training.get("epochs") == 0:
        return "untrained"
    # A model that came with its weights was trained elsewhere.
    return str(training.get("recipe") or "given weights")


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _robust(row: Mapping[str, Any]) -> str:
    accuracy = number(row["pgd_accuracy"], 3)
    return f"{accuracy} ({row['pgd_epsilon']:.3g})" if row["pgd_epsilon"] == row["pgd_epsilon"] else accuracy
