"""Pointwise V-information of a class in the layers of a network (Ethayarajh et al. 2022), by linear probes.

The sound companion of OIP: how many bits about a class a linear reader gets from the pooled features of layer k,
-log2 g_0[c] + log2 g_k[c], with g_k a logistic regression and g_0 the share of the class among the images it was
fitted on. Unlike mutual information it is no constant of a deterministic network (Xu et al. 2020).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

#: Inverse strengths of the L2 penalty that are tried.
PENALTIES = (0.003, 0.03, 0.3)


class LinearProbes:
    """One multinomial logistic regression a layer, on standardised features, its penalty chosen by cross-validation."""

    def __init__(self, features: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> None:
        """Fit to ``features``, K arrays (N, C_k), and ``labels`` (N,); classes without an image get no bits."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.classes = classes
        share = np.bincount(labels, minlength=classes) / len(labels)
        with np.errstate(divide="ignore"):
            self.prior = np.log2(share)
        self.readers = []
        for layer in features:
            # The penalty is chosen by held-out likelihood: a reader that is too sure of itself reads negative bits.
            folds = max(2, min(3, int(np.bincount(labels)[np.unique(labels)].min())))
            regression = LogisticRegression(max_iter=100)
            search = GridSearchCV(regression, {"C": PENALTIES}, scoring="neg_log_loss", cv=folds)
            reader = make_pipeline(StandardScaler(), search)
            with warnings.catch_warnings():
                # Any reader gives a lower bound of what can be read; one stopped early gives a valid one.
                warnings.simplefilter("ignore", ConvergenceWarning)
                reader.fit(layer.astype(np.float64), labels)
            self.readers.append(reader)

    def information(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Return the pointwise V-information in bits of every class, (N, K layers, classes), NaN for unseen classes."""
        bits = np.full((len(features[0]), len(self.readers), self.classes), np.nan)
        for number, (reader, layer) in enumerate(zip(self.readers, features, strict=True)):
            seen = reader.classes_
            bits[:, number, seen] = reader.predict_log_proba(layer.astype(np.float64)) / np.log(2) - self.prior[seen]
        return bits
