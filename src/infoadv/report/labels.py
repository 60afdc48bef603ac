"""Writes names beside points without covering points, lines or each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from infoadv.report import style

_ANGLES = [math.radians(angle) for angle in (0, 180, 90, 270, 35, 145, 325, 215, 60, 120, 300, 240)]
_RADII = (6.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0)
_ROUNDS = 6
#: Points between a label and the end of its line.
_GAP = 2.5


def place(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colors: Sequence[str],
    obstacles: np.ndarray,
) -> None:
    """Write ``texts`` beside ``points`` (data coordinates), joined to them by a thin line where they had to move
    away; ``colors`` are those of the points and of the lines.

    ``obstacles`` (m, 2), in data coordinates, are places that stay free as well, such as points along error bars.
    Call it when limits and layout are final: positions are chosen in points on the page, by giving each label in turn
    the cheapest of a fixed set of places until none wants to move. Nothing is random.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not points:
        return
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    unit = figure.dpi / 72
    anchors = axes.transData.transform(np.asarray(points, dtype=float)) / unit
    blocked = anchors
    if len(obstacles):
        blocked = np.vstack([anchors, axes.transData.transform(obstacles) / unit])
    frame = axes.get_window_extent(renderer)
    bounds = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) / unit
    written = [
        axes.text(0, 0, style.plain(text), fontsize=style.SMALL, color=style.dark(color))
        for text, color in zip(texts, colors, strict=True)
    ]
    sizes = []
    for text in written:
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width / unit, extent.height / unit))
    candidates = [_candidates(anchor, size) for anchor, size in zip(anchors, sizes, strict=True)]
    fixed = [_fixed_costs(boxes, blocked, bounds) for boxes in candidates]
    chosen = [int(costs.argmin()) for costs in fixed]
    for _ in range(_ROUNDS):
        before = list(chosen)
        for i, boxes in enumerate(candidates):
            others = np.array([candidates[j][chosen[j]] for j in range(len(chosen)) if j != i]).reshape(-1, 4)
            tips = np.array([anchors[j] for j in range(len(chosen)) if j != i]).reshape(-1, 2)
            costs = fixed[i] + 40.0 * _overlaps(boxes, others) + 30.0 * _crossings(anchors[i], boxes, tips, others)
            costs = costs + 15.0 * _struck(anchors[i], boxes, tips, others)
            chosen[i] = int(costs.argmin())
        if chosen == before:
            break
    to_data = axes.transData.inverted()
    for text, anchor, boxes, choice, color in zip(written, anchors, candidates, chosen, colors, strict=True):
        box = boxes[choice]
        x, y = to_data.transform(box[:2] * unit)
        text.set_position((float(x), float(y)))
        text.set_verticalalignment("bottom")
        near = np.clip(anchor, box[:2], box[2:])
        length = np.hypot(*(near - anchor))
        if length > 7:
            # Text is drawn a little wider than it was measured at another resolution: the line keeps clear of it.
            tip = near + (anchor - near) * _GAP / length
            ends = to_data.transform(np.array([anchor, tip]) * unit)
            axes.plot(ends[:, 0], ends[:, 1], color=color, linewidth=0.5, zorder=1.5, scalex=False, scaley=False)


def _candidates(anchor: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Return boxes (m, 4) as x0, y0, x1, y1 around an anchor, nearest first."""
    width, height = size
    boxes = []
    for radius in _RADII:
        for angle in _ANGLES:
            x, y = anchor[0] + radius * math.cos(angle), anchor[1] + radius * math.sin(angle)
            left = x - width * (1 - math.cos(angle)) / 2
            bottom = y - height * (1 - math.sin(angle)) / 2
            boxes.append((left, bottom, left + width, bottom + height))
    return np.array(boxes)


def _fixed_costs(boxes: np.ndarray, blocked: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    outside = np.maximum(bounds[:2] - boxes[:, :2], 0).sum(axis=1) + np.maximum(boxes[:, 2:] - bounds[2:], 0).sum(
        axis=1
    )
    x, y = blocked[:, 0], blocked[:, 1]
    margin = 2.0
    covered = (
        (x > boxes[:, 0:1] - margin)
        & (x < boxes[:, 2:3] + margin)
        & (y > boxes[:, 1:2] - margin)
        & (y < boxes[:, 3:4] + margin)
    ).sum(axis=1)
    distance = np.repeat(_RADII, len(_ANGLES))
    preference = np.tile(np.arange(len(_ANGLES)), len(_RADII)) * 0.1
    return 1000.0 * outside + 25.0 * covered + distance + preference


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    width = np.minimum(boxes[:, None, 2], others[None, :, 2]) - np.maximum(boxes[:, None, 0], others[None, :, 0])
    height = np.minimum(boxes[:, None, 3], others[None, :, 3]) - np.maximum(boxes[:, None, 1], others[None, :, 1])
    area = np.maximum(width + 2, 0) * np.maximum(height + 0.5, 0)
    return np.where(area > 0, 1 + area / 20, 0).sum(axis=1)


def _struck(anchor: np.ndarray, boxes: np.ndarray, tips: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Measure for each box (m,) how far leaders run through labels: its own through others, others' through it."""
    if not len(tips):
        return np.zeros(len(boxes))
    along = np.linspace(0.0, 1.0, 12)[:, None]

    def leaders(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return starts[:, None] + along * (ends - starts)[:, None]

    def inside(places: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return np.all((places > frames[..., :2]) & (places < frames[..., 2:]), axis=-1)

    own = leaders(np.broadcast_to(anchor, (len(boxes), 2)), np.clip(anchor, boxes[:, :2], boxes[:, 2:]))
    theirs = leaders(tips, np.clip(tips, others[:, :2], others[:, 2:]))
    through_others = inside(own[:, :, None], others[None, None]).sum(axis=(1, 2))
    through_own = inside(theirs.reshape(1, -1, 2), boxes[:, None]).sum(axis=1)
    over_points = (np.hypot(*np.moveaxis(own[:, :, None] - tips[None, None], -1, 0)) < 3).sum(axis=(1, 2))
    return (through_others + through_own + over_points).astype(float)


def _crossings(anchor: np.ndarray, boxes: np.ndarray, tips: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Count for each box (m,) how many leaders of other labels its own leader crosses."""
    if not len(tips):
        return np.zeros(len(boxes))
    near = np.clip(anchor, boxes[:, :2], boxes[:, 2:])[:, None]
    ends = np.clip(tips, others[:, :2], others[:, 2:])[None]
    tips = tips[None]

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])

    start = np.broadcast_to(anchor, near.shape)
    apart = (side(start, near, tips) * side(start, near, ends) < 0) & (
        side(tips, ends, start) * side(tips, ends, near) < 0
    )
    return apart.sum(axis=1).astype(float)
