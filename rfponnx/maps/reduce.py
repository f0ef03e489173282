"""Maps that sum or average over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched, behind_stack, push, reshape
from rfponnx.maps.expr import Expr


@dataclass(frozen=True, slots=True)
class Total(Map):
    """Sum over some axes of D; kept as length 1, or dropped."""

    axes: tuple[int, ...]
    keepdims: bool
    x: str

    def push(self, b: Builder, r: Value) -> Value:
        axes = behind_stack(r, self.axes)
        return Value(b.reduce("ReduceSum", r.name, axes, keepdims=self.keepdims), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return spread_back(b, m, self.axes, self.x, keepdims=self.keepdims)


@dataclass(frozen=True, slots=True)
class Average(Map):
    """Mean over some axes of D; kept as length 1, or dropped."""

    axes: tuple[int, ...]
    keepdims: bool
    x: str

    def push(self, b: Builder, r: Value) -> Value:
        axes = behind_stack(r, self.axes)
        return Value(b.reduce("ReduceMean", r.name, axes, keepdims=self.keepdims), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        share = Value(b.op("Div", m.name, _members(b, self.x, self.axes)), m.stack)
        return spread_back(b, share, self.axes, self.x, keepdims=self.keepdims)


@dataclass(frozen=True, slots=True)
class GlobalAverage(Map):
    """Mean over all spatial axes, as the node that stays in the runtime's blocked layout."""

    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        if r.stack:
            return self._plain(b).push(b, r)
        return Value(b.op("GlobalAveragePool", r.name))

    def pull(self, b: Builder, m: Value) -> Value:
        return self._plain(b).pull(b, m)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return (self, replace(window, of=self.y)) if window.axis == 1 else None

    def _plain(self, b: Builder) -> Map:
        rank = len(b.graph.shape(self.x) or ())
        return Average(tuple(range(2, rank)), True, self.x)


@dataclass(frozen=True, slots=True)
class RunningSum(Map):
    """Sum of all entries up to this one along an axis (CumSum).

    Attributes
    ----------
    exclusive, reverse
        Without the entry itself; from the other end.
    """

    axis: int
    exclusive: bool
    reverse: bool

    def push(self, b: Builder, r: Value) -> Value:
        return self._sum(b, r, self.reverse)

    def pull(self, b: Builder, m: Value) -> Value:
        return self._sum(b, m, not self.reverse)

    def _sum(self, b: Builder, v: Value, reverse: bool) -> Value:
        axis = b.ints(self.axis + int(v.stack))
        how = {"exclusive": int(self.exclusive), "reverse": int(reverse)}
        return Value(b.op("CumSum", v.name, axis, **how), v.stack)


@dataclass(frozen=True, slots=True)
class Centre(Map):
    """``x - mean(x)`` over some axes: symmetric, so it is its own transpose."""

    axes: tuple[int, ...]

    def push(self, b: Builder, r: Value) -> Value:
        mean = b.reduce("ReduceMean", r.name, behind_stack(r, self.axes))
        return Value(b.op("Sub", r.name, mean), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


@dataclass(frozen=True, slots=True)
class Deflation(Map):
    """``x - u mean(v x)`` over some axes (or the sum): the identity less a matrix of rank one.

    Attributes
    ----------
    u, v
        Broadcast against x; equal ones make the map symmetric.
    x
        The primal tensor that lends the expressions their element type.
    kind
        ``"ReduceMean"`` or ``"ReduceSum"``.
    """

    u: Expr
    v: Expr
    axes: tuple[int, ...]
    x: str
    kind: str = "ReduceMean"

    def push(self, b: Builder, r: Value) -> Value:
        return self._less(b, r, self.u, self.v)

    def pull(self, b: Builder, m: Value) -> Value:
        return self._less(b, m, self.v, self.u)

    def _less(self, b: Builder, r: Value, along: Expr, weight: Expr) -> Value:
        dtype = b.dtype(self.x)
        weighted = b.op("Mul", r.name, weight.emit(b, dtype))
        common = b.reduce(self.kind, weighted, behind_stack(r, self.axes))
        return Value(b.op("Sub", r.name, b.op("Mul", common, along.emit(b, dtype))), r.stack)


@dataclass(frozen=True, slots=True)
class Grouped(Map):
    """A map of groups of channels: ``[N, C, *D]`` is seen as ``[N, G, K]`` by the inner one."""

    groups: int
    inner: Map
    x: str

    def push(self, b: Builder, r: Value) -> Value:
        return reshape(b, push(self.inner, b, self._parted(b, r)), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return reshape(b, self.inner.pull(b, self._parted(b, m)), self.x)

    def _parted(self, b: Builder, r: Value) -> Value:
        shape = b.ints([0] * (1 + int(r.stack)) + [self.groups, -1])
        return Value(b.op("Reshape", r.name, shape), r.stack)


@dataclass(frozen=True, slots=True)
class NeighbourMean(Map):
    """The mean of each channel of ``[N, C, *D]`` and `reach` on both sides, zeros beyond them.

    It is its own transpose.
    """

    reach: int
    x: str

    def push(self, b: Builder, r: Value) -> Value:
        window = {"kernel_shape": [2 * self.reach + 1, 1], "pads": [self.reach, 0] * 2}

        def node(name: str) -> str:
            flat = b.op("Unsqueeze", b.op("Reshape", name, b.ints([0, 0, -1])), b.ints([1]))
            return b.op("AveragePool", flat, count_include_pad=1, **window)

        local = batched(b, r, self.x, node, self.x)
        return local if r.stack else reshape(b, local, self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


@dataclass(frozen=True, slots=True)
class Repeated(Map):
    """Every entry of a vector `times` times in a row.  ``[G] -> [G times]``"""

    times: int

    def push(self, b: Builder, r: Value) -> Value:
        lead = [0] * int(r.stack)
        each = b.op("Unsqueeze", r.name, b.ints([1 + len(lead)]))
        wide = b.op("Expand", each, b.ints([1] * (1 + len(lead)) + [self.times]))
        return Value(b.op("Reshape", wide, b.ints([*lead, -1])), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        lead = [0] * int(m.stack)
        parted = b.op("Reshape", m.name, b.ints([*lead, -1, self.times]))
        return Value(b.reduce("ReduceSum", parted, [1 + len(lead)], keepdims=False), m.stack)


def spread_back(b: Builder, m: Value, axes: Sequence[int], x: str, *, keepdims: bool) -> Value:
    """Repeat a value along reduced axes, back to the shape of x."""
    name = m.name if keepdims else b.op("Unsqueeze", m.name, b.ints(behind_stack(m, axes)))
    return Value(b.op("Expand", name, b.shape(x, lead=(1,) if m.stack else ())), m.stack)


def _members(b: Builder, x: str, axes: Sequence[int]) -> str:
    """Return how many entries of x one mean takes, as a float scalar of its type."""
    dtype = b.dtype(x)
    sizes = [(b.graph.shape(x) or ())[a] for a in axes]
    if all(isinstance(s, int) for s in sizes):
        count = 1
        for s in sizes:
            count *= int(s or 0)
        return b.floats(float(count), dtype)
    dims = b.op("Gather", b.shape(x), b.ints(list(axes)), axis=0)
    return b.op("Cast", b.reduce("ReduceProd", dims, [0], keepdims=False), to=dtype)
