"""The secants of smooth functions keep their digits at every float, subnormal and huge ones too.

The references are written down from the mathematics, in double precision, with the functions of
`math` that exist for differences (expm1, log1p, erfc).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import rfponnx
from rfponnx.graph.builder import Builder, model_with
from rfponnx.maps.gain import Gain
from rfponnx.ops.activation import OPS as ACTIVATIONS
from rfponnx.ops.power import OPS as POWERS
from rfponnx.ops.selfgate import OPS as GATED
from rfponnx.verify.float64 import Float64
from tests.ops.harness import Array, run_float32

DIGITS = 1e-6  # relative, METHODS 2
TINY = 1e-37  # below this a float32 has fewer digits


@dataclass(frozen=True, eq=False)
class Row:
    """A function by its secant through the origin, for z != 0, and its value at 0."""

    op: str
    secant: Callable[[float], float]
    at_zero: float
    attrs: dict[str, Any] = field(default_factory=dict)
    opset: int = 22

    def __str__(self) -> str:
        return "-".join([self.op, *(f"{k}={v}" for k, v in self.attrs.items())])

    def model(self, count: int, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
        node = helper.make_node(self.op, ["x"], ["y"], "node", **self.attrs)
        info = [helper.make_tensor_value_info(n, dtype, [count]) for n in ("x", "y")]
        graph = helper.make_graph([node], "row", info[:1], info[1:])
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def expm1_ratio(z: float) -> float:
    return math.expm1(z) / z


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


def cubic_gelu(z: float) -> float:
    return sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


def mish(z: float) -> float:
    return math.tanh(math.log1p(math.exp(z))) if z < 30 else 1.0


ALPHA, GAMMA = 1.67326319217681884765625, 1.05070102214813232421875

ROWS = (
    Row("Sigmoid", lambda z: math.tanh(z / 2) / (2 * z), 0.25),
    Row("Tanh", lambda z: math.tanh(z) / z, 1),
    Row("Elu", lambda z: 1 if z > 0 else expm1_ratio(z), 1),
    Row("Elu", lambda z: 1 if z > 0 else 2.5 * expm1_ratio(z), 2.5, {"alpha": 2.5}),
    Row("Selu", lambda z: GAMMA * (1 if z > 0 else ALPHA * expm1_ratio(z)), GAMMA * ALPHA),
    Row("Celu", lambda z: 1 if z > 0 else expm1_ratio(z / 1.5), 1, {"alpha": 1.5}),
    Row("Gelu", lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), 0.5),
    Row("Gelu", cubic_gelu, 0.5, {"approximate": "tanh"}),
    Row("Swish", sigmoid, 0.5, opset=24),
    Row("Swish", lambda z: sigmoid(1.5 * z), 0.5, {"alpha": 1.5}, opset=24),
    Row("Mish", mish, 0.6),
    Row("HardSwish", lambda z: min(max(z + 3, 0), 6) / 6, 0.5),
    Row("Softplus", lambda z: (max(z, 0) - math.log1p(math.tanh(abs(z) / 2))) / z, 0.5),
    Row("Softsign", lambda z: 1 / (1 + abs(z)), 1),
    Row("Erf", lambda z: math.erf(z) / z, 2 / math.sqrt(math.pi)),
    Row("Exp", expm1_ratio, 1),
    Row("Sqrt", lambda z: 1 / math.sqrt(z), 0),
    Row("Sin", lambda z: math.sin(z) / z, 1),
    Row("Cos", lambda z: -2 * math.sin(z / 2) ** 2 / z, 0),
    Row("Tan", lambda z: math.tan(z) / z, 1),
    Row("Asin", lambda z: math.asin(z) / z, 1),
    Row("Acos", lambda z: -math.asin(z) / z, -1),
    Row("Atan", lambda z: math.atan(z) / z, 1),
    Row("Sinh", lambda z: math.sinh(z) / z, 1),
    Row("Cosh", lambda z: 2 * math.sinh(z / 2) ** 2 / z, 0),
    Row("Asinh", lambda z: math.asinh(z) / z, 1),
    Row("Atanh", lambda z: math.atanh(z) / z, 1),
)
#: Not finite at 0: there is no secant.
UNBOUNDED = tuple(Row(op, lambda z: z, 0) for op in ("Log", "Reciprocal", "Acosh"))

rows = pytest.mark.parametrize("row", ROWS, ids=str)


def points() -> Array:
    """Return floats of all magnitudes, denser where functions bend, both signs and both zeros."""
    sizes = [np.logspace(-45, 38.5, 3000), np.linspace(0.01, 30, 3001), np.linspace(30, 120, 400)]
    with np.errstate(over="ignore"):
        x = np.concatenate(sizes).astype(np.float32)
    x = x[np.isfinite(x)]
    return np.concatenate([x, -x, np.float32([0.0, -0.0])])


def expected(row: Row, x: Array) -> Array:
    """Return the secant at every point; NaN where the function is not defined or overflows."""
    found = np.full(x.shape, np.nan)
    for place, z in enumerate(x.astype(float)):
        try:
            found[place] = row.secant(z) if z else row.at_zero
        except (OverflowError, ValueError, ZeroDivisionError):
            continue
    return found


def gain_model(row: Row, count: int, kind: str = "weighted") -> onnx.ModelProto:
    """Return a model of the function whose output `gain` is what its linearisation multiplies."""
    plan = rfponnx.convert(row.model(count), explain="y", linearisation=kind).plan
    (step,) = plan.steps
    (term,) = step.linearisation.terms
    assert isinstance(term.map, Gain)
    b = Builder(plan.graph)
    b.named("gain", "Identity", term.map.gain.emit(b, TensorProto.FLOAT))
    model = model_with(plan.graph.proto, b)
    model.graph.output.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [count]))
    return model


@rows
def test_secants_are_right_at_every_float(row: Row) -> None:
    x = points()
    model, want = gain_model(row, len(x)), expected(row, x)
    runtime = run_float32(model, {"x": x})
    exact = Float64(model).run({"x": x.astype(float)})["gain"]
    defined = np.isfinite(want) & np.isfinite(runtime["y"])
    assert defined.sum() > 100
    for found in (runtime["gain"].astype(float), exact):
        error = np.abs(found - want)[defined] / np.maximum(np.abs(want[defined]), TINY)
        assert error.max() <= DIGITS


@pytest.mark.parametrize("kind", ["weighted", "ratio", "taylor"])
@pytest.mark.parametrize("row", ROWS + UNBOUNDED, ids=str)
def test_gains_are_finite_wherever_the_function_is(row: Row, kind: str) -> None:
    x = points()
    found = run_float32(gain_model(row, len(x), kind), {"x": x})
    finite = np.isfinite(found["y"])
    assert np.isfinite(found["gain"][finite]).all()


@rows
def test_ratio_is_zero_below_eps(row: Row) -> None:
    x = np.float32([0.0, -0.0, 1e-30, 0.999e-6, 1e-40])
    assert not run_float32(gain_model(row, len(x), "ratio"), {"x": x})["gain"].any()


def test_every_smooth_function_has_a_row() -> None:
    smooth = {op.name for op in (*ACTIVATIONS, *GATED, *POWERS) if op.group == "smooth"}
    assert smooth - {"Pow"} == {r.op for r in ROWS + UNBOUNDED}
