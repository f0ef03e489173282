"""Compare what is claimed of a model's tensors with what a run shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare

Runner = Any


def graph_of(model: Any, opset: int = 1) -> Graph:
    return Graph(prepare(load(model), opset))


def exposed(graph: Graph) -> tuple[ModelProto, list[str]]:
    """Return the model with every tensor of known type as an output."""
    model = ModelProto()
    model.CopyFrom(graph.proto)
    del model.graph.value_info[:]
    del model.graph.output[:]
    made = [n for node in graph.nodes for n in node.outputs if n]
    names = [n for n in made if graph.dtype(n) is not None and graph.shape(n) is not None]
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, graph.dtype(name) or 0, None))
    return model, names


def contradictions(
    graph: Graph, feeds: Sequence[Mapping[str, np.ndarray]], run: Runner
) -> list[str]:
    """Return what runs on `feeds` show to be false; raises if nothing ran."""
    model, names = exposed(graph)
    wrong: list[str] = []
    for feed in feeds:
        sizes: dict[str, int] = {}
        seen = dict(zip(names, run(model, feed, names), strict=True)) | dict(feed)
        for name, value in seen.items():
            shape = graph.shape(name)
            assert shape is not None
            if len(shape) != value.ndim:
                wrong.append(f"{name}: rank {len(shape)}, ran {value.shape}")
                continue
            for claim, size in zip(shape, value.shape, strict=True):
                known = sizes.setdefault(claim, size) if isinstance(claim, str) else claim
                if known is not None and known != size:
                    wrong.append(f"{name}: {shape}, ran {value.shape}")
            if helper.tensor_dtype_to_np_dtype(graph.dtype(name) or 0) != value.dtype:
                wrong.append(f"{name}: type {graph.dtype(name)}, ran {value.dtype}")
            constant = graph.constant(name) if graph.is_constant(name) else None
            if constant is not None and constant.dtype != value.dtype:
                wrong.append(f"{name}: constant of {constant.dtype}, ran {value.dtype}")
            if constant is not None and not np.array_equal(
                constant, value, equal_nan=value.dtype.kind == "f"
            ):
                wrong.append(f"{name}: constant {constant}, ran {value}")
    return wrong
