"""Batched JSMA against torchattacks' one image at a time, and against what its paper reports for all classes of MNIST."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import seconds, set_up, trained_target

from infoadv.attacks.saliency_map import jsma

# A multiple of 2 / 784: torchattacks rounds the number of steps up, the paper down.
GAMMA = 0.125


def main() -> None:
    """Attack correctly classified test images towards the label plus one with both, then towards every class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="results/data/mnist.safetensors", help="data artefact")
    parser.add_argument("--model", default="results/models/mnist/carlini_wagner.safetensors", help="model artefact")
    parser.add_argument("--images", type=int, default=100, help="images attacked (default 100)")
    arguments = parser.parse_args()
    try:
        import torchattacks
    except ImportError:
        raise SystemExit("torchattacks is not installed; run: uv pip install --no-deps torchattacks") from None

    print(set_up())
    dataset, model, images, labels, indices = trained_target(arguments.data, arguments.model, arguments.images)
    targets = (labels + 1) % dataset.classes
    peer = torchattacks.JSMA(model, gamma=GAMMA)
    results = {}

    def ours() -> None:
        result = jsma(model, images, labels, indices=indices, seed=0, targets=targets, gamma=GAMMA)
        results["ours"] = result.adversarial

    def theirs() -> None:
        # It asks for gradients of the image; the network's own parameters are frozen in both.
        results["theirs"] = peer(images.contiguous(), labels)

    ours()
    fast = np.median([seconds(ours) for _ in range(3)])
    slow = seconds(theirs)
    success, changed = {}, {}
    for name, adversarial in results.items():
        with torch.no_grad():
            success[name] = (model(adversarial).argmax(1) == targets).numpy()
        changed[name] = (adversarial != images).flatten(1).sum(1).numpy()
    both = success["ours"] & success["theirs"]
    worse = int((both & (changed["ours"] > changed["theirs"])).sum() + (success["theirs"] & ~success["ours"]).sum())
    better = int((both & (changed["ours"] < changed["theirs"])).sum() + (success["ours"] & ~success["theirs"]).sum())
    print(f"{len(indices)} images, targets label + 1, gamma {GAMMA}")
    print(f"seconds: batched {fast:.2f}, one at a time {slow:.2f}: {slow / fast:.1f} times")
    print(f"success: batched {success['ours'].mean():.3f}, one at a time {success['theirs'].mean():.3f}")
    print(
        f"changed features where both succeed ({both.sum()}): {changed['ours'][both].mean():.2f} and "
        f"{changed['theirs'][both].mean():.2f}; worse (more features, or only the other succeeds) on {worse} images, "
        f"better on {better}"
    )

    print("\nevery other class of every image, gamma 0.145; published for MNIST: 97.1 % of them, 4.0 % of the features")
    for outputs in ("logits", "softmax"):
        result = jsma(model, images, labels, indices=indices, seed=0, outputs=outputs, exhaustive=True)
        features = result.trace["features"]
        reached = features >= 0
        share = reached.sum().item() / (len(images) * (dataset.classes - 1))
        fewest = 2 * result.first_success[result.first_success >= 0].double()
        print(
            f"{outputs}: {share:.1%} reached, {features[reached].double().mean() / images[0].numel():.2%} of the features; "
            f"the nearest class {(result.first_success >= 0).double().mean():.1%}, {fewest.mean() / images[0].numel():.2%}"
        )


if __name__ == "__main__":
    main()
