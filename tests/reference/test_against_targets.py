"""Which class is explained, and where: winners, differences, positions, seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import rfponnx
from rfponnx.verify.float64 import Float64
from tests.reference import lrp, nets
from tests.reference.compare import agree, drawn
from tests.reference.export import export
from tests.reference.gradients import gradient
from tests.reference.net import Array, Net
from tests.reference.resnet import ZENNIT, explain, softmax
from tests.reference.test_against_resnet import EPSILON

Rng = np.random.Generator
Seed = Callable[[Array], Array]


def chosen(y: Array, index: int) -> Array:
    """Return the score of a class at its place."""
    return np.where(np.arange(len(y)) == index, y, 0)


SEEDS: dict[tuple[str | int, str], Seed] = {
    ("argmax", "logit"): lambda y: chosen(y, int(y.argmax())),
    ("argmax", "one"): lambda y: np.eye(len(y))[y.argmax()],
    ("argmax", "probability"): lambda y: chosen(softmax(y), int(y.argmax())),
    (1, "probability"): lambda y: chosen(softmax(y), 1),
    ("2-0", "logit"): lambda y: chosen(y, 2) - chosen(y, 0),
    ("2-0", "one"): lambda y: np.array([-1.0, 0.0, 1.0]),
}


@pytest.mark.parametrize(("target", "value"), SEEDS)
def test_scores(target: str | int, value: str, rng: Rng) -> None:
    net = nets.vgg(rng)
    seed = SEEDS[target, value]
    agree(
        net, {"x": drawn(net, rng, 4)},
        lambda x: explain(net, x, seed(net.forward(x)[net.out]), EPSILON), method="lrp",
        composite="epsilon", target=target, seed_value=value, account="explicit",
    )  # fmt: skip


def pixelwise(rng: Rng) -> Net:
    """A class for every pixel."""
    return Net((2, 5, 4), [
        nets.conv(rng, "c1", "x", 4, 2, pad=1), nets.relu("r1", "c1"),
        nets.conv(rng, "scores", "r1", 3, 4, pad=1),
    ])  # fmt: skip


@pytest.mark.parametrize("target", ["argmax", "1", "1@predicted"])
def test_positions(target: str, rng: Rng) -> None:
    net = pixelwise(rng)
    rules = {"conv": lrp.z_plus(ZENNIT)}

    def seed(x: Array) -> Array:
        y = net.forward(x)[net.out].reshape(net.shapes[net.out])
        classes = np.arange(3).reshape(-1, 1, 1)
        winner = y.argmax(axis=0) == classes
        own = {"argmax": winner, "1": classes == 1, "1@predicted": winner & (classes == 1)}
        return np.where(own[target], y, 0).ravel()

    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, seed(x), rules), method="lrp",
        composite="z_plus", target=target, account="explicit",
    )  # fmt: skip


def test_several_classes_at_a_time(rng: Rng) -> None:
    """Class by class they are what each is alone; the best comes first."""
    net = nets.vgg(rng)
    x = drawn(net, rng)
    made = rfponnx.convert(export(net), method="gradient", target="top3").model
    found = Float64(made).run({"x": x})["x_relevance"]
    assert found.shape == (3, *x.shape)
    for n, one in enumerate(x.astype(np.float64)):
        order = np.argsort(-net.forward(one)[net.out])
        for place, index in enumerate(order):
            wanted = gradient(net, one, int(index))["x"]
            np.testing.assert_allclose(found[place, n].ravel(), wanted, rtol=1e-8, atol=1e-12)
