"""Linear maps between spaces shaped like primal tensors, with both directions side by side.

A map knows no ONNX operator of the primal graph and no source: it takes a `Value` through
``y = A x`` (`Map.push`) or through ``m_in = A^T m_out`` (`Map.pull`) and writes the nodes that
do so.  Every map accepts a value with or without a leading stack axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rfponnx.errors import ModelError
from rfponnx.graph.builder import Builder


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a primal tensor outside which a stream is zero: one slice of one axis."""

    of: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Value:
    """A stream or multiplier: a tensor shaped like a primal tensor ``[*D]``.

    Attributes
    ----------
    name
        The overlay tensor.
    stack
        Whether one axis of length S stands in front: ``[S, *D]``.
    window
        The part that is stored; ``None`` if all of it is.
    """

    name: str
    stack: bool = False
    window: Window | None = None


class Map(ABC):
    """A linear map A; its primal tensors only lend it their shapes."""

    __slots__ = ()

    @abstractmethod
    def push(self, b: Builder, r: Value) -> Value:
        """Return ``A r`` (forward)."""

    @abstractmethod
    def pull(self, b: Builder, m: Value) -> Value:
        """Return ``A^T m`` (backward)."""

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        """Return the map on the stored part of a stream, and where its result lives.

        ``None`` means that this map needs the whole tensor; a window of ``None`` leaves it to
        the result of the returned map (all of y unless that says otherwise).
        """
        return None


@dataclass(frozen=True, slots=True)
class Identity(Map):
    """``y = x``."""

    def push(self, b: Builder, r: Value) -> Value:
        return r

    def pull(self, b: Builder, m: Value) -> Value:
        return m

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return self, window


@dataclass(frozen=True, slots=True)
class Then(Map):
    """Maps one after the other: the first acts first."""

    maps: tuple[Map, ...]

    def push(self, b: Builder, r: Value) -> Value:
        for m in self.maps:
            r = push(m, b, r)
        return r

    def pull(self, b: Builder, m: Value) -> Value:
        for a in reversed(self.maps):
            m = a.pull(b, m)
        return m


@dataclass(frozen=True, slots=True)
class Plus(Map):
    """A sum of maps between the same two spaces."""

    maps: tuple[Map, ...]

    def push(self, b: Builder, r: Value) -> Value:
        return add(b, [push(m, b, r) for m in self.maps])

    def pull(self, b: Builder, m: Value) -> Value:
        return add(b, [a.pull(b, m) for a in self.maps])


@dataclass(frozen=True, slots=True)
class Transposed(Map):
    """``A^T``."""

    of: Map

    def push(self, b: Builder, r: Value) -> Value:
        return self.of.pull(b, r)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.of.push(b, m)


def then(*maps: Map) -> Map:
    """Compose maps, leaving identities out."""
    flat = [m for given in maps for m in (given.maps if isinstance(given, Then) else (given,))]
    real = tuple(m for m in flat if not isinstance(m, Identity))
    if not real:
        return Identity()
    return real[0] if len(real) == 1 else Then(real)


def push(a: Map, b: Builder, r: Value) -> Value:
    """Return ``A r`` for a stream that may be stored in part."""
    if r.window is None or isinstance(a, Then | Plus):
        return a.push(b, r)
    narrow = a.narrowed(r.window)
    if narrow is None:
        return a.push(b, whole(b, r))
    inner, window = narrow
    pushed = inner.push(b, Value(r.name, r.stack))
    return pushed if window is None else replace(pushed, window=window)


def whole(b: Builder, r: Value) -> Value:
    """Return a stream stored in part as the whole tensor, zeros elsewhere."""
    if r.window is None:
        return r
    w = r.window
    size = b.dims(w.of)[w.axis]
    if not isinstance(size, int):
        raise ModelError(f"the size of axis {w.axis} has to be known", f"tensor `{w.of}`")
    rank, lead = len(b.dims(w.of)), int(r.stack)
    pads = [0] * (2 * (rank + lead))
    pads[lead + w.axis], pads[rank + 2 * lead + w.axis] = w.start, size - w.stop
    return Value(b.op("Pad", r.name, b.ints(pads)) if any(pads) else r.name, r.stack)


def add(b: Builder, values: Sequence[Value]) -> Value:
    """Return the sum of values of one space."""
    windows = {v.window for v in values}
    parts = list(values) if len(windows) == 1 else [whole(b, v) for v in values]
    name = parts[0].name
    for part in parts[1:]:
        name = b.op("Add", name, part.name)
    return Value(name, any(v.stack for v in parts), parts[0].window)


def reshape(b: Builder, v: Value, like: str) -> Value:
    """Give a value the shape of the primal tensor `like`, behind the stack axis."""
    lead = (-1,) if v.stack else ()
    return Value(b.op("Reshape", v.name, b.shape(like, lead=lead)), v.stack)


def batched(b: Builder, v: Value, y: str, node: Callable[[str], str], x: str) -> Value:
    """Apply a node that takes the batch first and knows no stack axis.

    Parameters
    ----------
    v
        A value shaped like the primal tensor `x`; with a stack axis, ``[S, N, ...]`` is seen
        as ``[S N, ...]`` by `node`.
    y
        The primal tensor that lends the result its shape.
    """
    if not v.stack:
        return Value(node(v.name))
    sizes = b.graph.shape(x)
    tail = sizes[1:] if sizes is not None else (None,)
    if all(isinstance(d, int) for d in tail):
        merged = b.ints([-1, *(int(d) for d in tail if d is not None)])
    else:
        rest = b.slice(b.shape(x), [0], [1], [len(sizes or ())])
        merged = b.op("Concat", b.ints([-1]), rest, axis=0)
    return reshape(b, Value(node(b.op("Reshape", v.name, merged)), stack=True), y)


def behind_stack(v: Value, axes: Sequence[int]) -> list[int]:
    """Return non-negative axes of D as axes of the stored tensor."""
    return [a + int(v.stack) for a in axes]


def align(b: Builder, v: Value, rank: int, to: int) -> str:
    """Return a stacked value of `rank` axes as ``[S, 1, ..., *D]``, to broadcast against `to`."""
    if not v.stack or rank >= to:
        return v.name
    return b.op("Unsqueeze", v.name, b.ints(range(1, 1 + to - rank)))
