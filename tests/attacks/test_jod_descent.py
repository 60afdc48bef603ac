"""The floor of JOD: success, a higher JOD than the plain L2 attack, whatever stands beside an image in its batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import infoadv
from infoadv.metrics import MetricError
from infoadv.registry import plugins

#: A digit of 28 pixels as large as by default, 3.7 degrees, without the pixels: 1/64 of the time.
VIEW = {"enlarge": 1, "pixels_per_degree": 7.5}
COUNT = 6


@pytest.fixture(scope="module")
def problem():
    """Return a small network trained on scikit-learn's digits, and test images that it classifies rightly."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images / 16).float()[:, None]
    images = (nn.functional.interpolate(images, (28, 28), mode="bilinear") * 255).round() / 255
    labels = torch.from_numpy(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(6):
        for part in torch.randperm(1500).split(50):
            adam.zero_grad()
            nn.functional.cross_entropy(model(images[part]), labels[part]).backward()
            adam.step()
    model.eval()
    with torch.no_grad():
        right = 1500 + torch.nonzero(model(images[1500:]).argmax(1) == labels[1500:])[:COUNT, 0]
    return model, images[right], labels[right]


def jod(problem, result) -> torch.Tensor:
    return torch.tensor(infoadv.measure(problem[1], result.images, {"jod": VIEW})["jod"])


@pytest.fixture(scope="module")
def floor(problem):
    return infoadv.attack(*problem, "jod_descent", steps=160, **VIEW)


def test_it_succeeds_with_less_to_be_seen_than_plain_l2(problem, floor):
    ddn = infoadv.attack(*problem, "ddn", steps=160)
    assert floor.success.all()
    assert ddn.success.all()
    ours, theirs = jod(problem, floor), jod(problem, ddn)
    assert (ours > theirs).all(), (ours, theirs)
    # It takes away at least a fifth of what DDN loses.
    assert (10 - ours).mean() < 0.8 * (10 - theirs).mean(), (ours, theirs)
    assert (floor.forwards == 160).all()
    assert (floor.backwards == 160).all()


def test_more_steps_do_not_lose(problem, floor):
    short = infoadv.attack(*problem, "jod_descent", steps=80, **VIEW)
    assert jod(problem, floor).mean() > jod(problem, short).mean()


def test_an_image_does_not_depend_on_its_neighbours(problem, floor):
    model, images, labels = problem
    alone = infoadv.attack(model, images[2:3], labels[2:3], "jod_descent", steps=160, **VIEW)
    torch.testing.assert_close(jod((model, images[2:3], labels), alone), jod(problem, floor)[2:3], atol=0.02, rtol=0)


def test_a_failure_is_the_attempt_nearest_to_success(problem):
    model, images, labels = problem
    result = infoadv.attacks.jod_descent(model, images, labels, steps=20, confidence=1e6, **VIEW)
    assert (result.first_success == -1).all()
    with torch.no_grad():
        before, after = (model(batch).gather(1, labels[:, None]) for batch in (images, result.adversarial))
    assert (after < before).all()


def test_it_declares_its_home_and_refuses_a_display_by_name(problem):
    assert plugins.literals("attacks", "OPTIMISES")["jod_descent"] == ["jod"]
    with pytest.raises(MetricError, match="'cinema' is not a display"):
        infoadv.attack(*problem, "jod_descent", steps=2, display="cinema")
