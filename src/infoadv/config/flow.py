"""The section ``flow``: which attacks the information profiles need on which networks, and which inputs are followed in each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infoadv.config.attacks import PlannedAttack
from infoadv.config.errors import ConfigError, require_known
from infoadv.config.models import Models, of_dataset
from infoadv.numerics.sizes import equal_to

#: What is measured of an attack on the network it was run on, by its role in the profiles.
_OF_ATTACKS = ("native", "matched", "noise", "matched_noise", "class")
_OF_JSMA = ("native", "noise", "class", "iterate", "noise_iterate")
_BESIDE_NOISE = ("native", "noise")
_AT_BOTH_SIZES = ("native", "noise", "matched", "matched_noise")

#: Keys of the section that say how profiles are measured; the others say of what.
_MEASUREMENT = ("estimators", "evidence", "shifts", "iterates", "probes", "matched")


@dataclass(frozen=True)
class Part:
    """Inputs that are followed in one network: an attack, the network that it was run on, the conditions."""

    source: str
    attack: str
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """The section ``flow``, completed: ``values`` holds its keys."""

    values: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        return self.values["dataset"]

    @property
    def networks(self) -> list[str]:
        """The networks between which examples are passed on, none without ``transfer``."""
        transfer = self.values.get("transfer", [])
        return [self.values["model"], *transfer] if transfer else []

    def parts(self) -> dict[str, list[Part]]:
        """Return what is followed in each network, by its name."""
        values = self.values
        model, jsma, attacks = values["model"], values["jsma"], values["attacks"]
        ensembles = values.get("ensembles", {})
        result = {model: [Part(model, attack, _OF_ATTACKS) for attack in attacks] + [Part(model, jsma, _OF_JSMA)]}
        if "trimmed" in values:
            trimmed = values["trimmed"]
            result[model].append(Part(trimmed, jsma, (*_BESIDE_NOISE, equal_to(model))))
            result[trimmed] = [
                Part(trimmed, jsma, _BESIDE_NOISE),
                Part(model, jsma, (*_BESIDE_NOISE, equal_to(trimmed))),
            ]
        if "distilled" in values:
            distilled = values["distilled"]
            result[distilled["model"]] = [
                Part(distilled["model"], distilled[kind], _BESIDE_NOISE) for kind in ("regular", "adaptive")
            ]
        for network in self.networks:
            others = [other for other in self.networks if other != network]
            joint = [ensembles[network]] if network in ensembles else []
            # Both sides of each comparison at one size: own with others' examples, and the ensemble's with others'.
            own = Part(network, jsma, (*_BESIDE_NOISE, *map(equal_to, others)))
            if network == model:
                own = replace(result[model][len(attacks)], conditions=(*_OF_JSMA, *map(equal_to, others)))
                result[model][len(attacks)] = own
            else:
                result[network] = [own]
            result[network] += [
                *(Part(other, jsma, (*_BESIDE_NOISE, *map(equal_to, (network, *joint)))) for other in others),
                *(Part(name, jsma, (*_BESIDE_NOISE, *map(equal_to, others))) for name in joint),
            ]
        if "untrained" in values:
            result[values["untrained"]] = [Part(model, attack, _AT_BOTH_SIZES) for attack in attacks]
            result[values["untrained"]].append(Part(model, jsma, _BESIDE_NOISE))
        return result

    def runs(self) -> Iterator[tuple[str, str]]:
        """Yield each (network, attack) that has to be run, once."""
        every = [(part.source, part.attack) for parts in self.parts().values() for part in parts]
        yield from dict.fromkeys(every)

    def specification(self, model: str) -> dict[str, Any]:
        """Return what determines the flow artefact of one network."""
        return {
            **{key: self.values[key] for key in _MEASUREMENT},
            "layers": self.values["layers"].get(model),
            "studies": [
                {"source": part.source, "attack": part.attack, "conditions": list(part.conditions)}
                for part in self.parts()[model]
            ],
        }


def completed(
    values: Mapping[str, Any],
    datasets: Collection[str],
    models: Models,
    attacks: Mapping[str, PlannedAttack],
) -> Flow | None:
    """Return the section ``flow`` of ``values``, None where there is none. Raises ``ConfigError``."""
    if "flow" not in values:
        return None
    given = values["flow"]
    section = {"dataset": next(iter(datasets)), "matched": given["attacks"][0], **given}
    require_known(section["dataset"], datasets, "flow.dataset", "data set")
    _check_names(section, models, attacks)
    _check_attacks(section, attacks)
    _check_roles(section, models, attacks)
    return Flow(section)


def _check_names(section: Mapping[str, Any], models: Models, attacks: Mapping[str, PlannedAttack]) -> None:
    """Refuse names of networks and attacks that are not there."""
    dataset = section["dataset"]
    networks = of_dataset(models, dataset)
    distilled = section.get("distilled", {})
    for key, name in (
        *((key, section.get(key)) for key in ("model", "trimmed", "untrained")),
        *(("transfer", name) for name in section.get("transfer", ())),
        *(("ensembles", name) for names in section.get("ensembles", {}).items() for name in names),
        *(("layers", name) for name in section["layers"]),
        ("distilled.model", distilled.get("model")),
    ):
        if name is not None:
            require_known(name, networks, f"flow.{key}", f"network of {dataset} named")
    jsma = [name for name, attack in attacks.items() if attack.method == "jsma"]
    for key, name, allowed in (
        ("jsma", section["jsma"], jsma),
        *((f"distilled.{key}", distilled[key], jsma) for key in ("regular", "adaptive") if distilled),
        *(("attacks", name, attacks) for name in section["attacks"]),
        ("matched", section["matched"], section["attacks"]),
    ):
        require_known(name, allowed, f"flow.{key}", "such attack")


def _check_attacks(section: Mapping[str, Any], attacks: Mapping[str, PlannedAttack]) -> None:
    """Refuse attacks that cannot be compared: controls, and attacks with targets."""
    for name in section["attacks"]:
        if attacks[name].like(section["dataset"]) is not None:
            raise ConfigError(
                f"flow.attacks: {name!r} is a control; name attacks, the profiles have controls of their own."
            )
    distilled = section.get("distilled", {})
    for name in (
        section["jsma"],
        *section["attacks"],
        *(distilled[key] for key in ("regular", "adaptive") if distilled),
    ):
        if attacks[name].target != "untargeted":
            raise ConfigError(
                f"flow: {name!r} has target: {attacks[name].target}; the profiles compare untargeted attacks."
            )


def _check_roles(section: Mapping[str, Any], models: Models, attacks: Mapping[str, PlannedAttack]) -> None:
    """Refuse networks and attacks that are not what their role says: they would turn a control into none."""
    dataset, model, distilled = section["dataset"], section["model"], section.get("distilled")
    transferred = [model, *section["transfer"]] if "transfer" in section else []
    isolated = section.get("isolated")
    if isolated is not None and isolated not in transferred:
        raise ConfigError(f"flow.isolated: {isolated!r} is none of the networks of 'transfer'; name one of them.")
    roles = [model, *section.get("transfer", ()), *section.get("ensembles", {}).values()]
    roles += [section[key] for key in ("trimmed", "untrained") if key in section]
    roles += [distilled["model"]] if distilled else []
    twice = sorted({name for name in roles if roles.count(name) > 1})
    if twice:
        raise ConfigError(f"flow: {twice[0]!r} has two roles; a network has one.")
    if "ensembles" in section:
        _check_ensembles(section["ensembles"], transferred, models, dataset)
    networks = {name: entry[dataset] for name, entry in models.items() if dataset in entry}
    if "untrained" in section:
        blank, full = networks[section["untrained"]], networks[model]
        same = all(blank.get(key) == full.get(key) for key in ("architecture", "factory", "options"))
        if not same or ("architecture" in blank and blank["training"].get("epochs") != 0):
            raise ConfigError(
                f"flow.untrained: {section['untrained']!r} must have the architecture and options of {model!r} and "
                "training.epochs: 0."
            )
    if "trimmed" in section:
        name = section["trimmed"]
        rounds = [name]
        while (start := networks[rounds[-1]].get("start")) is not None:
            rounds.append(start)
        if model not in rounds:
            raise ConfigError(f"flow.trimmed: {name!r} does not come from {model!r}; chain its rounds by 'start'.")
    if distilled:
        training = networks[distilled["model"]]["training"]
        adaptive = attacks[distilled["adaptive"]].options[dataset]
        if "temperature" in training and (adaptive["outputs"], adaptive["temperature"]) != (
            "softmax",
            training["temperature"],
        ):
            raise ConfigError(
                f"flow.distilled.adaptive: {distilled['adaptive']!r} must have outputs: softmax and temperature: "
                f"{training['temperature']}, that of {distilled['model']!r}."
            )


def _check_ensembles(ensembles: Mapping[str, str], networks: list[str], models: Models, dataset: str) -> None:
    """Refuse ensembles that hold the network that they are judged on, or not all the others."""
    if len(networks) < 3:
        raise ConfigError("flow.ensembles: goes with 'transfer'; name two other networks or more there.")
    if set(ensembles) != set(networks):
        raise ConfigError(f"flow.ensembles: needs one for each of {sorted(networks)}; it has {sorted(ensembles)}.")
    for judged, name in ensembles.items():
        members, wanted = set(models[name][dataset].get("members", ())), set(networks) - {judged}
        if members != wanted:
            raise ConfigError(
                f"flow.ensembles.{judged}: {name!r} consists of {sorted(members)}; give it members: {sorted(wanted)}, "
                "all networks but the one that it is judged on."
            )
