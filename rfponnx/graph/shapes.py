"""Shape, type and constant facts about the tensors of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto, shape_inference

from rfponnx.graph.prepare import outline

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the tensors of the main graph.

    Parameters
    ----------
    dtypes
        Element type (`onnx.TensorProto` number) by tensor.
    shapes
        Per axis: a size, a symbol (equal symbols mean equal sizes) or None.
    values
        Tensors whose value no input can change, as far as shape arithmetic goes.
    """

    dtypes: Mapping[str, int]
    shapes: Mapping[str, Shape]
    values: Mapping[str, np.ndarray]


def infer(proto: ModelProto) -> Facts:
    done = shape_inference.infer_shapes(outline(proto), data_prop=True)
    dtypes: dict[str, int] = {}
    shapes: dict[str, Shape] = {}
    for t in proto.graph.initializer:
        dtypes[t.name], shapes[t.name] = t.data_type, tuple(t.dims)
    for v in [*done.graph.input, *done.graph.output, *done.graph.value_info]:
        if v.type.HasField("tensor_type") and v.type.tensor_type.elem_type:
            dtypes[v.name] = v.type.tensor_type.elem_type
            shape = read_shape(v)
            if shape is not None:
                shapes[v.name] = shape
    return Facts(dtypes, shapes, {})


def read_shape(value: ValueInfoProto) -> Shape | None:
    """Return the declared shape, None for an unknown rank."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim
    )
