"""Ranks attacks by all perceptual metrics at once, image by image, and says which differences are more than chance.

On every image each metric ranks the attacks, 1 for the best. An attack's score is the mean of its ranks over the metrics
that it does not optimise itself; the scores are ranked again, and the mean over images of that rank is the attack's place.
Friedman's test asks whether there is any difference, Nemenyi's critical difference which (Demsar 2006, "Statistical
comparisons of classifiers over multiple data sets", section 3.2.2).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from infoadv.report import statistics
from infoadv.report.columns import Metric
from infoadv.report.rows import Attack, Rows


@dataclass(frozen=True)
class Ranking:
    """Ranks of k attacks on n images.

    ``ranks`` (n, k) are those of the scores, ``by_metric`` (n, k, m) those of every metric; ``home`` (k, m) marks the
    metrics that are left out of an attack's own score.
    """

    attacks: list[Attack]
    metrics: list[Metric]
    ranks: np.ndarray
    by_metric: np.ndarray
    home: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Return the mean rank (k,); NaN without images."""
        return self.ranks.mean(axis=0) if len(self.ranks) else np.full(len(self.attacks), np.nan)

    @property
    def critical_difference(self) -> float:
        """Return the difference of mean ranks that is more than chance at 0.05; NaN for fewer than two attacks or images."""
        from scipy.stats import studentized_range

        n, k = self.ranks.shape
        if n < 2 or k < 2:
            return math.nan
        return float(studentized_range.ppf(1 - statistics.ALPHA, k, np.inf) / math.sqrt(2)) * math.sqrt(
            k * (k + 1) / (6 * n)
        )

    @property
    def p(self) -> float:
        """Return the p value of Friedman's test; NaN for fewer than three attacks or two images."""
        from scipy.stats import friedmanchisquare

        n, k = self.ranks.shape
        if n < 2 or k < 3:
            return math.nan
        if (self.ranks == self.ranks[:, :1]).all():
            return 1.0
        return float(friedmanchisquare(*self.ranks.T).pvalue)


def perceptual(metrics: Sequence[Metric], judges: Collection[str] = statistics.JUDGES) -> list[Metric]:
    """Return the perceptual metrics that attacks may be tuned on: all but the ``judges``, by column."""
    return [metric for metric in metrics if metric.group == "perceptual" and metric.column not in judges]


def rank(rows: Rows, targets: Sequence[tuple[str, str]], metrics: Sequence[Metric] | None = None) -> Ranking:
    """Rank the compared attacks that run on every one of ``targets``, on the images on which all compared attacks succeed.

    Of ``metrics``, by default those of :func:`perceptual`, one counts where it has values for every attack on every image of
    all targets.
    """
    from scipy.stats import rankdata

    present = [{attack.name for attack in rows.attacks_on(*target, compared=True)} for target in targets]
    attacks = [attack for attack in rows.attacks if present and all(attack.name in names for names in present)]
    metrics = list(perceptual(rows.metrics) if metrics is None else metrics)
    sign = np.array([-1.0 if metric.better == "higher" else 1.0 for metric in metrics])
    values, home = [], np.zeros((len(attacks), len(metrics)), dtype=bool)
    for dataset, model in targets:
        images = sorted(rows.common(dataset, model))
        of_attacks = []
        for place, attack in enumerate(attacks):
            own = rows.of(dataset, model, attack.name).set_index("index")
            of_attacks.append(own.loc[images, [metric.column for metric in metrics]].to_numpy(dtype=float) * sign)
            home[place] |= [metric.measured in attack.optimises for metric in metrics]
        if attacks:
            values.append(np.stack(of_attacks, axis=1))
    everything = np.concatenate(values) if values else np.zeros((0, 0, len(metrics)))
    defined = np.flatnonzero(~np.isnan(everything).any(axis=(0, 1)))
    everything, home = everything[:, :, defined], home[:, defined]
    metrics = [metrics[column] for column in defined]
    # An attack whose every metric is its own has no score.
    scored = np.flatnonzero(~home.all(axis=1))
    attacks = [attacks[place] for place in scored]
    everything, home = everything[:, scored], home[scored]
    by_metric = rankdata(everything, axis=1) if everything.size else everything
    scores = np.ma.masked_array(by_metric, np.broadcast_to(home, by_metric.shape)).mean(axis=2)
    ranks = rankdata(scores.data, axis=1) if scores.size else np.zeros((0, len(attacks)))
    return Ranking(attacks, metrics, ranks, by_metric, home)
