"""Which factor of a product only opens and closes the other one."""

from __future__ import annotations

import numpy as np

from rfponnx.graph.graph import Graph, Node

#: How much an operator's result is a gate: a denominator, attention, what is between 0 and 1.
RANKS = {"Reciprocal": 4, "Softmax": 3, "Hardmax": 3, "Sigmoid": 2, "HardSigmoid": 2, "Tanh": 1}

#: Nodes that a gate may pass on its way; their first input is followed.
PASSED = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Tile", "Identity"}
    | {"Cast", "Dropout", "Slice", "Split", "Gather", "Pad", "Concat", "Resize", "Upsample"}
    | {"DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND", "ReduceSum", "TopK", "Neg"}
)
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


def gate(graph: Graph, name: str) -> tuple[int, str]:
    """Return how much of a gate a tensor is, and what makes it one; 0 if nothing does.

    Moves, and arithmetic with constants, are looked through: ``1 - sigmoid(z)`` is a gate.
    """
    scale = 1.0
    while (node := graph.producer(name)) is not None and node.domain in ("", "ai.onnx"):
        written = written_gate(graph, node, scale)
        if written:
            return RANKS[written], written
        if node.op in RANKS:
            return RANKS[node.op], node.op
        if node.op == "Where":  # a softmax with its NaN taken out: one side is a gate
            return max(gate(graph, side) for side in node.inputs[1:])
        following = followed(graph, node)
        if following is None:
            return 0, ""
        scale *= factor(graph, node)
        name = following
    return 0, ""


def followed(graph: Graph, node: Node) -> str | None:
    """Return the input through which a gate may have come."""
    if node.op in PASSED:
        return node.inputs[0]
    if node.op in ARITHMETIC or node.op == "Where":
        sides = node.inputs[1:] if node.op == "Where" else node.inputs
        free = [i for i in sides if not graph.is_constant(i)]
        return free[0] if len(free) == 1 else None
    return None


def factor(graph: Graph, node: Node) -> float:
    """Return the number that a node multiplies by, 1 where there is none."""
    if node.op not in ("Mul", "Div"):
        return 1.0
    by = scalar(graph, node.inputs[1]) if node.op == "Div" else other(graph, node)
    if not by:
        return 1.0
    return 1 / by if node.op == "Div" else by


def written_gate(graph: Graph, node: Node, scale: float) -> str:
    """Return the gate that a node ends, if one was written out: a softmax, a (hard) sigmoid."""
    if node.op == "Div" and not graph.is_constant(node.inputs[1]):
        above, below = node.inputs
        divisor = graph.producer(below)
        if divisor is not None and divisor.op == "ReduceSum" and divisor.inputs[0] == above:
            return "Softmax"
        inverse = "Sigmoid" if _one_and_exp(graph, below) else "Reciprocal"
        return inverse if graph.is_constant(above) else ""
    if node.op == "Reciprocal":
        return "Sigmoid" if _one_and_exp(graph, node.inputs[0]) else ""
    if node.op == "Pow":
        exponent = scalar(graph, node.inputs[1])
        return "Reciprocal" if exponent is not None and exponent < 0 else ""
    top = height(graph, node)
    if not top:
        return ""
    before = graph.producer(node.inputs[0])
    centred = before is not None and before.op == "Add" and other(graph, before) == top / 2
    return "HardSigmoid" if centred or abs(scale * top - 1) < 1e-3 else ""


def height(graph: Graph, node: Node) -> float | None:
    """Return h of a ``min(max(z, 0), h)``."""
    if node.op == "Clip":
        ends = [
            scalar(graph, node.inputs[i]) if len(node.inputs) > i else node.attr(name)
            for i, name in ((1, "min"), (2, "max"))
        ]
        return ends[1] if ends[0] == 0 else None
    inner = next((p for p in map(graph.producer, node.inputs) if p is not None), None)
    if node.op == "Min" and inner is not None:
        zero = inner.op == "Relu" or (inner.op == "Max" and other(graph, inner) == 0)
        return other(graph, node) if zero else None
    return None


def _one_and_exp(graph: Graph, name: str) -> bool:
    """Tell whether a tensor is ``1 + exp(...)``."""
    node = graph.producer(name)
    if node is None or node.op != "Add" or other(graph, node) != 1:
        return False
    return any(p is not None and p.op == "Exp" for p in map(graph.producer, node.inputs))


def other(graph: Graph, node: Node) -> float | None:
    """Return the constant operand of a node with two, if it is one number."""
    return next((v for v in (scalar(graph, i) for i in node.inputs) if v is not None), None)


def scalar(graph: Graph, name: str) -> float | None:
    """Return a constant that holds one number."""
    if not name or not graph.is_constant(name):
        return None
    shape = graph.shape(name)
    if shape is None or any(d != 1 for d in shape):
        return None
    value = graph.constant(name)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])
