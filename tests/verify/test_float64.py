"""The float64 evaluator: conversion, cuts, bodies, functions and errors."""

from __future__ import annotations

from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, parser

from rfponnx.errors import InputError, ModelError, Unsupported
from rfponnx.verify.float64 import Float64, to_double

X = np.array([[-2.0, 0.1, 3.0]])


def model(text: str, opset: int = 17, functions: str = "") -> onnx.ModelProto:
    """Parse a graph in the textual form of ONNX."""
    head = f'<ir_version: 8, opset_import: ["": {opset}, "own": 1]>'
    return parser.parse_model(f"{head}\n{text}\n{functions}")


def test_every_float_becomes_double() -> None:
    single = model(
        """
        g (float[1, 3] x, int64[1] k, bool c) => (float[1, 3] y)
        <float[3] w = {1, 2, 3}, int64[1] s = {3}>
        {
            a = Constant <value_float = 0.1> ()
            b = ConstantOfShape (s)
            d = ConstantOfShape <value = float[1] {2}> (s)
            e = Cast <to = 10> (k)
            i = Cast <to = 7> (x)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = Constant <value_floats = [1.0, 2.0]> () },
                else_branch = f () => (float[1, 3] q) { q = Cast <to = 1> (i) }
            >
        }
        """
    )
    half = onnx.numpy_helper.from_array(np.array([0.5], np.float16), "h")
    single.graph.initializer.append(half)
    before = single.SerializeToString()
    double = to_double(single)
    assert single.SerializeToString() == before
    kinds = {t.name: t.data_type for t in double.graph.initializer}
    assert kinds == {"w": TensorProto.DOUBLE, "s": TensorProto.INT64, "h": TensorProto.DOUBLE}
    node = {n.output[0]: n for n in double.graph.node}
    for name in "abd":
        assert node[name].attribute[0].t.data_type == TensorProto.DOUBLE
    # the value of the model is the float32 one
    assert onnx.numpy_helper.to_array(node["a"].attribute[0].t) == np.float32(0.1)
    assert node["e"].attribute[0].i == TensorProto.DOUBLE
    assert node["i"].attribute[0].i == TensorProto.INT64
    bodies = {a.name: a.g for a in node["y"].attribute}
    assert bodies["then_branch"].node[0].attribute[0].t.data_type == TensorProto.DOUBLE
    assert bodies["else_branch"].node[0].attribute[0].i == TensorProto.DOUBLE
    assert bodies["then_branch"].output[0].type.tensor_type.elem_type == TensorProto.DOUBLE
    assert double.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
    assert double.graph.input[1].type.tensor_type.elem_type == TensorProto.INT64


def test_results_are_double_and_exact() -> None:
    text = "g (float[1, 3] x) => (float[1, 3] y) { y = Sigmoid (x) }"
    found = Float64(model(text)).run({"x": X})["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-X)), rtol=1e-15)


def test_float32_feeds_are_widened() -> None:
    text = "g (float[1, 3] x, int64[3] k) => (float[1, 3] y) { y = Gather <axis = 1> (x, k) }"
    feeds: dict[str, Any] = {"x": X.astype(np.float32), "k": np.array([2, 1, 0])}
    assert Float64(model(text)).run(feeds)["y"].dtype == np.float64


CHAIN = """
g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}>
{
    m = Mul (x, w)
    s = Sigmoid (m)
    z = own.Nothing (m)
    y = Mul (m, s)
}
"""


def test_inner_tensors_and_only_the_nodes_they_need() -> None:
    evaluator = Float64(model(CHAIN))
    found = evaluator.run({"x": X}, ["m", "y", "w", "x"])
    np.testing.assert_allclose(found["m"], X * [1, 2, 3], rtol=1e-15)
    assert list(found) == ["m", "y", "w", "x"]


def test_a_fed_inner_tensor_is_frozen() -> None:
    found = Float64(model(CHAIN)).run({"x": X, "s": np.full((1, 3), 2.0)}, ["y", "s"])
    np.testing.assert_allclose(found["y"], 2 * X * [1, 2, 3], rtol=1e-15)
    assert (found["s"] == 2).all()


def test_a_frozen_output_of_a_node_whose_other_output_is_needed() -> None:
    text = """
    g (float[1, 4] x) => (float[1, 2] y)
    { a, b = Split <axis = 1> (x)
      y = Sub (a, b) }
    """
    feeds = {"x": np.array([[1.0, 2.0, 3.0, 4.0]]), "b": np.zeros((1, 2))}
    np.testing.assert_array_equal(Float64(model(text, 13)).run(feeds)["y"], [[1, 2]])


@pytest.mark.parametrize(
    ("feeds", "outputs", "message"),
    [
        ({"x": X}, ["mm"], "no tensor `mm`; did you mean `m`"),
        ({"xx": X}, ["m"], "no tensor `xx`; did you mean `x`"),
        ({}, ["m"], "no value for input `x`"),
    ],
)
def test_wrong_names(feeds: dict[str, Any], outputs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Float64(model(CHAIN)).run(feeds, outputs)


def test_what_cannot_be_evaluated_names_the_operator() -> None:
    with pytest.raises(Unsupported, match="Nothing"):
        Float64(model(CHAIN)).run({"x": X}, ["z"])


def test_a_failing_node_is_named() -> None:
    text = "g (float[1, 3] x) => (y) <float[2] w = {1, 2}> { y = Mul (x, w) }"
    with pytest.raises(Unsupported, match="Mul `y`: cannot be evaluated in float64: ValueError"):
        Float64(model(text)).run({"x": X})


def test_nodes_in_any_order() -> None:
    proto = model(CHAIN)
    del proto.graph.node[2]
    shuffled = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(shuffled)
    expected = Float64(model(CHAIN)).run({"x": X})["y"]
    np.testing.assert_array_equal(Float64(proto).run({"x": X})["y"], expected)


def test_a_cycle_is_an_error() -> None:
    proto = model(CHAIN)
    proto.graph.node[0].input[1] = "s"
    with pytest.raises(ModelError, match="cycle"):
        Float64(proto).run({"x": X})


INNER = """
<domain: "own", opset_import: ["": 17]> Inner <k> (x, spare) => (y)
{ c = Constant <value_float : float = @k> ()
  e = Erf (x)
  y = Mul (e, c) }
"""
OUTER = """
<domain: "own", opset_import: ["": 17, "own": 1]> Outer (x) => (y)
{ h = own.Inner <k = 0.5> (x)
  one = Constant <value = float {1}> ()
  y = Add (h, one) }
"""


@pytest.mark.parametrize("functions", [INNER + OUTER, OUTER + INNER])
def test_functions_use_the_own_kernels(functions: str) -> None:
    text = "g (float[1, 3] x) => (float[1, 3] y) { y = own.Outer (x) }"
    found = Float64(model(text, functions=functions)).run({"x": X})["y"]
    np.testing.assert_allclose(found, [[1 + 0.5 * erf(v) for v in X[0]]], rtol=1e-15)


def test_a_function_that_calls_itself_is_an_error() -> None:
    functions = INNER.replace("Erf (x)", "own.Inner <k = 0.5> (x)")
    text = "g (float[1, 3] x) => (float[1, 3] y) { y = own.Inner <k = 1.0> (x) }"
    with pytest.raises(ModelError, match="a function calls itself"):
        Float64(model(text, functions=functions))


LOOP = """
g (int64 n, float[3] x) => (float[3] total, float[n, 3] all)
{
    keep = Constant <value = bool {1}> ()
    total, all = Loop (n, keep, x) <body =
        b (int64 i, bool c, float[3] v) => (bool go, float[3] w, float[3] row)
        {
            go = Identity (c)
            w = Add (v, x)
            row = Sigmoid (w)
        }
    >
}
"""


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_loop(turns: int) -> None:
    feeds = {"n": np.array(turns), "x": X[0]}
    found = Float64(model(LOOP)).run(feeds)
    np.testing.assert_allclose(found["total"], X[0] * (turns + 1), rtol=1e-15)
    rows = [1 / (1 + np.exp(-X[0] * (i + 2))) for i in range(turns)]
    np.testing.assert_allclose(found["all"], np.reshape(rows, (turns, 3)), rtol=1e-15)


def test_scan_backwards() -> None:
    text = """
    g (float[1] s, float[1, 3] x) => (float[1] last, float[1, 3] sums)
    {
        last, sums = Scan <
            num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
            scan_output_axes = [1], scan_output_directions = [1],
            body = b (float[1] a, float[1] v) => (float[1] t, float[1] u)
            { t = Add (a, v)
              u = Identity (t) }
        > (s, x)
    }
    """
    found = Float64(model(text)).run({"s": np.zeros(1), "x": X})
    np.testing.assert_allclose(found["sums"], np.cumsum(X[:, ::-1], axis=1)[:, ::-1])
    np.testing.assert_allclose(found["last"], X.sum(axis=1))


def test_quantised_weights_stay_and_become_double() -> None:
    text = """
    g (float[1, 3] x) => (float[1, 3] y) <int8[3] w = {1, -2, 3}, float s = {0.5}, int8 z = {1}>
    { d = DequantizeLinear (w, s, z)
      y = Mul (x, d) }
    """
    found = Float64(model(text)).run({"x": X}, ["y", "w"])
    assert found["w"].dtype == np.int8
    np.testing.assert_allclose(found["y"], X * [0, -1.5, 1])


def test_overflow_and_division_by_zero_warn_nobody() -> None:
    text = """
    g (float[1, 3] x) => (float[1, 3] y)
    { e = Exp (x)
      l = Log (x)
      r = Reciprocal (x)
      p = Pow (x, l)
      y = Sum (e, l, r, p) }
    """
    with np.errstate(all="raise"):
        found = Float64(model(text)).run({"x": np.array([[1e4, 0.0, -1.0]])})["y"]
    assert not np.isfinite(found).any()


def test_a_mask_by_hard_sigmoid_is_exact() -> None:
    text = """
    g (float[1, 3] x) => (float[1, 3] y)
    { y = HardSigmoid <alpha = 8.507059173023462e37, beta = 0.0> (x) }
    """
    found = Float64(model(text)).run({"x": np.array([[1e-30, 0.0, 1e300]])})["y"]
    np.testing.assert_array_equal(found, [[1, 0, 1]])


def test_random_dropout_is_refused() -> None:
    text = """
    g (float[1, 3] x) => (float[1, 3] y) <float r = {0.5}, bool t = {1}> { y = Dropout (x, r, t) }
    """
    with pytest.raises(Unsupported, match="Dropout `y`: dropout in training mode is random"):
        Float64(model(text)).run({"x": X})


def external(folder: Path) -> onnx.ModelProto:
    """Return a model whose weight lies in a file."""
    text = "g (float[1, 512] x) => (float[1, 512] y) { y = Mul (x, w) }"
    proto = model(text)
    weight = onnx.numpy_helper.from_array(np.arange(512, dtype=np.float32), "w")
    proto.graph.initializer.append(weight)
    path = folder / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    return onnx.load(path, load_external_data=False)


def test_external_weights(tmp_path: Path) -> None:
    proto = external(tmp_path)
    found = Float64(proto, tmp_path).run({"x": np.full((1, 512), 0.5)})["y"]
    np.testing.assert_array_equal(found, [np.arange(512) / 2])


def test_missing_external_weights(tmp_path: Path) -> None:
    proto = external(tmp_path)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match="tensor `w`: cannot read its values"):
        Float64(proto, tmp_path)
