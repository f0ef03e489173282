"""Small graphs for the tests of the plan, and shorthands for the plan of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto, helper, numpy_helper

from rfponnx.graph.graph import Graph
from rfponnx.methods.convert import plan_for, read
from rfponnx.plan.options import Options
from rfponnx.plan.plan import Plan

Shapes = Mapping[str, Sequence[int]]


def model_of(text: str, weights: Shapes | None = None, *, opset: int = 17) -> ModelProto:
    """Return the model that a text says (``onnx.parser``), weights drawn for their shapes."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}')
    rng = np.random.default_rng(1)
    for name, shape in (weights or {}).items():
        value = rng.normal(size=tuple(shape)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def summed(names: Sequence[str], shape: Sequence[int | str] = ("N", 6, 8)) -> ModelProto:
    """Return a model that adds inputs of any names."""
    infos = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in names]
    out = helper.make_tensor_value_info("total", onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Sum", names, ["total"])], "g", infos, [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@cache
def _read(serialised: bytes) -> Graph:
    return read(serialised)


def graph_of(model: ModelProto | str, weights: Shapes | None = None) -> Graph:
    """Return the analysed graph of a model, analysed once."""
    model = model_of(model, weights) if isinstance(model, str) else model
    return _read(model.SerializeToString())


def plan_of(
    model: ModelProto | str, *sources: str, masks: str | None = None,
    weights: Shapes | None = None, **options: Any,
) -> Plan:  # fmt: skip
    """Return the plan of a model for sources as they are written on the command line."""
    return plan_for(graph_of(model, weights), Options(**options), list(sources), masks)
