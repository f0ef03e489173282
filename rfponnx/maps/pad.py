"""Maps that put zeros around a tensor, and their transposes that cut it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, behind_stack
from rfponnx.maps.expr import Expr, applied, ints, positions
from rfponnx.maps.scatter import Select

#: A length along an axis: a number, or an int64 vector of one entry computed at run time.
Length = int | str


@dataclass(frozen=True, slots=True)
class Padded(Map):
    """Zeros put before and behind every axis (or entries cut off there, where negative).

    Attributes
    ----------
    pads
        ``(b0, b1, ..., e0, e1, ...)``, numbers or an int64 tensor.
    """

    pads: tuple[int, ...] | Expr
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return self._padded(b, r, 1)

    def pull(self, b: Builder, m: Value) -> Value:
        return self._padded(b, m, -1)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if isinstance(self.pads, Expr):
            return None
        rank, axis = len(self.pads) // 2, window.axis
        before, after = self.pads[axis], self.pads[axis + rank]
        if min(before, after) < 0:
            return None
        other = tuple(0 if i % rank == axis else p for i, p in enumerate(self.pads))
        start, stop = window.start + before, window.stop + before
        return Padded(other, self.x, self.y), Window(self.y, axis, start, stop)

    def _padded(self, b: Builder, v: Value, sign: int) -> Value:
        rank = len(b.graph.shape(self.x) or ())
        if not isinstance(self.pads, Expr):
            ends = [(sign * p, sign * q) for p, q in zip(self.pads, self.pads[rank:], strict=False)]
            return padded(b, v, rank, dict(enumerate(ends)))
        pads = self.pads.emit(b, 0)
        if v.stack:
            zero, first = b.ints([0]), b.slice(pads, [0], [0], [rank])
            last = b.slice(pads, [0], [rank], [2 * rank])
            pads = b.op("Concat", zero, first, zero, last, axis=0)
        return Value(b.op("Pad", v.name, pads if sign > 0 else b.op("Neg", pads)), v.stack)


def padded(b: Builder, v: Value, rank: int, ends: Mapping[int, tuple[Length, Length]]) -> Value:
    """Put zeros before and behind some axes of a value of `rank` axes; negative cuts off."""
    lead: list[tuple[Length, Length]] = [(0, 0)] * int(v.stack)
    rows = [*lead, *(ends.get(axis, (0, 0)) for axis in range(rank))]
    flat = [row[0] for row in rows] + [row[1] for row in rows]
    known = [p for p in flat if isinstance(p, int)]
    if len(known) == len(flat):
        return Value(b.op("Pad", v.name, b.ints(known)), v.stack) if any(known) else v
    return Value(b.op("Pad", v.name, joined(b, flat)), v.stack)


def joined(b: Builder, lengths: Sequence[Length]) -> str:
    """Return lengths as one int64 vector; numbers side by side are one constant."""
    pieces: list[list[int] | str] = []
    for length in lengths:
        if isinstance(length, str):
            pieces.append(length)
        elif pieces and isinstance(pieces[-1], list):
            pieces[-1].append(length)
        else:
            pieces.append([length])
    names = [p if isinstance(p, str) else b.ints(p) for p in pieces]
    return names[0] if len(names) == 1 else b.op("Concat", *names, axis=0)


@dataclass(frozen=True, slots=True)
class Cut(Map):
    """``y = x[starts:ends:steps]`` along some axes; its transpose puts zeros back around."""

    axes: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    steps: tuple[int, ...]
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        bounds = (b.ints(v) for v in (self.starts, self.ends, behind_stack(r, self.axes)))
        return Value(b.op("Slice", r.name, *bounds, *self._strides(b)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        if set(self.steps) != {1}:
            cut = (ints(self.starts), ints(self.ends), ints(self.axes), ints(self.steps))
            index = applied("Slice", positions(self.x), *cut)
            return Select(self.x, self.y, index, distinct=True).pull(b, m)
        rank = len(b.graph.shape(self.x) or ())
        ends = {
            a: self._around(b, a, start) for a, start in zip(self.axes, self.starts, strict=True)
        }
        return padded(b, m, rank, ends)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if window.axis not in self.axes:
            return self, replace(window, of=self.y)
        return None

    def _strides(self, b: Builder) -> tuple[str, ...]:
        return () if set(self.steps) == {1} else (b.ints(self.steps),)

    def _around(self, b: Builder, axis: int, start: int) -> tuple[Length, Length]:
        """Return how many entries of x lie before and behind y along an axis."""
        size, kept = ((b.graph.shape(t) or ())[axis] for t in (self.x, self.y))
        if isinstance(size, int) and isinstance(kept, int):
            first = slice(start, None).indices(size)[0]
            return first, size - first - kept
        length = b.dim(self.x, axis)
        before: Length = start
        if start < 0:
            before = b.op("Max", b.op("Add", length, b.ints([start])), b.ints([0]))
        elif start > 0:
            before = b.op("Min", length, b.ints([start]))
        after = b.op("Sub", length, b.dim(self.y, axis))
        return before, after if start == 0 else b.op("Sub", after, str(before))
