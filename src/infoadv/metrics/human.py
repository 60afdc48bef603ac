"""What people see: ColorVideoVDP, fitted to comparisons that people made, and FLIP, what one notices when images alternate.

Both judge a picture on a display, so the viewing conditions are options and part of every number: how often a pixel is
repeated (see :mod:`infoadv.metrics.viewing`), the pixels per degree of the visual field, and for JOD the display. With the
defaults a picture of 128 pixels is 4 degrees wide, 4.5 cm at 60 cm, as a figure in a paper.

They come from the packages ``cvvdp`` and ``flip-evaluator`` of the extra ``perception``. These are imported when a value is
computed and not before, because the first takes seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from infoadv.metrics import MetricContext, MetricError
from infoadv.metrics.viewing import one_by_one, shown

SCHEMA: dict[str, dict] = {
    "jod": {
        "display": {
            "description": "display that shows the image, by its name in the package cvvdp; one that takes sRGB",
        },
    },
    "flip": {},
}

ABOUT = {
    "jod": {
        "label": "JOD",
        "better": "higher",
        "group": "perceptual",
        "decimals": 3,
        "description": (
            "Just-objectionable differences of ColorVideoVDP (Mantiuk et al. 2024): 10 cannot be told from the clean image, "
            "and of two images one apart 75 % of observers see which is worse. Enlarged by repeating pixels to 128 px, at "
            "most 4 times, and seen at 30 pixels per degree on a 4K display of 200 cd/m2 in an office, unless the options "
            "say otherwise; gray images as three equal channels."
        ),
    },
    "flip": {
        "label": "FLIP",
        "better": "lower",
        "group": "perceptual",
        "description": (
            "FLIP (Andersson et al. 2020), mean over pixels: the difference that is noticed when two images alternate in one "
            "place, from 0 to 1. Enlarged by repeating pixels to 128 px, at most 4 times, and seen at 30 pixels per degree, "
            "unless the options say otherwise; gray images as three equal channels."
        ),
    },
}


def _package(module: str, metric: str) -> Any:
    """Import a package of the extra ``perception``. Raises ``MetricError`` where it, or what it needs, is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MetricError(
            f"{metric} needs the optional extra perception ({error}); install it with `pip install '.[perception]'`, or take "
            f"{metric} out of metrics."
        ) from error


@cache
def _observer(display: str, pixels_per_degree: float, device: torch.device, heatmap: str = "none") -> Any:
    """Return cvvdp's metric for these viewing conditions; it makes a ``heatmap`` of this kind as well."""
    package = _package("pycvvdp", "jod")
    displays = package.utils.json2dict(package.utils.config_files.find("display_models.json", []))
    photometries = {name: package.vvdp_display_photometry.load(name, []) for name in displays}
    usable = [name for name, photometry in photometries.items() if photometry.EOTF == "sRGB"]
    if display not in usable:
        reason = "takes no sRGB images" if display in displays else "is not a display of cvvdp"
        raise MetricError(f"jod: {display!r} {reason}; set metrics.jod.display to one of: {', '.join(usable)}.")
    return package.cvvdp(
        display_name=display,
        display_geometry=package.vvdp_display_geometry(tuple(displays[display]["resolution"]), ppd=pixels_per_degree),
        quiet=True,
        device=device,
        heatmap=heatmap,
    )


def jod_of(
    clean: Tensor,
    *,
    enlarge: int | None = None,
    pixels_per_degree: float = 30.0,
    display: str = "standard_4k",
) -> Callable[[Tensor], Tensor]:
    """Return a function of perturbed images (N, C, H, W) in [0, 1]: their JOD against ``clean``, (N,) float32.

    It can be differentiated. The package computes in single precision, which leaves about six decimals of a JOD. Raises
    ``MetricError`` as :func:`jod` does.
    """
    observer = _observer(display, float(pixels_per_degree), clean.device)

    def of_some(perturbed: Tensor, reference: Tensor) -> Tensor:
        pictures = (shown("jod", images, enlarge).expand(-1, 3, -1, -1).float() for images in (perturbed, reference))
        # torchvision's blur draws its width from torch's global generator, though from an interval of one point.
        with torch.random.fork_rng(devices=[]):
            value, _ = observer.predict(*pictures, dim_order="BCHW")
        return value.reshape(-1)

    return lambda perturbed: one_by_one(of_some, perturbed, clean)


@torch.no_grad()
def jod(
    clean: Tensor,
    adversarial: Tensor,
    *,
    context: MetricContext,
    enlarge: int | None = None,
    pixels_per_degree: float = 30.0,
    display: str = "standard_4k",
) -> Tensor:
    """Return the quality that ColorVideoVDP predicts, at most 10, in just-objectionable differences. From 8 px.

    Raises
    ------
    MetricError
        cvvdp is not installed, the display is unknown or takes no sRGB, an image is too small, or a value is NaN or outside
        [0, 1].
    """
    seen = jod_of(clean, enlarge=enlarge, pixels_per_degree=pixels_per_degree, display=display)
    return seen(adversarial).double()


def flip(
    clean: Tensor,
    adversarial: Tensor,
    *,
    context: MetricContext,
    enlarge: int | None = None,
    pixels_per_degree: float = 30.0,
) -> Tensor:
    """Return FLIP in [0, 1], 0 for identical images; the mean of the package's error map. On the CPU. From 8 px.

    Raises
    ------
    MetricError
        flip-evaluator is not installed, an image is too small, or a value is NaN or outside [0, 1].
    """

    def of_one(reference: Tensor, test: Tensor) -> Tensor:
        return flip_map(reference, test, enlarge=enlarge, pixels_per_degree=pixels_per_degree).mean((1, 2))

    return one_by_one(of_one, clean.cpu(), adversarial.cpu()).to(clean.device, torch.float64)


# --- Maps ------------------------------------------------------------------------------------------------------------


def flip_map(
    clean: Tensor, adversarial: Tensor, *, enlarge: int | None = None, pixels_per_degree: float = 30.0
) -> Tensor:
    """Return FLIP of each pixel of the enlarged pictures, (N, H', W') float64 on the CPU; :func:`flip` is its mean.

    Raises ``MetricError`` as :func:`flip` does.
    """
    package = _package("flip_evaluator", "flip")
    maps = []
    for pair in zip(clean.cpu(), adversarial.cpu(), strict=True):
        pictures = (
            shown("flip", image[None], enlarge)[0].expand(3, -1, -1).permute(1, 2, 0).float().contiguous().numpy()
            for image in pair
        )
        # Its own mean adds up in single precision, in the order in which threads end.
        difference, _, _ = package.evaluate(
            *pictures, "LDR", applyMagma=False, computeMeanError=False, parameters={"ppd": float(pixels_per_degree)}
        )
        maps.append(torch.from_numpy(difference).double()[..., 0])
    return torch.stack(maps)


@torch.no_grad()
def jod_map(
    clean: Tensor,
    adversarial: Tensor,
    *,
    enlarge: int | None = None,
    pixels_per_degree: float = 30.0,
    display: str = "standard_4k",
) -> Tensor:
    """Return what ColorVideoVDP takes off for each pixel of the enlarged pictures, in JOD, (N, H', W') float64 on the CPU.

    It is the package's heat map of kind "raw", times 10: 0 where no difference is seen. The package pools the differences of
    an image before it turns them into JOD, so the mean of a map is not what :func:`jod` is below 10. Raises ``MetricError`` as
    :func:`jod` does.
    """
    observer = _observer(display, float(pixels_per_degree), clean.device, "raw")
    maps = []
    for pair in zip(adversarial, clean, strict=True):
        pictures = (shown("jod", image[None], enlarge).expand(-1, 3, -1, -1).float() for image in pair)
        with torch.random.fork_rng(devices=[]):
            _, about = observer.predict(*pictures, dim_order="BCHW")
        # Kept in half precision by the package, whose zero is a little off.
        maps.append(10 * about["heatmap"][0, 0, 0].double().cpu().clamp_min(0))
    return torch.stack(maps)
