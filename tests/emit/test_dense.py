"""Streams of two nets against their dense computation, which shares no code with the package."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from rfponnx.verify.float64 import Float64
from tests.emit.dense import Array, Point, Rules, convolution, per_channel, start
from tests.emit.nets import Net

#: Two float64 computations of the same numbers; shares divide by sums near eps = 1e-6.
EXACT = 1e-10

NET = Net(
    "net",
    """ (float[N, 2, 6, 4] x, float[N, 5] z) => (float[N, 3] y) {
      a = Conv<pads = [1, 0, 0, 2], strides = [2, 1]>(x, wa, ba)
      n = BatchNormalization<epsilon = 0.0009765625>(a, scale, shift, mean, var)
      r = Relu(n)
      k = Add(r, c)
      l = Conv<pads = [1, 1, 1, 1]>(k, wl)
      plus = Add(k, l)
      m = MaxPool<kernel_shape = [2, 2]>(plus)
      f = Flatten(m)
      g = Gemm<alpha = 0.5, beta = 2.0, transB = 1>(f, wg, bg)
      s = Sigmoid(g)
      t = Tanh(z)
      h = Concat<axis = 1>(s, t)
      j = Sub(h, d)
      u = MatMul(j, wu)
      y = Add(bu, u)
    }""",
    {
        "wa": (3, 2, 3, 2), "ba": (3,), "scale": (3,), "shift": (3,), "mean": (3,), "var": (3,),
        "c": (3, 1, 1), "wl": (3, 3, 3, 3), "wg": (4, 24), "bg": (4,), "d": (9,),
        "wu": (9, 3), "bu": (3,),
    },
    ("x0=x[:,0,0:4]", "z=z[:,1:]", "x1=x[:,1]"),
    smooth=True,
)  # fmt: skip
#: The paper's shape: dense layers with a bias each, late fusion ([RFP] 4.1).
DENSE = Net(
    "dense",
    """ (float[N, 4] a, float[N, 4] b) => (float[N, 3] y) {
      a1 = Gemm(a, wa, ba)
      a2 = Tanh(a1)
      b1 = Gemm(b, wb, bb)
      b2 = Relu(b1)
      ab = Concat<axis = 1>(a2, b2)
      h1 = Gemm(ab, wh, bh)
      h2 = Sigmoid(h1)
      y = Gemm(h2, wy, by)
    }""",
    {
        "wa": (4, 5), "ba": (5,), "wb": (4, 5), "bb": (5,), "wh": (10, 6), "bh": (6,),
        "wy": (6, 3), "by": (3,),
    },
    ("a=a", "b=b"),
    smooth=True,
)  # fmt: skip


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(z: Array) -> Array:
    return sigmoid(z) * (1 - sigmoid(z))


def tanh_slope(z: Array) -> Array:
    return 1 - np.tanh(z) ** 2


def weights(net: Net) -> dict[str, Array]:
    found = {t.name: numpy_helper.to_array(t) for t in net.model().graph.initializer}
    return {name: value.astype(np.float64) for name, value in found.items()}


def one_sample(rules: Rules, x: Array, z: Array) -> Point:
    w = weights(NET)
    rows, first = np.arange(6)[:, None] < 4, np.zeros((2, 1, 1), bool)
    first[0] = True
    here = np.broadcast_to(first & rows, x.shape)
    p = start(rules, x, {"x0": here, "x1": np.broadcast_to(~first, x.shape)})
    matrix, size = convolution(w["wa"], x.shape, (1, 0, 0, 2), (2, 1))
    p = p.affine(matrix, w["ba"][:, None, None], size)
    gain = w["scale"] / np.sqrt(w["var"] + 2**-10)
    p = p.affine(per_channel(gain, size), (w["shift"] - w["mean"] * gain)[:, None, None], size)
    p = p.relu().added(w["c"])
    matrix, size = convolution(w["wl"], size, (1, 1, 1, 1), (1, 1))
    through = p.affine(matrix, np.zeros(()), size)
    # this Conv has no bias: nothing to divide
    through = Point(rules, through.y, through.streams, through.bias)
    p = p.plus(through).max_pool(2)
    p = p.picked(list(np.ndindex(p.y.shape)), (p.y.size,))
    p = p.affine(0.5 * w["wg"], 2 * w["bg"], (4,)).smooth(sigmoid, sigmoid_slope)
    other = start(rules, z, {"z": np.arange(5) > 0}).smooth(np.tanh, tanh_slope)
    p = p.joined(other).added(-w["d"])
    p = p.affine(w["wu"].T, np.zeros(()), (3,))
    return p.added(w["bu"])


def one_row(rules: Rules, a: Array, b: Array) -> Point:
    w = weights(DENSE)
    every = np.ones(4, bool)
    p = start(rules, a, {"a": every}).affine(w["wa"].T, w["ba"], (5,)).smooth(np.tanh, tanh_slope)
    q = start(rules, b, {"b": every}).affine(w["wb"].T, w["bb"], (5,)).relu()
    p = p.joined(q).affine(w["wh"].T, w["bh"], (6,)).smooth(sigmoid, sigmoid_slope)
    return p.affine(w["wy"].T, w["by"], (3,))


def rows_of(points: list[Point], sources: tuple[str, ...], bias: str) -> Array:
    """Return ``[S+1, N, *E]``, bias last."""
    samples = []
    for p in points:
        rows = [p.streams[s.partition("=")[0]] for s in sources]
        left = p.y - sum(rows)
        samples.append([*rows, left if bias == "separate" else p.bias])
    return np.moveaxis(np.asarray(samples), 0, 1)


RULES = [
    Rules(bias, kind)
    for bias, kind in product(
        ("separate", "explicit", "split", "split_signed"), ("weighted", "ratio", "taylor")
    )
]
NUMBERS = [Rules("split", "ratio", eps=0.25), Rules("explicit", "ratio", eps=0.25, shift=0.75)]


@pytest.mark.parametrize("layout", ["separate", "stacked"])
@pytest.mark.parametrize("rules", [*RULES, *NUMBERS], ids=str)
@pytest.mark.parametrize("net", [NET, DENSE], ids=str)
def test_streams_are_what_the_formulas_say(
    net: Net, rules: Rules, layout: str, rng: np.random.Generator
) -> None:
    feeds = {n: rng.normal(size=v.shape) for n, v in net.feeds().items()}
    if net is NET:
        feeds["z"][0, :3] = 0.0, 1e-9, -1e-5  # where quotients are delicate
    options: dict[str, Any] = {"bias": rules.bias, "linearisation": rules.kind, "layout": layout}
    numbers = {"eps": rules.eps, "shift": rules.shift}
    outputs = Float64(net.convert(**options, set=numbers).model).run(feeds)
    walk = one_sample if net is NET else one_row
    points = [walk(rules, *(v[n] for v in feeds.values())) for n in range(2)]
    expected = rows_of(points, net.sources, rules.bias)
    assert np.abs(outputs["y"] - [p.y for p in points]).max() <= EXACT
    assert outputs["y_relevance"].shape == expected.shape
    assert np.abs(outputs["y_relevance"] - expected).max() <= EXACT * np.abs(expected).max()


@pytest.mark.parametrize("bias", ["split", "split_signed"])
def test_the_printed_split_loses_completeness(bias: str) -> None:
    outputs = Float64(DENSE.convert(bias=bias).model).run(DENSE.feeds())
    y, rows = outputs["y"], outputs["y_relevance"]
    off = np.abs(y - rows.sum(0)).max() / np.abs(rows).sum(0).max()
    assert (off > 0.01) == (bias == "split_signed")
    assert bias == "split_signed" or off < 1e-12
