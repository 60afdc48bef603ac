"""The section ``metrics``, and the network of ours that LPIPS compares images in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infoadv.config.errors import ConfigError, require_known
from infoadv.config.models import Models, of_dataset
from infoadv.config.schema import complete_options


def completed(
    values: Mapping[str, Any], datasets: Iterable[str], models: Models
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the options of each metric, and the network of each data set that LPIPS compares features in.

    The second is empty where LPIPS is not measured or looks through a pretrained network. Raises ``ConfigError``.
    """
    result = {}
    references: dict[str, str] = {}
    for name, given in values["metrics"].items():
        options = complete_options("metrics", name, given, ("metrics", name), "metric")
        result[name] = options
        if options.get("backbone") == "reference":
            references = {dataset: reference(values, models, dataset, options["reference"]) for dataset in datasets}
        elif options.get("reference") is not None:
            raise ConfigError(f"metrics.{name}.reference: only with backbone: reference; remove one of the two.")
    return result, references


def reference(
    values: Mapping[str, Any],
    models: Models,
    dataset: str,
    chosen: str | None,
    path: str = "metrics.lpips.backbone",
) -> str:
    """Return the network of ``dataset`` that nobody attacks: the one ``chosen``, or else the only one there is.

    ``path`` is the key that asks for it. Raises ``ConfigError`` where there is none, or several and none is chosen.
    """
    candidates = of_dataset(models, dataset)
    if chosen is not None:
        require_known(chosen, candidates, "metrics.lpips.reference", f"network of {dataset} named")
        if values["models"][chosen]["attacked"]:
            raise ConfigError(
                f"metrics.lpips.reference: {chosen!r} is attacked, so it cannot judge; set models.{chosen}.attacked "
                "to false or name another."
            )
        return chosen
    spared = [name for name in candidates if not values["models"][name]["attacked"]]
    if not spared:
        raise ConfigError(
            f"{path}: 'reference' needs a network of {dataset} that nobody attacks; add a model with "
            "'attacked: false', or name one as metrics.lpips.reference."
        )
    if len(spared) > 1:
        # A choice by order would change with the place of a model in the file.
        raise ConfigError(
            f"{path}: several networks of {dataset} are attacked by nobody ({', '.join(spared)}); name the one that "
            "LPIPS looks through as metrics.lpips.reference."
        )
    return spared[0]
