"""Graph inputs that a method adds to those of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import TensorProto, ValueInfoProto, helper

from rfponnx.emit.seed import SEED, TARGET
from rfponnx.plan.plan import Plan


def extra_inputs(plan: Plan) -> Iterator[ValueInfoProto]:
    """Yield the inputs that say at run time what is to be explained."""
    if not plan.options.backward:
        return
    one = plan.explained[0]
    shape, dtype = list(plan.graph.shape(one.tensor) or ()), plan.graph.dtype(one.tensor)
    if any(t.kind == "input" for t in plan.targets):
        free = [f"{TARGET}_{axis}" for axis in range(len(shape) - 1)]
        yield helper.make_tensor_value_info(TARGET, TensorProto.INT64, free)
    if any(t.kind == "seed" for t in plan.targets):
        yield helper.make_tensor_value_info(SEED, dtype or TensorProto.FLOAT, shape)


def described(plan: Plan, name: str) -> dict[str, Any]:
    """Return what the metadata says of an added input."""
    return {"kind": name, "of": plan.explained[0].tensor}
