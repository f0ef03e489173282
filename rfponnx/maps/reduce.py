"""Maps that sum or average over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, behind_stack, reshape


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
class GroupCentre(Map):
    """``x - mean(x)`` over groups of the channels of ``[N, C, *D]``: its own transpose."""

    groups: int
    x: str

    def push(self, b: Builder, r: Value) -> Value:
        grouped = b.op("Reshape", r.name, b.ints([0] * (1 + int(r.stack)) + [self.groups, -1]))
        mean = b.reduce("ReduceMean", grouped, [2 + int(r.stack)])
        return reshape(b, Value(b.op("Sub", grouped, mean), r.stack), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


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
