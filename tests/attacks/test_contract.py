"""What every attack keeps to, called by its name from Python: the box, the batch, the model left as it was found."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import infoadv
from infoadv.attacks import AttackError
from infoadv.registry import plugins
from infoadv.registry.options import OptionError

COUNT, CLASSES, SHAPE = 4, 5, (3, 12, 12)
#: Options that make a run short, where an attack has them.
SHORT = {"steps": 6, "search_steps": 2, "binary_search_steps": 2, "trials": 6, "samples": 16, "dimension": 2}


#: Attacks that have no targeted form.
UNTARGETED = {"fgsm", "deepfool"}


class Network(nn.Module):
    """A random network with everything whose state could be left changed: normalisation, dropout, a hook, a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 36, CLASSES))
        self.calls = 0
        self.features[0].bias.requires_grad_(False)
        self.register_forward_hook(self._count)

    @staticmethod
    def _count(module: Network, inputs: tuple, output: Tensor) -> None:
        module.calls += 1

    def forward(self, images: Tensor) -> Tensor:
        return 8 * self.head(self.features(images))


@pytest.fixture(scope="module")
def problem() -> tuple[Network, Tensor, Tensor]:
    """Return a network in eval mode, images on the 8-bit grid and the labels that it gives them."""
    model = Network().eval()
    images = torch.randint(0, 256, (COUNT, *SHAPE), generator=torch.Generator().manual_seed(1)) / 255
    with torch.no_grad():
        # Centred, so that no class swallows the others.
        model.head[2].bias -= model(images).mean(0) / 8
        return model, images, model(images).argmax(1)


def options_of(name: str) -> dict:
    """Return options with which attack ``name`` is short, and those without which it cannot run."""
    schema = plugins.schemas("attacks")[name]
    options: dict = {key: value for key, value in SHORT.items() if key in schema}
    if "like" in schema:
        options["norms"] = torch.full((COUNT,), 0.5)
    if "reference" in schema.get("backbone", {}).get("enum", ()):
        options |= {"backbone": "reference", "reference": Network().eval().requires_grad_(False)}
    return options


def run(name: str, problem, **changes):
    model, images, labels = problem
    if plugins.source_file("attacks", name).stem.startswith("adv_lib"):
        pytest.importorskip("adv_lib", reason="adv-lib is not installed (optional extra peers)")
    return infoadv.attack(model, images, labels, name, **options_of(name) | changes)


EVERY = pytest.mark.parametrize("name", infoadv.attacks.names())


@EVERY
def test_images_are_on_the_8_bit_grid_and_success_is_the_model_s_own(name, problem):
    model, images, labels = problem
    before = images.clone()
    result = run(name, problem)
    assert torch.equal(images, before)
    assert result.images.shape == result.float_images.shape == images.shape
    assert result.images.dtype == result.float_images.dtype == torch.float32
    assert result.images.device == result.success.device == result.first_success.device == images.device
    levels = result.images * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    for adversarial in (result.images, result.float_images):
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
    with torch.no_grad():
        assert torch.equal(result.success, model(result.images).argmax(1) != labels)
        assert torch.equal(result.float_success, model(result.float_images).argmax(1) != labels)
    assert result.targets is None
    assert result.factor.min() >= 1
    assert result.forwards.shape == result.backwards.shape == result.first_success.shape == (COUNT,)
    assert result.forwards.min() > 0
    # An image that was never adversarial has no step at which it first was.
    assert (result.first_success[result.float_success] >= 0).all()
    assert result.first_success.dtype == torch.int64
    assert not result.images.requires_grad
    assert not result.float_images.requires_grad


def state(model: nn.Module) -> dict:
    return {
        "modes": [module.training for module in model.modules()],
        "taking": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))
            for m in model.modules()
        ],
        "weights": {key: value.clone() for key, value in model.state_dict().items()},
    }


@EVERY
def test_the_model_is_left_as_it_was_found(name, problem):
    model, images, labels = problem
    mixed = copy.deepcopy(model).train()
    mixed.features.eval()
    before, random = state(mixed), torch.get_rng_state()
    result = run(name, (mixed, images, labels))
    after = state(mixed)
    assert torch.equal(torch.get_rng_state(), random)
    for key in ("modes", "taking", "gradients", "hooks"):
        assert after[key] == before[key], key
    assert all(torch.equal(after["weights"][key], value) for key, value in before["weights"].items())
    # It was attacked in eval mode all the same.
    assert torch.equal(result.float_images, run(name, problem).float_images)


@EVERY
def test_an_image_does_not_depend_on_its_batch(name, problem):
    images = problem[1]
    together = run(name, problem)
    parts = run(name, problem, batch_size=1)
    size = (together.float_images - images).flatten(1).norm(dim=1)
    apart = (together.float_images - parts.float_images).flatten(1).norm(dim=1)
    allowed = 0.01 * size + 1e-5
    levels = together.float_images * 255
    if (levels - levels.round()).abs().max() < 1e-4:
        # Every iterate is rounded to 8 bits: the last digit of single precision can carry one value over the edge of a level.
        allowed = allowed.clamp_min(1.01 / 255)
    assert (apart <= allowed).all(), (apart / size).tolist()
    assert torch.equal(together.success, parts.success)


@EVERY
def test_a_target_is_reached_or_refused_with_the_way_out(name, problem):
    model, _, labels = problem
    targets = (labels + 1) % CLASSES
    if name in UNTARGETED:
        with pytest.raises(AttackError, match=f"{name} .*target"):
            run(name, problem, targets=targets)
        return
    result = run(name, problem, targets=targets)
    assert torch.equal(result.targets, targets)
    with torch.no_grad():
        assert torch.equal(result.success, model(result.images).argmax(1) == targets)
    assert torch.equal(run(name, problem, targets="next").images, result.images)


@EVERY
def test_an_unknown_option_is_refused_by_name(name, problem):
    with pytest.raises(OptionError, match=rf"{name}: unknown option 'stepz'"):
        run(name, problem, stepz=3)


@EVERY
def test_a_seed_decides_everything_and_nothing_is_printed(name, problem, capsys):
    torch.manual_seed(5)
    first = run(name, problem, seed=1)
    # What libraries say when they are imported is theirs.
    capsys.readouterr()
    torch.manual_seed(6)
    assert torch.equal(run(name, problem, seed=1).images, first.images)
    assert capsys.readouterr() == ("", "")


@EVERY
def test_the_bare_function_has_defaults_and_leaves_the_model_too(name, problem):
    model, images, labels = problem
    if plugins.source_file("attacks", name).stem.startswith("adv_lib"):
        pytest.importorskip("adv_lib", reason="adv-lib is not installed (optional extra peers)")
    training = copy.deepcopy(model).train()
    with torch.no_grad():
        result = getattr(infoadv.attacks, name)(training, images, labels, **options_of(name))
        assert not torch.is_grad_enabled()
    assert training.training
    assert all(parameter.grad is None for parameter in training.parameters())
    assert torch.equal(result.adversarial.clamp(0, 1), run(name, problem).float_images)
