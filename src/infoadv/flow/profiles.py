"""Information profiles of inputs inside a network: a reconstruction.

"An empirical study on the dynamic properties of adversarial inputs" names and draws source and target matrices {S, T} and
the profiles IIP, OIP and IOC; the part of its text that could be found writes none of them down. Here a spatial position
is a sample, and for layer k with maps F_i

- S_ij = I(F_i ; input channel j), the input average-pooled to the layer's size;
- T_ij = I(F_i ; M_j), the layer average-pooled to the size of M, the class-evidence maps of the last spatial layer;
- s_i = mean_j S_ij and t_i = mean_j T_ij; IIP_k = mean_i s_i, OIP_k = mean_i t_i, IOC_k = correlation over i of s and t.

Means and never sums: layers and networks of different width are compared. I is the Gaussian-copula estimate of
:mod:`infoadv.information.spatial`, corrected for the bias of small and smooth maps by toroidal shifts, and for the few
ranks of the smallest maps by enlarging their correlation; quantile bins are the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from infoadv.flow.recording import class_evidence, last_layer, record
from infoadv.information import spatial
from infoadv.information.spatial import Ranked

#: Images that go through the network together.
_BATCH = 25


@dataclass(frozen=True)
class Profiles:
    """What a network does with N inputs, layer by layer.

    Attributes
    ----------
    layers
        Names of the K layers, in the order in which they are computed.
    iip, oip
        (N, K) float32, mean source and target information in bits; 0 is no dependence, small negative values are noise.
    ioc
        (N, K) float32 in [-1, 1], correlation over the maps of source and target information; NaN where either is constant.
    dead
        (N, K) float32, share of the maps that are constant; they count as 0 bits.
    pooled
        Per layer (N, C_k) float32, the mean of each map: the features of the linear probes.
    logits
        (N, classes) float32.
    """

    layers: tuple[str, ...]
    iip: Tensor
    oip: Tensor
    ioc: Tensor
    dead: Tensor
    pooled: tuple[Tensor, ...]
    logits: Tensor


def matrices(
    maps: Tensor, images: Tensor, evidence: Tensor, *, estimator: str = "copula", shifts: int = 24
) -> tuple[Tensor, Tensor]:
    """Return the source and target matrices of one layer, S (N, I, C) and T (N, I, J) in bits.

    Parameters
    ----------
    maps
        (N, I, h, w), the layer's maps.
    images
        (N, C, H, W), the input.
    evidence
        (N, J, h', w'), the maps M at the output.
    estimator
        "copula" or "quantile" (:mod:`infoadv.information.spatial`).
    shifts
        Toroidal shifts whose mean is taken off.
    """
    layer = _Layer.of(maps, evidence)
    return layer.matrices(Ranked(_pooled(images, maps)), Ranked(evidence), estimator, shifts)


def _pooled(values: Tensor, like: Tensor) -> Tensor:
    """Return values (N, C, H, W) average-pooled to the size of the maps of ``like``."""
    height, width = like.shape[2:]
    return adaptive_avg_pool2d(values, (height, width))


@dataclass(frozen=True)
class _Layer:
    """The maps of one layer, and the same average-pooled to the size of the evidence."""

    maps: Ranked
    pooled: Ranked

    @classmethod
    def of(cls, maps: Tensor, evidence: Tensor) -> _Layer:
        return cls(Ranked(maps), Ranked(_pooled(maps, evidence)))

    def matrices(self, inputs: Ranked, evidence: Ranked, estimator: str, shifts: int) -> tuple[Tensor, Tensor]:
        """Return what :func:`matrices` does; ``inputs`` are average-pooled to the layer's size."""
        estimate = spatial.ESTIMATORS[estimator]
        source = estimate(self.maps, inputs, spatial.shifts(*self.maps.maps.shape[2:], shifts))
        return source, estimate(self.pooled, evidence, spatial.shifts(*evidence.maps.shape[2:], shifts))


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of first and second (N, I) over I, (N,); NaN where one of them is constant."""
    first = first.double() - first.double().mean(1, keepdim=True)
    second = second.double() - second.double().mean(1, keepdim=True)
    size = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(size > 0, (first * second).sum(1) / size, torch.nan).float()


def _evidence(model: nn.Module, images: Tensor, layer: str, kind: str) -> Tensor:
    if kind == "class":
        return class_evidence(model, images, layer)
    maps, _ = record(model, images, [layer.partition(":")[0]])
    return maps[layer]


def profile(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Sequence[str] | None = None,
    estimators: Sequence[str] = ("copula",),
    evidence: str = "class",
    shifts: int = 24,
) -> dict[str, Profiles]:
    """Return the profiles of images (N, C, H, W) in [0, 1] inside ``model``, by estimator.

    Parameters
    ----------
    model
        In eval mode; any network of logits. It is run once for the maps and once more for the class evidence, with one
        backward pass a class.
    layers
        Names of layers, or None for all ReLU outputs that are maps (:func:`infoadv.flow.recording.record`).
    evidence
        M: "class" for class-evidence maps, "maps" for the last layer's maps themselves; of the last layer of maps that the
        network computes, whether it is among ``layers`` or not.
    shifts
        Toroidal shifts of the bias correction (:func:`infoadv.information.spatial.shifts`).

    Raises
    ------
    FlowError
        A layer that is not there or is no map.
    """
    parts: dict[str, list[Profiles]] = {name: [] for name in estimators}
    last = last_layer(model, images[:1], layers)
    for batch in images.split(_BATCH):
        maps, logits = record(model, batch, layers)
        output = Ranked(_evidence(model, batch, last, evidence))
        pooled = tuple(layer.mean((2, 3)) for layer in maps.values())
        rows: dict[str, list[Tensor]] = {name: [] for name in estimators}
        inputs = {layer.shape[2:]: Ranked(_pooled(batch, layer)) for layer in maps.values()}
        lifeless: list[Tensor] = []
        # Estimators inside: the ranks of a layer serve them all, and are gone with it.
        for values in maps.values():
            layer = _Layer.of(values, output.maps)
            lifeless.append(layer.maps.dead.float().mean(1))
            for name in estimators:
                source, target = layer.matrices(inputs[values.shape[2:]], output, name, shifts)
                inward, outward = source.mean(2), target.mean(2)
                rows[name].append(torch.stack([inward.mean(1), outward.mean(1), correlation(inward, outward)]))
        for name in estimators:
            iip, oip, ioc = torch.stack(rows[name], 2)
            parts[name].append(Profiles(tuple(maps), iip, oip, ioc, torch.stack(lifeless, 1), pooled, logits))
    return {name: _joined(several) for name, several in parts.items()}


def _joined(parts: Sequence[Profiles]) -> Profiles:
    return Profiles(
        layers=parts[0].layers,
        iip=torch.cat([part.iip for part in parts]),
        oip=torch.cat([part.oip for part in parts]),
        ioc=torch.cat([part.ioc for part in parts]),
        dead=torch.cat([part.dead for part in parts]),
        pooled=tuple(torch.cat(layer) for layer in zip(*(part.pooled for part in parts), strict=True)),
        logits=torch.cat([part.logits for part in parts]),
    )
