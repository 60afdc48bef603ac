"""Whether the findings on information profiles hold: each as numbers with intervals, tests and a verdict.

The rules were written before the result that they decide was seen; that of each question stands in its own file. D is the
overall difference of a profile from that of the clean image, in units of the clean inputs' spread; profiles and D are a
reconstruction. Questions are decided by OIP under the main estimator, because an attack moves IIP trivially by changing the
input. An example that left the image as it was has no place in any test but that of Q3, where the paper counts failures.

A **test holds** if the bootstrap interval of its value lies above its null value (0; chance for an accuracy; a share that is
named) and its p value, corrected after Holm over all deciding tests of the table, is below 0.05. A claim is **supported** if all
its deciding tests hold, **not testable** if one of them has fewer than 10 images on a side or its networks are not there,
and otherwise **not supported**.

**Sizes.** A larger perturbation moves a flow further, whoever made it. What is compared has one size wherever the question is
not about size: in Q2 one L2, image by image; in Q4 and Q5 one number of changed features, image by image or within strata. The
same comparison at native size stands beside as a control.

**Networks.** No question on several networks is decided by a mean that one of them can carry: Q5a asks for its test in every
network, Q5b compares within pairs of networks, and Q5c, which averages, shows each network beside.

Paired tests are Wilcoxon's, unpaired ones Mann and Whitney's, transfer rates are compared by McNemar's exact test, a share with
a number by the exact binomial test. All rows that are not deciding (other profiles, other estimators, controls) decide nothing;
their p values are corrected as a family of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.claims import attacks, distillation, ensemble, isolation, shift, transfer, trimming
from infoadv.report.claims.outcomes import COLUMNS, CONTROL, DECIDING, EXTRA, STATEMENTS

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable"

_QUESTIONS = (shift, attacks, distillation, trimming, transfer, ensemble, isolation)


def tested(read: flow.Flow, specification: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row for each test, with the columns ``COLUMNS``, by question and role; deciding ones with their verdict."""
    records = [record for question in _QUESTIONS for record in question.rows(read, specification)]
    order = {question: place for place, question in enumerate(STATEMENTS)}
    roles = {role: place for place, role in enumerate((DECIDING, CONTROL, EXTRA))}
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    frame = frame.sort_values(
        ["question", "role"], key=lambda column: column.map(order | roles), kind="stable", ignore_index=True
    )
    deciding = (frame["role"] == DECIDING).to_numpy()
    p = frame["p"].to_numpy(dtype=float)
    frame["p_holm"] = np.where(
        deciding, statistics.holm(np.where(deciding, p, np.nan)), statistics.holm(np.where(deciding, np.nan, p))
    )
    for question in STATEMENTS:
        chosen = deciding & (frame["question"] == question).to_numpy()
        frame.loc[chosen, "verdict"] = verdict(frame[chosen])
    return frame


def verdict(tests: pd.DataFrame) -> str:
    """Return the verdict on a claim from its deciding tests, by the rule of this package."""
    if tests.empty or tests["p_holm"].isna().any():
        return NOT_TESTABLE
    holds = (tests["low"] > tests["null"]) & (tests["p_holm"] < statistics.ALPHA)
    return SUPPORTED if holds.all() else NOT_SUPPORTED
