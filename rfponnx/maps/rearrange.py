"""Maps that move entries and change none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, behind_stack, push, reshape, whole
from rfponnx.maps.expr import Expr


@dataclass(frozen=True, slots=True)
class Permute(Map):
    """Reorder the axes of D; the stack axis stays in front.  ``[*D] -> [*D[perm]]``"""

    perm: tuple[int, ...]
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return self._transpose(b, r, self.perm)

    def pull(self, b: Builder, m: Value) -> Value:
        inverse = tuple(self.perm.index(i) for i in range(len(self.perm)))
        return self._transpose(b, m, inverse)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return self, replace(window, of=self.y, axis=self.perm.index(window.axis))

    def _transpose(self, b: Builder, v: Value, perm: Sequence[int]) -> Value:
        axes = [*range(int(v.stack)), *behind_stack(v, perm)]
        return Value(b.op("Transpose", v.name, perm=axes), v.stack)


@dataclass(frozen=True, slots=True)
class Reshape(Map):
    """The same entries in row-major order, in the shape of y."""

    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return reshape(b, r, self.y)

    def pull(self, b: Builder, m: Value) -> Value:
        return reshape(b, m, self.x)


@dataclass(frozen=True, slots=True)
class Select(Map):
    """``y[j] = x[index[j]]`` over flat positions; an entry may be taken often, or never.

    Attributes
    ----------
    index
        int64, shaped like y: positions in x, row-major.
    """

    x: str
    y: str
    index: Expr

    def push(self, b: Builder, r: Value) -> Value:
        flat = b.op("Reshape", r.name, self._flat(b, self.x, r.stack))
        index = self.index.emit(b, 0)
        return Value(b.op("Gather", flat, index, axis=int(r.stack)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        dtype = b.graph.dtype(self.x)
        assert dtype is not None
        flat = b.op("Reshape", m.name, self._flat(b, self.y, m.stack))
        index = b.op("Reshape", self.index.emit(b, 0), b.ints([-1]))
        zeros = b.op("Expand", b.floats(0.0, dtype), b.count(self.x))
        if m.stack:
            sources = b.slice(b.op("Shape", m.name), [0], [0], [1])
            index = b.op("Expand", index, b.op("Concat", sources, b.count(self.y), axis=0))
            zeros = b.op("Expand", zeros, b.op("Concat", sources, b.count(self.x), axis=0))
        axis = int(m.stack)
        summed = b.op("ScatterElements", zeros, index, flat, axis=axis, reduction="add")
        return reshape(b, Value(summed, m.stack), self.x)

    def _flat(self, b: Builder, like: str, stack: bool) -> str:
        return b.count(like, lead=(-1,)) if stack else b.ints([-1])


@dataclass(frozen=True, slots=True)
class Embed(Map):
    """Put x at ``start`` along one axis of a larger y, zeros elsewhere (one part of a Concat)."""

    x: str
    y: str
    axis: int
    parts: tuple[str, ...]  # the tensors along the axis, x at `place`
    place: int

    def push(self, b: Builder, r: Value) -> Value:
        rank = len(b.graph.shape(self.y) or ())
        before = self._length(b, self.parts[: self.place])
        after = self._length(b, self.parts[self.place + 1 :])
        lead, axis = int(r.stack), self.axis
        if isinstance(before, int) and isinstance(after, int):
            pads = [0] * (2 * (rank + lead))
            pads[lead + axis], pads[rank + 2 * lead + axis] = before, after
            return Value(b.op("Pad", r.name, b.ints(pads)) if any(pads) else r.name, r.stack)
        zeros = b.ints([0] * (lead + axis)), b.ints([0] * (rank - 1 - axis))
        ends = (zeros[0], _vector(b, before), zeros[1], zeros[0], _vector(b, after), zeros[1])
        return Value(b.op("Pad", r.name, b.op("Concat", *ends, axis=0)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        start = _vector(b, self._length(b, self.parts[: self.place]))
        stop = _vector(b, self._length(b, self.parts[: self.place + 1]))
        axis = b.ints([self.axis + int(m.stack)])
        return Value(b.op("Slice", m.name, start, stop, axis), m.stack)

    def _length(self, b: Builder, parts: Sequence[str]) -> int | str:
        """Return the summed length along the axis, as a number where it is known."""
        sizes = [(b.graph.shape(p) or ())[self.axis] for p in parts]
        known = [s for s in sizes if isinstance(s, int)]
        if len(known) == len(sizes):
            return sum(known)
        dims = [b.dim(p, self.axis) for p in parts]
        return dims[0] if len(dims) == 1 else b.op("Sum", *dims)


@dataclass(frozen=True, slots=True)
class Part(Map):
    """One slice of x along one axis (an output of Split): the transpose of `Embed`."""

    embed: Embed

    def push(self, b: Builder, r: Value) -> Value:
        return self.embed.pull(b, r)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.embed.push(b, m)


def concatenated(b: Builder, parts: dict[int, Value], embeds: Sequence[Embed]) -> Value:
    """Return the streams of some operands side by side, zeros where an operand has none."""
    if len(parts) < len(embeds):
        pieces = [push(embeds[i], b, v) for i, v in parts.items()]
        name = pieces[0].name
        for piece in pieces[1:]:
            name = b.op("Add", name, piece.name)
        return Value(name, pieces[0].stack)
    values = [whole(b, parts[i]) for i in range(len(embeds))]
    axis = embeds[0].axis + int(values[0].stack)
    return Value(b.op("Concat", *(v.name for v in values), axis=axis), values[0].stack)


def _vector(b: Builder, length: int | str) -> str:
    return b.ints([length]) if isinstance(length, int) else length


def known_count(shape: Sequence[int | str | None] | None) -> int | None:
    """Return the number of elements of a shape, if all of it is known."""
    if shape is None or not all(isinstance(d, int) for d in shape):
        return None
    return prod(int(d) for d in shape if d is not None)
