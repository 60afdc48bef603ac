"""Q1, JSMA shifts the flow away from benign inputs.

Over its successes, paired by image: D along the iterates, averaged over them, less D of as many random features at the same
steps; and D of the example less D of noise that sets as many features. That D grows along the iterates is no evidence, since
it grows along any path: Spearman's correlation of a random walk of ten steps in 17 layers is 0.94. It stands beside and
decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims.controls import against_noise
from infoadv.report.claims.outcomes import CONTROL, DECIDING, Comparison, Measure, Outcome, rates, rows_of


def rows(read: flow.Flow, specification: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Q1."""
    yield from rows_of(_comparisons(read), read)


def _comparisons(read: flow.Flow) -> Iterator[Comparison]:
    main, jsma = read.main, read.jsma

    def paths(estimator: str, condition: str) -> dict[int, flow.Group]:
        return flow.iterations(main, estimator, jsma, main.select(estimator, jsma).won.images, condition)

    both = {name: [paths(name, "iterate"), paths(name, "noise_iterate")] for name in read.estimators}

    def along(reduce: Callable[[flow.Group, str], pd.Series], *, beside: bool) -> Measure:
        def measure(estimator: str, profile: str) -> Outcome:
            whole = main.select(estimator, jsma)
            values = []
            for image, path in both[estimator][0].items():
                one = reduce(path, profile)
                if beside:
                    # Steps that both have.
                    one = one - reduce(both[estimator][1][image], profile)
                values.append(one.mean())
            found = statistics.paired(np.array(values), np.zeros(len(values)), read.settings)
            reason = "" if found.n or not values else "no iterates were measured"
            return Outcome(found, "Wilcoxon", rates(whole), left_out=len(whole) - found.n, reason=reason)

        return measure

    features, prefixes = "noise, as many features", "as many random features, same steps"
    yield Comparison("Q1", DECIDING, "D of JSMA's iterates", prefixes, main.name, along(_path, beside=True))
    yield Comparison("Q1", DECIDING, "D of JSMA", features, main.name, against_noise(read, main, jsma))
    monotony = "mean Spearman correlation of progress and D"
    yield Comparison("Q1", CONTROL, monotony, "0", main.name, along(_monotony, beside=False))
    yield Comparison("Q1", CONTROL, monotony, prefixes, main.name, along(_monotony, beside=True))
    untrained = read.role("untrained")
    if untrained is not None:
        measure = against_noise(read, untrained, jsma)
        yield Comparison("Q1", CONTROL, "D of JSMA", f"{features}; untrained network", untrained.name, measure)


def _steps_of(path: flow.Group) -> pd.DataFrame:
    """Return the iterates of a path without its ends, which every input has."""
    return path.table[path.table["step"] > 0].set_index("step")


def _path(path: flow.Group, profile: str) -> pd.Series:
    """Return D of each iterate by its step."""
    return _steps_of(path)[f"d_{profile}"]


def _monotony(path: flow.Group, profile: str) -> pd.Series:
    """Return Spearman's correlation of progress and D over the iterates, one value; NaN with fewer than three."""
    from scipy.stats import rankdata

    steps = _steps_of(path).dropna(subset=f"d_{profile}")
    progress, deviation = (steps[name].to_numpy(dtype=float) for name in ("progress", f"d_{profile}"))
    if len(np.unique(progress)) < 3 or len(np.unique(deviation)) < 2:
        return pd.Series([float("nan")])
    return pd.Series([float(np.corrcoef(rankdata(progress), rankdata(deviation))[0, 1])])
