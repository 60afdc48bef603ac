"""Ranks attacks by all perceptual metrics at once, image by image, and says which differences are more than chance.

On every image each metric ranks the attacks, 1 for the best; an attack that failed there comes last. An attack's score is the
mean of its ranks over the metrics that it does not optimise itself; the scores are ranked again, and the mean over images of
that rank is the attack's place. Friedman's test asks whether there is any difference, Nemenyi's critical difference which
(Demsar 2006, "Statistical comparisons of classifiers over multiple data sets", section 3.2.2). Images of one network are the
blocks of both; over several networks the blocks are networks, since images of one network are no independent networks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from infoadv.report import judging, statistics
from infoadv.report.columns import Metric
from infoadv.report.rows import Attack, Rows


@dataclass(frozen=True)
class Ranking:
    """Ranks of k attacks on n images of one or more networks.

    ``ranks`` (n, k) are those of the scores, ``by_metric`` (n, k, m) those of every metric; ``home`` (k, m) marks the
    metrics that are left out of an attack's own score. ``networks`` and ``images`` (n,) are codes from 0: networks of a data set
    share images.
    """

    attacks: list[Attack]
    metrics: list[Metric]
    ranks: np.ndarray
    by_metric: np.ndarray
    home: np.ndarray
    networks: np.ndarray
    images: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Return the mean rank (k,), over several networks the mean of theirs; NaN without images."""
        if not len(self.ranks):
            return np.full(len(self.attacks), np.nan)
        return self._of_networks.mean(axis=0)

    @property
    def _of_networks(self) -> np.ndarray:
        return np.stack([self.ranks[self.networks == network].mean(axis=0) for network in np.unique(self.networks)])

    @property
    def count(self) -> int:
        """Return how many networks have images."""
        return len(np.unique(self.networks))

    @property
    def blocks(self) -> np.ndarray:
        """Return the ranks (b, k) that are tested: those of images, over several networks those of the networks' mean ranks."""
        from scipy.stats import rankdata

        return rankdata(self._of_networks, axis=1) if self.count > 1 else self.ranks

    @property
    def critical_difference(self) -> float:
        """Return the difference of mean ranks of blocks that is more than chance at 0.05; NaN for fewer than two of either."""
        from scipy.stats import studentized_range

        n, k = self.blocks.shape
        if n < 2 or k < 2:
            return math.nan
        return float(studentized_range.ppf(1 - statistics.ALPHA, k, np.inf) / math.sqrt(2)) * math.sqrt(
            k * (k + 1) / (6 * n)
        )

    @property
    def p(self) -> float:
        """Return the p value of Friedman's test; NaN for fewer than three attacks or two blocks."""
        from scipy.stats import friedmanchisquare

        blocks = self.blocks
        n, k = blocks.shape
        if n < 2 or k < 3:
            return math.nan
        if (blocks == blocks[:, :1]).all():
            return 1.0
        return float(friedmanchisquare(*blocks.T).pvalue)

    def interval(self, settings: statistics.Settings) -> tuple[np.ndarray, np.ndarray]:
        """Return limits (low, high), each (k,), of the mean ranks; over several networks, networks are resampled as well."""
        return self._resampled(self.ranks, settings)

    def near_best(self, settings: statistics.Settings) -> np.ndarray:
        """Return which attacks (k,) are not told apart from the best one.

        On one network by the critical difference. Over several, where the interval of the difference to the best, over networks
        and images, holds 0.
        """
        mean = self.mean
        if not len(self.ranks):
            return np.zeros(len(self.attacks), dtype=bool)
        best = int(np.argmin(mean))
        if self.count > 1:
            low, _ = self._resampled(self.ranks - self.ranks[:, [best]], settings)
            return np.asarray(low <= 0)
        # Without a test nothing is near.
        return np.asarray(mean - mean[best] < self.critical_difference)

    def _resampled(self, values: np.ndarray, settings: statistics.Settings) -> tuple[np.ndarray, np.ndarray]:
        if self.count > 1:
            return statistics.crossed_bootstrap(values, self.networks, self.images, settings)
        return statistics.bootstrap_means(values, settings)


def by_role(rows: Rows, settings: statistics.Settings) -> dict[str, list[Metric]]:
    """Return the metrics that rank attacks, by role: those that attacks may be tuned on, and the judges that there are."""
    return {
        judging.METRIC: perceptual(rows.metrics, settings.judges),
        judging.JUDGE: judging.present(rows, settings.judges),
    }


def perceptual(metrics: Sequence[Metric], judges: Collection[str]) -> list[Metric]:
    """Return the perceptual metrics that attacks may be tuned on: all but the ``judges``, by column."""
    return [metric for metric in metrics if metric.group == "perceptual" and metric.column not in judges]


def rank(
    rows: Rows,
    targets: Sequence[tuple[str, str]],
    metrics: Sequence[Metric],
    *,
    names: Collection[str] | None = None,
    strict: bool = False,
) -> Ranking:
    """Rank the compared attacks that run on every one of ``targets``, on the common images (``rows.COMMON``).

    Of ``metrics`` one counts where it has values for every attack on every image of all targets. ``names`` chooses among the
    attacks. With ``strict`` metrics that an attack nearly optimises are left out of its score as well.
    """
    from scipy.stats import rankdata

    present = [{attack.name for attack in rows.attacks_on(*target, compared=True)} for target in targets]
    attacks = [attack for attack in rows.attacks if present and all(attack.name in there for there in present)]
    attacks = [attack for attack in attacks if names is None or attack.name in names]
    metrics = list(metrics)
    sign = np.array([-1.0 if metric.better == "higher" else 1.0 for metric in metrics])
    values, home = [], np.zeros((len(attacks), len(metrics)), dtype=bool)
    networks, images = [], []
    for network, target in enumerate(targets):
        common = sorted(rows.common(*target))
        of_attacks = []
        for place, attack in enumerate(attacks):
            own = rows.of(*target, attack.name).set_index("index").loc[common]
            found = own[[metric.column for metric in metrics]].to_numpy(dtype=float) * sign
            # A failure comes last, unless the metric is defined nowhere.
            of_attacks.append(np.where(own["success"].to_numpy()[:, None] | np.isnan(found), found, np.inf))
            left_out = {*attack.optimises, *(attack.nearly if strict else ())}
            home[place] |= [metric.measured in left_out for metric in metrics]
        if attacks:
            values.append(np.stack(of_attacks, axis=1))
            networks += [network] * len(common)
            images += [(target[0], index) for index in common]
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
    places = {image: code for code, image in enumerate(dict.fromkeys(images))}
    codes = np.array([places[image] for image in images], dtype=int)
    return Ranking(attacks, metrics, ranks, by_metric, home, np.array(networks, dtype=int), codes)
