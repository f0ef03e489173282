"""Maps that pick entries by their positions, or put them there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, batched, reshape
from rfponnx.maps.expr import Expr, filled, positions, tensor


@dataclass(frozen=True, slots=True)
class Select(Map):
    """``y[j] = x[index[j]]`` over flat positions; an entry may be taken often, or never.

    Attributes
    ----------
    index
        int64, shaped like y: positions in x, row-major.
    distinct
        Whether no entry is taken twice (its transpose then needs no sums).
    """

    x: str
    y: str
    index: Expr
    distinct: bool = False

    def push(self, b: Builder, r: Value) -> Value:
        flat = b.op("Reshape", r.name, b.ints([0, -1] if r.stack else [-1]))
        index = self.index.emit(b, 0)
        return Value(b.op("Gather", flat, index, axis=int(r.stack)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        dtype = b.graph.dtype(self.x)
        assert dtype is not None
        flat = b.op("Reshape", m.name, b.ints([0, -1] if m.stack else [-1]))
        index = b.op("Reshape", self.index.emit(b, 0), b.ints([-1]))
        zeros = b.op("Expand", b.floats(0.0, dtype), b.count(self.x))
        if m.stack:
            sources = b.slice(b.op("Shape", m.name), [0], [0], [1])
            index = b.op("Expand", index, b.op("Concat", sources, b.count(self.y), axis=0))
            zeros = b.op("Expand", zeros, b.op("Concat", sources, b.count(self.x), axis=0))
        axis = int(m.stack)
        if self.distinct:
            found = b.op("ScatterElements", zeros, index, flat, axis=axis)
        else:
            found = b.scatter_add(zeros, index, flat, axis, dtype)
        return reshape(b, Value(found, m.stack), self.x)


@dataclass(frozen=True, slots=True)
class Picked(Map):
    """Entries of x that a node picks by position: the same node on the stream.

    Its transpose puts every entry back where it came from; the node applied to the positions
    of x says where that is.

    Attributes
    ----------
    node
        The node (or a few), with `HOLE` in the place of x.
    behind
        The same for ``[S, *D]``; ``None`` where it cannot be said so, and flat positions serve.
    """

    x: str
    y: str
    node: Expr
    behind: Expr | None = None

    def push(self, b: Builder, r: Value) -> Value:
        node = self.behind if r.stack else self.node
        if node is None:
            return self._select().push(b, r)
        return Value(filled(node, tensor(r.name)).emit(b, 0), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return self._select().pull(b, m)

    def _select(self) -> Select:
        return Select(self.x, self.y, filled(self.node, positions(self.x)))


@dataclass(frozen=True, slots=True)
class Triangle(Map):
    """The upper or lower triangle of the last two axes, zeros elsewhere: its own transpose."""

    upper: bool
    diagonal: str  # an int64 scalar, or empty

    def push(self, b: Builder, r: Value) -> Value:
        given = (self.diagonal,) if self.diagonal else ()
        return Value(b.op("Trilu", r.name, *given, upper=int(self.upper)), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


@dataclass(frozen=True, slots=True)
class Masked(Map):
    """``y = x`` where a condition is `where`, else 0, also beside an infinite entry."""

    condition: str
    where: bool
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        dtype = b.graph.dtype(self.y)
        assert dtype is not None
        zero = b.floats(0.0, dtype)
        pair = (r.name, zero) if self.where else (zero, r.name)
        return Value(b.op("Where", self.condition, *pair), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


@dataclass(frozen=True, slots=True)
class Fold(Map):
    """Patches added up to an image (Col2Im); its transpose cuts the patches out again.

    ``[N, C k, L] -> [N, C, *P]``, k entries of a block, L positions of it.

    Attributes
    ----------
    block
        The extent of a patch along each axis of the image.
    attrs
        Pads, strides and dilations, as the attributes of Conv.
    """

    image: str  # an int64 tensor, P
    block: tuple[int, ...]
    channels: int
    attrs: tuple[tuple[str, tuple[int, ...]], ...]
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        block = b.ints(self.block)
        return batched(
            b, r, self.y, lambda v: b.op("Col2Im", v, self.image, block, **self._attrs()), self.x
        )

    def pull(self, b: Builder, m: Value) -> Value:
        size = math.prod(self.block)
        one = np.eye(size).reshape(size, 1, *self.block)
        cut = b.floats(np.tile(one, (self.channels, *[1] * (one.ndim - 1))), b.dtype(self.x))
        attrs = {**self._attrs(), "group": self.channels}
        flat = batched(b, m, self.x, lambda v: b.op("Conv", v, cut, **attrs), self.y)
        return flat if m.stack else reshape(b, flat, self.x)

    def _attrs(self) -> dict[str, list[int]]:
        return {name: list(values) for name, values in self.attrs}
