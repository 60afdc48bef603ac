"""Examples of equal size: what Q4 and Q5 compare, so that the size of an example decides none of them.

JSMA's examples for one network can change twice as many features as those for another, and D grows with every feature, whoever
chose it (Q1's controls). Where two sets of examples are compared, the longer example of each image is therefore cut to as many
changed features as the shorter one has. JSMA makes this possible without a new search: its iterates are recorded, and iterate
i is what a budget of i pairs would have given.

A cut example no longer fools the network that it was made for. A comparison of two finished examples of one size would need
the shorter one to go on beyond its success, and so to be another attack. Cutting shortens whichever side is longer and favours
the other; which side that was is told by the rows at native size, which stand beside under the same name.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from infoadv.numerics.sizes import equal_to
from infoadv.report import flow

#: Sets into which examples that cannot be paired by image are divided by their size, at most, and the fewest in one.
STRATA, FEWEST = 5, 10


def equal(read: flow.Flow, network: flow.Network, estimator: str, source: str, beside: str) -> flow.Group:
    """Return JSMA's examples made on ``source`` that fool it, in ``network``, cut to the size of those made on ``beside``."""
    native = network.select(estimator, read.jsma, source=source).made
    cut = network.select(estimator, read.jsma, equal_to(beside), source)
    return native.where(~native.table["index"].isin(cut.images)).joined(cut.made)


def of_one_size(one: flow.Group, other: flow.Group) -> tuple[flow.Group, flow.Group]:
    """Return the examples of the images that both groups have with equally many changed features."""
    sizes = [group.table.set_index("index")["features"] for group in (one, other)]
    both = pd.concat(sizes, axis=1, join="inner", keys=["one", "other"])
    images = both.index[both["one"] == both["other"]]
    return one.of(images), other.of(images)


def pair(
    read: flow.Flow, network: flow.Network, estimator: str, first: str, second: str, *, native: bool = False
) -> tuple[flow.Group, flow.Group]:
    """Return JSMA's examples made on two networks, in ``network``: of one size image by image, or as they are."""
    if native:
        return tuple(network.select(estimator, read.jsma, source=name).made for name in (first, second))  # type: ignore[return-value]
    return of_one_size(equal(read, network, estimator, first, second), equal(read, network, estimator, second, first))


def strata(sizes: np.ndarray) -> np.ndarray:
    """Return which of up to ``STRATA`` sets of similar size each example (n,) is in; equal sizes are in one set.

    >>> strata(np.repeat([8, 2, 4], 10)).tolist() == [2] * 10 + [0] * 10 + [1] * 10
    True
    """
    from scipy.stats import rankdata

    count = max(1, min(STRATA, len(sizes) // FEWEST))
    if len(sizes) == 0:
        return np.empty(0, dtype=int)
    return ((rankdata(sizes, method="min") - 1) * count // len(sizes)).astype(int)


def adjusted(values: np.ndarray, sizes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return values (n,) less what a straight line through each stratum (``cells``) says of their size (n,); NaN stays NaN.

    Five strata leave about a tenth of a difference in size (Cochran 1968), which a few hundred images show. The line is fitted
    to all examples of a stratum, whichever side they are on: what size and side share is given to size, so that a difference
    between the sides is a lower bound of it.

    >>> adjusted(np.array([1.0, 2.0, 3.0, 9.0]), np.array([2.0, 4.0, 6.0, 8.0]), np.array([0, 0, 0, 1])).tolist()
    [2.0, 2.0, 2.0, 9.0]
    """
    result = np.array(values, dtype=np.float64)
    for stratum in np.unique(cells):
        rows = (cells == stratum) & ~np.isnan(result)
        if rows.any():
            apart = sizes[rows] - sizes[rows].mean()
            squares = float(apart @ apart)
            result[rows] -= apart * (float(apart @ result[rows]) / squares if squares > 0 else 0.0)
    return result
