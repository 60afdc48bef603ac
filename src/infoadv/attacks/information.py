"""The mutual-information attack: adversarial examples that keep information with, or hide it from, the clean image.

    minimise over delta   c f(x + delta) - alpha I(x, x + delta)     with x + delta in [0, 1]^D, |delta_i| <= epsilon
    f(x') = max(Z(x')_y - max_{i != y} Z(x')_i, -kappa)

(Hsu, Chen and Yu 2020, section II.) Three estimators stand for I: ``mine``, theirs, a bound by a critic trained along;
``projection``, its closed form; ``masking``, minus the information that x' carries about delta (ours). Beside them stands
``weighted_l2``, minus a weighted norm of earlier work, so that it is compared under the same search. The constant c is
found by binary search or follows a primal-dual rule; for the closed forms ``decoupled`` separates the direction of the
perturbation from its norm (Rony et al. 2019), in coordinates in which the objective is a plain L2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from infoadv.attacks import AttackError, AttackResult, CountingModel, batch_view, draw, margin
from infoadv.information import visibility_weights
from infoadv.information.masking import masking_weights, perturbation_information
from infoadv.information.mine import Mine, draw_normals, draw_pairs, project_pairs
from infoadv.information.projection import projection_information
from infoadv.numerics.margins import smooth_margin
from infoadv.numerics.pixels import on_levels

SCHEMA: dict[str, dict[str, Any]] = {
    "mutual_information": {
        "preset": {
            "enum": ["custom", "uae_projection", "uae_conv", "uae_binary"],
            "default": "custom",
            "description": "a recipe by name; options given beside it win (see PRESETS in attacks/mutual_information.py)",
        },
        "estimator": {
            "enum": ["mine", "projection", "masking", "weighted_l2"],
            "default": "mine",
            "description": "mine: critic on random projections; projection: its closed form; masking: perturbation "
            "information; weighted_l2: an L2 norm of earlier work with the same search, for comparison",
        },
        "search": {
            "enum": ["binary", "primal_dual", "decoupled"],
            "default": "binary",
            "description": "how c is found; decoupled (closed forms only) needs no c",
        },
        "steps": {"type": "integer", "minimum": 1, "default": 200, "description": "iterations, of each search step"},
        "search_steps": {"type": "integer", "minimum": 1, "default": 5, "description": "binary-search steps over c"},
        "initial_c": {"type": "number", "exclusiveMinimum": 0, "default": 1.0, "description": "first value of c"},
        "alpha": {"type": "number", "minimum": 0, "default": 1.0, "description": "weight of the information"},
        "confidence": {
            "type": "number",
            "minimum": 0,
            "default": 0.0,
            "description": "kappa: margin to be reached, in logits",
        },
        "epsilon": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "default": 1.0,
            "description": "L-infinity ball; 1 is no ball",
        },
        "optimizer": {"enum": ["adam", "sgd"], "default": "adam", "description": "of delta"},
        "learning_rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.01, "description": "of delta"},
        "batch": {
            "enum": ["projection", "conv"],
            "default": "projection",
            "description": "mine: one image becomes a batch by random projections, or by the maps of the first convolution",
        },
        "sampling": {
            "enum": ["pairs", "matrix"],
            "default": "pairs",
            "description": "mine: draw the projected pairs from their exact distribution, or form the matrices as published",
        },
        "dimension": {"type": "integer", "minimum": 1, "default": 1, "description": "mine: rows d' of a projection"},
        "samples": {"type": "integer", "minimum": 2, "default": 256, "description": "mine: projections K of a step"},
        "redraw": {"type": "boolean", "default": True, "description": "mine: new projections at every step"},
        "standardize": {
            "enum": ["norm", "row", "none"],
            "default": "norm",
            "description": "mine: divide by the exact standard deviation, standardise each row, or neither",
        },
        "hidden": {"type": "integer", "minimum": 1, "default": 32, "description": "mine: units of the critic"},
        "critic_learning_rate": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": 0.01,
            "description": "mine: of the critic",
        },
        "critic_steps": {
            "type": "integer",
            "minimum": 1,
            "default": 1,
            "description": "mine: critic steps a step of delta",
        },
        "marginal": {
            "enum": ["derangement", "offdiagonal", "permutation"],
            "default": "derangement",
            "description": "mine: how pairs are broken",
        },
        "clip": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "default": None,
            "description": "mine: clip of T inside the logarithm (SMILE)",
        },
        "moving_average": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "default": 0.1,
            "description": "mine: rate of the average in the critic's gradient; 1 is plain Donsker-Varadhan",
        },
        "noise": {
            "type": ["number", "array"],
            "items": {"type": "number", "exclusiveMinimum": 0},
            "minItems": 1,
            "exclusiveMinimum": 0,
            "default": 0.1,
            "description": "masking: the observer's noise s_n, one number or one a channel",
        },
        "exponent": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 1.0,
            "description": "masking, decoupled: power of the weights of a step; 1/2 is close to its kin, 0 steps as plain L2",
        },
        "weights": {
            "enum": ["inverse_deviation", "sigma_map", "just_noticeable_difference"],
            "default": "inverse_deviation",
            "description": "weighted_l2: whose weights (see information/kin.py)",
        },
        "colour": {
            "enum": ["rgb", "opponent"],
            "default": "rgb",
            "description": "masking: windows in each channel, or in luminance and chrominance",
        },
        "quantize": {
            "type": "boolean",
            "default": True,
            "description": "decoupled: judge iterates after rounding to 8 bits",
        },
    }
}

_FOLLOW_UP = {
    "estimator": "mine",
    "steps": 1000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "critic_learning_rate": 1.5e-5,
    "hidden": 10,
    "samples": 500,
    "dimension": 128,
    "standardize": "row",
    "moving_average": 1.0,
    "marginal": "permutation",
    "sampling": "matrix",
    "search": "primal_dual",
}
#: Named recipes. The authors' follow-up (AAAI 2022): 500 projections to 128 rows, redrawn at each step and standardised
#: by row, or the maps of the first convolution; plain Donsker-Varadhan, a critic of 10 units.
PRESETS: dict[str, dict[str, Any]] = {
    "uae_projection": _FOLLOW_UP,
    "uae_conv": {**_FOLLOW_UP, "batch": "conv"},
    "uae_binary": {**_FOLLOW_UP, "search": "binary", "search_steps": 9, "initial_c": 1e-3},
}
#: Points of a trace: the whole run, thinned to this many.
TRACE_POINTS = 100
_TINY = 1e-12
#: Share by which the decoupled search shrinks or enlarges the norm, at its beginning and at its end: large ones find the
#: boundary, small ones settle on it. What else was tried is in benchmarks/masking_study.py.
_FIRST_SHARE, _LAST_SHARE = 0.1, 0.01

#: Information to be kept, (N,), larger is better, from the perturbed images; and whatever it wants to do after a step.
Information = Callable[[Tensor], Tensor]


@dataclass
class _Best:
    """The best attempt of each image: the successful one with the most information, else the one nearest to success."""

    images: Tensor
    information: Tensor
    margin: Tensor
    first_success: Tensor

    @classmethod
    def start(cls, images: Tensor) -> _Best:
        lowest = torch.full((len(images),), -torch.inf, device=images.device)
        never = torch.full((len(images),), -1, dtype=torch.int64, device=images.device)
        return cls(images.clone(), lowest.clone(), lowest.clone(), never)

    def update(self, images: Tensor, information: Tensor, margins: Tensor, confidence: float, step: int) -> Tensor:
        """Take over better attempts; return which images are successful now."""
        success = (margins > 0) & (margins >= confidence)
        before = self.first_success >= 0
        better = torch.where(success, ~before | (information > self.information), ~before & (margins > self.margin))
        self.images = torch.where(batch_view(better, images), images, self.images)
        self.information = torch.where(better & success, information, self.information)
        self.margin = torch.where(better, margins, self.margin)
        self.first_success = torch.where(success & ~before, step, self.first_success)
        return success


class _Trace:
    """Margin, estimate and closed form along the run, thinned to ``TRACE_POINTS``."""

    def __init__(self, total: int) -> None:
        self.stride = -(-total // TRACE_POINTS)
        self.rows: dict[str, list[Tensor]] = {"margin": [], "estimate": [], "truth": []}
        self.steps: list[int] = []

    def add(self, step: int, margins: Tensor, estimate: Tensor, truth: Callable[[], Tensor]) -> None:
        if step % self.stride == 0:
            self.steps.append(step)
            for name, values in (("margin", margins), ("estimate", estimate), ("truth", truth())):
                self.rows[name].append(values.detach().float().cpu())

    def tensors(self) -> dict[str, Tensor]:
        stacked = {name: torch.stack(rows, 1) for name, rows in self.rows.items()}
        return {"step": torch.tensor(self.steps, dtype=torch.int64), **stacked}


def first_convolution_maps(model: nn.Module, images: Tensor) -> Tensor:
    """Return the output (N, maps, positions) of the first convolution of ``model``: a batch made of one image."""
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None:
        raise AttackError("batch: conv needs a model with a Conv2d layer; use batch: projection.")
    captured: list[Tensor] = []

    class MapsReachedError(Exception):
        """Stops the forward pass once the maps are there."""

    def capture(module: nn.Module, inputs: Any, output: Tensor) -> None:
        captured.append(output)
        raise MapsReachedError

    handle = convolution.register_forward_hook(capture)
    try:
        # Past the counter of passes: this is no pass through the whole network.
        (model.model if isinstance(model, CountingModel) else model)(images)
    except MapsReachedError:
        pass
    finally:
        handle.remove()
    return captured[0].flatten(2)


class _MineInformation:
    """MINE along an attack: every call estimates on the step's pairs; ``ascend`` trains the critics on them."""

    def __init__(self, model: nn.Module, clean: Tensor, seed: int, options: dict[str, Any]) -> None:
        self.model, self.clean, self.options = model, clean, options
        self.generator = torch.Generator().manual_seed(seed)
        self.fixed_seed = seed + 1
        self.conv = options["batch"] == "conv"
        if self.conv:
            with torch.no_grad():
                self.clean_maps = first_convolution_maps(model, clean)
            self.samples, dimension = self.clean_maps.shape[1:]
        else:
            self.samples, dimension = options["samples"], options["dimension"]
        self.mine = Mine(
            len(clean),
            dimension,
            dimension,
            hidden=options["hidden"],
            learning_rate=options["critic_learning_rate"],
            marginal=options["marginal"],
            clip=options["clip"],
            moving_average=options["moving_average"],
            generator=self.generator,
            device=clean.device,
        )

    def _pairs(self, perturbed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.conv:
            return self.clean_maps, first_convolution_maps(self.model, perturbed)
        shape = (self.options["samples"], self.options["dimension"])
        if self.options["sampling"] == "matrix":
            return project_pairs(self.clean, perturbed, *shape, generator, self.options["standardize"])
        draws = draw_normals(*shape, generator, self.clean.device)
        return draw_pairs(self.clean, perturbed, draws, self.options["standardize"])

    def __call__(self, perturbed: Tensor) -> Tensor:
        shift = int(torch.randint(1, self.samples, (), generator=self.generator))
        for _ in range(self.options["critic_steps"] - 1):
            with torch.no_grad():
                u, v = self._pairs(perturbed, self._projections())
            self.mine.ascend(self.mine.objective(u, v, shift)[1])
        u, v = self._pairs(perturbed, self._projections())
        bound, self.pending = self.mine.objective(u, v, shift)
        return bound

    def _projections(self) -> torch.Generator:
        # Projections that are not redrawn come from a generator of their own that starts again at every step.
        return self.generator if self.options["redraw"] else torch.Generator().manual_seed(self.fixed_seed)

    def ascend(self) -> None:
        """Train the critics on the pairs of the last call, whose graph must still be there."""
        self.mine.ascend(self.pending)


def _whitening(clean: Tensor, options: dict[str, Any]) -> Tensor:
    """Return (N, C, H, W) square roots of the weights with which the objective is a plain L2, of mean square 1."""
    if options["estimator"] == "projection":
        return torch.ones_like(clean)
    if options["estimator"] == "weighted_l2":
        weights = visibility_weights.WEIGHTS[options["weights"]](clean)
    elif options["colour"] == "opponent" and clean.shape[1] == 3:
        raise AttackError("search: decoupled needs colour: rgb (the weights of opponent axes are not diagonal in RGB).")
    else:
        weights = masking_weights(clean, options["noise"], options["exponent"])
    return (weights / weights.mean((1, 2, 3), keepdim=True)).sqrt()


def _objective(clean: Tensor, options: dict[str, Any]) -> Information:
    if options["estimator"] == "projection":
        return lambda perturbed: projection_information(clean, perturbed)
    if options["estimator"] == "weighted_l2":
        weights = visibility_weights.WEIGHTS[options["weights"]](clean)
        return lambda perturbed: -visibility_weights.weighted_l2(clean, perturbed, weights)
    return lambda perturbed: -perturbation_information(clean, perturbed, options["noise"], options["colour"])


def _decoupled(
    model: nn.Module, clean: Tensor, labels: Tensor, targets: Tensor | None, options: dict[str, Any]
) -> tuple[_Best, _Trace]:
    """Decoupled direction and norm in whitened coordinates z = delta sqrt(W).

    Every step moves z along the normalised gradient, sets its norm, a little smaller where the last image was adversarial
    and a little larger where not, and returns to the box. The exact objective ranks the iterates.
    """
    steps, confidence, epsilon = options["steps"], options["confidence"], options["epsilon"]
    root = _whitening(clean, options)
    information = _objective(clean, options)
    best, trace = _Best.start(clean), _Trace(steps)
    low, high = (clean - epsilon).clamp_min(0), (clean + epsilon).clamp_max(1)
    if options["quantize"]:
        # Rounding must not leave the ball: its edges are moved in to whole levels.
        low, high = (low * 255 - 1e-3).ceil() / 255, (high * 255 + 1e-3).floor() / 255
    z = torch.zeros_like(clean)
    norm = torch.zeros(len(clean), device=clean.device)
    for step in range(steps):
        perturbed = torch.minimum(torch.maximum(clean + z / root, low), high)
        # The gradient is taken at the rounded image, as if rounding were the identity.
        seen = (on_levels(perturbed) if options["quantize"] else perturbed).detach().requires_grad_(True)
        logits = model(seen)
        margins = margin(logits, labels, targets)
        (gradient,) = torch.autograd.grad(smooth_margin(logits, labels, targets).sum(), seen)
        with torch.no_grad():
            kept = information(seen.detach())
            success = best.update(seen.detach(), kept, margins.detach(), confidence, step)
            trace.add(step, margins, kept, lambda: projection_information(clean, seen.detach()))  # noqa: B023
            # A pixel at the edge of its range cannot follow: leaving it in the norm would shorten the others.
            blocked = ((perturbed <= low) & (gradient < 0)) | ((perturbed >= high) & (gradient > 0))
            direction = torch.where(blocked, 0.0, gradient / root)
            direction = direction / batch_view(direction.flatten(1).norm(dim=1) + _TINY, direction)
            if step == 0:
                norm = _first_norm(margins, gradient / root, confidence)
            else:
                share = _FIRST_SHARE * (_LAST_SHARE / _FIRST_SHARE) ** (step / steps)
                norm = norm * torch.where(success, 1 - share, 1 + share)
            size = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
            z = (perturbed - clean) * root + batch_view(size * norm, direction) * direction
            z = z * batch_view(norm / (z.flatten(1).norm(dim=1) + _TINY), z)
    return best, trace


def _first_norm(margins: Tensor, gradient: Tensor, confidence: float) -> Tensor:
    """Return (N,) the norm at which a linear model of the loss would cross the boundary, as the first guess."""
    slope = gradient.flatten(1).norm(dim=1)
    return ((confidence - margins).clamp_min(1e-2) / (slope + _TINY)).clamp(0.05, 2.0)


def _penalised(
    model: nn.Module,
    clean: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    indices: Tensor,
    seed: int,
    options: dict[str, Any],
) -> tuple[_Best, _Trace]:
    """Descend c f - alpha I, with c from a binary search of restarts or from the primal-dual rule."""
    rounds = options["search_steps"] if options["search"] == "binary" else 1
    steps, confidence, epsilon = options["steps"], options["confidence"], options["epsilon"]
    best, trace = _Best.start(clean), _Trace(rounds * steps)
    low, high = (clean - epsilon).clamp_min(0), (clean + epsilon).clamp_max(1)
    c = torch.full((len(clean),), float(options["initial_c"]), device=clean.device)
    c_low, c_high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    # At x' = x the information is infinite and its gradient not defined: start a little beside it.
    start = clean + 1e-3 * draw(torch.randn, tuple(clean.shape[1:]), seed, indices).to(clean.device)
    for search_step in range(rounds):
        perturbed = torch.minimum(torch.maximum(start, low), high).detach().requires_grad_(True)
        optimizer: torch.optim.Optimizer
        if options["optimizer"] == "adam":
            optimizer = torch.optim.Adam([perturbed], lr=options["learning_rate"])
        else:
            optimizer = torch.optim.SGD([perturbed], lr=options["learning_rate"])
        information: Any
        if options["estimator"] == "mine":
            information = _MineInformation(model, clean, 2 * (seed * 1009 + search_step), options)
        else:
            information = _objective(clean, options)
        reached = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
        for step in range(steps):
            margins = margin(model(perturbed), labels, targets)
            loss = (confidence - margins).clamp_min(0)
            kept = information(perturbed)
            total = (c * loss - options["alpha"] * kept).sum()
            (perturbed.grad,) = torch.autograd.grad(total, perturbed, retain_graph=options["estimator"] == "mine")
            if options["estimator"] == "mine":
                information.ascend()
            with torch.no_grad():
                now = search_step * steps + step
                attempt = perturbed.detach().clone()
                reached |= best.update(attempt, kept.detach(), margins.detach(), confidence, now)
                trace.add(now, margins, kept, lambda: projection_information(clean, attempt))  # noqa: B023
                optimizer.step()
                perturbed.copy_(torch.minimum(torch.maximum(perturbed, low), high))
                if options["search"] == "primal_dual":
                    c = (1 - 0.1 / (step + 1) ** 0.25) * c + 0.1 * loss.detach()
        c_high = torch.where(reached, torch.minimum(c_high, c), c_high)
        c_low = torch.where(reached, c_low, torch.maximum(c_low, c))
        c = torch.where(c_high.isinf(), c * 10, (c_low + c_high) / 2)
    return best, trace


def resolve_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return all options: those given over those of the preset over the defaults of ``SCHEMA``."""
    defaults = {name: schema["default"] for name, schema in SCHEMA["mutual_information"].items()}
    return {**defaults, **PRESETS.get(options.get("preset", "custom"), {}), **options}


def mutual_information(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    indices: Tensor,
    seed: int,
    targets: Tensor | None = None,
    **options: Any,
) -> AttackResult:
    """Run the mutual-information attack; the options are those of ``SCHEMA``.

    Raises ``AttackError`` where options exclude each other.
    """
    chosen = resolve_options(options)
    if chosen["search"] == "decoupled":
        if chosen["estimator"] == "mine":
            raise AttackError(
                "search: decoupled needs a closed form; use estimator: projection or masking, or search: binary."
            )
        best, trace = _decoupled(model, images, labels, targets, chosen)
    else:
        best, trace = _penalised(model, images, labels, targets, indices, seed, chosen)
    return AttackResult(best.images, best.first_success.cpu(), trace.tensors())
