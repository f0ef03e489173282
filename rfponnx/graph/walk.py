"""Ways through a graph: nested graphs, what nodes read, their order, what they store."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that a control-flow node holds."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def reads(node: NodeProto) -> set[str]:
    """Return the names a node reads, those its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= free_names(graph)
    return names


def free_names(graph: GraphProto) -> set[str]:
    """Return the names that a subgraph takes from the graphs around it."""
    own = given(graph)
    used = {value.name for value in graph.output}
    for node in graph.node:
        own.update(node.output)
        used |= reads(node)
    return used - own - {""}


def order(nodes: Sequence[NodeProto]) -> list[int]:
    """Return the stable topological order of `nodes` (of positions).

    The node that comes first in the file is taken whenever it can run, so a
    graph in order keeps its order.  Nodes on or behind a cycle are left out.
    """
    sources_of = needs(nodes)
    readers: dict[int, list[int]] = {}
    for i, sources in enumerate(sources_of):
        for source in sources:
            readers.setdefault(source, []).append(i)
    missing = [len(sources) for sources in sources_of]
    ready = [i for i, count in enumerate(missing) if not count]
    done: list[int] = []
    while ready:
        done.append(heapq.heappop(ready))
        for reader in readers.get(done[-1], ()):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return done


def needs(nodes: Sequence[NodeProto]) -> list[set[int]]:
    """Return for each node the positions of those it reads from."""
    producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    return [{producer[n] for n in reads(node) if n in producer} for node in nodes]


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every stored tensor: initializers and attributes, nested graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.TENSORS:
                yield from attribute.tensors
        for inner in subgraphs(node):
            yield from tensors(inner)


def given(graph: GraphProto) -> set[str]:
    """Return the names that a graph has before any node runs."""
    names = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    return names | {sparse.values.name for sparse in graph.sparse_initializer}


def label(node: NodeProto, index: int) -> str:
    """Return how messages call a node: its operator and its name or position."""
    return f"{node.op_type} node `{node.name or f'{node.op_type}_{index}'}`"
