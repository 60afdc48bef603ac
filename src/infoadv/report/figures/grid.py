"""What the attacks do to images: adversarial examples, and their perturbations at one stated scale."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import pictures, style
from infoadv.report.pictures import Example, Loaded
from infoadv.report.rows import Attack, attack_of, ordered, run_of

INPUTS = {"stage": "pictures", "per": "dataset"}

SCHEMA = {
    "grid": {
        "images": {"type": "integer", "minimum": 1, "maximum": 32, "default": 4, "description": "images shown"},
        "attacks": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
            "description": "attacks shown (default: all but sweeps)",
        },
        "model": {"type": "string", "description": "network that is attacked (default: the first)"},
        "scale": {"type": "number", "exclusiveMinimum": 0, "description": "factor on perturbations (default: chosen)"},
    }
}

ABOUT = {"grid": "clean and adversarial images and perturbations, one figure a data set"}

#: Inches.
_MARGIN, _GAP, _LINE, _BETWEEN = 0.05, 0.03, 0.1, 0.1
_LARGEST_CELL, _SMALLEST_CELL = 0.62, 0.55


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from a data artefact, attack artefacts and their metric artefacts, told apart by their kind.

    ``figure.images`` (default 4) images are shown, the first ones of the artefacts in such an order that classes do not
    repeat before all were shown: results have no say in it. ``figure.attacks`` chooses attacks and their order,
    ``figure.model`` the target model, ``figure.scale`` the factor on perturbations (default: the largest round one at
    which the attack of median strength is hardly clipped; a stronger attack's perturbation may be). A control is shown with
    its own prediction: it cannot fail.
    """
    wanted = specification.get("figure") or {}
    data_path, attack_paths, metric_paths = pictures.by_kind(inputs, "grid")
    tensors, data_header = artifacts.load_tensors(data_path, "data")
    x_test, names = tensors["x_test"], data_header["class_names"]
    model, found = _attacks(attack_paths, specification.get("dataset"), wanted.get("model"))
    attacks = _chosen(found, wanted.get("attacks"), specification)
    metrics = _metrics(metric_paths, model, [attack.name for attack in attacks])
    indices, labels = _images(found, attacks, int(wanted.get("images", 4)))
    pictures.require(data_path, indices, labels, len(x_test), len(names))
    shown = {
        (attack.name, index): pictures.example(found[attack.name], x_test, index, metrics.get(attack.name))
        for attack in attacks
        for index in indices
    }
    fitting = pictures.scale([shown[attack.name, index] for index in indices] for attack in attacks)
    scale = float(wanted.get("scale") or fitting)
    dataset = str(found[attacks[0].name][1]["dataset"])
    title = f"{dataset}, {model}: adversarial examples and their perturbations \u00d7 {scale:g} (mid-grey = 0)"
    figure = _compose(attacks, indices, labels, shown, x_test, names, scale, title)
    numbers = pd.DataFrame(
        [
            {
                "dataset": dataset,
                "model": model,
                "attack": attack.name,
                "index": index,
                "label": label,
                "prediction": shown[attack.name, index].prediction,
                "success": shown[attack.name, index].success,
                "l2": shown[attack.name, index].l2,
                "ssim": shown[attack.name, index].ssim,
                "scale": scale,
            }
            for index, label in zip(indices, labels, strict=True)
            for attack in attacks
        ]
    )
    return figure, numbers


def _attacks(paths: Sequence[str], dataset: str | None, model: str | None) -> tuple[str, dict[str, Loaded]]:
    """Return the model (the one asked for, else the first) and the artefacts of the attacks on it, by name."""
    runs = [(path, *run_of(path, artifacts.read_header(path, "attack"))) for path in paths]
    runs = [run for run in runs if dataset in (None, run[1])]
    models = list(dict.fromkeys(run[2] for run in runs))
    if not models:
        raise InfoadvError(f"the grid figure has no attack artefact of data set {dataset!r}.")
    # The same figure section serves all data sets, and a model may exist for some of them only.
    chosen = str(model if model in models else models[0])
    return chosen, {name: artifacts.load_tensors(path, "attack") for path, _, model_, name in runs if model_ == chosen}


def _chosen(
    found: Mapping[str, Loaded], wanted: Sequence[str] | None, specification: Mapping[str, Any]
) -> list[Attack]:
    if wanted:
        attacks = [attack_of(name, specification) for name in wanted if name in found]
    else:
        attacks = [attack for attack in ordered(list(found), specification) if attack.sweep_of is None]
    if not attacks:
        raise InfoadvError(f"figures.grid.attacks: none of them was run here; available: {', '.join(sorted(found))}.")
    return attacks


def _metrics(paths: Sequence[str], model: str, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    frames = {}
    for path in paths:
        frame, _ = artifacts.load_rows(path, "metrics")
        if len(frame) and frame["model"].iloc[0] == model and frame["attack"].iloc[0] in names:
            frames[str(frame["attack"].iloc[0])] = frame.set_index("index")
    return frames


def _images(found: Mapping[str, Loaded], attacks: Sequence[Attack], count: int) -> tuple[list[int], list[int]]:
    first = found[attacks[0].name][0]
    everywhere = set.intersection(*(set(found[attack.name][0]["index"].tolist()) for attack in attacks))
    if not everywhere:
        raise InfoadvError("the grid figure's attacks share no image; run them on the same images.")
    held = [position for position, index in enumerate(first["index"].tolist()) if index in everywhere]
    return pictures.first(first["index"][held], first["label"][held], count)


@dataclass(frozen=True)
class _Layout:
    """A way to arrange the page: perturbations beside or under their images, attacks in blocks."""

    beside: bool
    blocks: list[list[Attack]]
    cell: float
    header: list[int]
    height: float

    @property
    def span(self) -> float:
        """Width of one attack's column."""
        return self.cell * 2 + _GAP if self.beside else self.cell

    @property
    def row(self) -> float:
        """Height of one test image's row, the text under it included."""
        return self.cell + 2 * _LINE + _BETWEEN if self.beside else self.cell * 2 + _GAP + 3 * _LINE + _BETWEEN


def _layout(attacks: Sequence[Attack], images: int, beside: bool) -> _Layout:
    per_cell = 2 if beside else 1
    room = style.TEXT_WIDTH - 2 * _MARGIN
    most = max(1, int((room / (_SMALLEST_CELL + _GAP) - 1) / per_cell))
    count = math.ceil(len(attacks) / most)
    size = math.ceil(len(attacks) / count)
    blocks = [list(attacks[start : start + size]) for start in range(0, len(attacks), size)]
    cell = min(_LARGEST_CELL, room / (1 + per_cell * size) - 1.5 * _GAP)
    span = cell * per_cell
    header = [max(len(_wrapped(attack.title, span)) for attack in block) for block in blocks]
    layout = _Layout(beside, blocks, cell, header, 0.0)
    height = 0.14 + sum(lines * _LINE + 0.04 + images * layout.row for lines in header)
    return _Layout(beside, blocks, cell, header, height)


def _wrapped(text: str, width: float) -> list[str]:
    # An average glyph is 0.6 of the font size wide.
    return textwrap.wrap(text, max(6, int(width * 72 / (style.SMALL * 0.6)))) or [""]


def _compose(
    attacks: Sequence[Attack],
    indices: Sequence[int],
    labels: Sequence[int],
    shown: Mapping[tuple[str, int], Example],
    x_test: np.ndarray,
    names: Sequence[str],
    scale: float,
    title: str,
) -> Figure:
    layout = min((_layout(attacks, len(indices), beside) for beside in (True, False)), key=lambda one: one.height)
    columns = max(len(block) for block in layout.blocks)
    used = 2 * _MARGIN + layout.cell + columns * (layout.span + 1.5 * _GAP)
    width = max(used, style.COLUMN_WIDTH)
    title_lines = textwrap.wrap(style.plain(title), int(width * 72 / (style.SMALL * 0.56)))
    height = layout.height + len(title_lines) * _LINE
    figure = style.new_figure(width, height, layout=None)

    def write(x: float, y: float, text: str, **options: Any) -> None:
        options = {"ha": "center", "va": "top", "fontsize": style.SMALL, **options}
        figure.text(x / width, 1 - y / height, text, **options)

    def picture(x: float, y: float, image: np.ndarray, edge: str | None = None) -> None:
        axes = figure.add_axes((x / width, 1 - (y + layout.cell) / height, layout.cell / width, layout.cell / height))
        gray = image.shape[-1] == 1
        axes.imshow(image[..., 0] if gray else image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_linewidth(1.2 if edge else 0.3)
            spine.set_edgecolor(edge or style.GUIDE)

    y = _MARGIN
    for line in title_lines:
        write(_MARGIN, y, line, ha="left")
        y += _LINE
    y += 0.05
    for block, header in zip(layout.blocks, layout.header, strict=True):
        starts = [
            _MARGIN + layout.cell + 1.5 * _GAP + column * (layout.span + 1.5 * _GAP) for column in range(len(block))
        ]
        write(_MARGIN + layout.cell / 2, y + header * _LINE, "clean", va="bottom", fontweight="bold")
        for x, attack in zip(starts, block, strict=True):
            text = "\n".join(style.plain(part) for part in _wrapped(attack.title, layout.span))
            write(x + layout.span / 2, y + header * _LINE, text, va="bottom", fontweight="bold", linespacing=1.0)
        y += header * _LINE + 0.04
        for index, label in zip(indices, labels, strict=True):
            picture(_MARGIN, y, np.moveaxis(x_test[index], 0, -1) / 255)
            below = y + layout.cell + 0.02
            write(_MARGIN + layout.cell / 2, below, _fitted(names[label], layout.cell))
            write(_MARGIN + layout.cell / 2, below + _LINE, f"no. {index}", color="#555555")
            for x, attack in zip(starts, block, strict=True):
                entry = shown[attack.name, index]
                failed = not entry.success and not attack.control
                picture(x, y, entry.adversarial, style.FAILED if failed else None)
                delta = pictures.visible(entry.perturbation, scale)
                beside = (x + layout.cell + _GAP, y) if layout.beside else (x, y + layout.cell + _GAP)
                picture(*beside, delta)
                under = y + layout.cell * (1 if layout.beside else 2) + (0 if layout.beside else _GAP) + 0.02
                _describe(write, x + layout.span / 2, under, entry, names, layout, failed=failed)
            y += layout.row
    return figure


def _describe(
    write: Any, x: float, y: float, entry: Example, names: Sequence[str], layout: _Layout, *, failed: bool
) -> None:
    if failed:
        write(x, y, "failed", color=style.FAILED, fontweight="bold")
    elif entry.prediction is not None:
        write(x, y, _fitted(f"\u2192 {names[entry.prediction]}", layout.span))
    l2 = f"$L_2$ {entry.l2:.2f}"
    similarity = "" if math.isnan(entry.ssim) else f"SSIM {entry.ssim:.3f}"
    if layout.beside:
        write(x, y + _LINE, f"{l2}   {similarity}")
    else:
        write(x, y + _LINE, l2)
        write(x, y + 2 * _LINE, similarity)


def _fitted(name: str, width: float) -> str:
    most = max(3, int(width * 72 / (style.SMALL * 0.55)))
    return style.plain(name if len(name) <= most else name[: most - 1] + "\u2026")
