"""The same networks as ONNX models, and their relevance graphs run in float64 and float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import rfponnx
from rfponnx.verify.float64 import Float64
from tests.ops.harness import run_float32
from tests.reference.net import Array, Net, Step

OPS = {
    "conv": "Conv", "dense": "Gemm", "batchnorm": "BatchNormalization", "relu": "Relu",
    "maxpool": "MaxPool", "avgpool": "AveragePool", "global": "GlobalAveragePool",
    "leaky": "LeakyRelu", "tanh": "Tanh", "sigmoid": "Sigmoid",
    "flatten": "Flatten", "add": "Add", "concat": "Concat",
}  # fmt: skip
STORED = {"conv": "wb", "dense": "wb", "batchnorm": ("scale", "shift", "mean", "var")}


def export(net: Net, opset: int = 17) -> ModelProto:
    """Return the model ``x`` [N, *shape] to the last step; weights are called ``<step>.w``."""
    nodes, weights = [], []
    for step in net.steps:
        keys = [k for k in STORED.get(step.kind, ()) if step.p.get(k) is not None]
        stored = [np.asarray(step.p[k], np.float32) for k in keys]
        names = [f"{step.name}.{k}" for k in keys]
        weights += [numpy_helper.from_array(a, n) for a, n in zip(stored, names, strict=True)]
        nodes.append(_node(step, names))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *net.shape])
    y = helper.make_tensor_value_info(net.out, TensorProto.FLOAT, ["N", *net.shapes[net.out]])
    graph = helper.make_graph(nodes, "reference", [x], [y], weights)
    sets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def _node(step: Step, stored: list[str]) -> NodeProto:
    p: Mapping[str, Any] = step.p
    attrs: dict[str, Any] = {}
    if step.kind in ("conv", "maxpool", "avgpool"):
        kernel = p["w"].shape[2] if step.kind == "conv" else p["kernel"]
        stride = p.get("stride", 1 if step.kind == "conv" else kernel)
        attrs = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
        attrs["pads"] = [p.get("pad", 0)] * 4
    if step.kind == "conv":
        attrs["group"] = p.get("group", 1)
    if step.kind == "leaky":
        attrs["alpha"] = 0.125
    if step.kind == "dense":
        attrs["transB"] = 1
    if step.kind == "batchnorm":
        attrs["epsilon"] = float(p["eps"])
    if step.kind == "concat":
        attrs["axis"] = 1
    return helper.make_node(
        OPS[step.kind], [*step.reads, *stored], [step.name], name=f"{step.name}_node", **attrs
    )


def relevance(
    net: Net, feeds: Mapping[str, Array], *, single: bool = False, **options: Any
) -> dict[str, Array]:
    """Return the outputs of the converted model, in float64 or (`single`) in ONNX Runtime."""
    made = rfponnx.convert(export(net), **options).model
    given = {n: np.asarray(a, np.float32) for n, a in feeds.items()}
    return run_float32(made, given) if single else Float64(made).run(given)
