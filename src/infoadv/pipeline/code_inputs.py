"""The code that a stage's result depends on: among the inputs of its rule (of a shard of an attack among those of the job that
gathers it, and as a parameter of its own), and in what a killed job may go on from.

One answer for both. The code of a stage is its entry, the files that it chooses by name (an attack, a metric, an
architecture), and what these import, directly or through others, except :data:`PLUMBING`: code that carries numbers from
place to place and cannot change them. A change of it that does change files raises ``infoadv.artifacts.FORMAT``, which
refuses old ones by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoadv.artifacts import file_digest
from infoadv.registry import factories, plugins
from infoadv.registry.source_code import code

if TYPE_CHECKING:
    from infoadv.config import Config

#: Parts of the package whose edits rerun no stage that imports them; what a stage names itself counts all the same.
PLUMBING = tuple(
    plugins.PACKAGE / part for part in ("__init__.py", "artifacts", "config", "execution", "pipeline", "registry")
)
_STAGES = plugins.PACKAGE / "stages"
#: Threads, determinism, TF32: the part of the execution that decides numbers.
_DEVICE = plugins.PACKAGE / "execution" / "device.py"


def _code(*entries: Path) -> list[Path]:
    return code(*entries, without=PLUMBING)


def digest(files: Iterable[Path]) -> str:
    """Return the digest of code files: equal for two results that the same code made."""
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


# --- By specification: what a stage asks ------------------------------------------------------------------------------


def network_files(specification: Mapping[str, Any], member: Callable[[str], list[Path]]) -> list[Path]:
    """Return the files that build a network; ``member`` returns those of one network of an ensemble, by name."""
    if "factory" in specification:
        return factories.sources(specification["factory"])
    if "architecture" in specification:
        return [plugins.source_file("models", specification["architecture"])]
    return [file for name in specification.get("members", ()) for file in member(name)]


def networks_of_header(header: Mapping[str, Any]) -> list[Path]:
    """Return the files that build the network of a model artefact with this provenance."""
    return network_files(header["specification"], lambda name: networks_of_header(header["members"][name]))


def of_training(specification: Mapping[str, Any], networks: Iterable[Path]) -> list[Path]:
    """Return the code that makes a network; ``networks`` are the files of its architecture and of those it is made from."""
    recipe = specification.get("training", {}).get("recipe")
    recipes = [plugins.source_file("training", recipe)] if recipe else []
    return _code(_DEVICE, _STAGES / "train.py", *networks, *recipes)


def of_attack(method: str, networks: Iterable[Path]) -> list[Path]:
    """Return the code that an attack runs; ``networks`` are the files of the network and of one that it looks through."""
    return _code(_DEVICE, _STAGES / "attack.py", plugins.source_file("attacks", method), *networks)


# --- By configuration: what a rule asks -------------------------------------------------------------------------------


def _networks(config: Config, dataset: str, model: str) -> list[Path]:
    return network_files(config.models[model][dataset], lambda name: _networks(config, dataset, name))


def of_data(config: Config, dataset: str) -> list[Path]:
    """Return the code that makes the data artefact of ``dataset``."""
    return _code(plugins.PACKAGE / "data" / "__init__.py", plugins.source_file("data", config.source(dataset)))


def of_model(config: Config, dataset: str, model: str) -> list[Path]:
    """Return the code that makes one network."""
    origin = [file for _, other in config.origin(dataset, model) for file in _networks(config, dataset, other)]
    return of_training(config.models[model][dataset], [*_networks(config, dataset, model), *origin])


def of_run(config: Config, dataset: str, model: str, attack: str) -> list[Path]:
    """Return the code that one attack on one network runs."""
    reference = config.looks_through(attack, dataset)
    networks = [file for name in (model, reference) if name for file in _networks(config, dataset, name)]
    return of_attack(config.attacks[attack].method, networks)


def of_gathering() -> list[Path]:
    """Return the code that joins the shards of an attack."""
    return _code(plugins.PACKAGE / "artifacts" / "shards.py")


def of_metrics(config: Config, dataset: str, model: str) -> list[Path]:
    """Return the code that measures the attacks on one network."""
    networks = [model, *([config.lpips_reference[dataset]] if config.lpips_reference else [])]
    return _code(
        _DEVICE,
        _STAGES / "measure.py",
        *(plugins.source_file("metrics", name) for name in config.metrics),
        *(file for network in networks for file in _networks(config, dataset, network)),
    )


def of_transfer(config: Config, dataset: str) -> list[Path]:
    """Return the code that shows adversarial images to the other networks of ``dataset``."""
    networks = dict.fromkeys(run.model for run in config.runs if run.dataset == dataset)
    return _code(
        _DEVICE, _STAGES / "transfer.py", *(file for name in networks for file in _networks(config, dataset, name))
    )


def of_flow(config: Config, model: str) -> list[Path]:
    """Return the code that follows inputs through one network."""
    assert config.flow is not None
    return _code(_DEVICE, _STAGES / "flow.py", *_networks(config, config.flow.dataset, model))


def of_calibration() -> list[Path]:
    """Return the code of the calibration stage."""
    return _code(_DEVICE, _STAGES / "calibrate.py")


def of_table(name: str) -> list[Path]:
    """Return the code that writes one table."""
    return _code(plugins.PACKAGE / "report" / "tables" / "__init__.py", plugins.source_file("tables", name))


def of_figure(name: str) -> list[Path]:
    """Return the code that draws one figure."""
    return _code(plugins.PACKAGE / "report" / "figures" / "__init__.py", plugins.source_file("figures", name))
