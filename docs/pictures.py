"""Draws the example picture of every attack and metric: `make pictures`, or `python docs/pictures.py NAME...` for some.

The images are scikit-learn's digits in random colours, the network is a small one that is trained for a few seconds. Options
are the defaults, but for what an attack needs to run here. A picture shows what an attack or a metric does, and measures nothing.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, pad
from torchvision.utils import make_grid

import infoadv
from infoadv.data.digits import digits
from infoadv.models.small_cnn import small_cnn
from infoadv.registry import plugins

FOLDER = Path(__file__).parent / "pictures"
IMAGES = 6
#: Side of a pixel of an image, white around an image, side of both together, in pixels of the picture.
SCALE, GAP = 3, 2
CELL = SCALE * 32 + 2 * GAP
DPI = 80
#: Size of text, in points: it is read on a phone too.
TEXT = 12
#: Changes are drawn this many times as large, on gray.
ENLARGED = 5
#: L2 norm of every change in the picture of a metric.
SIZE = 3.0


def coloured(levels: Any, seed: int) -> Tensor:
    """Return gray digits (N, 1, H, W) uint8 as float32 (N, 3, H, W): light strokes on a dark ground, each in a random colour."""
    share = torch.from_numpy(levels).float() / 255
    chance = torch.Generator().manual_seed(seed)
    ground, stroke = (torch.rand(len(share), 3, 1, 1, generator=chance) * 0.25 + low for low in (0.15, 0.6))
    return ground + (stroke - ground) * share


def trained(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = small_cnn((3, 32, 32), 10)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(8):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval()


def panels(rows: list[Tensor], left: int, top: int, bottom: int) -> tuple[Any, Any]:
    """Return a figure with rows of images (N, 3, 32, 32), each pixel a square of ``SCALE`` pixels, and margins for text."""
    cells = [
        pad(image.clamp(0, 1).repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2), (GAP,) * 4, value=1.0)
        for row in rows
        for image in row
    ]
    canvas = make_grid(cells, nrow=len(rows[0]), padding=0)
    height, width = canvas.shape[1:]
    figure = pyplot.figure(figsize=((width + left) / DPI, (height + top + bottom) / DPI), dpi=DPI)
    size = (width + left, height + top + bottom)
    axes = figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]), frameon=False)
    axes.imshow(canvas.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    axes.tick_params(length=0, labelsize=TEXT)
    return figure, axes


def save(figure: Any, folder: str, name: str) -> None:
    path = FOLDER / folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    pyplot.close(figure)
    # A palette makes a file a third of its size, and no difference to the eye.
    picture.quantize(256, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


def attack_picture(name: str, network: nn.Module, other: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Draw clean images, what the attack makes of them, and the changes."""
    parameters = inspect.signature(plugins.load("attacks", name)).parameters
    options: dict[str, Any] = {}
    if "norms" in parameters:
        options["norms"] = torch.full((len(images),), SIZE)
    if "enlarge" in parameters:
        # As large to the eye as by default, in a sixteenth of the time.
        options |= {"enlarge": 2, "pixels_per_degree": 15.0}
    if "backbone" in parameters:
        options |= {"backbone": "reference", "reference": other}
    if "sampling" in parameters:
        # Matrices of the published size take hours; pairs are drawn from the distribution that they have.
        options["sampling"] = "pairs"
    result = infoadv.attack(network, images, labels, name, **options)
    change = 0.5 + ENLARGED * (result.images - images)
    rows = {"clean": images, "adversarial": result.images, f"change x {ENLARGED}": change}
    figure, axes = panels(list(rows.values()), left=24, top=0, bottom=0)
    axes.set_xticks([])
    axes.set_yticks([CELL * (row + 0.5) for row in range(len(rows))], rows, rotation="vertical", va="center")
    save(figure, "attacks", name)


def changed(image: Tensor) -> dict[str, Tensor]:
    """Return copies of an image (1, 3, H, W) that differ from it by the same L2 norm."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    mean = avg_pool2d(pad(image, (2, 2, 2, 2), "replicate"), 5, 1)
    texture = (image - mean).abs().mean(1, keepdim=True)
    square = torch.zeros_like(image)
    square[..., 3:10, 3:10] = 1
    changes = {
        "noise": noise,
        "on strokes": noise * (texture > texture.mean()),
        "blur": mean - image,
        "contrast": image - image.mean((2, 3), keepdim=True),
        "brighter": torch.ones_like(image),
        "square": square,
    }
    return {label: (image + SIZE * change / change.norm()).clamp(0, 1) for label, change in changes.items()}


def metric_picture(name: str, other: nn.Module, image: Tensor) -> None:
    """Draw copies of one image, all at the same L2 norm, with what the metric says of each."""
    copies = changed(image)
    adversarial = torch.cat(list(copies.values()))
    frame = infoadv.measure(image.expand_as(adversarial).contiguous(), adversarial, [name], reference=other)
    figure, axes = panels([torch.cat([image, adversarial])], left=0, top=24, bottom=24)
    middles = [CELL * (place + 0.5) for place in range(1 + len(copies))]
    axes.set_yticks([])
    axes.set_xticks(middles, ["value", *(f"{value:.4g}" for value in frame.iloc[:, 0])])
    for middle, text in zip(middles, ["clean", *copies], strict=True):
        axes.text(middle, -4, text, ha="center", fontsize=TEXT)
    save(figure, "metrics", name)


def main(names: list[str]) -> None:
    matplotlib.use("Agg")
    source = digits(None)
    training, labels = coloured(source.x_train, 0), torch.from_numpy(source.y_train).long()
    network, other = trained(training, labels, 0), trained(training, labels, 1)
    images, truth = coloured(source.x_test, 1), torch.from_numpy(source.y_test).long()
    right = network(images).argmax(1) == truth
    found = torch.stack([(right & (truth == digit)).nonzero()[0, 0] for digit in range(IMAGES)])
    images, truth = images[found], truth[found]
    for name in infoadv.attacks.names():
        if not names or name in names:
            attack_picture(name, network, other, images, truth)
    for name in infoadv.metrics.names():
        if not names or name in names:
            metric_picture(name, other, images[3:4])


if __name__ == "__main__":
    main(sys.argv[1:])
