"""The model once more, at other inputs: a reference, a step of a path, a noisy sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import AttributeProto, GraphProto, NodeProto

from rfponnx.graph.graph import Graph
from rfponnx.graph.walk import reads
from rfponnx.plan.flow import downstream


class Replica:
    """The part of a model that follows some tensors, under other names.

    Attributes
    ----------
    names
        For every tensor computed from the starts, and for these, what it is called here; all
        other tensors (weights, what the starts do not reach) are shared.
    """

    def __init__(self, graph: Graph, starts: Mapping[str, str], prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        moved = downstream(graph, starts)
        self.names = {t: f"{prefix}/{t}" for t in moved} | dict(starts)
        self._starts = frozenset(starts)

    def nodes(self, wanted: Iterable[str]) -> list[NodeProto]:
        """Return the nodes that compute some tensors here, in the order of the file."""
        needed = {t for t in wanted if t in self.names} - self._starts
        kept = []
        for node in reversed(self.graph.nodes):
            if needed.isdisjoint(node.outputs):
                continue
            proto = self.graph.proto.graph.node[node.index]
            kept.append(self.renamed(proto))
            needed |= {t for t in reads(proto) if t in self.names} - self._starts
        kept.reverse()
        return kept

    def renamed(self, proto: NodeProto) -> NodeProto:
        """Return a copy of a node, on the tensors of this copy of the model."""
        node = NodeProto()
        node.CopyFrom(proto)
        node.name = f"{self.prefix}/{proto.name}" if proto.name else ""
        self.rename(node)
        return node

    def rename(self, node: NodeProto) -> None:
        """Put a node on the tensors of this copy of the model."""
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                field[i] = self.names.get(name, name)
        for attribute in node.attribute:
            for graph in _graphs(attribute):
                for inner in graph.node:
                    self.rename(inner)


def _graphs(attribute: AttributeProto) -> list[GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        return [attribute.g]
    return list(attribute.graphs)
