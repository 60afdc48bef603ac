"""What is drawn for the section ``figures``: a figure by itself, or one for each data set, with the runs that it shows.

Which of these a figure is, its file says in the literals ``INPUTS`` and ``OUTPUTS``. No torch here: the Snakefile asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infoadv.config import Config, Run, matching, stage_inputs
from infoadv.registry import plugins


@dataclass(frozen=True)
class Drawing:
    """A figure that one job draws.

    Attributes
    ----------
    figure
        Its name.
    stage
        What it is drawn from (:func:`infoadv.config.stage_inputs`).
    dataset
        The data set of a figure that is drawn for each by itself, else None.
    options
        Its options; those that name what is shown are filled in.
    runs
        The runs that it is drawn from, where it is drawn from runs.
    pictures
        The names of the pictures of a figure that is a folder of them, ``"{model}/{attack}.png"``; "" for a single one.
    """

    figure: str
    stage: str
    dataset: str | None
    options: Mapping[str, Any]
    runs: tuple[Run, ...]
    pictures: str = ""
    #: The name of its files without their suffix.
    stem: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem", self.figure if self.dataset is None else f"{self.figure}_{self.dataset}")


def drawings(settings: Config) -> list[Drawing]:
    """Return what is drawn: every figure once, or once a data set whose networks are attacked."""
    return [drawing for name in settings.figures for drawing in _drawings(settings, name)]


def _drawings(settings: Config, name: str) -> Iterator[Drawing]:
    inputs = stage_inputs("figures", name)
    pictures = plugins.literal(plugins.source_file("figures", name), "OUTPUTS").get("pictures", "")
    datasets = dict.fromkeys(run.dataset for run in settings.runs) if inputs.get("per") == "dataset" else [None]
    for dataset in datasets:
        options, runs = _shown(settings, name, inputs["stage"], dataset)
        yield Drawing(name, inputs["stage"], dataset, options, tuple(runs), pictures)


def _shown(settings: Config, name: str, stage: str, dataset: str | None) -> tuple[dict[str, Any], list[Run]]:
    """Return the options of a figure and the runs that it shows.

    Its options ``dataset``, ``model``, ``attack`` and ``attacks`` choose what it shows of images. Metrics are always those of
    every run: which images count depends on all compared attacks.
    """
    options = dict(settings.figures[name])
    runs = [run for run in settings.runs if dataset in (None, run.dataset)]
    if stage == "attack":
        (first, *_) = matching(runs, options)
        return {**options, **vars(first)}, [first]
    if stage == "pictures":
        declared = plugins.schemas("figures").get(name, {})
        if "model" in declared:
            # One section serves all data sets, and a network may be there for some of them only.
            present = [run.model for run in runs]
            options["model"] = options["model"] if options.get("model") in present else present[0]
            runs = matching(runs, {"model": options["model"]})
        if "attacks" in declared:
            every = [attack.name for attack in settings.attacks.values() if attack.sweep_of is None]
            shown = options.setdefault("attacks", every)
            runs = [run for run in runs if run.attack in shown]
    return options, runs
