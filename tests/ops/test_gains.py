"""Steps and signs as they are spelled: exact beside every threshold, finite everywhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rfponnx.graph.builder import Builder, model_with
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.maps.expr import Expr, choose, number, sign, tensor
from tests.ops.harness import Array, run_float32

BOUNDS = (0.0, 0.5, -0.7, 1.0, 6.0, -3.0, 1e-30, -1e-30, 2e8, 1e30, 3.4e38)
TYPES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
TYPES[TensorProto.DOUBLE] = np.float64


def evaluate(expression: Expr, x: Array) -> Array:
    """Return an expression of the tensor `x` as ONNX Runtime computes it."""
    dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
    ends = [helper.make_tensor_value_info(n, dtype, [x.size]) for n in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "gain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    primal = Graph(prepare(load(model), 13))
    b = Builder(primal)
    b.named("gain", "Identity", expression.emit(b, dtype))
    written = model_with(primal.proto, b)
    written.graph.output.append(onnx.ValueInfoProto(name="gain"))
    return run_float32(onnx.shape_inference.infer_shapes(written), {"x": x})["gain"]


def points(kind: type[np.floating]) -> Array:
    """Return zeros, extremes, the thresholds and their neighbours, no subnormals."""
    info = np.finfo(kind)
    with np.errstate(over="ignore"):
        near = np.array([b for b in BOUNDS if abs(kind(b)) <= info.max], kind)
    extremes = np.array([0.0, -0.0, info.tiny, -info.tiny, info.max, info.min, 1e-3, 7.0], kind)
    with np.errstate(over="ignore"):
        sides = [np.nextafter(near, kind(s)) for s in (-np.inf, np.inf)]
    found = np.concatenate([near, *sides, extremes])
    normal = np.isfinite(found) & ((np.abs(found) >= info.tiny) | (found == 0))
    return np.asarray(found[normal])


@pytest.mark.parametrize("kind", TYPES.values())
@pytest.mark.parametrize("bound", BOUNDS)
def test_steps_are_exact_beside_their_threshold(bound: float, kind: type[np.floating]) -> None:
    x = points(kind)
    with np.errstate(over="ignore"):
        limit = kind(bound)
    if not np.isfinite(limit):
        return
    np.testing.assert_array_equal(evaluate(tensor("x") > number(bound), x), x > limit)
    np.testing.assert_array_equal(evaluate(tensor("x") < number(bound), x), x < limit)


@pytest.mark.parametrize("kind", TYPES.values())
def test_signs_are_exact(kind: type[np.floating]) -> None:
    x = points(kind)
    np.testing.assert_array_equal(evaluate(sign(tensor("x")), x), np.sign(x))


def test_subnormal_numbers_get_a_part_of_the_step() -> None:
    x = np.array([1e-45, 1e-39, -1e-39, -1e-45], np.float32)
    steps, signs = evaluate(tensor("x") > number(0), x), evaluate(sign(tensor("x")), x)
    assert (steps >= 0).all()
    assert (steps <= 1).all()
    assert (signs * x >= 0).all()
    assert (np.abs(signs) <= 1).all()


@pytest.mark.parametrize("kind", TYPES.values())
def test_a_choice_takes_one_side_whole(kind: type[np.floating]) -> None:
    x = points(kind)
    found = evaluate(choose(tensor("x") > number(0), number(1), number(0.25)), x)
    np.testing.assert_array_equal(found, np.where(x > 0, kind(1), kind(0.25)))
