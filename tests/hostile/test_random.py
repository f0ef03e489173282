"""Nets and sources that nobody thought of: entries have one owner, and everything sums up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper, numpy_helper

import rfponnx
from rfponnx.errors import OptionError
from rfponnx.verify.float64 import Float64

Array = np.ndarray[Any, Any]
CHANNELS, SIDE = 4, 9
#: Explicit streams in double precision differ from what they explain by rounding alone.
BOUND = 1e-10

ends = st.none() | st.integers(-5, 5)
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))


def text(cuts: list[slice]) -> str:
    parts = [":".join("" if v is None else str(v) for v in (c.start, c.stop, c.step)) for c in cuts]
    return f"x[{','.join(parts)}]"


@st.composite
def two_axes(draw: st.DrawFn) -> list[slice]:
    return [slice(None), draw(slices), draw(slices)]


@given(two_axes(), two_axes())
def test_sources_are_refused_just_when_they_share_or_own_nothing(
    one: list[slice], other: list[slice]
) -> None:
    shape = (1, 5, 5)
    owned = []
    for cuts in (one, other):
        mask = np.zeros(shape, bool)
        mask[tuple(cuts)] = True
        owned.append(mask)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", 1, shape)],
            [helper.make_tensor_value_info("y", 1, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    specs = {"a": text(one), "b": text(other)}
    if not all(mask.any() for mask in owned) or (owned[0] & owned[1]).any():
        with pytest.raises(OptionError):
            rfponnx.convert(model, sources=specs, bias="explicit")
        return
    made = rfponnx.convert(model, sources=specs, bias="explicit")
    x = np.random.default_rng(0).normal(size=shape)
    rows = Float64(made.model).run({"x": x}, ["y_relevance"])["y_relevance"]
    streams = [np.maximum(x, 0) * mask for mask in owned]
    assert np.array_equal(rows[:2], streams)
    assert np.array_equal(rows[2], np.maximum(x, 0) - sum(streams))


# ---- nets --------------------------------------------------------------------------------------


@dataclass
class Net:
    """A net that grows layer by layer: nodes, weights, and tensors with their shapes [C, H, W]."""

    nodes: list[NodeProto]
    weights: dict[str, Array]
    shapes: dict[str, tuple[int, int, int]]

    def add(self, kind: str, inputs: list[str], shape: tuple[int, int, int], **more: Any) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **more))
        self.shapes[name] = shape

    def weight(self, *dims: int) -> str:
        name = f"w{len(self.weights)}"
        rng = np.random.default_rng(len(self.weights))
        value = rng.normal(size=dims) / np.sqrt(max(np.prod(dims[1:]), 1))
        self.weights[name] = value.astype(np.float32)
        return name

    def model(self) -> ModelProto:
        last = list(self.shapes)[-1]
        shape = ["N", *self.shapes[last]]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", 1, ["N", CHANNELS, SIDE, SIDE])],
            [helper.make_tensor_value_info(last, 1, shape)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def length(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> int:
    return (size + sum(pads) - dilation * (kernel - 1) - 1) // stride + 1


@st.composite
def window(
    draw: st.DrawFn, shape: tuple[int, int, int], dilated: bool
) -> tuple[dict[str, Any], Any]:
    """Return the attributes of a window that fits, and the height and width behind it."""
    kernel = [draw(st.integers(1, min(3, size))) for size in shape[1:]]
    strides = [draw(st.integers(1, 2)) for _ in kernel]
    dilations = [draw(st.integers(1, 2)) if dilated else 1 for _ in kernel]
    pads = [(draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel]
    sizes = tuple(map(length, shape[1:], kernel, strides, pads, dilations))
    assume(min(sizes) >= 1)
    flat = [pair[side] for side in (0, 1) for pair in pads]
    given_ = {"kernel_shape": kernel, "strides": strides, "pads": flat}
    return given_ | ({"dilations": dilations} if dilated else {}), sizes


def grow(draw: st.DrawFn, net: Net) -> None:
    """Add one layer behind some tensor."""
    x = draw(st.sampled_from(list(net.shapes)[-3:]))
    shape = net.shapes[x]
    kind = draw(st.sampled_from(["conv", "max", "average", "act", "bn", "concat", "add", "cut"]))
    if kind == "conv":
        attrs, sizes = draw(window(shape, True))
        group = draw(st.sampled_from([g for g in (1, 2, shape[0]) if shape[0] % g == 0]))
        count = group * draw(st.integers(1, 2))
        inputs = [x, net.weight(count, shape[0] // group, *attrs["kernel_shape"])]
        inputs += [net.weight(count)] if draw(st.booleans()) else []
        net.add("Conv", inputs, (count, *sizes), group=group, **attrs)
    elif kind in ("max", "average"):
        attrs, sizes = draw(window(shape, False))
        if kind == "average":
            attrs["count_include_pad"] = draw(st.integers(0, 1))
        net.add("MaxPool" if kind == "max" else "AveragePool", [x], (shape[0], *sizes), **attrs)
    elif kind == "act":
        net.add(draw(st.sampled_from(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu"])), [x], shape)
    elif kind == "bn":
        given_ = [net.weight(shape[0]) for _ in range(4)]
        net.weights[given_[3]] = np.abs(net.weights[given_[3]]) + 0.5
        net.add("BatchNormalization", [x, *given_], shape)
    elif kind == "cut":
        start = draw(st.integers(0, shape[0] - 1))
        names = [f"k{len(net.weights)}_{i}" for i in range(3)]
        for name, value in zip(names, (start, shape[0], 1), strict=True):
            net.weights[name] = np.array([value], np.int64)
        net.add("Slice", [x, *names], (shape[0] - start, *shape[1:]))
    else:
        alike = [n for n, s in net.shapes.items() if s[1:] == shape[1:]]
        y = draw(st.sampled_from(alike))
        if kind == "add" and net.shapes[y] == shape:
            net.add("Add", [x, y], shape)
        else:
            net.add("Concat", [x, y], (shape[0] + net.shapes[y][0], *shape[1:]), axis=1)


@st.composite
def nets(draw: st.DrawFn) -> Net:
    net = Net([], {}, {"x": (CHANNELS, SIDE, SIDE)})
    for _ in range(draw(st.integers(1, 6))):
        grow(draw, net)
    return net


@given(
    nets(), st.integers(1, CHANNELS - 1), st.sampled_from(["separate", "stacked"]),
    st.sampled_from(["weighted", "taylor", "ratio"]), st.sampled_from(["explicit", "split"]),
)  # fmt: skip
def test_a_random_net_accounts_for_everything(
    net: Net, split: int, layout: str, linearisation: str, bias: str
) -> None:
    model = net.model()
    output = model.graph.output[0].name
    made = rfponnx.convert(
        model, sources=[f"a=x[:,:{split}]", f"b=x[:,{split}:]"],
        layout=layout, linearisation=linearisation, bias=bias, explain=[output],
    )  # fmt: skip
    x = np.random.default_rng(1).normal(size=(2, CHANNELS, SIDE, SIDE))
    name = f"{output}_relevance"
    found = Float64(made.model).run({"x": x}, [output, name])
    y, rows = found[output], found[name]
    assert rows.shape == (3, *y.shape)
    assert np.isfinite(rows).all()
    scale = max(np.abs(y).max(), np.abs(rows).sum(axis=0).max(), 1e-30)
    assert np.abs(rows.sum(axis=0) - y).max() / scale < BOUND
