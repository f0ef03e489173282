"""Which tensors are explained: outputs, or what their last nodes were applied to (DESIGN 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rfponnx.errors import OptionError, nearest
from rfponnx.graph.graph import Graph, Node

#: Nodes at the end of a model that only turn scores into probabilities or decisions.
ENDINGS = frozenset(
    {"Softmax", "LogSoftmax", "Hardmax", "Sigmoid", "ArgMax", "Cast"}
    | {"QuantizeLinear", "DequantizeLinear"}
)
MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout"}
)


@dataclass(frozen=True, slots=True)
class Explained:
    """A tensor whose sources are asked for.

    Attributes
    ----------
    tensor
        The explained tensor, shape ``[*E]``.
    output
        The name that the results are called after: ``<output>_relevance``.
    through
        The nodes looked through on the way from the output, first one last.
    class_axis
        The axis of the classes; all others but the batch are positions.
    own_output
        Whether the tensor is itself an output of the model.
    """

    tensor: str
    output: str
    through: tuple[str, ...]
    class_axis: int
    own_output: bool


def explained(
    graph: Graph, outputs: Sequence[str], asked: tuple[str, ...], class_axis: int | None
) -> list[Explained]:
    """Return what to explain: exactly `asked`, else every float one of `outputs`, looked through.

    An integer output counts only where there is no float one.  A tensor that several outputs
    lead to is explained once, under its own name where it is an output, else the first's.

    Raises
    ------
    OptionError
        An unknown tensor, one without floats, a class axis that does not exist.
    """
    if asked:
        return [_asked(graph, name, class_axis) for name in dict.fromkeys(asked)]
    floats = [o for o in outputs if graph.is_float(o)]
    found: dict[str, Explained] = {}
    for output in floats or outputs:
        one = _look_through(graph, output, class_axis)
        known = found.get(one.tensor)
        if graph.is_float(one.tensor) and (known is None or (one.through and not known.through)):
            found[one.tensor] = one  # a decision knows the axis of the classes
    return list(found.values())


def _asked(graph: Graph, name: str, class_axis: int | None) -> Explained:
    if name not in graph.tensors():
        raise OptionError(f"no tensor `{name}`", "--explain", nearest(name, graph.tensors()))
    if not graph.is_float(name):
        raise OptionError(f"`{name}` does not hold floats", "--explain", "explain a float tensor")
    axis = _class_axis(graph, name, class_axis, None)
    return Explained(name, name, (), axis, name in graph.outputs)


def _look_through(graph: Graph, output: str, class_axis: int | None) -> Explained:
    """Walk back over decisions, and over the moves that lie between two of them."""
    tensor, at = output, output
    axis: int | None = None  # of the classes in `at`, as far as it is known
    found = axis  # the same in `tensor`
    through: list[str] = []
    moves: list[str] = []
    while (node := graph.producer(at)) is not None and node.op in MOVES | ENDINGS:
        if node.domain not in ("", "ai.onnx"):
            break
        at = node.inputs[0]
        moves.append(node.label)
        axis = _axis_before(graph, node, axis)
        if node.op in ENDINGS:
            through, moves, tensor, found = [*through, *moves], [], at, axis
    own = tensor in graph.outputs
    axis = _class_axis(graph, tensor, class_axis, found)
    return Explained(tensor, tensor if own else output, tuple(through), axis, own)


def _axis_before(graph: Graph, node: Node, axis: int | None) -> int | None:
    """Return the axis of the classes in a node's input, given that in its output."""
    if node.op in ("Softmax", "LogSoftmax", "Hardmax", "ArgMax"):
        return int(node.attr("axis", 0 if node.op == "ArgMax" else -1))
    rank = graph.rank(node.outputs[0])
    if axis is None or node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return None
    if node.op != "Transpose" or rank is None:
        return axis
    return int(node.attr("perm", range(rank)[::-1])[axis])


def _class_axis(graph: Graph, tensor: str, wish: int | None, found: int | None) -> int:
    rank = graph.rank(tensor)
    if rank is None:
        return 1 if wish is None else wish
    axis = wish if wish is not None else found if found is not None else min(1, rank - 1)
    if rank and not -rank <= axis < rank:
        raise OptionError(f"`{tensor}` has {rank} axes, not axis {axis}", "--class-axis")
    return axis % rank if rank else 0
