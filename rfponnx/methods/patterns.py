"""Which layers have patterns: linear ones with a constant weight, and what switches them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rfponnx.errors import ModelError
from rfponnx.graph.graph import Graph, Node

Array = np.ndarray[Any, np.dtype[Any]]

#: Activations that let a unit through where their input is positive.
RECTIFIERS = frozenset(("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu"))
#: What may stand between a layer and its ReLU: entry by entry, at the same place.
BETWEEN = frozenset(("Add", "Sub", "Mul", "Div", "BatchNormalization", "Identity", "Dropout"))


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution looks at its input.

    Attributes
    ----------
    strides, dilations
        One number per spatial axis.
    pads
        Begin and end per spatial axis; ``None``: as many as SAME needs, the odd one at the end
        unless `lower`.
    groups
        How many parts the channels are cut into.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...] | None
    lower: bool
    groups: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer whose output units have a pattern each.

    Attributes
    ----------
    weight
        The tensor that the node reads: the name of the pattern.
    x, y
        What the layer reads and makes.
    gate
        What is positive where a unit is on: the input of the following ReLU, or the layer's own
        output, its bias included.
    offset
        What the layer adds, a tensor; empty if nothing.
    scale, offset_scale
        ``y = scale (w . x) + offset_scale offset``.
    window
        Of a convolution, weight [O, I / groups, *K]; ``None`` for a dense layer.
    units_last
        Whether a dense weight is [I, O], not [O, I].
    x_columns, y_columns
        Whether the inputs, the units, lie along the last axis but one.
    """

    node: str
    op: str
    weight: str
    x: str
    y: str
    gate: str
    offset: str = ""
    scale: float = 1.0
    offset_scale: float = 1.0
    window: Window | None = None
    units_last: bool = False
    x_columns: bool = False
    y_columns: bool = False

    def rows(self, stored: Array) -> Array:
        """Return an array of the weight's shape with the units in front: [O, I] or as stored."""
        return stored.T if self.units_last else stored


def layers(graph: Graph) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Return the layers of a model, and why others are left out, a sentence each.

    Raises
    ------
    ModelError
        The model has no linear layer with a constant weight.
    """
    found: dict[str, Layer] = {}
    left_out = []
    for node in graph.nodes:
        if node.op not in _READERS or node.domain or not any(map(graph.is_constant, node.inputs)):
            continue
        layer = _READERS[node.op](graph, node)
        if layer is None:
            left_out.append(f"{node.op} `{node.label}` has no constant weight of two axes or more")
        elif layer.weight in found:
            other = found[layer.weight].node
            left_out.append(f"{node.op} `{node.label}` shares its weight with `{other}`")
        else:
            found[layer.weight] = layer
    if not found:
        what = "no linear layer with a constant weight (Conv, Gemm, MatMul)"
        raise ModelError(what, graph.prepared.loaded.name)
    return tuple(found.values()), tuple(left_out)


def _conv(graph: Graph, node: Node) -> Layer | None:
    x, weight, *bias = node.inputs
    w = _weight(graph, weight)
    if w is None or w.ndim < 3 or graph.is_constant(x):
        return None
    rank = w.ndim - 2
    auto = node.attr("auto_pad", "NOTSET")
    given = list(node.attr("pads", ())) or [0] * (2 * rank)
    flat = [0] * (2 * rank) if auto == "VALID" else given
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    window = Window(
        strides=tuple(node.attr("strides", ())) or (1,) * rank,
        dilations=tuple(node.attr("dilations", ())) or (1,) * rank,
        pads=None if str(auto).startswith("SAME") else pads,
        lower=auto == "SAME_LOWER",
        groups=node.attr("group", 1),
    )
    return _made(graph, node, weight, x, offset=next(iter(bias), ""), window=window)


def _gemm(graph: Graph, node: Node) -> Layer | None:
    x, weight, *bias = node.inputs
    if _weight(graph, weight) is None or graph.is_constant(x):
        return None
    return _made(
        graph, node, weight, x, offset=next(iter(bias), ""),
        scale=float(node.attr("alpha", 1.0)), offset_scale=float(node.attr("beta", 1.0)),
        units_last=not node.attr("transB", 0), x_columns=bool(node.attr("transA", 0)),
    )  # fmt: skip


def _matmul(graph: Graph, node: Node) -> Layer | None:
    left, right = node.inputs
    first = graph.is_constant(left)  # W x: the units lie along the last axis but one
    weight, x = (left, right) if first else (right, left)
    w = _weight(graph, weight)
    if w is None or w.ndim != 2 or graph.is_constant(x) or (graph.rank(x) or 2) < 2:
        return None
    return _made(graph, node, weight, x, units_last=not first, x_columns=first, y_columns=first)


_READERS = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}


def _made(graph: Graph, node: Node, weight: str, x: str, **more: Any) -> Layer:
    y = node.outputs[0]
    return Layer(node.label, node.op, weight, x, y, _gate(graph, y), **more)


def _weight(graph: Graph, name: str) -> Array | None:
    return graph.constant(name) if graph.is_constant(name) and graph.is_float(name) else None


def _gate(graph: Graph, y: str) -> str:
    """Return what the ReLU behind a layer reads, or the output with its bias if there is none."""
    biased, here = y, y
    seen = {y}
    while True:
        readers = graph.consumers(here)
        if any(r.inputs[:1] == (here,) and _rectifies(graph, r) for r in readers):
            return here
        if len(readers) != 1 or readers[0].op not in BETWEEN or readers[0].domain:
            return biased
        (node,) = readers
        here = node.outputs[0]
        if here in seen or not _same_shape(graph, y, here):
            return biased
        seen.add(here)
        others = [n for n in node.inputs if n not in seen]
        if node.op in ("Add", "Sub") and all(map(graph.is_constant, others)):
            biased = here


def _rectifies(graph: Graph, node: Node) -> bool:
    """Say whether a node is a ReLU or like one: a Clip at 0 below, too."""
    if node.op != "Clip" or node.domain:
        return node.op in RECTIFIERS and not node.domain
    low = node.attr("min")
    if low is None and len(node.inputs) > 1 and graph.is_constant(node.inputs[1]):
        low = graph.constant(node.inputs[1])
    return low is not None and float(low) == 0


def _same_shape(graph: Graph, one: str, other: str) -> bool:
    a, b = graph.shape(one), graph.shape(other)
    return a is not None and b is not None and None not in a and a == b
