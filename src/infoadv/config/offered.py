"""What there is to choose from that fits a purpose: sources to download, architectures to trim, what results are made from."""

from __future__ import annotations

from typing import Any

from infoadv.config.errors import ConfigError
from infoadv.config.schema import check
from infoadv.registry import plugins
from infoadv.registry.source_code import function_of

#: What a table or figure can be made from, in its literal ``INPUTS``; figures alone can be of one attack.
_STAGES = ("metrics", "models", "pictures", "transfer", "flow", "calibration", "benchmarks", "artefacts")
_OF_ONE_ATTACK = "attack"
#: What can be told apart by data set.
_BY_DATASET = ("metrics", "models", "pictures")


def fetchable() -> list[str]:
    """Return the data sources that can be downloaded: those whose file has a function ``fetch``."""
    return _with_function("data", "fetch")


def resizable() -> list[str]:
    """Return the architectures that can be trimmed: those whose file has a function ``resized``."""
    return _with_function("models", "resized")


def _with_function(folder: str, function: str) -> list[str]:
    return [
        name for name in plugins.schemas(folder) if function_of(plugins.source_file(folder, name), function) is not None
    ]


def stage_inputs(kind: str, name: str) -> dict[str, Any]:
    """Return what a table or figure (``kind``) is made from, as its file says in a literal ``INPUTS``.

    ``stage`` is one of:

    - "metrics" (without a literal): the metrics artefacts of every attack;
    - "models": the networks; "flow": the information profiles; "calibration": the calibration of MINE;
    - "transfer": what networks say of the images that were made for others of the data set;
    - "pictures": data artefacts, the attacks on them and their metrics;
    - "attack" (figures): the artefact of the attack that the option ``attack`` names;
    - "benchmarks": what each job that computes has measured of itself; "artefacts": all of these artefacts.

    Further keys: ``per: "dataset"`` draws a figure of metrics, models or pictures for each data set by itself; ``needs``
    lists the keys of the section ``flow`` without which there is no such result, or for a table of metrics "claimed" (attacks
    in ``statistics.claimed``), "pairs" (those of ``statistics.pairs``), "alike" (networks that differ in the seed of their
    training alone), "combinations" (a sweep over those of options) and "values" (a sweep over those of one option);
    ``trace: True`` asks for an attack that records its run.

    Raises ``ConfigError`` where the literal says anything else.
    """
    path = plugins.source_file(kind, name)
    found = {"stage": "metrics", **plugins.literal(path, "INPUTS")}
    of_metrics = kind == "tables" and found["stage"] == "metrics"
    per_dataset = kind == "figures" and found["stage"] in _BY_DATASET
    allowed = {
        "stage": {"enum": [*_STAGES, *([_OF_ONE_ATTACK] if kind == "figures" else [])]},
        **({"per": {"const": "dataset"}} if per_dataset else {}),
        **({"needs": {"type": "array", "items": {"type": "string"}}} if found["stage"] == "flow" else {}),
        **(
            {"needs": {"type": "array", "items": {"enum": ["claimed", "pairs", "alike", "combinations", "values"]}}}
            if of_metrics
            else {}
        ),
        **({"trace": {"type": "boolean"}} if found["stage"] == _OF_ONE_ATTACK else {}),
    }
    try:
        check(found, {"type": "object", "additionalProperties": False, "properties": allowed}, ("INPUTS",))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found
