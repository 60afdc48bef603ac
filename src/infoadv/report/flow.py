"""Reads the flow artefacts that tables and figures share, and reduces profiles to numbers and curves.

IIP, OIP and IOC, and with them the overall difference D, are a reconstruction: the paper that names them does not define
them. An example whose attack did nothing (L2 of exactly 0) has a D of exactly 0. It is in no curve and in no test but those that
say so; its share is told.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from infoadv import artifacts
from infoadv.execution.errors import InfoadvError
from infoadv.report import statistics

#: The profiles of an input, with their names and units.
PROFILES = ("iip", "oip", "ioc")
NAMES = {"iip": "IIP", "oip": "OIP", "ioc": "IOC"}
UNITS = {"iip": "bits", "oip": "bits", "ioc": "correlation"}

#: How to read the control estimator beside the copula.
BINS = (
    "The quantile estimator reads lower than the copula, since five bins lose information (a true 0.32 bit reads 0.25, and "
    "0.10 at 4 x 4 positions): only sign and order of its values count."
)

_INPUT = ("estimator", "source", "attack", "condition", "index", "step")
_ABOUT = ("label", "target", "prediction", "success", "crafted", "l2", "features", "progress")
_VALUES = (*PROFILES, "dead", "v_true", "v_adversarial")
#: A spread below this is rounding.
STILL = 1e-12
#: Share of the variance over layers that the Gaussian process may call noise: more, and it would ignore the layers.
_NOISE = 0.05


@dataclass(frozen=True)
class Group:
    """Some inputs of one network under one estimator.

    ``table`` has one row per input, with D as ``d_iip``, ``d_oip`` and ``d_ioc`` and the flags ``moved`` (the image
    differs from the clean one), ``counted`` (the network classifies the clean image correctly) and ``won`` (moved,
    counted, and taken for another class); ``values`` maps ``iip``, ``oip``, ``ioc``, ``dead``, ``v_true`` and
    ``v_adversarial`` to arrays (n, K), one column a layer.
    """

    table: pd.DataFrame
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.table)

    def where(self, chosen: Any) -> Group:
        """Return the inputs for which ``chosen`` (n,) bool holds."""
        mask = np.asarray(chosen, dtype=bool)
        return Group(self.table[mask].reset_index(drop=True), {name: v[mask] for name, v in self.values.items()})

    def of(self, images: Any) -> Group:
        """Return the inputs made from these images, by index in the test part."""
        return self.where(self.table["index"].isin(list(images)))

    def joined(self, other: Group) -> Group:
        """Return the inputs of both."""
        table = pd.concat([self.table, other.table], ignore_index=True)
        return Group(table, {name: np.concatenate([v, other.values[name]]) for name, v in self.values.items()})

    @property
    def moved(self) -> Group:
        return self.where(self.table["moved"])

    @property
    def won(self) -> Group:
        return self.where(self.table["won"])

    @property
    def made(self) -> Group:
        """The inputs that fool the network they were made on and differ from the clean image."""
        return self.where(self.table["crafted"] & self.table["moved"])

    @property
    def images(self) -> list[int]:
        return [int(index) for index in self.table["index"]]

    @property
    def rate(self) -> float:
        """The share of the inputs that are taken for another class; NaN without inputs."""
        return float(self.table["success"].mean()) if len(self) else float("nan")

    @property
    def idle(self) -> float:
        """The share of the inputs on which the attack did nothing; NaN without inputs."""
        return float(1 - self.table["moved"].mean()) if len(self) else float("nan")

    def deviation(self, profile: str) -> pd.Series:
        """Return D of a profile by image."""
        return self.table.set_index("index")[f"d_{profile}"]


@dataclass(frozen=True)
class Network:
    """What one inference network's artefact holds; ``groups`` has its inputs by estimator.

    ``trained`` is false for the control with random weights, whose predictions mean nothing: there all clean inputs
    count, and an example counts as won if it fools the network that it was made on. ``features`` is the number of
    features of an input, NaN where the artefact does not tell it.
    """

    name: str
    layers: list[str]
    groups: dict[str, Group]
    trained: bool
    features: float

    def clean(self, estimator: str) -> Group:
        """Return the clean inputs that count."""
        group = self.groups[estimator]
        return group.where((group.table["condition"] == "clean") & group.table["counted"])

    def select(self, estimator: str, attack: str, condition: str = "native", source: str | None = None) -> Group:
        """Return the inputs of one attack on ``source`` (default: this network itself) that count."""
        group = self.groups[estimator]
        table = group.table
        wanted = table["source"] == (self.name if source is None else source)
        return group.where(wanted & (table["attack"] == attack) & (table["condition"] == condition) & table["counted"])


@dataclass(frozen=True)
class Flow:
    """The networks by name, the ``flow`` section that says which part each plays, and the settings of intervals."""

    networks: dict[str, Network]
    section: dict[str, Any]
    estimators: list[str]
    settings: statistics.Settings

    @property
    def estimator(self) -> str:
        """The main estimator; the others are controls."""
        return self.estimators[0]

    @property
    def main(self) -> Network:
        """The inference network of the first two questions."""
        return self.networks[self.section["model"]]

    @property
    def attacks(self) -> list[str]:
        """The attacks that are compared with each other."""
        return list(self.section.get("attacks") or [])

    @property
    def jsma(self) -> str:
        return str(self.section["jsma"])

    def role(self, key: str) -> Network | None:
        """Return the network that plays a part (``trimmed``, ``untrained``, ``distilled``), None without one."""
        named = self.section.get(key)
        name = named.get("model") if isinstance(named, Mapping) else named
        return self.networks.get(name) if name else None

    @property
    def transfer(self) -> list[Network]:
        """The networks between which examples are passed on: the main one first; fewer than two are none."""
        found = [self.networks[n] for n in self.section.get("transfer") or [] if n in self.networks]
        return [self.main, *found] if found else []

    def others(self, network: Network) -> list[str]:
        """Return the names of the other networks of the transfer."""
        return [other.name for other in self.transfer if other.name != network.name]

    def ensemble(self, network: Network) -> str | None:
        """Return the ensemble of the other networks, which has not seen this one; None without one."""
        return (self.section.get("ensembles") or {}).get(network.name)

    def of_others(self, network: Network, estimator: str) -> Group:
        """Return JSMA's examples made on the other networks of the transfer that fool their source and moved."""
        names = self.others(network)
        group = network.groups[estimator]
        table = group.table
        chosen = table["source"].isin(names) & (table["attack"] == self.jsma) & (table["condition"] == "native")
        return group.where(chosen & table["counted"]).made


def load(inputs: Sequence[str], specification: Mapping[str, Any]) -> Flow:
    """Read flow artefacts, each told by its header.

    Raises
    ------
    InfoadvError
        The specification has no ``flow`` section, an input is missing, damaged, given twice or of another kind, or the
        network of ``flow.model`` or an estimator of ``flow.estimators`` is in none of them.
    """
    section = dict(specification.get("flow") or {})
    for key in ("model", "jsma"):
        if not section.get(key):
            raise InfoadvError(f"flow.{key}: not configured; information profiles need it.")
    networks: dict[str, Network] = {}
    for path in inputs:
        frame, header = artifacts.load_rows(path, "flow")
        name = header.get("model")
        if not isinstance(name, str):
            raise InfoadvError(f"{path}: its header names no model; remove it and run the flow stage again.")
        if name in networks:
            raise InfoadvError(f"{path}: {name} is given twice; pass each flow artefact once.")
        networks[name] = _network(path, frame, header, trained=name != section.get("untrained"))
    if section["model"] not in networks:
        raise InfoadvError(
            f"flow.model: no flow artefact of {section['model']!r} was given; there are: {', '.join(networks) or 'none'}."
        )
    networks = {name: networks[name] for name in _order(section, list(networks))}
    held = networks[section["model"]].groups
    estimators = list(section.get("estimators") or held)
    for estimator in estimators:
        for network in networks.values():
            if estimator not in network.groups:
                raise InfoadvError(
                    f"flow.estimators: {estimator!r} is not in the flow artefact of {network.name}; "
                    f"it has: {', '.join(network.groups)}."
                )
    return Flow(networks, section, estimators, statistics.Settings.of(specification))


def _order(section: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the networks in the order of the questions they are for, others after them by name."""
    distilled = section.get("distilled") or {}
    roles = [section["model"], distilled.get("model"), section.get("trimmed"), *(section.get("transfer") or [])]
    roles.append(section.get("untrained"))
    known = [name for name in dict.fromkeys(roles) if name in names]
    return [*known, *sorted(set(names) - set(known))]


def _network(path: str, frame: pd.DataFrame, header: Mapping[str, Any], *, trained: bool) -> Network:
    layers = [str(layer) for layer in header["layers"]]
    frame = frame.sort_values([*_INPUT, "layer"], kind="stable").reset_index(drop=True)
    shape = (-1, len(layers))
    if len(frame) % len(layers) or (frame["layer"].to_numpy().reshape(shape) != np.arange(len(layers))).any():
        raise InfoadvError(f"{path}: not every input has all {len(layers)} layers once; run the flow stage again.")
    values = {name: frame[name].to_numpy(dtype=np.float64).reshape(shape) for name in _VALUES}
    table = frame.loc[:: len(layers), [*_INPUT, *_ABOUT]].reset_index(drop=True)
    if table.duplicated(list(_INPUT)).any():
        raise InfoadvError(f"{path}: an input is in it twice; run the flow stage again.")
    table = table.astype({"success": bool, "crafted": bool, "l2": np.float64, "progress": np.float64})
    groups = {
        str(estimator): _measured(Group(table, values).where(table["estimator"] == estimator), trained=trained)
        for estimator in header["estimators"]
    }
    return Network(str(header["model"]), layers, groups, trained, float(header.get("features_count") or "nan"))


def _measured(group: Group, *, trained: bool) -> Group:
    """Return the group with its flags and D, both taken against the clean input of the same image."""
    table = group.table
    clean = np.flatnonzero(table["condition"] == "clean")
    right = clean[~table["success"].to_numpy()[clean]] if trained else clean
    place = pd.Series(clean, index=table["index"].to_numpy()[clean]).reindex(table["index"]).to_numpy()
    known = ~np.isnan(place)
    origin = np.where(known, place, 0).astype(int)
    # A clean image of another class is a control, and no perturbation of anything.
    moved = (table["l2"].to_numpy() > 0) | (table["condition"] == "class").to_numpy()
    counted = np.isin(table["index"], table["index"].to_numpy()[right])
    fools = table["success"] if trained else table["crafted"]
    table = table.assign(moved=moved, counted=counted, won=moved & counted & fools.to_numpy())
    for profile in PROFILES:
        own = group.values[profile]
        spread = spreads(own[right])
        found = deviations(own, own[origin], spread) if len(clean) else np.full(len(own), np.nan)
        # An image that was left as it was differs by nothing, and by rounding where it was measured in another batch.
        table[f"d_{profile}"] = np.where(known, np.where(moved, found, 0.0), np.nan)
    return Group(table, group.values)


def spreads(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation (n - 1) of each column of values (n, K) over its defined values, else NaN."""
    result = np.full(values.shape[1], np.nan)
    for layer, column in enumerate(values.T):
        defined = column[~np.isnan(column)]
        if defined.size > 1:
            result[layer] = defined.std(ddof=1)
    return result


def deviations(values: np.ndarray, reference: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the overall difference D (n,) of profiles (n, K) from reference profiles (n, K), in clean spreads.

    D = sqrt(mean over k of ((values_k - reference_k) / spread_k)^2), a reconstruction. Layers whose ``spread`` (K,) is 0
    or NaN are left out of it, and of a single input the layers where it or its reference is not defined; without any
    layer it is NaN.

    >>> deviations(np.array([[2.0, 5.0, 1.0]]), np.array([[0.0, 1.0, 0.0]]), np.array([1.0, 2.0, 0.0])).tolist()
    [2.0]
    """
    used = spread > STILL
    scaled = (values[:, used] - reference[:, used]) / spread[used]
    defined = ~np.isnan(scaled)
    count = defined.sum(axis=1)
    total = np.where(defined, scaled, 0.0) ** 2
    return np.sqrt(np.where(count > 0, total.sum(axis=1) / np.maximum(count, 1), np.nan))


@dataclass(frozen=True)
class Band:
    """Mean of each layer over n inputs, with its bootstrap interval; arrays (K,)."""

    n: int
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_profile(values: np.ndarray, settings: statistics.Settings) -> Band:
    """Return the mean of profiles (n, K) over inputs; undefined values are left out of their layer."""
    low, high = statistics.bootstrap_means(values, settings)
    return Band(len(values), np.array([statistics.mean(column) for column in values.T]), low, high)


def process(mean: np.ndarray, *, points: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return a Gaussian-process curve through a profile (K,): layer index and value, ``points`` to a layer.

    The kernel is a radial basis function plus white noise, fitted by marginal likelihood from one fixed start, so that
    equal profiles give equal curves. Layers without a value are left out; with fewer than three the profile itself is
    returned. Source: Rasmussen 2004.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    layer = np.flatnonzero(~np.isnan(mean)).astype(float)
    defined = mean[~np.isnan(mean)]
    if len(layer) < 3:
        return layer, defined
    kernel = RBF(2.0, (1.0, float(len(mean)))) + WhiteKernel(_NOISE / 5, (1e-6, _NOISE))
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        # A parameter at its bound is what the bounds are for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(layer[:, None], defined)
    grid = np.linspace(layer[0], layer[-1], points * int(layer[-1] - layer[0]) + 1)
    return grid, model.predict(grid[:, None])


def iterations(
    network: Network, estimator: str, attack: str, images: Sequence[int], condition: str = "iterate"
) -> dict[int, Group]:
    """Return the iterates of each image in the order of the attack: the clean input first, the example last.

    With ``noise_iterate`` they are the prefixes of the random features, at the same steps, and the noise is the last.
    """
    group = network.groups[estimator].of(images)
    table = group.table
    clean = (table["condition"] == "clean").to_numpy()
    own = ((table["source"] == network.name) & (table["attack"] == attack)).to_numpy()
    steps = own & ((table["condition"] == condition) & (table["step"] > 0)).to_numpy()
    ended = set(table.loc[steps & (table["progress"] >= 1).to_numpy(), "index"])
    final = "native" if condition == "iterate" else "noise"
    last = own & ((table["condition"] == final) & ~table["index"].isin(ended)).to_numpy()
    progress = np.where(clean, 0.0, table["progress"])
    deviations = {f"d_{profile}": np.where(clean, 0.0, table[f"d_{profile}"]) for profile in PROFILES}
    chosen = np.flatnonzero(clean | steps | last)
    order = chosen[np.lexsort((progress[chosen], table["index"].to_numpy()[chosen]))]
    ordered = table.assign(progress=progress, **deviations).iloc[order].reset_index(drop=True)
    values = {name: v[order] for name, v in group.values.items()}
    starts = np.flatnonzero(ordered["condition"] == "clean")
    ends = [*starts[1:], len(ordered)]
    return {
        int(ordered["index"][start]): Group(
            ordered[start:end].reset_index(drop=True), {name: v[start:end] for name, v in values.items()}
        )
        for start, end in zip(starts, ends, strict=True)
    }


def paired(one: pd.Series, other: pd.Series) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Pair two series of values by image; return both (n,) and the images, in the order of their indices."""
    both = sorted(set(one.dropna().index) & set(other.dropna().index))
    return one.loc[both].to_numpy(dtype=float), other.loc[both].to_numpy(dtype=float), [int(i) for i in both]


def above_noise(network: Network, estimator: str, group: Group, profile: str) -> pd.Series:
    """Return D of examples less D of noise that changes as many features, one value for each row of ``group``.

    The noise is that of the same source, attack and image; NaN where there is none or it did nothing.
    """
    whole = network.groups[estimator].table
    keys, column = ["source", "attack", "index"], f"d_{profile}"
    noise = whole[(whole["condition"] == "noise") & whole["moved"]].set_index(keys)[column]
    return group.table[column] - noise.reindex(pd.MultiIndex.from_frame(group.table[keys])).to_numpy()
