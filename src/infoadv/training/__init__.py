"""Training of target networks (:mod:`infoadv.training.loop`), its recipes and the options that all of them take.

A recipe is a file here with a literal ``SCHEMA`` and a function of the same name that returns the loss and the logits of a
batch. A literal ``NEEDS`` names the keys ``start`` and ``teacher`` of the model's entry that it cannot do without: the
teacher reaches it as the argument ``teacher``. If the file has a function ``prepare``, the network goes through it first
(:func:`infoadv.training.trimming.prepare`).
"""

from __future__ import annotations

from typing import Any

from infoadv.execution.errors import InfoadvError

#: Options of every recipe, beside those that a recipe declares itself.
COMMON: dict[str, dict[str, Any]] = {
    "epochs": {
        "type": "integer",
        "minimum": 0,
        "default": 10,
        "description": "passes over the training images; 0 leaves the network as it is initialised, as a control",
    },
    "batch_size": {"type": "integer", "minimum": 2, "default": 128, "description": "images a step"},
    "learning_rate": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 0.1,
        "description": "peak of the schedule: up in the first fifth of training, then down to 0, both linearly",
    },
    "weight_decay": {
        "type": "number",
        "minimum": 0,
        "default": 0.0005,
        "description": "of SGD with Nesterov momentum 0.9",
    },
    "label_smoothing": {
        "type": "number",
        "minimum": 0,
        "maximum": 0.5,
        "default": 0.0,
        "description": "of the cross-entropy",
    },
    "augment": {
        "type": "array",
        "items": {"enum": ["flip", "crop"]},
        "uniqueItems": True,
        "default": [],
        "description": "flip: mirrored half of the time; crop: shifted by up to an eighth of the size",
    },
    "initialization": {
        "enum": ["default", "lsuv"],
        "default": "default",
        "description": "lsuv: orthonormal weights, each layer scaled to unit output variance (Mishkin and Matas 2016)",
    },
    "small_share": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.0,
        "description": "share of the epochs, the first ones, on images of three quarters of the size: "
        "half the work, for networks that take any size",
    },
    "precision": {
        "enum": ["float32", "bfloat16"],
        "default": "float32",
        "description": "of the forward and backward pass; bfloat16 is faster on GPUs and on processors that have instructions "
        "for it (AVX-512 BF16, AMX), and ten times slower on those that have not",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "added to the seed of the run: networks that share it start from the same weights",
    },
    "pgd_epsilon": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "default": 0.1,
        "description": "L-infinity radius at which the PGD accuracy is measured (20 steps), and the APGD accuracy",
    },
    "apgd_steps": {
        "type": "integer",
        "minimum": 0,
        "default": 25,
        "description": "steps of Auto-PGD (Croce and Hein 2020) with each of its two losses, beside PGD; 0 for none",
    },
    "apgd_images": {
        "type": "integer",
        "minimum": 1,
        "default": 1000,
        "description": "test images on which the APGD accuracy is measured (all where there are fewer)",
    },
}

#: Those that say how a network is measured, and hold for one as well that is not trained here.
MEASURED = ("pgd_epsilon", "apgd_steps", "apgd_images")


class TrainingError(InfoadvError):
    """Training that ended in a network nobody should attack."""
