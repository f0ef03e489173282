"""What values an input expects, read off the graph: tables, normalisations, channel counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from rfponnx.errors import InputError
from rfponnx.graph.graph import Graph, Node

Array = npt.NDArray[Any]

# operators that keep the entries of an index, or the spread of a signal, as they are
_MOVES = frozenset(
    {"Cast", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten", "Identity", "Slice"}
    | {"Split", "Concat", "Expand", "Tile"}
)
_SMALL = 4096  # elements of a constant that is worth reading here


@dataclass(frozen=True, slots=True)
class Law:
    """How the entries of one input are drawn.

    Attributes
    ----------
    dtype
        ONNX element type.
    low, high
        Integers are uniform over ``low <= i < high``.
    loc, scale
        Floats are normal with this mean and deviation.
    """

    dtype: int
    low: int = 0
    high: int = 2
    loc: float = 0.0
    scale: float = 1.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], way: str) -> Array:
        """Return one tensor; `way` is ``normal``, ``positive`` (0.05 to 1) or ``small``."""
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(self.dtype))
        if self.dtype == TensorProto.BOOL:
            return rng.random(shape) < 0.5
        if kind.kind in "iu":
            return rng.integers(self.low, self.high, shape).astype(kind)
        if way == "positive":
            return np.asarray(rng.uniform(0.05, 1.0, shape)).astype(kind)
        width = 0.01 * self.scale if way == "small" else self.scale
        return np.asarray(self.loc + width * rng.standard_normal(shape)).astype(kind)


def law_of(graph: Graph, name: str) -> Law:
    """Return the law of an input.

    Raises
    ------
    InputError
        It holds text, a sequence, or another type that no random value fits.
    """
    dtype = graph.dtype(name)
    if dtype is None or dtype in (TensorProto.STRING, TensorProto.COMPLEX64):
        raise InputError(f"no random value fits the input `{name}`", hint="give it with --input")
    if graph.is_float(name):
        loc, scale = scaling(graph, name)
        return Law(dtype, loc=loc, scale=scale)
    limit = index_limit(graph, name)
    usual = 256 if dtype == TensorProto.UINT8 else 2
    return Law(dtype, high=max(1, usual if limit is None else limit))


def index_limit(graph: Graph, name: str, depth: int = 0) -> int | None:
    """Return the number of rows of the smallest table that an integer tensor indexes."""
    if depth > 40:
        return None
    found = [_limit_at(graph, node, name, depth) for node in graph.consumers(name)]
    known = [limit for limit in found if limit is not None]
    return min(known, default=None)


def _limit_at(graph: Graph, node: Node, name: str, depth: int) -> int | None:
    inputs = node.inputs
    if node.op in ("Gather", "GatherElements") and len(inputs) > 1 and inputs[1] == name:
        shape = graph.shape(inputs[0])
        size = shape[int(node.attr("axis", 0))] if shape else None
        return size if isinstance(size, int) else None
    if node.op == "OneHot" and inputs[0] == name:
        depth_value = graph.constant(inputs[1]) if graph.is_constant(inputs[1]) else None
        return None if depth_value is None else int(depth_value.ravel()[0])
    moved = node.op in _MOVES or (node.op == "Gather" and inputs[0] == name)
    shift = 0.0 if moved else _shift(graph, node, name)
    if shift is None or not node.outputs or graph.is_float(node.outputs[0]):
        return None
    limits = [index_limit(graph, out, depth + 1) for out in filter(None, node.outputs)]
    known = [limit for limit in limits if limit is not None]
    return int(min(known) - shift) if known else None


def _shift(graph: Graph, node: Node, name: str) -> float | None:
    """Return the most that an Add or Sub of a constant adds."""
    if node.op not in ("Add", "Sub") or node.inputs[0] != name:
        return None
    other = _small(graph, node.inputs[1])
    if other is None or not other.size:
        return None
    return float(other.max() if node.op == "Add" else -other.min())


def scaling(graph: Graph, name: str) -> tuple[float, float]:
    """Return mean and deviation that the model's own input normalisation turns into 0 and 1."""
    slope, shift, at = 1.0, 0.0, name
    while len(readers := graph.consumers(at)) == 1 and readers[0].outputs:
        step = _affine(graph, readers[0], at)
        if step is None:
            break
        slope, shift, at = step[0] * slope, step[0] * shift + step[1], readers[0].outputs[0]
        if readers[0].op == "BatchNormalization":
            break
    if not (np.isfinite(slope) and np.isfinite(shift) and 1e-6 < abs(slope) < 1e6):
        return 0.0, 1.0
    return -shift / slope, 1.0 / abs(slope)


def _affine(graph: Graph, node: Node, at: str) -> tuple[float, float] | None:
    """Return (a, b) of a node that is ``a x + b`` on average, None for any other node."""
    if node.op in _MOVES - {"Concat", "Split"}:
        return 1.0, 0.0
    if node.op == "BatchNormalization":
        vectors = [_small(graph, i) for i in node.inputs[3:5]]
        mean, variance = (None, None) if len(vectors) < 2 else vectors
        if mean is None or variance is None:
            return None
        deviation = float(np.sqrt(np.mean(variance))) or 1.0
        return 1.0 / deviation, -float(np.mean(mean)) / deviation
    if node.op not in ("Add", "Sub", "Mul", "Div") or node.inputs[0] == node.inputs[1]:
        return None
    first = node.inputs[0] == at
    other = _small(graph, node.inputs[1 if first else 0])
    if other is None or not other.size or (node.op == "Div" and not first):
        return None
    c = float(np.mean(other))
    if node.op == "Add":
        return 1.0, c
    if node.op == "Sub":
        return (1.0, -c) if first else (-1.0, c)
    return (c, 0.0) if node.op == "Mul" else (1.0 / c if c else 0.0, 0.0)


def _small(graph: Graph, name: str) -> Array | None:
    """Return a constant of few elements."""
    if not graph.is_constant(name):
        return None
    shape = graph.shape(name)
    if shape is not None and np.prod([d for d in shape if isinstance(d, int)], initial=1) > _SMALL:
        return None
    return graph.constant(name)


def size_hints(graph: Graph) -> dict[str, int]:
    """Return sizes of free dimensions that weights fix (the channels of a convolution)."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        for symbol, size in _fixed(graph, node):
            if isinstance(symbol, str) and isinstance(size, int):
                found.setdefault(symbol, size)
    return found


def _fixed(graph: Graph, node: Node) -> Iterator[tuple[int | str | None, int | str | None]]:
    """Yield pairs of a dimension of a signal and the dimension of a weight that it must have."""
    if len(node.inputs) < 2:
        return
    x, w = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    if not x or not w or not graph.is_constant(node.inputs[1]):
        return
    if node.op == "Conv" and len(x) > 1 and len(w) > 1 and isinstance(w[1], int):
        yield x[1], w[1] * int(node.attr("group", 1))
    elif node.op == "ConvTranspose" and len(x) > 1:
        yield x[1], w[0]
    elif node.op == "Gemm" and len(x) == 2 == len(w):
        yield x[0 if node.attr("transA", 0) else 1], w[1 if node.attr("transB", 0) else 0]
    elif node.op == "MatMul" and len(w) > 1:
        yield x[-1], w[-2]
    elif node.op in ("BatchNormalization", "InstanceNormalization") and len(x) > 1:
        yield x[1], w[0]
    elif node.op in ("Add", "Sub", "Mul", "Div"):
        yield from ((a, b) for a, b in zip(reversed(x), reversed(w), strict=False) if b != 1)
