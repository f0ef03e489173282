"""Which tensors may hold infinities: those that masks of attention put there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rfponnx.graph.external import is_external
from rfponnx.graph.graph import FLOATS, Graph, Node

#: Functions whose values are finite at infinity, too.
BOUNDED = frozenset(
    {"Softmax", "Hardmax", "Sigmoid", "HardSigmoid", "Tanh", "Softsign", "Erf", "Sign", "Atan"}
)
#: No mask has more entries; what has is a table of weights.
LARGEST = 2**24


def infinite(graph: Graph) -> frozenset[str]:
    """Return the tensors that are computed from constants with infinities among them.

    There the bias stream holds the largest number instead, since behind them an infinity meets
    a gain of 0, which is no number.
    """
    found = set(_stored(graph))
    for node in graph.nodes:
        own = node.op in ("Constant", "ConstantOfShape") and _holds(node)
        if own or (node.op not in BOUNDED and not found.isdisjoint(node.inputs)):
            found.update(filter(graph.is_float, node.outputs))
    return frozenset(found)


def _stored(graph: Graph) -> Iterator[str]:
    for stored in graph.proto.graph.initializer:
        small = np.prod(stored.dims, dtype=np.int64) <= LARGEST
        if stored.data_type in FLOATS and small and not is_external(stored):
            value = graph.constant(stored.name)
            if value is not None and np.isinf(value).any():
                yield stored.name


def _holds(node: Node) -> bool:
    given = (node.attr(name) for name in ("value", "value_float", "value_floats"))
    arrays = (np.asarray(value) for value in given if value is not None)
    return any(a.dtype.kind == "f" and bool(np.isinf(a).any()) for a in arrays)
