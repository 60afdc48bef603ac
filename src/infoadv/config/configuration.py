"""A whole configuration: each section checked and completed by its own module, in an order in which names are known when
they are referred to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infoadv.config import (
    attacks,
    datasets,
    figures,
    flow,
    memory,
    metrics,
    models,
    offered,
    plugin_folders,
    purpose,
    runs,
)
from infoadv.config.errors import ConfigError, require_known
from infoadv.config.limits import project_path, require_distinct, require_plain
from infoadv.config.reading import read
from infoadv.config.runs import Run
from infoadv.config.schema import check, filled, structure_schema
from infoadv.registry import plugins


class Config:
    """A checked and completed configuration, and what follows from it."""

    def __init__(self, raw: Mapping[str, Any], directory: Path = Path()) -> None:
        """Check ``raw``, the mapping that the YAML file holds, for a run in ``directory``. Raises ``ConfigError``.

        From now on this process, and those that it starts, know what the plugin folders of this configuration offer.
        """
        require_plain(raw)
        plugin_folders.use(raw, directory)
        check(raw, structure_schema())
        self.values: dict[str, Any] = filled(raw, structure_schema())
        self.seed: int = self.values["seed"]
        self.device: str = self.values["device"]
        self.images: int = self.values["images"]
        self.threads: dict[str, int] = self.values["threads"]
        self.data_root: str | None = self.values["data_root"]
        folder = self.values["networks"]
        self.networks: str | None = None if folder is None else project_path(folder, "networks")
        self.datasets = datasets.completed(self.values)
        if self.values["chunk"] == "auto":
            # The last chunk of a shard is filled up: a larger one than a shard would be work for nothing.
            shards = max(attack["shards"] for attack in self.values["attacks"].values())
            most = math.ceil(self.images / shards)
            self.values["chunk"] = memory.chunk(self.device, self.values["threads"]["attack"], self.datasets, most)
        self.chunk: int = self.values["chunk"]
        self.first_images = purpose.first_images(self.values, self.datasets)
        self.models = models.completed(self.values, self.datasets)
        self.alike = models.alike(self.models, self.values)
        self.metrics, self.lpips_reference = metrics.completed(self.values, self.datasets, self.models)
        self.attacks = attacks.completed(self.values, self.datasets, self.models)
        for section in ("datasets", "models", "attacks"):
            require_distinct(getattr(self, section), section)
        self.runs = runs.planned(self.values, self.datasets, self.models, self.attacks)
        self.calibration: dict[str, Any] | None = self.values.get("calibration")
        self.statistics = self._statistics()
        self.flow = flow.completed(self.values, self.datasets, self.models, self.attacks)
        self.figures = figures.completed(
            self.values,
            datasets=self.datasets,
            models=self.models,
            metrics=self.metrics,
            attacks=self.attacks,
            runs=self.runs,
            flow=self.flow,
        )
        runs.check_likes(self.attacks, self.runs)
        for run in self.runs:
            self.looks_through(run.attack, run.dataset)

    def _statistics(self) -> dict[str, Any]:
        schema = structure_schema()["properties"]["statistics"]
        running = {run.attack for run in self.runs}
        # Those that the tables test others against.
        fit = [
            name
            for name, attack in self.attacks.items()
            if name in running and attack.sweep_of is None and not attack.control
        ]
        first = next(iter([*fit, *self.attacks]))
        statistics = filled(self.values.get("statistics", {"reference": first}), schema)
        require_known(statistics["reference"], self.attacks, "statistics.reference", "attack")
        if fit and statistics["reference"] not in fit:
            raise ConfigError(
                f"statistics.reference: {statistics['reference']!r} is a control or a value of a sweep, or runs on no network; "
                f"choose one of: {', '.join(fit)}."
            )
        for claim in statistics["claimed"]:
            require_known(claim, self.attacks, "statistics.claimed", "attack")
            attack = self.attacks[claim]
            if not attack.compared or attack.target != "untargeted":
                raise ConfigError(
                    f"statistics.claimed: {claim!r} is not compared with the others (compared: false, or a target)."
                )
        purpose.check_claimed(self.values, statistics["claimed"], self.datasets, self.models)
        for pair in statistics["pairs"]:
            for name in pair:
                require_known(name, self.attacks, "statistics.pairs", "attack")
            if len({self.attacks[name].target for name in pair}) > 1:
                raise ConfigError(
                    f"statistics.pairs: {' and '.join(pair)} aim at different classes; pair attacks with the same target."
                )
        for judge in statistics["judges"]:
            require_known(judge, plugins.names("metrics"), "statistics.judges", "metric")
        return statistics

    def source(self, dataset: str) -> str:
        """Return the data source of a data set."""
        return self.datasets[dataset]["source"]

    def trained(self) -> list[tuple[str, str]]:
        """Return the (data set, model) pairs, in the order of the configuration."""
        return [(dataset, model) for dataset in self.datasets for model in models.of_dataset(self.models, dataset)]

    def origin(self, dataset: str, model: str) -> list[tuple[str, str]]:
        """Return the networks that one is made from, as pairs of a key (start, teacher, members) and a name."""
        return models.origin(self.models[model][dataset])

    def factories(self) -> list[str]:
        """Return the functions of the user's that networks are built by: the code that this configuration runs."""
        entries = self.values["models"].values()
        return sorted({entry["factory"] for entry in entries if "factory" in entry})

    def metrics_of(self, attack: str) -> dict[str, dict[str, Any]]:
        """Return the metrics that an attack is measured with, and their options: all, or those that it names."""
        chosen = self.attacks[attack].metrics
        return {name: options for name, options in self.metrics.items() if chosen is None or name in chosen}

    def looks_through(self, attack: str, dataset: str) -> str | None:
        """Return the network through which an attack with ``backbone: reference`` compares images, if it is one."""
        if self.attacks[attack].options[dataset].get("backbone") != "reference":
            return None
        chosen = self.metrics.get("lpips", {}).get("reference")
        return metrics.reference(self.values, self.models, dataset, chosen, f"attacks.{attack}.options.backbone")

    def flow_runs(self) -> list[Run]:
        """Return the attacks that the information profiles need, also those that are part of the benchmark."""
        if self.flow is None:
            return []
        return [Run(self.flow.dataset, model, attack) for model, attack in self.flow.runs()]

    def tables(self) -> list[str]:
        """Return the tables that are written: those whose sections the configuration has."""
        return [name for name in plugins.names("tables") if self._can_be_written(offered.stage_inputs("tables", name))]

    def _can_be_written(self, inputs: Mapping[str, Any]) -> bool:
        have = {
            "claimed": self.statistics["claimed"],
            "pairs": self.statistics["pairs"],
            "alike": self.alike,
            "combinations": [sweep for sweep in self.values["sweeps"].values() if "combinations" in sweep],
            "values": [sweep for sweep in self.values["sweeps"].values() if "combinations" not in sweep],
        }
        if inputs["stage"] == "metrics" and not all(have[key] for key in inputs.get("needs", ())):
            return False
        return figures.lacking(inputs, self.values, self.flow, self.runs) is None


def load(path: str | Path, directory: str | Path = ".") -> Config:
    """Read and check a configuration file, for a run in ``directory``.

    Raises ``ConfigError``, whose message begins with the path.
    """
    raw = read(path)
    try:
        return Config(raw, Path(directory))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
