"""A model without its large values: what inference needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
)
from onnx import defs as schemas

from rfponnx.graph.external import is_external
from rfponnx.graph.fold import as_tensor
from rfponnx.graph.prepare import SMALL, declared
from rfponnx.graph.tensor import constant_value, read_tensor
from rfponnx.graph.walk import given, tensors

#: Names that exporters give to any dimension they do not know: no two need be equal.
ANONYMOUS = frozenset(("", "?", "*", "-1", "None", "unknown"))


def skeleton(proto: ModelProto, folder: Path | None) -> ModelProto:
    """Return the model with large values as inputs and no shapes that nobody checks.

    A run does not verify the declared shapes of intermediate tensors and outputs, and
    exporters get them wrong; they are kept only where no schema can tell more.
    """
    light = ModelProto(ir_version=8)  # from IR 4 on initializers need not be inputs
    light.opset_import.extend(proto.opset_import)
    source, graph = proto.graph, light.graph
    graph.name = "skeleton"  # the original may be no text
    sparse = [s.values.name for s in source.sparse_initializer]
    stored = {tensor.name for tensor in source.initializer}.union(sparse)
    graph.input.extend(value for value in source.input if value.name not in stored)
    for value in graph.input:
        _name_dims(value.name, value.type, _symbols(source))
    for held in source.sparse_initializer:
        shape, kind = list(held.dims), held.values.data_type
        graph.input.append(helper.make_tensor_value_info(held.values.name, kind, shape))
    # of two initializers with one name ONNX Runtime takes the last
    for tensor in {tensor.name: tensor for tensor in source.initializer}.values():
        _store(graph, tensor, folder)
    for node in source.node:
        _append(graph, node, folder)
    for value in _declared_once(source):
        graph.output.append(value)
        if value.type.HasField("tensor_type"):
            graph.output[-1].type.tensor_type.ClearField("shape")
    graph.value_info.extend(_unschooled(proto))
    return light


def _declared_once(graph: GraphProto) -> Iterator[ValueInfoProto]:
    """Yield the outputs of which the declared type counts: nodes' own, the first of a name."""
    seen = given(graph)
    for value in graph.output:
        if value.name not in seen:
            seen.add(value.name)
            yield value


def read_dims(tensor: TypeProto.Tensor) -> tuple[int | str | None, ...] | None:
    """Return the declared shape: sizes, symbols, None; None for an unknown rank."""
    return tuple(map(_dim, tensor.shape.dim)) if tensor.HasField("shape") else None


def _dim(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return None if dim.dim_param in ANONYMOUS else str(dim.dim_param)


def _symbols(graph: GraphProto) -> set[str]:
    """Return the symbols that the inputs declare."""
    typed = (value.type.tensor_type for value in graph.input)
    return {dim for tensor in typed for dim in read_dims(tensor) or () if isinstance(dim, str)}


def _name_dims(name: str, kind: TypeProto, taken: set[str]) -> None:
    """Give every unknown dimension of an input a symbol of its own."""
    if not kind.HasField("tensor_type"):
        return
    for axis, dim in enumerate(kind.tensor_type.shape.dim):
        if _dim(dim) is None:
            symbol = f"{name}_{axis}"
            while symbol in taken:
                symbol += "_"
            dim.dim_param = symbol


def _store(graph: GraphProto, tensor: TensorProto, folder: Path | None) -> None:
    """Add a stored tensor: with its values if there are few, as an input otherwise."""
    if _is_big(tensor) or tensor.data_type == TensorProto.STRING:
        graph.input.append(declared(tensor))
    elif is_external(tensor):
        graph.initializer.append(as_tensor(read_tensor(tensor, folder), tensor.name))
    else:
        graph.initializer.append(tensor)


def _is_big(tensor: TensorProto) -> bool:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count > SMALL


def _append(graph: GraphProto, node: NodeProto, folder: Path | None) -> None:
    """Add a node; a Constant becomes what it stores, large values in subgraphs are left out."""
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and node.output:
        held = [a.t for a in node.attribute if a.name == "value"]
        if held and _is_big(held[0]):
            graph.input.append(declared(held[0]))
            graph.input[-1].name = node.output[0]
            return
        value = constant_value(node, folder)
        if value is not None and value.dtype != object:
            graph.initializer.append(as_tensor(value, node.output[0]))
            return
    graph.node.append(node)
    for tensor in _inner(graph.node[-1]):
        if _is_big(tensor):
            _empty(tensor)


def _inner(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from tensors(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield from tensors(graph)


def _empty(tensor: TensorProto) -> None:
    """Leave name, type and dimensions: inference takes external values for unknown."""
    bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    bare.data_location = TensorProto.EXTERNAL
    bare.external_data.add(key="location", value="-")
    tensor.CopyFrom(bare)


def _unschooled(proto: ModelProto) -> Iterator[Any]:
    """Yield the declared types of what operators without a schema produce."""
    opsets = {o.domain: o.version for o in proto.opset_import}
    opsets.setdefault("", opsets.get("ai.onnx", 1))
    names: set[str] = set()
    for node in proto.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if not schemas.has(node.op_type, opsets.get(domain, 1), domain):
            names.update(node.output)
    outputs = {value.name for value in proto.graph.output}
    yield from (v for v in proto.graph.value_info if v.name in names - outputs)
