"""Maps that move entries and change none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Graph
from rfponnx.maps.base import (
    Map,
    Value,
    Window,
    add,
    align,
    batched,
    behind_stack,
    push,
    reshape,
    whole,
)
from rfponnx.maps.gain import spread
from rfponnx.maps.pad import Length, joined, padded


@dataclass(frozen=True, slots=True)
class Retype(Map):
    """``y = x`` in another float type."""

    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return Value(b.op("Cast", r.name, to=b.graph.dtype(self.y)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return Value(b.op("Cast", m.name, to=b.graph.dtype(self.x)), m.stack)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return self, replace(window, of=self.y)


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
class Merge(Map):
    """Make one axis of the last ones.  ``[*A, d, *inner] -> [*A, d prod(inner)]``"""

    axis: int
    inner: tuple[int, ...]
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        kept = [0] * (self.axis + int(r.stack))
        return Value(b.op("Reshape", r.name, b.ints([*kept, -1])), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        kept = [0] * (self.axis + int(m.stack))
        return Value(b.op("Reshape", m.name, b.ints([*kept, -1, *self.inner])), m.stack)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if window.axis > self.axis:
            return None
        size = prod(self.inner) if window.axis == self.axis else 1
        return self, Window(self.y, window.axis, window.start * size, window.stop * size)


@dataclass(frozen=True, slots=True)
class Reshape(Map):
    """The same entries in row-major order, in the shape of y.

    Attributes
    ----------
    merge
        The same as a merge of axes, where it is one.
    """

    x: str
    y: str
    merge: Merge | None = None

    def push(self, b: Builder, r: Value) -> Value:
        return _reshaped(b, r, self.x, self.y)

    def pull(self, b: Builder, m: Value) -> Value:
        return _reshaped(b, m, self.y, self.x)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return self.merge.narrowed(window) if self.merge else None


def reshaped(graph: Graph, x: str, y: str) -> Reshape:
    """Return the map from the shape of x to that of y."""
    xs, ys = graph.shape(x) or (), graph.shape(y) or ()
    axis = len(ys) - 1
    inner = tuple(d for d in xs[axis + 1 :] if isinstance(d, int))
    alike = axis >= 0 and xs[:axis] == ys[:axis] and not {None, 0} & {*xs[:axis], *inner}
    if alike and len(inner) == len(xs) - axis - 1:
        return Reshape(x, y, Merge(axis, inner, y))
    return Reshape(x, y)


def _reshaped(b: Builder, v: Value, x: str, y: str) -> Value:
    """Give a value of the shape of x that of y, by a constant target where one will do.

    In a target 0 stands for the size that the axis has already, -1 for one that is left over;
    an empty tensor would leave -1 open, so the two do not meet but for the stack axis.
    """
    xs, ys = b.graph.shape(x) or (), b.graph.shape(y) or ()
    kept = [isinstance(d, str) and i < len(xs) and xs[i] == d for i, d in enumerate(ys)]
    target = [
        0 if same else d if isinstance(d, int) else -1 for d, same in zip(ys, kept, strict=True)
    ]
    left = target.count(-1)
    if 0 not in ys and (not left or (left == 1 and not any(kept))):
        lead = [0] if v.stack else []
        return Value(b.op("Reshape", v.name, b.ints([*lead, *target])), v.stack)
    if b.graph.opset < 14 or (v.stack and 0 not in ys):
        return reshape(b, v, y)
    shape = b.shape(y)
    if v.stack:
        shape = b.op("Concat", b.slice(b.op("Shape", v.name), [0], [0], [1]), shape, axis=0)
    return Value(b.op("Reshape", v.name, shape, allowzero=1), v.stack)


@dataclass(frozen=True, slots=True)
class Embed(Map):
    """Put x along one axis of a larger y, zeros elsewhere (one part of a Concat).

    Attributes
    ----------
    parts
        The tensors along the axis, or their lengths.
    place
        Which of them x is.
    """

    x: str
    y: str
    axis: int
    parts: tuple[Length, ...]
    place: int

    def push(self, b: Builder, r: Value) -> Value:
        return self.among(b, r, self.place, self.place + 1)

    def pull(self, b: Builder, m: Value) -> Value:
        start = self.end(b, self.place)
        stop = self.end(b, self.place + 1)
        axis = b.ints([self.axis + int(m.stack)])
        return Value(b.op("Slice", m.name, joined(b, [start]), joined(b, [stop]), axis), m.stack)

    def among(self, b: Builder, r: Value, first: int, last: int) -> Value:
        """Return the parts from `first` to before `last` with zeros around them."""
        rank = len(b.graph.shape(self.y) or ())
        before = self._length(b, self.parts[:first])
        return padded(b, r, rank, {self.axis: (before, self._length(b, self.parts[last:]))})

    def end(self, b: Builder, count: int) -> Length:
        """Return the summed length of the first parts."""
        return self._length(b, self.parts[:count])

    def _length(self, b: Builder, parts: Sequence[Length]) -> Length:
        """Return the summed length along the axis, as a number where it is known."""
        shapes = [None if isinstance(p, int) else b.graph.shape(p) for p in parts]
        sizes = [
            p if isinstance(p, int) else shape[self.axis] if shape else None
            for p, shape in zip(parts, shapes, strict=True)
        ]
        known = sum(s for s in sizes if isinstance(s, int))
        dims = [
            b.dim(p, self.axis)
            for p, size in zip(parts, sizes, strict=True)
            if isinstance(p, str) and not isinstance(size, int)
        ]
        if not dims:
            return known
        total = dims[0]
        for more in [*dims[1:], *([b.ints([known])] if known else [])]:
            total = b.op("Add", total, more)
        return total


@dataclass(frozen=True, slots=True)
class Part(Map):
    """One slice of x along one axis (an output of Split): the transpose of `Embed`."""

    embed: Embed

    def push(self, b: Builder, r: Value) -> Value:
        return self.embed.pull(b, r)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.embed.push(b, m)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return None if window.axis == self.embed.axis else (self, replace(window, of=self.embed.x))


def concatenated(b: Builder, parts: Mapping[int, Value], embeds: Sequence[Embed]) -> Value:
    """Return the streams of some operands side by side, zero where an operand has none.

    Where lengths are known, the zeros are not written: the rest is a window.
    """
    first, last = min(parts), max(parts) + 1
    if len(parts) < last - first:
        return add(b, [push(embeds[i], b, v) for i, v in parts.items()])
    axis, start = embeds[0].axis, embeds[0].end(b, first)
    joined = parts[first]
    if len(parts) > 1 or (joined.window and joined.window.axis != axis):
        values = [whole(b, parts[i]) for i in range(first, last)]
        along = axis + int(values[0].stack)
        names = [v.name for v in values]
        name = b.op("Concat", *names, axis=along) if len(names) > 1 else names[0]
        joined = Value(name, values[0].stack)
    stop, length = embeds[0].end(b, last), (b.graph.shape(embeds[0].y) or ())[axis]
    known = isinstance(start, int) and isinstance(stop, int) and isinstance(length, int)
    if joined.stack or not known:
        return embeds[0].among(b, whole(b, joined), first, last)
    return _windowed(joined, embeds[0], int(start), int(stop), int(length or 0))


def _windowed(v: Value, embed: Embed, start: int, stop: int, length: int) -> Value:
    """Return what lies from `start` to `stop` of y's axis, of length `length`, as a part of y."""
    if v.window:
        start, stop = start + v.window.start, start + v.window.stop
    window = Window(embed.y, embed.axis, start, stop)
    return Value(v.name, window=None if (start, stop) == (0, length) else window)


@dataclass(frozen=True, slots=True)
class Blocks(Map):
    """Channels become blocks of pixels (DepthToSpace).  ``[N, C s s, H, W] -> [N, C, H s, W s]``

    Attributes
    ----------
    rows_first
        Whether a channel index is (row, column, channel), not (channel, row, column).
    """

    size: int
    rows_first: bool
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        mode = "DCR" if self.rows_first else "CRD"
        attrs = {"blocksize": self.size, "mode": mode}
        return batched(b, r, self.y, lambda v: b.op("DepthToSpace", v, **attrs), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return batched(b, m, self.x, lambda v: self._gathered(b, v), self.y)

    def _gathered(self, b: Builder, m: str) -> str:
        found = b.op("SpaceToDepth", m, blocksize=self.size)
        if self.rows_first:
            return found
        channels, area = (b.graph.shape(self.y) or ())[1], self.size * self.size
        assert isinstance(channels, int)
        order = [k * channels + c for c in range(channels) for k in range(area)]
        return b.op("Gather", found, b.ints(order), axis=1)


@dataclass(frozen=True, slots=True)
class Stretch(Map):
    """x broadcast to the shape of y, along axes that are known at run time only."""

    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        rank_x, rank_y = len(b.graph.shape(self.x) or ()), len(b.graph.shape(self.y) or ())
        target = b.shape(self.y, lead=(1,) if r.stack else ())
        return Value(b.op("Expand", align(b, r, rank_x, rank_y), target), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        missing = len(b.graph.shape(self.y) or ()) - len(b.graph.shape(self.x) or ())
        aligned = b.shape(self.x, lead=(1,) * missing)
        longer = b.op("Not", b.op("Equal", aligned, b.shape(self.y)))
        axes = b.op("Reshape", b.op("NonZero", longer), b.ints([-1]))
        if m.stack:
            axes = b.op("Add", axes, b.ints([1]))
        summed = b.op("ReduceSum", m.name, axes, keepdims=1, noop_with_empty_axes=1)
        return reshape(b, Value(summed, m.stack), self.x) if missing else Value(summed, m.stack)


def expanded(graph: Graph, x: str, y: str) -> Map:
    """Return the map that broadcasts x to y, where a size may turn out to be 1 in a run."""
    xs, ys = graph.shape(x) or (), graph.shape(y) or ()
    pairs = zip(xs, ys[len(ys) - len(xs) :], strict=True)
    sure = all(p == 1 or (p is not None and p == q) for p, q in pairs)
    return spread(graph, x, y) if sure else Stretch(x, y)
