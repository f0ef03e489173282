"""What is known of tensors without running the model: signs, and which are parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np

from rfponnx.graph.graph import Graph, Node

#: Operators whose values are never below 0.
NEVER_BELOW = frozenset(
    {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Hardmax", "Exp", "Abs", "Softplus", "Sqrt"}
    | {"ReduceL1", "ReduceL2", "ReduceSumSquare", "GlobalLpPool", "LpPool", "Cosh"}
)
#: Operators whose values are not below 0 where all their float operands are not.
KEEPING = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Flatten"}
    | {"Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout", "Concat", "Add", "Sum", "Mean"}
    | {"Mul", "Div", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "Max", "Min", "Slice"}
    | {"Split", "Gather", "GatherElements", "GatherND", "Expand", "Tile", "DepthToSpace", "Cast"}
    | {"SpaceToDepth", "LeakyRelu", "Swish", "HardSwish", "Gelu", "Mish", "TopK", "Where", "LRN"}
    | {"MaxUnpool", "CumSum", "Trilu", "Pad", "Resize", "Upsample", "Clip", "Elu", "Selu", "Celu"}
    | {"LpNormalization", "ThresholdedRelu", "PRelu", "Tanh", "Erf", "Softsign"}
)
SMALL = 2**16  # entries of a constant whose sign is looked at


class Facts:
    """Facts about the tensors of a graph.

    Attributes
    ----------
    positive
        Float tensors that hold nothing below 0, whatever the input.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def fixed(self, tensors: Iterable[str]) -> bool:
        """Tell whether tensors are parameters: no input of the model reaches them."""
        return self._moving.isdisjoint(tensors)

    @cached_property
    def _moving(self) -> frozenset[str]:
        found = set(self.graph.inputs)
        for node in self.graph.nodes:
            random = node.op.startswith("Random") or node.op in ("Bernoulli", "Multinomial")
            if random or not found.isdisjoint(node.inputs):
                found.update(o for o in node.outputs if o)
        return frozenset(found)

    @cached_property
    def positive(self) -> frozenset[str]:
        """The tensors that are never below 0."""
        found: set[str] = set()
        for node in self.graph.nodes:
            if node.op in NEVER_BELOW or self._keeps(node, lambda t: self._stays(t, found)):
                found.update(o for o in node.outputs if o)
        return frozenset(found)

    def _stays(self, tensor: str, found: set[str]) -> bool:
        if tensor in found:
            return True
        shape = self.graph.shape(tensor)
        size = (
            int(np.prod([d for d in shape if isinstance(d, int)])) if shape is not None else SMALL
        )
        if not self.graph.is_constant(tensor) or size >= SMALL:
            return False
        value = self.graph.constant(tensor)
        return value is not None and bool(value.size) and bool(np.all(value >= 0))

    def _keeps(self, node: Node, stays: Callable[[str], bool]) -> bool:
        floats = [i for i in node.inputs if i and self.graph.is_float(i)]
        if node.op == "Clip":
            low = node.inputs[1] if len(node.inputs) > 1 else ""
            return (bool(low) and stays(low)) or float(node.attr("min", -1.0)) >= 0
        if node.op == "Max":
            return any(map(stays, floats))
        if node.op in ("Resize", "Upsample"):
            return node.attr("mode", "nearest") != "cubic" and stays(node.inputs[0])
        if node.op == "Pad":
            return float(node.attr("value", 0.0)) >= 0 and all(map(stays, floats))
        return node.op in KEEPING and bool(floats) and all(map(stays, floats))
