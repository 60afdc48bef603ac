"""Architectures of RobustBench by the names of its leaderboards, where that package is installed (Croce et al. 2021).

The package is asked for the network alone, never for its download: weights come from a file on disk, which ``infoadv convert``
makes from the published checkpoint. Networks of RobustBench take images in [0, 1] and normalise them themselves.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from infoadv.execution.errors import InfoadvError

SCHEMA: dict[str, dict] = {
    "robustbench": {
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "model ID of the leaderboard, such as Wong2020Fast",
        },
        "dataset": {
            "description": "data set of the leaderboard: 10, 100 or 1,000 classes, images of 3 x 32 x 32 or of ImageNet"
        },
        "threat_model": {"description": "threat model of the leaderboard"},
    }
}


def robustbench(
    shape: tuple[int, int, int],
    classes: int,
    *,
    name: str,
    dataset: Literal["cifar10", "cifar100", "imagenet"] = "cifar10",
    threat_model: Literal["Linf", "L2", "corruptions"] = "Linf",
) -> nn.Module:
    """Build a network of RobustBench, whose number of classes is that of its data set. Raises ``InfoadvError``."""
    try:
        from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel
        from robustbench.model_zoo.models import model_dicts
    except ImportError as error:
        raise InfoadvError(
            f"architecture robustbench: the package robustbench cannot be imported ({error}); install it beside infoadv as its "
            "own page says, or build the network by a factory of yours."
        ) from error
    offered = model_dicts[BenchmarkDataset(dataset)][ThreatModel(threat_model)]
    if name not in offered:
        raise InfoadvError(
            f"robustbench has no network {name!r} of {dataset} and {threat_model}; it has: {', '.join(sorted(offered))}."
        )
    return offered[name]["model"]()
