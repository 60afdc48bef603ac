"""Hide the perturbation from an observer with opponent colours and contrast sensitivity, not from one of pixels."""

from __future__ import annotations

from torch import Tensor, nn

from infoadv.attacks.contract import AttackResult
from infoadv.attacks.decoupled import Schedule, decoupled
from infoadv.information.observer import Observer
from infoadv.metrics.viewing import factor

SCHEMA: dict[str, dict] = {
    "observer": {
        "luminance_noise": {"exclusiveMinimum": 0, "description": "the observer's noise s_n in luminance"},
        "chrominance_noise": {
            "exclusiveMinimum": 0,
            "description": "the same in each of two chrominance axes; not used for gray images",
        },
        "sensitivity": {
            "minimum": 0,
            "maximum": 1,
            "description": "power of the contrast sensitivity to luminance; 0 for equal sensitivity to all frequencies",
        },
        "pixels_per_degree": {
            "minimum": 1,
            "maximum": 1000,
            "description": "of the image in the visual field; default: as the metric jod looks at it",
        },
    }
}
#: See :mod:`infoadv.attacks.information`.
TRACES = {"observer": "attack's estimate"}
OPTIMISES: dict[str, list[str]] = {"observer": []}
# On gray images it is `masking`, but for the filter of luminance.
NEARLY_OPTIMISES = {"observer": ["ssim"]}

#: Pixels of a display in a degree of the visual field, on which the image is enlarged: as the metrics jod and flip have it.
_PIXELS_PER_DEGREE = 30.0


def observer(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    indices: Tensor | None = None,
    seed: int = 0,
    luminance_noise: float = 0.1,
    chrominance_noise: float = 0.2,
    sensitivity: float = 0.25,
    pixels_per_degree: float | None = None,
    steps: int = 90,
    confidence: float = 0.0,
    epsilon: float = 1.0,
    quantize: bool = True,
    classes: int = 1,
    first_step: float = 0.5,
    norm_change: float = 0.4,
    momentum: float = 0.0,
    temperature: float = 0.03,
) -> AttackResult:
    """Minimise the information that an observer's view of x' carries about delta, under the decoupled search.

    It is the perturbation information of :func:`infoadv.attacks.information.masking` behind a linear front end, opponent
    colours and a filter by contrast sensitivity; :mod:`infoadv.information.observer` derives it and its whitening. This
    project's attack. benchmarks/observer_study.py is how it was tuned.

    Parameters
    ----------
    model
        Takes images in [0, 1] and returns logits (N, classes).
    images, labels
        (N, C, H, W) float in [0, 1], C being 1 (gray) or 3 (sRGB), and (N,) int64.
    targets
        (N,) int64: the class aimed at; None for any other class.
    indices, seed
        As for every attack; not used.
    luminance_noise, chrominance_noise
        s_n of luminance and of both chrominance axes, of the [0, 1] range.
    sensitivity, pixels_per_degree
        Power of the contrast sensitivity to luminance, and how large the image is seen. By default, as a figure on a desk:
        enlarged to 128 pixels, at most 4 times, at 30 pixels per degree.
    steps, confidence, epsilon, quantize, classes, first_step, norm_change, momentum, temperature
        As in :func:`infoadv.attacks.information.masking`.

    Returns
    -------
    AttackResult
        The successful iterate with the least information, else the one nearest to success; the trace holds margin, estimate
        and the closed form of the projected information.
    """
    size = pixels_per_degree or _PIXELS_PER_DEGREE / factor(images, None)
    view = Observer.of(images, luminance_noise, chrominance_noise, size, sensitivity)
    best, trace = decoupled(
        model,
        images,
        labels,
        targets,
        lambda perturbed: -view.information(perturbed),
        view,
        Schedule(steps, first_step, norm_change, momentum, temperature),
        confidence=confidence,
        epsilon=epsilon,
        quantize=quantize,
        classes=classes,
    )
    return AttackResult(best.best(), best.first_success, trace.tensors())
