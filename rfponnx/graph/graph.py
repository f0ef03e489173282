"""A read-only view of a prepared model: who makes, reads and shapes each tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto
from onnx_graphsurgeon.logger import G_LOGGER

from rfponnx.errors import ModelError
from rfponnx.graph.prepare import Prepared, default_opset
from rfponnx.graph.shapes import Facts, Shape, infer
from rfponnx.graph.tensor import constant_value, decoded, read_tensor
from rfponnx.graph.walk import label

FLOATS = frozenset(
    (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)
)
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


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
        self._facts: Facts = infer(proto, prepared.loaded.folder)

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
        """Say whether a tensor is stored, or known without running the model; loads nothing."""
        if tensor in self.initializers or tensor in self._facts.values:
            return True
        node = self.producer(tensor)
        return node is not None and node.op == "Constant" and not node.domain

    def constant(self, tensor: str) -> np.ndarray | None:
        """Return the value of a constant, read from the external file if it lies there.

        None for what is no constant, and for sparse initializers.

        Raises
        ------
        ModelError
            If the stored data does not fit its dimensions or cannot be read.
        """
        if tensor in self._facts.values:
            return self._facts.values[tensor]
        if tensor in self._stored:
            return read_tensor(self._stored[tensor], self.prepared.loaded.folder)
        node = self.producer(tensor)
        if node is None or node.op != "Constant" or node.domain:
            return None
        return constant_value(self.proto.graph.node[node.index], self.prepared.loaded.folder)


def _node(index: int, proto: NodeProto) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    try:
        attrs = MappingProxyType({a.name: decoded(a) for a in proto.attribute})
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"damaged attribute: {error}", label(proto, index)) from error
    if len(attrs) < len(proto.attribute):
        raise ModelError("an attribute is there twice", label(proto, index))
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(index, proto.name, proto.op_type, domain, inputs, outputs, attrs)


def _wiring(
    proto: ModelProto, nodes: tuple[Node, ...]
) -> tuple[dict[str, Node], dict[str, tuple[Node, ...]]]:
    """Return producer and consumers by tensor name, as graphsurgeon sees them."""
    try:
        with G_LOGGER.suppress():
            graph = gs.import_onnx(_bare(proto))
    except Exception as error:  # types and text that are none, in nested graphs
        raise ModelError(f"damaged nested graph: {error}") from error
    producers = {name: node for node in nodes for name in node.outputs if name}
    readers: dict[str, dict[int, Node]] = {}
    for index, node in enumerate(graph.nodes):
        for name in _read(node):
            readers.setdefault(name, {})[index] = nodes[index]
    return producers, {name: tuple(found.values()) for name, found in readers.items()}


def _bare(proto: ModelProto) -> ModelProto:
    """Return nodes and names only: graphsurgeon stumbles over text that is none."""
    bare = ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    for node in proto.graph.node:
        kept = bare.graph.node.add(op_type=node.op_type, name=node.name, domain=node.domain)
        kept.input.extend(node.input)
        kept.output.extend(node.output)
        kept.attribute.extend(a for a in node.attribute if a.type in _GRAPHS)
    return bare


def _read(node: Any) -> Iterator[str]:
    """Yield what a graphsurgeon node reads, in its subgraphs too."""
    yield from (tensor.name for tensor in node.inputs if tensor.name)
    for value in node.attrs.values():
        for graph in value if isinstance(value, list) else [value]:
            if isinstance(graph, gs.Graph):
                for inner in graph.nodes:
                    yield from _read(inner)
                yield from (tensor.name for tensor in graph.outputs)
