"""Elementwise maps: a gain at every entry, and the broadcasting of a smaller operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Graph
from rfponnx.maps.base import Identity, Map, Value, Window, align, behind_stack
from rfponnx.maps.expr import Expr, call, ints


@dataclass(frozen=True, slots=True)
class Gain(Map):
    """``y = g x`` entry by entry.

    Attributes
    ----------
    gain
        An expression whose value broadcasts with x to the shape of y.
    x, y
        The primal tensors that lend the shapes; x may be the smaller one.
    """

    gain: Expr
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        known_x, known_y = b.graph.shape(self.x) or (), b.graph.shape(self.y) or ()
        name = align(b, r, len(known_x), len(known_y))
        return Value(b.op("Mul", name, self._gain(b)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        product = Value(b.op("Mul", m.name, self._gain(b)), m.stack)
        return spread(b.graph, self.x, self.y).pull(b, product)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if self.gain.kind == "number":
            return self, window
        return None

    def _gain(self, b: Builder) -> str:
        dtype = b.graph.dtype(self.y)
        assert dtype is not None
        return self.gain.emit(b, dtype)


@dataclass(frozen=True, slots=True)
class Spread(Map):
    """A smaller operand broadcast to the shape of y; its transpose sums what was spread."""

    x: str
    y: str
    axes: tuple[int, ...]  # of y: those that x lacks or has as 1

    def push(self, b: Builder, r: Value) -> Value:
        rank_x, rank_y = len(b.graph.shape(self.x) or ()), len(b.graph.shape(self.y) or ())
        name = align(b, r, rank_x, rank_y)
        target = b.shape(self.y, lead=(1,) if r.stack else ())
        return Value(b.op("Expand", name, target), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        rank_x, rank_y = len(b.graph.shape(self.x) or ()), len(b.graph.shape(self.y) or ())
        summed = b.reduce("ReduceSum", m.name, behind_stack(m, self.axes))
        extra = behind_stack(m, range(rank_y - rank_x))
        return Value(b.op("Squeeze", summed, b.ints(extra)) if extra else summed, m.stack)


def spread(graph: Graph, x: str, y: str) -> Map:
    """Return the map that broadcasts x to y: the identity where the shapes are the same.

    A dimension that is not known counts as equal, never as one that broadcasts.
    """
    axes = spread_axes(graph.shape(x), graph.shape(y))
    return Spread(x, y, axes) if axes else Identity()


def spread_axes(
    x: Sequence[int | str | None] | None, y: Sequence[int | str | None] | None
) -> tuple[int, ...]:
    """Return the axes of y along which x is broadcast."""
    if x is None or y is None:
        return ()
    missing = len(y) - len(x)
    ones = [missing + i for i, d in enumerate(x) if d == 1 and y[missing + i] != 1]
    return (*range(missing), *ones)


def unsqueezed(vector: Expr, axes: Sequence[int]) -> Expr:
    """Return a vector with axes of length 1 inserted."""
    return call("Unsqueeze", vector, ints(axes)) if axes else vector
