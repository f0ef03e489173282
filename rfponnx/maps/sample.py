"""Reading an image between its entries (GridSample), and adding back there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from rfponnx.graph.builder import INT64, Builder
from rfponnx.maps.base import Map, Value, Window
from rfponnx.maps.conv import Attrs, spatial_sizes

CUBIC = -0.75  # the coefficient of the standard's bicubic kernel


@dataclass(frozen=True, slots=True)
class Reading:
    """How entries of an image ``[N, C, *P]`` are mixed at a place between them.

    Attributes
    ----------
    x
        The primal tensor that lends the image its spatial sizes.
    mode, padding
        ``linear``, ``nearest`` or ``cubic``; ``zeros``, ``border`` or ``reflection``.
    aligned
        Whether reflection is about the centres of the outermost entries, not their edges.
    """

    x: str
    mode: str = "linear"
    padding: str = "zeros"
    aligned: bool = False

    def added(self, b: Builder, flat: str, places: Sequence[str]) -> str:
        """Return ``[N, C, Q]`` added to an empty image ``[N, C, *P]``: the transpose of reading.

        Parameters
        ----------
        places
            For each spatial axis where the entries lie, in entries of the image, ``[N, 1, Q]``.
        """
        rank, dtype = 2 + len(places), b.dtype(self.x)
        taps = [self._taps(b, axis, at) for axis, at in enumerate(places, 2)]
        index, parts = [], []
        for combined in product(*taps):
            index.append(self._place(b, [one for one, _ in combined], rank))
            weight = combined[0][1]
            for _, other in combined[1:]:
                weight = b.op("Mul", weight, other)
            parts.append(b.op("Mul", flat, weight))
        updates = _joined(b, parts)
        where = b.op("Expand", _joined(b, index), b.op("Shape", updates))
        channels = b.slice(b.op("Shape", flat), [0], [0], [2])
        sizes = spatial_sizes(b, self.x, rank - 2)
        count = b.reduce("ReduceProd", sizes, [0])
        zeros = b.op("Expand", b.floats(0.0, dtype), b.op("Concat", channels, count, axis=0))
        summed = b.op("ScatterElements", zeros, where, updates, axis=2, reduction="add")
        return b.op("Reshape", summed, b.op("Concat", channels, sizes, axis=0))

    def _place(self, b: Builder, index: Sequence[str], rank: int) -> str:
        """Return the flat position of an entry of the image, int64 ``[N, 1, Q]``."""
        flat = index[0]
        for axis, one in zip(range(3, rank), index[1:], strict=True):
            flat = b.op("Add", b.op("Mul", flat, self.size(b, axis)), one)
        return b.op("Cast", flat, to=INT64)

    def _taps(self, b: Builder, axis: int, at: str) -> list[tuple[str, str]]:
        """Return the entries that are read along an axis, with their weights, ``[N, 1, Q]``."""
        dtype = b.dtype(self.x)
        if self.mode == "nearest":
            at = b.op("Round", at)
        if self.mode != "cubic":
            at = self._moved_inside(b, at, axis)
        if self.mode == "nearest":
            return [self._tap(b, at, b.floats(1.0, dtype), axis)]
        low = b.op("Floor", at)
        t = b.op("Sub", at, low)
        offsets = (0, 1) if self.mode == "linear" else (-1, 0, 1, 2)
        kernel = _linear if self.mode == "linear" else _cubic
        return [
            self._tap(b, b.op("Add", low, b.floats(k, dtype)), kernel(b, t, k, dtype), axis)
            for k in offsets
        ]

    def _tap(self, b: Builder, index: str, weight: str, axis: int) -> tuple[str, str]:
        inside = self._moved_inside(b, index, axis)
        if self.padding == "zeros":
            inside = self._clamped(b, index, axis)
            real = b.op("Cast", b.op("Equal", inside, index), to=b.dtype(self.x))
            return inside, b.op("Mul", weight, real)
        return inside, weight

    def _moved_inside(self, b: Builder, at: str, axis: int) -> str:
        if self.padding == "border":
            return self._clamped(b, at, axis)
        return self._reflected(b, at, axis) if self.padding == "reflection" else at

    def _clamped(self, b: Builder, at: str, axis: int) -> str:
        dtype = b.dtype(self.x)
        last = b.op("Sub", self.size(b, axis), b.floats(1.0, dtype))
        return b.op("Max", b.op("Min", at, last), b.floats(0.0, dtype))

    def _reflected(self, b: Builder, at: str, axis: int) -> str:
        """Return a place folded at the edges until it lies inside."""
        dtype, size = b.dtype(self.x), self.size(b, axis)
        one, two = b.floats(1.0, dtype), b.floats(2.0, dtype)
        edge = b.floats(0.0 if self.aligned else -0.5, dtype)
        span = b.op("Max", b.op("Sub", size, one), one) if self.aligned else size
        away = b.op("Abs", b.op("Sub", at, edge))
        turns = b.op("Floor", b.op("Div", away, span))
        rest = b.op("Sub", away, b.op("Mul", turns, span))
        odd = b.op("Sub", turns, b.op("Mul", two, b.op("Floor", b.op("Div", turns, two))))
        folded = b.op("Add", rest, b.op("Mul", odd, b.op("Sub", span, b.op("Mul", two, rest))))
        return b.op("Add", edge, folded)

    def size(self, b: Builder, axis: int) -> str:
        """Return the length of the image along an axis, as a float."""
        known, dtype = (b.graph.shape(self.x) or ())[axis], b.dtype(self.x)
        if isinstance(known, int):
            return b.floats(float(known), dtype)
        return b.op("Cast", b.dim(self.x, axis), to=dtype)


@dataclass(frozen=True, slots=True)
class GridSample(Map):
    """``y[n, c, q]`` = x interpolated at ``grid[n, q]``.  ``[N, C, *P] -> [N, C, *Q]``

    Attributes
    ----------
    grid
        A primal tensor ``[N, *Q, d]``, in -1..1 across the image, the last axis of x first.
    reading
        How; `aligned`: -1 and 1 are the centres of the outermost entries, not their edges.
    attrs
        Attributes of the primal's node.
    """

    x: str
    y: str
    grid: str
    reading: Reading
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        node = dict(self.attrs)
        if not r.stack:
            return Value(b.op("GridSample", r.name, self.grid, **node))
        seen = b.op("GridSample", self._channels(b, r.name, self.x), self.grid, **node)
        return self._stacked(b, seen, r.name, self.y)

    def pull(self, b: Builder, m: Value) -> Value:
        if not m.stack:
            return Value(self._added(b, m.name))
        return self._stacked(b, self._added(b, self._channels(b, m.name, self.y)), m.name, self.x)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return (self, replace(window, of=self.y)) if window.axis == 1 else None

    def _channels(self, b: Builder, v: str, of: str) -> str:
        """Return ``[S, N, C, *P]`` as ``[N, S C, *P]``."""
        rank = len(b.graph.shape(of) or ())
        turned = b.op("Transpose", v, perm=[1, 0, *range(2, rank + 1)])
        batch, tail = b.dim(of, 0), b.slice(b.shape(of), [0], [2], [rank])
        return b.op("Reshape", turned, b.op("Concat", batch, b.ints([-1]), tail, axis=0))

    def _stacked(self, b: Builder, v: str, like: str, of: str) -> Value:
        """Return ``[N, S C, *Q]`` as ``[S, N, C, *Q]``."""
        rank = len(b.graph.shape(of) or ())
        sources = b.slice(b.op("Shape", like), [0], [0], [1])
        tail = b.slice(b.shape(of), [0], [1], [rank])
        split = b.op("Reshape", v, b.op("Concat", b.dim(of, 0), sources, tail, axis=0))
        return Value(b.op("Transpose", split, perm=[1, 0, *range(2, rank + 1)]), stack=True)

    def _added(self, b: Builder, m: str) -> str:
        """Return ``[N, C, *Q]`` added to an empty ``[N, C, *P]`` at the places of the grid."""
        rank = len(b.graph.shape(self.x) or ())
        places = [self._coordinate(b, axis, rank) for axis in range(2, rank)]
        return self.reading.added(b, b.op("Reshape", m, b.ints([0, 0, -1])), places)

    def _coordinate(self, b: Builder, axis: int, rank: int) -> str:
        """Return where the grid points along an axis, in entries of the image."""
        dtype = b.dtype(self.x)
        one, half = b.floats(1.0, dtype), b.floats(0.5, dtype)
        place = rank - 1 - axis
        g = b.slice(self.grid, [rank - 1], [place], [place + 1])
        g = b.op("Reshape", g, b.op("Concat", b.dim(self.x, 0), b.ints([1, -1]), axis=0))
        size, g = self.reading.size(b, axis), b.op("Add", g, one)
        if self.reading.aligned:
            return b.op("Mul", b.op("Mul", g, half), b.op("Sub", size, one))
        return b.op("Mul", b.op("Sub", b.op("Mul", g, size), one), half)


def _joined(b: Builder, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else b.op("Concat", *parts, axis=-1)


def _linear(b: Builder, t: str, k: int, dtype: int) -> str:
    return t if k else b.op("Sub", b.floats(1.0, dtype), t)


def _cubic(b: Builder, t: str, k: int, dtype: int) -> str:
    """Return the cubic convolution kernel at distance ``|t - k|``."""
    distance = b.op("Sub", t, b.floats(k, dtype)) if k < 1 else b.op("Sub", b.floats(k, dtype), t)
    a = CUBIC
    near, far = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
    value = b.floats((near if k in (0, 1) else far)[0], dtype)
    for c in (near if k in (0, 1) else far)[1:]:
        value = b.op("Add", b.op("Mul", value, distance), b.floats(c, dtype))
    return value
