"""Mean L2 of foolbox's C&W-L2 and DDN against adv-lib's, on the same images, network and settings; before rounding.

Two implementations that agree are less likely to share a defect. Means are over the images that both reach.
"""

from __future__ import annotations

import argparse

from common import set_up, trained_target

from infoadv.registry import plugins

SETTINGS = {"cw_l2": {"steps": 100, "binary_search_steps": 5, "step_size": 0.03}, "ddn": {"steps": 100}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/cifar10.safetensors", help="data artefact")
    parser.add_argument("--model", default="results/models/cifar10/robust.safetensors", help="model artefact")
    parser.add_argument("--images", type=int, default=32, help="images (default 32)")
    arguments = parser.parse_args()
    print(set_up())
    _, model, images, labels, indices = trained_target(arguments.data, arguments.model, arguments.images)
    print(f"{arguments.images} images, network {arguments.model}")
    print(f"{'attack':8s}{'both':>6s}{'foolbox':>9s}{'adv-lib':>9s}{'ratio':>8s}")
    for method, options in SETTINGS.items():
        reached, norms = [], []
        for name in (method, f"{method}_adv_lib"):
            result = plugins.load("attacks", name)(model, images, labels, indices=indices, seed=0, **options)
            reached.append(result.first_success >= 0)
            norms.append((result.adversarial - images).flatten(1).norm(dim=1))
        both = reached[0] & reached[1]
        foolbox, other = (float(norm[both].mean()) for norm in norms)
        print(f"{method:8s}{int(both.sum()):6d}{foolbox:9.4f}{other:9.4f}{foolbox / other:8.4f}")


if __name__ == "__main__":
    main()
