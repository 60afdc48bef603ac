"""What the attacks do to images: adversarial examples, their perturbations at one stated scale, and where they are seen.

With ``map`` a third picture beside each perturbation shows how visible it is: what FLIP says of each pixel, or what ColorVideoVDP
takes off there, in colours of one scale for all, which the bar under the figure explains.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
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
        "map": {
            "enum": ["none", "flip", "jod"],
            "default": "none",
            "description": "map of visible differences beside each perturbation, by FLIP or ColorVideoVDP (extra perception)",
        },
        "scale": {"type": "number", "exclusiveMinimum": 0, "description": "factor on perturbations (default: chosen)"},
    }
}

ABOUT = {"grid": "clean and adversarial images and perturbations, one figure a data set"}

#: Inches.
_MARGIN, _GAP, _LINE, _BETWEEN = 0.05, 0.03, 0.1, 0.1
_LARGEST_CELL, _SMALLEST_CELL = 0.62, 0.55
#: Of the colour bar of a map, with its numbers and its name.
_BAR = 0.42
_COLORS = "magma"
#: Percent of the pixels drawn that the colours of a map tell apart; brighter ones have the last colour, and the bar a point.
_TOLD_APART = 99.5
#: What a map is called, and where its colours may end.
_MAPS = {
    "flip": ("FLIP of each pixel (0: no difference is noticed)", (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)),
    "jod": ("JOD taken off at each pixel (0: no difference is seen)", (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)),
}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from a data artefact, attack artefacts and their metric artefacts, told apart by their kind.

    ``figure.images`` (default 4) images are shown, the first ones of the artefacts in such an order that classes do not
    repeat before all were shown: results have no say in it. ``figure.attacks`` chooses attacks and their order,
    ``figure.model`` the target model, ``figure.scale`` the factor on perturbations (default: the largest round one at
    which the attack of median strength is hardly clipped; a stronger attack's perturbation may be), ``figure.map`` whether
    and by which metric visible differences are shown, under the viewing conditions of the metric where it was computed. A
    control is shown with its own prediction: it cannot fail.
    """
    wanted = specification.get("figure") or {}
    kind = str(wanted.get("map", "none"))
    data_path, attack_paths, metric_paths = pictures.by_kind(inputs, "grid")
    tensors, data_header = artifacts.load_tensors(data_path, "data")
    x_test, names = tensors["x_test"], data_header["class_names"]
    model, found = _attacks(attack_paths, specification.get("dataset"), wanted.get("model"))
    attacks = _chosen(found, wanted.get("attacks"), specification)
    metrics, conditions = _metrics(metric_paths, model, [attack.name for attack in attacks], kind)
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
    maps = None
    if kind != "none":
        title += ", and where they are seen"
        maps = _maps(kind, {key: (x_test[key[1]], entry.adversarial) for key, entry in shown.items()}, conditions)
    figure = _compose(attacks, indices, labels, shown, maps, x_test, names, scale, title)
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
                **({} if maps is None else {f"{kind}_map_mean": maps.pictures[attack.name, index].mean()}),
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


def _metrics(
    paths: Sequence[str], model: str, names: Sequence[str], kind: str
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the rows of the attacks ``names`` on a network, by index, and the options that metric ``kind`` had."""
    frames: dict[str, pd.DataFrame] = {}
    options: dict[str, Any] = {}
    for path in paths:
        frame, header = artifacts.load_rows(path, "metrics")
        if len(frame) and frame["model"].iloc[0] == model and frame["attack"].iloc[0] in names:
            frames[str(frame["attack"].iloc[0])] = frame.set_index("index")
            options = header["specification"].get(kind) or options
    return frames, options


@dataclass(frozen=True)
class _Maps:
    """Maps of visible differences (H', W') by attack and image, what they are called, and the value of the last colour.

    ``beyond`` says whether a pixel has more than that.
    """

    pictures: dict[tuple[str, int], np.ndarray]
    name: str
    end: float
    beyond: bool


def _maps(
    kind: str, pairs: Mapping[tuple[str, int], tuple[np.ndarray, np.ndarray]], conditions: Mapping[str, Any]
) -> _Maps:
    """Return the maps of ``pairs`` of a clean image uint8 (C, H, W) and an adversarial one (H, W, C) in [0, 1]."""
    import torch

    from infoadv.metrics import human

    function = {"flip": human.flip_map, "jod": human.jod_map}[kind]
    found = {}
    for key, (clean, adversarial) in pairs.items():
        images = torch.from_numpy(clean / 255.0)[None], torch.from_numpy(np.moveaxis(adversarial, -1, 0).copy())[None]
        found[key] = function(*images, **conditions)[0].numpy()
    name, ends = _MAPS[kind]
    values = np.concatenate([picture.ravel() for picture in found.values()])
    most = float(np.percentile(values, _TOLD_APART))
    end = next((end for end in ends if most <= end), ends[-1])
    return _Maps(found, name, end, bool(values.max() > end))


def _images(found: Mapping[str, Loaded], attacks: Sequence[Attack], count: int) -> tuple[list[int], list[int]]:
    first = found[attacks[0].name][0]
    everywhere = set.intersection(*(set(found[attack.name][0]["index"].tolist()) for attack in attacks))
    if not everywhere:
        raise InfoadvError("the grid figure's attacks share no image; run them on the same images.")
    held = [position for position, index in enumerate(first["index"].tolist()) if index in everywhere]
    return pictures.first(first["index"][held], first["label"][held], count)


@dataclass(frozen=True)
class _Layout:
    """A way to arrange the page: perturbations, and their maps, beside or under their images, attacks in blocks."""

    beside: bool
    pictures: int
    blocks: list[list[Attack]]
    cell: float
    header: list[int]
    height: float

    @property
    def span(self) -> float:
        """Width of one attack's column."""
        return self._all if self.beside else self.cell

    @property
    def row(self) -> float:
        """Height of one test image's row, the text under it included."""
        return self.cell + 2 * _LINE + _BETWEEN if self.beside else self._all + 3 * _LINE + _BETWEEN

    @property
    def below(self) -> float:
        """Distance from the top of a row to the text under it."""
        return (self.cell if self.beside else self._all) + 0.02

    @property
    def _all(self) -> float:
        return self.cell * self.pictures + _GAP * (self.pictures - 1)

    def place(self, x: float, y: float, number: int) -> tuple[float, float]:
        """Return where the picture ``number`` of an attack lies whose first lies at (x, y)."""
        away = number * (self.cell + _GAP)
        return (x + away, y) if self.beside else (x, y + away)


def _layout(attacks: Sequence[Attack], images: int, pictures_of_each: int, beside: bool) -> _Layout:
    per_cell = pictures_of_each if beside else 1
    room = style.TEXT_WIDTH - 2 * _MARGIN
    most = max(1, int((room / (_SMALLEST_CELL + _GAP) - 1) / per_cell))
    count = math.ceil(len(attacks) / most)
    size = math.ceil(len(attacks) / count)
    blocks = [list(attacks[start : start + size]) for start in range(0, len(attacks), size)]
    cell = min(_LARGEST_CELL, room / (1 + per_cell * size) - 1.5 * _GAP)
    span = cell * per_cell
    header = [max(len(_wrapped(attack.title, span)) for attack in block) for block in blocks]
    layout = _Layout(beside, pictures_of_each, blocks, cell, header, 0.0)
    height = 0.14 + sum(lines * _LINE + 0.04 + images * layout.row for lines in header)
    return replace(layout, height=height)


def _wrapped(text: str, width: float) -> list[str]:
    # An average glyph is 0.6 of the font size wide.
    return textwrap.wrap(text, max(6, int(width * 72 / (style.SMALL * 0.6)))) or [""]


def _compose(
    attacks: Sequence[Attack],
    indices: Sequence[int],
    labels: Sequence[int],
    shown: Mapping[tuple[str, int], Example],
    maps: _Maps | None,
    x_test: np.ndarray,
    names: Sequence[str],
    scale: float,
    title: str,
) -> Figure:
    count = 2 if maps is None else 3
    layouts = (_layout(attacks, len(indices), count, beside) for beside in (True, False))
    layout = min(layouts, key=lambda one: one.height)
    columns = max(len(block) for block in layout.blocks)
    used = 2 * _MARGIN + layout.cell + columns * (layout.span + 1.5 * _GAP)
    width = max(used, style.COLUMN_WIDTH)
    title_lines = textwrap.wrap(style.plain(title), int(width * 72 / (style.SMALL * 0.56)))
    height = layout.height + len(title_lines) * _LINE + (0.0 if maps is None else _BAR)
    figure = style.new_figure(width, height, layout=None)

    def write(x: float, y: float, text: str, **options: Any) -> None:
        options = {"ha": "center", "va": "top", "fontsize": style.SMALL, **options}
        figure.text(x / width, 1 - y / height, text, **options)

    def picture(
        x: float, y: float, image: np.ndarray, edge: str | None = None, colors: str = "gray", end: float = 1.0
    ) -> None:
        axes = figure.add_axes((x / width, 1 - (y + layout.cell) / height, layout.cell / width, layout.cell / height))
        plane = image[..., 0] if image.shape[-1] == 1 else image
        axes.imshow(plane, cmap=colors, vmin=0, vmax=end, interpolation="nearest")
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
                picture(*layout.place(x, y, 1), delta)
                if maps is not None:
                    seen = maps.pictures[attack.name, index][..., None]
                    picture(*layout.place(x, y, 2), seen, colors=_COLORS, end=maps.end)
                _describe(write, x + layout.span / 2, y + layout.below, entry, names, layout, failed=failed)
            y += layout.row
    if maps is not None:
        axes = figure.add_axes((0.15 / width, 0.3 / height, min(3.0, width - 0.3) / width, 0.09 / height))
        scalar = ScalarMappable(Normalize(0, maps.end), _COLORS)
        extend = "max" if maps.beyond else "neither"
        figure.colorbar(scalar, cax=axes, orientation="horizontal", ticks=np.linspace(0, maps.end, 6), extend=extend)
        axes.tick_params(labelsize=style.SMALL, pad=1)
        axes.grid(False)
        axes.set_xlabel(maps.name, fontsize=style.SMALL, labelpad=1)
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
