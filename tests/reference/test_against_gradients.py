"""The gradient family against matrices, and differences of the output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.reference import nets
from tests.reference.compare import agree, drawn
from tests.reference.gradients import (
    Gate,
    deconvolved,
    grad_cam,
    gradient,
    guided,
    integrated,
    plain,
    rectified,
)
from tests.reference.net import Array, Net

Rng = np.random.Generator
every_net = pytest.mark.parametrize("make", nets.NETS, ids=lambda f: f.__name__)
GATES: dict[str, Gate] = {
    "gradient": plain,
    "guided_backprop": guided,
    "deconvnet": deconvolved,
    "rectgrad": rectified(98),
}


@every_net
def test_the_reference_is_the_derivative(make: Callable[[Rng], Net], rng: Rng) -> None:
    net = make(rng)
    x = rng.normal(size=net.shape)
    slopes = []
    for h in 1e-6 * np.eye(x.size):
        ends = [net.forward(x + s * h.reshape(x.shape))[net.out][1] for s in (1, -1)]
        slopes.append((ends[0] - ends[1]) / 2e-6)
    found = gradient(net, x, 1)["x"]
    np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-7)


@every_net
@pytest.mark.parametrize("method", GATES)
def test_gates(make: Callable[[Rng], Net], method: str, rng: Rng) -> None:
    net = make(rng)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: gradient(net, x, 1, GATES[method])["x"],
        method=method, target=1, zero=method == "rectgrad",
    )  # fmt: skip


@pytest.mark.parametrize("q", [0, 50, 73.5, 100])
def test_percentiles(q: float, rng: Rng) -> None:
    net = nets.vgg(rng)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: gradient(net, x, 1, rectified(q))["x"],
        method="rectgrad", target=1, set={"q": q}, zero=q == 100,
    )  # fmt: skip


@every_net
def test_gradient_times_input(make: Callable[[Rng], Net], rng: Rng) -> None:
    net = make(rng)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: gradient(net, x, 1)["x"] * x.ravel(),
        method="gradient_x_input", target=1,
    )  # fmt: skip


@pytest.mark.parametrize("base", [0, 0.25, "input"])
def test_integrated_gradients(base: float | str, rng: Rng) -> None:
    net = nets.vgg(rng)
    x = drawn(net, rng)
    given = base == "input"
    x0 = drawn(net, rng) if given else np.full_like(x, base)
    bases = iter(x0.astype(np.float64))
    # 8 points of weight 1/8, which the float32 of the file holds exactly
    agree(
        net, {"x": x, "x_reference": x0} if given else {"x": x},
        lambda one: integrated(net, one, next(bases), 1, 7), method="integrated_gradients",
        target=1, set={"steps": 7, "quadrature": "paper", "reference": base},
    )  # fmt: skip


def test_smoothgrad(rng: Rng) -> None:
    net = nets.vgg(rng)
    x = drawn(net, rng)
    noise = rng.normal(size=(4, *x.shape)).astype(np.float32)
    drawn_for = iter(np.moveaxis(noise.astype(np.float64), 1, 0))

    def wanted(one: Array) -> Array:
        size = 0.25 * (one.max() - one.min())
        points = [one + size * e for e in next(drawn_for)]
        return np.mean([gradient(net, p, 1)["x"] for p in points], axis=0)

    agree(
        net, {"x": x, "x_noise": noise}, wanted, method="smoothgrad", target=1,
        set={"samples": 4, "noise": 0.25},
    )  # fmt: skip


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("make", "at"), [(nets.vgg, "c3"), (nets.residual, "b5")])
def test_grad_cam(make: Callable[[Rng], Net], at: str, relu: bool, rng: Rng) -> None:
    net = make(rng)

    def wanted(x: Array) -> Array:
        return grad_cam(net, x, 1, at, relu=relu).ravel()

    agree(
        net, {"x": drawn(net, rng)}, wanted, method="grad_cam", target=1,
        set={"at": at, "relu": relu, "resize": False}, zero=relu,
    )  # fmt: skip
