"""Every case of the op tables, backward: nothing is lost, whatever the operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from rfponnx.graph.graph import Graph
from rfponnx.methods.convert import Converted, emit_model, plan_for, read
from rfponnx.plan.options import Options
from rfponnx.verify.float64 import Float64
from tests.backward.seeds import imbalance
from tests.ops.harness import Case, run_float32
from tests.ops.test_laws import ALLOWED

Array = np.ndarray[Any, Any]

EXACT, SINGLE = 1e-10, 1e-4
#: What is carried differs: multipliers; relevance itself, down to the input; multipliers of
#: rules without any eps, with policies of their own.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "gradient": {"method": "gradient_x_input"},
    "flat": {"method": "lrp", "composite": "flat", "target": "seed"},
    "no eps": {
        "method": "lrp", "composite": "z_plus", "residual": "ratio",
        "set": {"eps": 0, "stabiliser": 0, "batchnorm": "pass"},
    },
}  # fmt: skip
#: Nothing to choose a class from, or a number of the forward direction.
LEFT_OUT = {
    "Reshape-18-allowzero",
    "Split-18-a_part_of_no_length",
    "Slice-18-nothing",
    "Sigmoid-18-shifted",
}
#: x exp(x) is no float32 there.
OVERFLOWS = {"Exp-18-almost_overflowing"}
#: Sums that are 0 but for rounding, which relevance itself is divided by.
ROUNDED = ("DFT-",)

CASES = tuple(c for c in ALLOWED if str(c) not in LEFT_OUT)
cases = pytest.mark.parametrize("case", CASES, ids=str)


@cache
def graph(case: Case) -> Graph:
    """Return the prepared model of a case."""
    return read(case.model(), Options.asked(method="lrp"))


@cache
def converted(case: Case, way: str) -> Converted:
    """Return the backward conversion of a case, bias and leak in the graph."""
    model = graph(case)
    explain = next(o for o in model.outputs if model.is_float(o))
    if case.explain is not None:
        explain = f"y{case.explain[0]}"
    given = {k: v for k, v in case.options.items() if k not in ("bias", "linearisation")}
    options = Options.asked(**{**given, "account": "explicit", "explain": explain, **WAYS[way]})
    sources = {n: n for n in case.names if n.startswith("x")}
    return emit_model(plan_for(model, options, sources, None))


def feeds(case: Case, made: Converted) -> dict[str, Array]:
    """Return the inputs of a case, and a drawn seed where it asks for one."""
    found = case.feeds()
    if made.plan.options.target == "seed":
        first = made.plan.explained[0].tensor
        shape = Float64(case.model()).run(found, [first])[first].shape
        dtype = helper.tensor_dtype_to_np_dtype(made.plan.graph.dtype(first) or 1)
        found["seed"] = np.random.default_rng(0).normal(size=shape).astype(dtype)
    return found


@cache
def apart(case: Case, tensor: str) -> bool:
    """Tell whether each sample of the sources reaches only its own sample of a tensor."""
    values, model = case.feeds(), Float64(case.model())
    sources = {n: v for n, v in values.items() if n.startswith("x")}
    before = model.run(values, [tensor])[tensor]
    if not before.ndim or not all(v.ndim and len(v) == len(before) for v in sources.values()):
        return False
    for place in range(len(before)):
        moved = {n: v.copy() for n, v in sources.items()}
        for value in moved.values():
            value[place] = value[place] * 0.5 + np.linspace(0.1, 0.2, value[place].size).reshape(
                value[place].shape
            )
        after = model.run({**values, **moved}, [tensor])[tensor]
        others = np.arange(len(before)) != place
        if not np.array_equal(before[others], after[others]):
            return False
    return True


@cases
def test_nothing_is_lost(case: Case) -> None:
    for way in WAYS:
        made = converted(case, way)
        given, one = feeds(case, made), made.plan.explained[0].tensor
        whole = not apart(case, one)
        gap = imbalance(made, Float64(made.model).run(given), given, whole=whole)
        assert gap <= EXACT, way


@cases
def test_nothing_is_lost_in_onnx_runtime(case: Case) -> None:
    for way in ("gradient", "flat"):
        if str(case) in OVERFLOWS or (way == "flat" and str(case).startswith(ROUNDED)):
            continue
        made = converted(case, way)
        given, one = feeds(case, made), made.plan.explained[0].tensor
        half = made.plan.graph.dtype(one) in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        whole, bound = not apart(case, one), 2e-2 if half else SINGLE
        assert imbalance(made, run_float32(made.model, given), given, whole=whole) <= bound, way
