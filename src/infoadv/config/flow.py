"""The study of information profiles: which attacks it needs on which networks, and which inputs it follows in each.

Derived from the section ``flow`` of the configuration, completed and checked by :mod:`infoadv.config`. No torch here: the
Snakefile asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: What is measured of an attack on the network it was run on, by its role in the study.
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
class Study:
    """The section ``flow``, completed: ``values`` holds its keys."""

    values: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        return self.values["dataset"]

    def parts(self) -> dict[str, list[Part]]:
        """Return what is followed in each network, by its name."""
        values = self.values
        model, jsma, attacks = values["model"], values["jsma"], values["attacks"]
        transfer, ensemble = values.get("transfer", []), values.get("ensemble")
        result = {model: [Part(model, attack, _OF_ATTACKS) for attack in attacks] + [Part(model, jsma, _OF_JSMA)]}
        if "trimmed" in values:
            trimmed = values["trimmed"]
            result[model].append(Part(trimmed, jsma, _BESIDE_NOISE))
            result[trimmed] = [Part(trimmed, jsma, _BESIDE_NOISE), Part(model, jsma, _BESIDE_NOISE)]
        if "distilled" in values:
            distilled = values["distilled"]
            result[distilled["model"]] = [
                Part(distilled["model"], distilled[kind], _BESIDE_NOISE) for kind in ("regular", "adaptive")
            ]
        networks = [model, *transfer]
        for network in networks if transfer else ():
            own = [] if network == model else [Part(network, jsma, _BESIDE_NOISE)]
            others = [other for other in (*networks, ensemble) if other not in (network, None)]
            result.setdefault(network, []).extend([*own, *(Part(other, jsma, _BESIDE_NOISE) for other in others)])
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
