"""Tuning apart from reporting: which images a run may take, and on what claims may be judged (docs/judges.md, "Tuning").

Images are taken in a seeded order of a test part. Tuning takes places from ``TUNING`` on, reported claims those below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infoadv.config.errors import ConfigError
from infoadv.config.models import Models

#: The first place of the seeded order that tuning may take.
TUNING = 5000
#: The data source that is for tuning alone, where it may take every place.
TUNING_SOURCE = "digits"
#: Networks that were trained with this seed are for tuning alone.
TUNING_SEED = 2


def first_images(values: Mapping[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return, per data set, the place of the seeded order from which on images are taken. Raises ``ConfigError``."""
    tuning = values["purpose"] == "tuning"
    first = values.get("first_image", TUNING if tuning else 0)
    if tuning and first < TUNING:
        raise ConfigError(
            f"first_image: {first} is not allowed; with purpose: tuning give at least {TUNING}, or leave it out."
        )
    return {name: 0 if tuning and entry["source"] == TUNING_SOURCE else first for name, entry in datasets.items()}


def check_claimed(
    values: Mapping[str, Any], claimed: list[str], datasets: Mapping[str, Mapping[str, Any]], models: Models
) -> None:
    """Raise ``ConfigError`` where ``statistics.claimed`` would be judged on images or networks that are for tuning."""
    if not claimed:
        return
    path = "statistics.claimed"
    if values["purpose"] == "tuning":
        raise ConfigError(f"{path}: not allowed with purpose: tuning; claims are judged on other images.")
    for name, entry in datasets.items():
        if entry["source"] == TUNING_SOURCE:
            raise ConfigError(f"{path}: datasets.{name} is for tuning alone; take one of the two out.")
    for name, of_datasets in models.items():
        for specification in of_datasets.values():
            if values["models"][name]["attacked"] and specification["training"].get("seed") == TUNING_SEED:
                raise ConfigError(
                    f"{path}: models.{name} has the training seed {TUNING_SEED}, which is for tuning alone; "
                    "attack another network, or take the claims out."
                )
    last = values.get("first_image", 0) + values["images"]
    if last > TUNING:
        raise ConfigError(
            f"{path}: images up to place {last:,} are asked for, those from {TUNING:,} on are for tuning; ask for fewer."
        )
