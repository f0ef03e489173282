"""A model in double precision: the same graph, its float tensors and types widened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)

from rfponnx.errors import ModelError

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
# integer attributes that name an element type
_TYPE_ATTRIBUTES = frozenset(
    {"to", "dtype", "output_datatype", "output_dtype"}
    | {"softmax_precision", "stash_type", "precision"}
)
# operators whose omitted type attribute means float32, whatever their inputs are
_FLOAT_BY_DEFAULT = {
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "SequenceEmpty": "dtype",
    "HannWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
}


def to_double(proto: ModelProto, folder: Path | None = None) -> ModelProto:
    """Return a copy of a model in which every float tensor is double.

    Parameters
    ----------
    proto
        The model; its weights may lie in files beside it.
    folder
        Where those files are.

    Raises
    ------
    ModelError
        If external data cannot be read.
    """
    model = ModelProto()
    model.CopyFrom(proto)
    _graph_to_double(model.graph, folder)
    for function in model.functions:
        nodes_to_double(function.node, folder)
        for value in function.value_info:
            _type_to_double(value.type)
    return model


def _graph_to_double(graph: GraphProto, folder: Path | None) -> None:
    for tensor in graph.initializer:
        _tensor_to_double(tensor, folder)
    for sparse in graph.sparse_initializer:
        _tensor_to_double(sparse.values, folder)
    for value in (*graph.input, *graph.output, *graph.value_info):
        _type_to_double(value.type)
    nodes_to_double(graph.node, folder)


def nodes_to_double(nodes: Iterable[NodeProto], folder: Path | None = None) -> None:
    """Turn every float in the attributes of nodes, and in their bodies, to double, in place."""
    for node in nodes:
        node.domain = "" if node.domain == "ai.onnx" else node.domain
        for attribute in node.attribute:
            _attribute_to_double(node, attribute, folder)
        _write_default(node)


def _attribute_to_double(node: NodeProto, attribute: AttributeProto, folder: Path | None) -> None:
    if attribute.HasField("t"):
        _tensor_to_double(attribute.t, folder)
    if attribute.HasField("sparse_tensor"):
        _tensor_to_double(attribute.sparse_tensor.values, folder)
    if attribute.HasField("g"):
        _graph_to_double(attribute.g, folder)
    if attribute.HasField("tp"):
        _type_to_double(attribute.tp)
    for tensor in attribute.tensors:
        _tensor_to_double(tensor, folder)
    for graph in attribute.graphs:
        _graph_to_double(graph, folder)
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _FLOATS:
        attribute.i = TensorProto.DOUBLE
    if node.op_type == "Constant" and not attribute.ref_attr_name:
        _constant_to_double(attribute)


def _constant_to_double(attribute: AttributeProto) -> None:
    """Spell `value_float(s)`, which is float32 by definition, as a double tensor."""
    if attribute.name == "value_float":
        value = np.asarray(attribute.f, np.float64)
    elif attribute.name == "value_floats":
        value = np.asarray(attribute.floats, np.float64)
    else:
        return
    attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))


def _write_default(node: NodeProto) -> None:
    names = {a.name for a in node.attribute}
    if node.op_type == "ConstantOfShape" and "value" not in names:
        zero = numpy_helper.from_array(np.zeros(1))
        node.attribute.append(helper.make_attribute("value", zero))
    name = _FLOAT_BY_DEFAULT.get(node.op_type)
    if name is not None and name not in names:
        node.attribute.append(helper.make_attribute(name, TensorProto.DOUBLE))


def _tensor_to_double(tensor: TensorProto, folder: Path | None) -> None:
    external = onnx.external_data_helper.uses_external_data(tensor)
    if tensor.data_type not in _FLOATS and not external:
        return
    name = tensor.name
    try:
        value = numpy_helper.to_array(tensor, str(folder or ""))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"cannot read its values: {error}", f"tensor `{name}`") from error
    if tensor.data_type in _FLOATS:
        value = value.astype(np.float64)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def _type_to_double(kind: TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type in _FLOATS:
        kind.tensor_type.elem_type = TensorProto.DOUBLE
    if kind.HasField("sparse_tensor_type") and kind.sparse_tensor_type.elem_type in _FLOATS:
        kind.sparse_tensor_type.elem_type = TensorProto.DOUBLE
    if kind.HasField("sequence_type"):
        _type_to_double(kind.sequence_type.elem_type)
    if kind.HasField("optional_type"):
        _type_to_double(kind.optional_type.elem_type)
    if kind.HasField("map_type"):
        _type_to_double(kind.map_type.value_type)
