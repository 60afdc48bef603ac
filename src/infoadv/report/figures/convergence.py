"""One image under attack: the margin to the decision boundary, and what the estimator believes against what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import rows, style

INPUTS = {"stage": "attack", "trace": True}

SCHEMA = {
    "convergence": {
        "dataset": {"type": "string", "description": "data set (default: the first)"},
        "model": {"type": "string", "description": "network (default: the first)"},
        "attack": {
            "type": "string",
            "description": "attack, one that records its run: masking, projection, mine and the like",
        },
        "image": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "place of the image among those attacked",
        },
    }
}

ABOUT = {"convergence": "margin, estimate and truth along one attack"}


def draw(inputs: Sequence[str], specification: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure from the attack artefact that ``figure`` names by dataset, model and attack.

    ``figure.image`` is the position of the image in the artefact, 0 the first. Each key may be left out; the first
    artefact that fits and holds a trace is drawn.
    """
    wanted = specification.get("figure") or {}
    path, header = _choose(inputs, wanted)
    tensors, _ = artifacts.load_tensors(path, "attack")
    image, count = int(wanted.get("image", 0)), len(tensors["index"])
    if not 0 <= image < count:
        raise InfoadvError(f"figures.convergence.image: {image}, but {path} holds {count} images (0 to {count - 1}).")
    step = tensors["trace_step"].astype(np.int64)
    margin, estimate, truth = (
        tensors[f"trace_{part}"][image].astype(np.float64) for part in ("margin", "estimate", "truth")
    )
    # At the clean image the truth is infinite.
    truth[~np.isfinite(truth)] = np.nan
    estimate[~np.isfinite(estimate)] = np.nan
    first = int(tensors["first_success"][image])
    dataset, model, name = rows.run_of(path, header)
    attack = rows.attack_of(name, specification)
    called = (specification.get("traces") or {}).get(name) or _of_before(header)

    figure = style.new_figure(style.COLUMN_WIDTH, 3.1)
    upper, lower = figure.subplots(2, 1, sharex=True)
    index = int(tensors["index"][image])
    style.entitle(upper, f"{attack.label}\n{dataset}, {model}, test image {index}", 2.9)
    upper.axhline(0, color="black", linewidth=0.7)
    upper.plot(step, margin, color=style.COLORS[0])
    upper.set_ylabel("margin (logits)")
    # A positive margin is a success.
    low, high = min(float(np.nanmin(margin)), 0.0), max(float(np.nanmax(margin)), 0.0)
    room = 0.08 * (high - low or 1.0)
    upper.set_ylim(low - room, high + room)
    upper.axhspan(0, high + room, color=style.COLORS[1], alpha=0.09, linewidth=0)
    lower.plot(step, truth, color="black", label="closed form")
    lower.plot(step, estimate, color=style.COLORS[1], linestyle=(0, (4, 1.5)), label=style.plain(called))
    lower.set_ylabel("information (nats)")
    lower.set_xlabel("step")
    if np.nanmax(np.abs([*truth, *estimate, 0.0])) > 20:
        lower.set_yscale("symlog", linthresh=1.0)
    for axes in (upper, lower):
        if first >= 0:
            axes.axvline(first, color=style.GUIDE, linewidth=0.8, linestyle=":", label=f"first success (step {first})")
        axes.margins(x=0.01)
    handles, labels = lower.get_legend_handles_labels()
    patch = Patch(facecolor=style.COLORS[1], alpha=0.15)
    figure.legend([*handles, patch], [*labels, "past the boundary"], loc="outside lower center", ncols=2)
    numbers = pd.DataFrame(
        {
            "dataset": dataset,
            "model": model,
            "attack": name,
            "index": index,
            "first_success": first,
            "step": step,
            "margin": margin,
            "estimate": estimate,
            "truth": truth,
        }
    )
    return figure, numbers


def _of_before(header: Mapping[str, Any]) -> str:
    """Return what to call the estimate of an artefact whose method was one for all estimators, which its header names."""
    estimator = str(header.get("estimator") or "attack's")
    return f"{'MINE' if estimator == 'mine' else estimator} estimate"


def _choose(inputs: Sequence[str], wanted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    for path in inputs:
        header = artifacts.read_header(path, "attack")
        found = dict(zip(("dataset", "model", "attack"), rows.run_of(path, header), strict=True))
        if any(wanted.get(key) not in (None, value) for key, value in found.items()):
            continue
        if "trace_step" in artifacts.load_tensors(path, "attack")[0]:
            return path, header
    described = ", ".join(f"{key} {wanted[key]}" for key in ("dataset", "model", "attack") if wanted.get(key))
    raise InfoadvError(
        f"figures.convergence: no attack artefact with a trace fits ({described or 'any'}); "
        "name an attack that records its run, such as one of method mine."
    )
