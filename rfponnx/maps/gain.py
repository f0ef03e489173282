"""Elementwise maps: a gain at every entry, and the broadcasting of a smaller operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rfponnx.errors import Unsupported
from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Graph
from rfponnx.maps.base import Identity, Map, Value, Window, align, behind_stack, whole
from rfponnx.maps.expr import Expr, call, extent, ints


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
        name = align(b, r, len(b.dims(self.x)), len(b.dims(self.y)))
        return Value(b.op("Mul", name, self.emitted(b)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        product = Value(b.op("Mul", m.name, self.emitted(b)), m.stack)
        return spread(b.graph, self.x, self.y).pull(b, product)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return GainOfPart(self, window), None

    def emitted(self, b: Builder) -> str:
        """Return the gain as a tensor."""
        return self.gain.emit(b, b.dtype(self.y))


@dataclass(frozen=True, slots=True)
class ChannelGain(Gain):
    """``y = g x`` with one gain a channel: `gain` is `slope`, a vector, along axis 1."""

    slope: Expr


@dataclass(frozen=True, slots=True)
class GainOfPart(Map):
    """A gain on the part of x that a window holds; the result lives in the same part of y."""

    whole: Gain
    window: Window

    def push(self, b: Builder, r: Value) -> Value:
        part = self._image(b)
        if part is None:
            return self.whole.push(b, whole(b, replace(r, window=self.window)))
        name = align(b, r, len(b.dims(self.whole.x)), len(b.dims(self.whole.y)))
        return Value(b.op("Mul", name, self._part(b, part)), r.stack, part)

    def pull(self, b: Builder, m: Value) -> Value:
        part, w = self._image(b), self.window
        if part is None:
            pulled = self.whole.pull(b, m)
            cut = b.slice(pulled.name, behind_stack(m, (w.axis,)), [w.start], [w.stop])
            return Value(cut, m.stack)
        product = Value(b.op("Mul", m.name, self._part(b, part)), m.stack)
        return spread(b.graph, self.whole.x, self.whole.y).pull(b, product)

    def _image(self, b: Builder) -> Window | None:
        """Return the part of y; ``None`` if x is broadcast along the axis of the window."""
        x, y, w = b.dims(self.whole.x), b.dims(self.whole.y), self.window
        axis = w.axis + len(y) - len(x)
        return Window(self.whole.y, axis, w.start, w.stop) if x[w.axis] == y[axis] else None

    def _part(self, b: Builder, part: Window) -> str:
        """Return what the gain is in the window; a gain that is the same all along it stays."""
        gain, y = self.whole.emitted(b), b.dims(self.whole.y)
        known = extent(self.whole.gain, b.graph)
        place = part.axis - len(y) + len(known) if known is not None else part.axis
        if known is not None and (place < 0 or known[place] == 1):
            return gain
        if known is None or known[place] != y[part.axis]:
            gain, place = b.op("Expand", gain, b.shape(self.whole.y)), part.axis
        return b.slice(gain, [place], [part.start], [part.stop])


@dataclass(frozen=True, slots=True)
class Spread(Map):
    """A smaller operand broadcast to the shape of y; its transpose sums what was spread."""

    x: str
    y: str
    axes: tuple[int, ...]  # of y: those that x lacks or has as 1

    def push(self, b: Builder, r: Value) -> Value:
        name = align(b, r, len(b.dims(self.x)), len(b.dims(self.y)))
        target = b.shape(self.y, lead=(1,) if r.stack else ())
        return Value(b.op("Expand", name, target), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        summed = b.reduce("ReduceSum", m.name, behind_stack(m, self.axes))
        extra = behind_stack(m, range(len(b.dims(self.y)) - len(b.dims(self.x))))
        return Value(b.op("Squeeze", summed, b.ints(extra)) if extra else summed, m.stack)


def spread(graph: Graph, x: str, y: str) -> Map:
    """Return the map that broadcasts x to y: the identity where the shapes are the same.

    A dimension that is not known counts as equal, never as one that broadcasts.

    Raises
    ------
    Unsupported
        The rank of x is not known, that of y is.
    """
    if graph.shape(x) is None and graph.shape(y) is not None:
        raise Unsupported("its rank is not known, so it cannot be broadcast", f"tensor `{x}`")
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
