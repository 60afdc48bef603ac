"""The handwritten digits that scikit-learn carries: 1,797 real scans of 8 x 8 pixels (UCI optical recognition).

They need no download, so the default configuration uses them. They are brought to a larger size so that perceptual metrics,
which look at windows of 7 to 11 pixels, have something to look at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infoadv.data import Dataset

SCHEMA: dict[str, dict] = {
    "digits": {
        "size": {
            "minimum": 16,
            "maximum": 64,
            "description": "height and width, in pixels, that the 8 x 8 scans are brought to (bicubic)",
        },
        "test": {"minimum": 100, "maximum": 1000, "description": "images held out for testing and attacking"},
        "split_seed": {"minimum": 0, "description": "seed of the split"},
    }
}
TEST_IMAGES = {"digits": "test"}


def digits(root: Path | None, *, size: int = 32, test: int = 450, split_seed: int = 0) -> Dataset:
    """Return the digits as uint8 (N, 1, size, size), split at random into train and test; ``root`` is not used."""
    from skimage.transform import resize
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    scans = scans.reshape(-1, 8, 8) / 16.0
    large = resize(scans, (len(scans), size, size), order=3, mode="constant", anti_aliasing=False)
    images = np.rint(np.clip(large, 0, 1) * 255).astype(np.uint8)[:, None]
    order = np.random.default_rng(split_seed).permutation(len(images))
    train, held_out = order[test:], order[:test]
    names = tuple(str(digit) for digit in range(10))
    return Dataset(images[train], labels[train], images[held_out], labels[held_out], names)
