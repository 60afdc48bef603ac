"""One small picture per network and attack: the first images clean, adversarial, and their perturbations.

For the report, where pictures are chosen by data set, model and attack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import pictures, style
from infoadv.report.pictures import Example
from infoadv.report.rows import Attack, attack_of, run_of

SCHEMA = {
    "examples": {
        "images": {"type": "integer", "minimum": 1, "maximum": 8, "default": 4, "description": "images shown"},
    }
}
INPUTS = {"stage": "pictures", "per": "dataset"}

OUTPUTS = {"pictures": "{model}/{attack}.png"}
ABOUT = {"examples": "the first images under every attack, a picture for each network and attack"}

#: Pixels. An image is enlarged by the whole factor that brings it closest to ``_CELL``.
_CELL, _GAP, _EDGE, _MARGIN, _LINE, _SIDE = 112, 8, 2, 10, 16, 100
#: Points, and pixels an inch: letters of the size of a web page's.
_TEXT, _DPI = 8.0, 100
_GREY = "#555555"


@dataclass(frozen=True)
class _Run:
    """What is shown of one attack on one network: clean images (H, W, C) in [0,1], the examples made of them, labels."""

    dataset: str
    model: str
    attack: Attack
    rate: str
    indices: list[int]
    labels: list[int]
    clean: list[np.ndarray]
    examples: list[Example]


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Iterator[tuple[str, Figure]], pd.DataFrame]:
    """Return pairs (``{model}/{attack}``, picture) from a data artefact, attack artefacts and their metric artefacts.

    ``figure.images`` images are shown, chosen as in the grid figure: all attacks on a network show the same ones, and their
    perturbations at one factor, the largest round one at which the attack of median strength is hardly clipped. A red frame
    marks a failure; a control cannot fail.

    Raises
    ------
    InfoadvError
        An input is of another kind, or an attack comes without its metrics.
    """
    count = int((specification.get("figure") or {}).get("images", 4))
    data_path, attack_paths, metric_paths = pictures.by_kind(inputs, "examples")
    tensors, header = artifacts.load_tensors(data_path, "data")
    names = [str(name) for name in header["class_names"]]
    metrics = dict(map(_metrics, metric_paths))
    # Of the artefacts themselves, which are large, one is in memory at a time.
    held = data_path, tensors["x_test"], len(names)
    runs = [_run(path, held, metrics, count, specification) for path in attack_paths]
    scales = {
        model: pictures.scale(run.examples for run in runs if run.model == model) for model in {r.model for r in runs}
    }
    numbers = pd.DataFrame(
        [
            {
                "dataset": run.dataset,
                "model": run.model,
                "attack": run.attack.name,
                "index": index,
                "label": label,
                "prediction": example.prediction,
                "success": example.success,
                "l2": example.l2,
                "scale": scales[run.model],
            }
            for run in runs
            for index, label, example in zip(run.indices, run.labels, run.examples, strict=True)
        ]
    )
    return ((f"{run.model}/{run.attack.name}", _compose(run, names, scales[run.model])) for run in runs), numbers


def _metrics(path: str) -> tuple[tuple[str, str], pd.DataFrame]:
    frame, header = artifacts.load_rows(path, "metrics")
    return (header["model"], header["attack"]), frame.set_index("index")


def _run(
    path: str,
    held: tuple[str, np.ndarray, int],
    metrics: Mapping[tuple[str, str], pd.DataFrame],
    count: int,
    specification: Mapping[str, Any],
) -> _Run:
    loaded = artifacts.load_tensors(path, "attack")
    dataset, model, name = run_of(path, loaded[1])
    if (model, name) not in metrics:
        raise InfoadvError(f"{path}: the examples figure has no metrics of it; give it the metric artefact as well.")
    rows, attack = metrics[model, name], attack_of(name, specification)
    indices, labels = pictures.first(loaded[0]["index"], loaded[0]["label"], count)
    data_path, x_test, classes = held
    pictures.require(data_path, indices, labels, len(x_test), classes)
    share = f"{int(rows['success'].sum())} of {len(rows)} images"
    return _Run(
        dataset,
        model,
        attack,
        f"{share} are misclassified" if attack.control else f"succeeds on {share}",
        indices,
        labels,
        [np.moveaxis(x_test[index], 0, -1) / 255 for index in indices],
        [pictures.example(loaded, x_test, index, rows) for index in indices],
    )


def _compose(run: _Run, names: Sequence[str], scale: float) -> Figure:
    high, wide = run.clean[0].shape[:2]
    factor = max(1, round(_CELL / max(high, wide)))
    high, wide = high * factor, wide * factor
    starts = [_SIDE + (wide + _GAP) * place for place in range(len(run.clean))]
    # From the top: title; clean images, their classes; adversarial ones, what they are taken for, L2; perturbations.
    clean = _MARGIN + 2 * _LINE + _GAP
    adversarial = clean + high + _LINE + _GAP
    perturbation = adversarial + high + 2 * _LINE + _GAP
    width, height = starts[-1] + wide + _MARGIN, perturbation + high + _MARGIN
    figure = style.new_figure(width / _DPI, height / _DPI, layout=None)
    figure.set_dpi(_DPI)

    def write(x: float, y: float, text: str, **options: Any) -> None:
        options = {"fontsize": _TEXT, "va": "top", **options}
        figure.text(x / width, 1 - y / height, style.plain(text), **options)

    def picture(x: int, y: int, image: np.ndarray, edge: str = "white") -> None:
        framed = np.empty((high + 2 * _EDGE, wide + 2 * _EDGE, 3))
        framed[:] = to_rgb(edge)
        framed[_EDGE:-_EDGE, _EDGE:-_EDGE] = image.repeat(factor, axis=0).repeat(factor, axis=1)
        figure.figimage(framed, x - _EDGE, height - y - high - _EDGE, origin="upper")

    write(_MARGIN, _MARGIN, run.attack.title, fontweight="bold", fontsize=_TEXT + 1)
    write(_MARGIN, _MARGIN + _LINE, f"{run.dataset}, {run.model}: {run.rate}", color=_GREY)
    sides = ("clean", "adversarial,\n8 bits", f"perturbation\n\u00d7 {scale:g},\ngrey is zero")
    for top, text in zip((clean, adversarial, perturbation), sides, strict=True):
        write(_MARGIN, top + high / 2, text, va="center")
    for x, image, label, example in zip(starts, run.clean, run.labels, run.examples, strict=True):
        failed = not example.success and not run.attack.control
        picture(x, clean, image)
        picture(x, adversarial, example.adversarial, style.FAILED if failed else "white")
        picture(x, perturbation, pictures.visible(example.perturbation, scale))
        write(x, clean + high + _EDGE, _fitted(names[label], wide))
        if failed:
            write(x, adversarial + high + _EDGE, "failed", color=style.FAILED, fontweight="bold")
        elif example.prediction is not None:
            write(x, adversarial + high + _EDGE, _fitted(f"\u2192 {names[example.prediction]}", wide))
        write(x, adversarial + high + _EDGE + _LINE, f"L2 {example.l2:.2f}", color=_GREY)
    return figure


def _fitted(text: str, width: int) -> str:
    # An average glyph is 0.6 of the font size wide.
    most = max(3, int(width / (_TEXT * _DPI / 72 * 0.6)))
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"
