"""A read-only view of a prepared model: who makes, reads and shapes each tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx_graphsurgeon.logger import G_LOGGER

from rfponnx.errors import ModelError
from rfponnx.graph.load import is_external, reference
from rfponnx.graph.prepare import Prepared, default_opset
from rfponnx.graph.shapes import Facts, Shape, infer

FLOATS = frozenset(
    (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)
)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node of the main graph.

    Parameters
    ----------
    index
        Position in the file.
    inputs, outputs
        Tensor names; "" for an absent optional one.
    attrs
        Decoded attributes: numbers, text, lists of them, arrays, GraphProto.
    """

    index: int
    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Name for messages and for patterns."""
        return self.name or f"{self.op}_{self.index}"

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` if the node does not have it."""
        return self.attrs.get(name, default)


class Graph:
    """The main graph of a prepared model with everything known about its tensors.

    Parameters
    ----------
    prepared
        Result of `prepare`; it is read and never changed.

    Attributes
    ----------
    opset, ir_version
        Of the default domain; of the file.
    nodes
        In file order.
    inputs, outputs
        Names; an input that has an initializer is a weight, not an input.
    initializers
        Names of all stored tensors of the main graph.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        proto = self.proto = prepared.proto
        self.opset = default_opset(proto)
        self.ir_version: int = proto.ir_version
        self._stored = {t.name: t for t in proto.graph.initializer}
        sparse = {s.values.name for s in proto.graph.sparse_initializer}
        self.initializers = frozenset(self._stored) | sparse
        given = (value.name for value in proto.graph.input)
        self.inputs = tuple(name for name in given if name not in self.initializers)
        self.outputs = tuple(value.name for value in proto.graph.output)
        self.nodes = tuple(_node(i, n) for i, n in enumerate(proto.graph.node))
        self._producers, self._consumers = _wiring(proto, self.nodes)
        self._facts: Facts = infer(proto)

    def producer(self, tensor: str) -> Node | None:
        """Return the node that makes a tensor, None for inputs and initializers."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, themselves or in a subgraph, in file order."""
        return self._consumers.get(tensor, ())

    def tensors(self) -> tuple[str, ...]:
        """Return all tensor names of the main graph: inputs, initializers, node outputs."""
        made = (name for node in self.nodes for name in node.outputs if name)
        return (*self.inputs, *sorted(self.initializers), *made)

    def dtype(self, tensor: str) -> int | None:
        """Return the element type (`onnx.TensorProto` number), None if unknown."""
        return self._facts.dtypes.get(tensor)

    def is_float(self, tensor: str) -> bool:
        """Say whether a tensor is float16, bfloat16, float or double."""
        return self.dtype(tensor) in FLOATS

    def shape(self, tensor: str) -> Shape | None:
        """Return per axis a size, a symbol (equal means equal) or None; None: unknown rank."""
        return self._facts.shapes.get(tensor)

    def rank(self, tensor: str) -> int | None:
        """Return the number of axes, None if unknown."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def is_constant(self, tensor: str) -> bool:
        """Say whether no input can change a tensor; loads nothing."""
        if tensor in self.initializers or tensor in self._facts.values:
            return True
        node = self.producer(tensor)
        return node is not None and node.op == "Constant" and not node.domain

    def constant(self, tensor: str) -> np.ndarray | None:
        """Return the value of a constant, read from the external file if it lies there."""
        if tensor in self._facts.values:
            return self._facts.values[tensor]
        if tensor in self._stored:
            return read_tensor(self._stored[tensor], self.prepared.loaded.folder)
        node = self.producer(tensor)
        if node is None or node.op != "Constant" or node.domain:
            return None
        return constant_value(self.proto.graph.node[node.index], self.prepared.loaded.folder)


def read_tensor(tensor: TensorProto, folder: Path | None) -> np.ndarray:
    """Return a stored tensor as an array; of external data only its own bytes are read.

    Raises
    ------
    ModelError
        If the data does not fit the dimensions or cannot be read.
    """
    try:
        if is_external(tensor):
            held = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            held.raw_data = _external(tensor, folder)
            return numpy_helper.to_array(held)
        return numpy_helper.to_array(tensor)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"stored values cannot be read: {error}", tensor.name) from error


def constant_value(node: NodeProto, folder: Path | None) -> np.ndarray | None:
    """Return what a Constant node yields, whichever attribute holds it."""
    for a in node.attribute:
        if a.name == "value":
            return read_tensor(a.t, folder)
        if a.name in ("value_float", "value_floats"):
            return np.array(a.f if a.name == "value_float" else list(a.floats), np.float32)
        if a.name in ("value_int", "value_ints"):
            return np.array(a.i if a.name == "value_int" else list(a.ints), np.int64)
        if a.name in ("value_string", "value_strings"):
            return np.array(a.s if a.name == "value_string" else list(a.strings), object)
    return None


def _external(tensor: TensorProto, folder: Path | None) -> bytes:
    if folder is None:
        raise ModelError("external data of a model that has no folder", tensor.name)
    ref = reference(tensor)
    with (folder / ref.location).open("rb") as file:
        file.seek(ref.offset)
        return file.read(ref.length)


def _node(index: int, proto: NodeProto) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    attrs = MappingProxyType({a.name: _decoded(a) for a in proto.attribute})
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(index, proto.name, proto.op_type, domain, inputs, outputs, attrs)


def _decoded(a: AttributeProto) -> Any:
    kind = AttributeProto
    if a.type == kind.TENSOR:
        return a.t if is_external(a.t) else numpy_helper.to_array(a.t)
    if a.type == kind.TENSORS:
        return [t if is_external(t) else numpy_helper.to_array(t) for t in a.tensors]
    if a.type == kind.STRING:
        return a.s.decode("utf-8", "replace")
    if a.type == kind.STRINGS:
        return [s.decode("utf-8", "replace") for s in a.strings]
    if a.type in (kind.FLOATS, kind.INTS, kind.GRAPHS):
        return list({kind.FLOATS: a.floats, kind.INTS: a.ints, kind.GRAPHS: a.graphs}[a.type])
    single = {kind.FLOAT: a.f, kind.INT: a.i, kind.GRAPH: a.g}
    return single.get(a.type)


def _wiring(
    proto: ModelProto, nodes: tuple[Node, ...]
) -> tuple[dict[str, Node], dict[str, tuple[Node, ...]]]:
    """Return producer and consumers by tensor name, as graphsurgeon sees them."""
    with G_LOGGER.suppress():
        graph = gs.import_onnx(proto)
    producers = {name: node for node in nodes for name in node.outputs if name}
    readers: dict[str, dict[int, Node]] = {}
    for index, node in enumerate(graph.nodes):
        for name in _read(node):
            readers.setdefault(name, {})[index] = nodes[index]
    return producers, {name: tuple(found.values()) for name, found in readers.items()}


def _read(node: Any) -> Iterator[str]:
    """Yield what a graphsurgeon node reads, in its subgraphs too."""
    yield from (tensor.name for tensor in node.inputs if tensor.name)
    for value in node.attrs.values():
        for graph in value if isinstance(value, list) else [value]:
            if isinstance(graph, gs.Graph):
                for inner in graph.nodes:
                    yield from _read(inner)
                yield from (tensor.name for tensor in graph.outputs)


__all__ = ["Graph", "GraphProto", "Node", "constant_value", "read_tensor"]
