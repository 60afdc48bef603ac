"""Cross-validated classifiers of profiles: how well they tell attacks, or adversarial inputs from others.

Logistic regression on standardised features in five folds; all rows of an image fall into one fold, so nothing of an
image that is judged was seen in training. Undefined features take the median of the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infoadv.report import statistics
from infoadv.report.flow import Group

FOLDS = 5


def vector(group: Group, profiles: Sequence[str]) -> np.ndarray:
    """Return the profiles of a group side by side, (n, K * number of profiles)."""
    return np.hstack([group.values[profile] for profile in profiles])


def size(group: Group) -> np.ndarray:
    """Return the perturbations' L2 and its square (n, 2): the square lets one size between others be told as well."""
    l2 = group.table["l2"].to_numpy(dtype=float)
    return np.stack([l2, l2**2], axis=1)


def _folds(images: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each row: images are dealt out in a seeded order."""
    distinct, place = np.unique(images, return_inverse=True)
    order = np.random.default_rng([seed, len(distinct)]).permutation(len(distinct))
    return (np.argsort(order) % FOLDS)[place]


def _fitted(features: np.ndarray, classes: np.ndarray):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    ).fit(features, classes)


def predicted(features: np.ndarray, classes: np.ndarray, images: np.ndarray, seed: int) -> np.ndarray:
    """Return the class (n,) that a model of the other folds gives each row of features (n, p)."""
    fold = _folds(images, seed)
    result = np.empty_like(classes)
    for held in range(FOLDS):
        test = fold == held
        result[test] = _fitted(features[~test], classes[~test]).predict(features[test])
    return result


@dataclass(frozen=True)
class Accuracy:
    """Balanced accuracy over the classes, its bootstrap interval over images, and the accuracy of each image (n,)."""

    value: float
    low: float
    high: float
    images: np.ndarray


def accuracy(features: np.ndarray, classes: np.ndarray, images: np.ndarray, settings: statistics.Settings) -> Accuracy:
    """Return how well features (n, p) tell classes (n,); the images' own accuracies are in the order of their index.

    A class is given once per image at most. An image's accuracy is the share of its rows that are recognised.
    """
    right = predicted(features, classes, images, settings.seed) == classes
    distinct, place = np.unique(images, return_inverse=True)
    names, column = np.unique(classes, return_inverse=True)
    hits, present = np.zeros((2, len(distinct), len(names)))
    present[place, column] = 1
    hits[place, column] = right
    drawn = statistics.multiplicities(len(distinct), settings)
    recalls = (drawn @ hits) / np.maximum(drawn @ present, 1)
    low, high = statistics.percentiles(recalls.mean(axis=1), settings.confidence)
    value = float((hits.sum(axis=0) / present.sum(axis=0)).mean())
    return Accuracy(value, low, high, hits.sum(axis=1) / present.sum(axis=1))


@dataclass(frozen=True)
class Separation:
    """Area under the ROC curve over n images of each kind, with its bootstrap interval over images."""

    n: int
    auroc: float
    low: float
    high: float


def separation(positive: np.ndarray, negative: np.ndarray, settings: statistics.Settings) -> Separation:
    """Return how well positives are told from negatives, features (n, p) each, row i of both from the same image i.

    A positive is compared with the negatives of the other images. With fewer than ``statistics.MINIMUM`` images the values
    are NaN.
    """
    n = len(positive)
    if n < statistics.MINIMUM:
        return Separation(n, *[float("nan")] * 3)
    features, images = np.vstack([positive, negative]), np.tile(np.arange(n), 2)
    classes = np.repeat([1, 0], n)
    fold = _folds(images, settings.seed)
    score = np.empty(2 * n)
    for held in range(FOLDS):
        test = fold == held
        score[test] = _fitted(features[~test], classes[~test]).decision_function(features[test])
    above = score[:n, None] - score[None, n:]
    wins = (above > 0) + 0.5 * (above == 0)
    # A resample holds an image several times, and with it the comparison of the image with itself too often.
    np.fill_diagonal(wins, 0.0)
    drawn = statistics.multiplicities(n, settings)
    pairs = n**2 - (drawn**2).sum(axis=1)
    areas = ((drawn @ wins) * drawn).sum(axis=1) / np.maximum(pairs, 1)
    low, high = statistics.percentiles(areas, settings.confidence)
    return Separation(n, float(wins.sum() / (n * (n - 1))), low, high)
