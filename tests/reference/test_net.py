"""The references themselves: the networks are what they say, and the laws hold for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.ops.harness import run_float32
from tests.reference import nets
from tests.reference.deeplift import deeplift
from tests.reference.export import export
from tests.reference.net import Array, Net, Step

Rng = np.random.Generator
every_net = pytest.mark.parametrize("make", [*nets.NETS, nets.smooth], ids=lambda f: f.__name__)


@every_net
def test_the_export_is_the_same_network(make: Callable[[Rng], Net], rng: Rng) -> None:
    net = make(rng)
    x = rng.normal(size=(3, *net.shape)).astype(np.float32)
    found = run_float32(export(net), {"x": x})[net.out]
    wanted = np.stack([net.forward(one)[net.out] for one in x])
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)


@every_net
@pytest.mark.parametrize("zero", [True, False], ids=["zero", "drawn"])
@pytest.mark.parametrize("variant", ["rescale", "reveal_cancel"])
def test_deeplift_sums_to_the_difference(
    make: Callable[[Rng], Net], zero: bool, variant: str, rng: Rng
) -> None:
    net = make(rng)
    x = nets.single(rng.normal(size=net.shape))
    x0 = np.zeros(net.shape) if zero else nets.single(rng.normal(size=net.shape))
    difference = net.forward(x)[net.out] - net.forward(x0)[net.out]
    for target in range(3):
        total = deeplift(net, x, x0, target, variant).sum()
        assert total == pytest.approx(difference[target], rel=1e-10, abs=1e-10)


def test_without_crossing_the_sum_is_another(rng: Rng) -> None:
    net = nets.layers(rng)
    x, x0 = rng.normal(size=(2, *net.shape))
    kept, cut = (deeplift(net, x, x0, 0, v) for v in ("reveal_cancel", "no_crossing"))
    assert abs(kept.sum() - cut.sum()) > 1e-3


def test_rescale_is_gradient_times_input_where_no_piece_changes(rng: Rng) -> None:
    net = nets.layers(rng)
    x = rng.normal(size=net.shape)
    x0 = x + 1e-6 * rng.normal(size=net.shape)
    slopes = [
        (net.forward(x + h)[net.out][1] - net.forward(x - h)[net.out][1]) / 2e-6
        for h in 1e-6 * np.eye(len(x))
    ]
    wanted = np.array(slopes) * (x - x0)
    found = deeplift(net, x, x0, 1, "rescale")
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-12)


def minimum() -> Net:
    """min(a, b) = a - max(a - b, 0) for numbers that are not negative."""

    def layer(name: str, read: str, w: list[list[float]]) -> Step:
        return Step(name, "dense", (read,), {"w": np.array(w), "b": None})

    return Net((2,), [
        layer("z", "x", [[1, 0], [1, -1]]), nets.relu("h", "z"), layer("y", "h", [[1, -1]]),
    ])  # fmt: skip


@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (10.0, 6.0), (2.0, 5.0)])
def test_reveal_cancel_shares_a_minimum(a: float, b: float) -> None:
    """The example of the paper: half of the smaller number each, where rescale gives one all."""
    x: Array = np.array([a, b])
    half = min(a, b) / 2
    found = deeplift(minimum(), x, np.zeros(2), 0, "reveal_cancel")
    np.testing.assert_allclose(found, [half, half], rtol=1e-12)
    rescaled = deeplift(minimum(), x, np.zeros(2), 0, "rescale")
    np.testing.assert_allclose(rescaled, [0, b] if a > b else [a, 0], atol=1e-12)
