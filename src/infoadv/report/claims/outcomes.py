"""What a question is answered with: the outcome of a test, a comparison of D, and the row that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from infoadv.report import flow, statistics
from infoadv.report.rendering import number

#: What the questions claim.
STATEMENTS = {
    "Q1": "JSMA shifts the flow away from benign inputs",
    "Q2": "different attacks lead to different flows",
    "Q3": "adaptive JSMA deviates further than regular JSMA on the distilled network",
    "Q4": "the full network's flow is easier to shift than the trimmed one's",
    "Q5a": "examples for a network deviate further in it than those for another",
    "Q5b": "transferable examples deviate further than non-transferable ones",
    "Q5c": "an ensemble's examples transfer better than those of one network",
    "Q5d": "JSMA fails to generate transferable examples for deep_conv",
}

#: The columns of the table.
COLUMNS = (
    "question",
    "statement",
    "role",
    "statistic",
    "control",
    "profile",
    "estimator",
    "network",
    "value",
    "low",
    "high",
    "null",
    "test",
    "p",
    "p_holm",
    "n",
    "left_out",
    "success",
    "features",
    "l2",
    "verdict",
    "reason",
)

#: What a row is there for: the verdict, a comparison with what should show nothing, or other profiles and estimators.
DECIDING, CONTROL, EXTRA = "deciding", "control", "extra"

#: No result.
NONE = statistics.Paired(0, *[float("nan")] * 5)


@dataclass(frozen=True)
class Sizes:
    """Mean number of changed features and mean L2 of each side, as they are written."""

    features: str = ""
    l2: str = ""


@dataclass(frozen=True)
class Outcome:
    """The result of one test; ``reason`` says why there is none."""

    result: statistics.Paired = NONE
    test: str = ""
    success: str = ""
    sizes: Sizes = Sizes()
    left_out: int = 0
    null: float = 0.0
    reason: str = ""

    def checked(self) -> Outcome:
        """Return the outcome without numbers where it rests on too few images."""
        if self.reason or self.result.n >= statistics.MINIMUM:
            return self
        reason = f"{self.result.n} image{'' if self.result.n == 1 else 's'}, {statistics.MINIMUM} are needed"
        return replace(self, result=replace(NONE, n=self.result.n), reason=reason)


#: What is measured, by estimator and profile.
Measure = Callable[[str, str], Outcome]


@dataclass(frozen=True)
class Comparison:
    """A comparison of D: measured for every profile, and for OIP under every estimator."""

    question: str
    role: str
    statistic: str
    control: str
    network: str
    measure: Measure


def record(
    question: str,
    role: str,
    statistic: str,
    control: str,
    outcome: Outcome,
    *,
    profile: str = "",
    estimator: str = "",
    network: str = "",
) -> dict[str, Any]:
    """Return the row of one test, by ``COLUMNS``; its corrected p value and the verdict need all rows."""
    outcome = outcome.checked()
    result = outcome.result
    return {
        "question": question,
        "statement": STATEMENTS[question],
        "role": role,
        "statistic": statistic,
        "control": control,
        "profile": flow.NAMES.get(profile, profile),
        "estimator": estimator,
        "network": network,
        "value": result.difference,
        "low": result.low,
        "high": result.high,
        "null": outcome.null,
        "test": outcome.test,
        "p": result.p,
        "p_holm": float("nan"),
        "n": result.n,
        "left_out": outcome.left_out,
        "success": outcome.success,
        "features": outcome.sizes.features,
        "l2": outcome.sizes.l2,
        "verdict": "",
        "reason": outcome.reason,
    }


def rows_of(comparisons: Iterable[Comparison], read: flow.Flow) -> Iterator[dict[str, Any]]:
    """Yield the rows of comparisons: for every profile, and for OIP under every estimator; OIP under the first decides."""
    wanted = [(read.estimator, profile) for profile in ("oip", "iip", "ioc")]
    wanted += [(estimator, "oip") for estimator in read.estimators[1:]]
    for comparison in comparisons:
        for place, (estimator, profile) in enumerate(wanted):
            yield record(
                comparison.question,
                comparison.role if place == 0 else EXTRA,
                comparison.statistic,
                comparison.control,
                comparison.measure(estimator, profile),
                profile=profile,
                estimator=estimator,
                network=comparison.network,
            )


def rates(*groups: flow.Group) -> str:
    """Return the success rate of each side."""
    return " / ".join(number(group.rate, 2) for group in groups)


def sized(*tables: pd.DataFrame) -> Sizes:
    """Return the sizes of the inputs of each side."""

    def means(column: str, decimals: int) -> str:
        return " / ".join(number(statistics.mean(table[column].to_numpy(dtype=float)), decimals) for table in tables)

    return Sizes(means("features", 0), means("l2", 2))


def whole_table(groups: Iterable[flow.Group]) -> pd.DataFrame:
    """Return the rows of several groups."""
    return pd.concat([group.table for group in groups])


def pooled(groups: Sequence[flow.Group]) -> str:
    """Return the success rate over all inputs of several groups."""
    success = pd.concat([group.table["success"] for group in groups])
    return number(float(success.mean()) if len(success) else float("nan"), 2)


def absent(reason: str) -> Measure:
    """Return the measure of a comparison that cannot be made."""
    return lambda estimator, profile: Outcome(reason=reason)


def missing(read: flow.Flow, key: str) -> str:
    """Return why a network of the section ``flow`` is not there."""
    named = read.section.get(key)
    return f"no flow artefact of flow.{key} was given" if named else f"flow.{key} is not configured"
