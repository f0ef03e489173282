"""Reading an image between its entries (GridSample), and adding back there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from rfponnx.graph.builder import INT64, Builder
from rfponnx.maps.base import Map, Value, Window
from rfponnx.maps.conv import Attrs, spatial_sizes

CUBIC = -0.75  # the coefficient of the standard's bicubic kernel
#: The kernel's polynomials in the distance, beyond 1 and up to 1.
CUBICS = (
    (CUBIC, -5 * CUBIC, 8 * CUBIC, -4 * CUBIC),
    (CUBIC + 2, -(CUBIC + 3), 0.0, 1.0),
)


#: From t, in 0..1 behind an entry, the weight of the entry k further on.
Kernel = Callable[[Builder, str, int, int], str]


@dataclass(frozen=True, slots=True)
class Fold:
    """A place as `rest` behind `edge`, having been turned at the edges of a `span` `odd` times."""

    edge: str
    span: str
    rest: str
    odd: str


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
        summed = b.scatter_add(zeros, where, updates, 2, dtype)
        return b.op("Reshape", summed, b.op("Concat", channels, sizes, axis=0))

    def read(self, b: Builder, image: str, places: Sequence[str], by: int = 0) -> str:
        """Return an image ``[N, C, *P]`` read at places, ``[N, C, Q]``.

        Parameters
        ----------
        by
            A spatial axis: return the derivative by the places along it instead.
        """
        rank = 2 + len(places)
        taps = [
            (self._slopes if axis == by else self._taps)(b, axis, at)
            for axis, at in enumerate(places, 2)
        ]
        flat = b.op("Reshape", image, b.ints([0, 0, -1]))
        channels, total = b.slice(b.op("Shape", flat), [0], [0], [2]), ""
        for combined in product(*taps):
            where = self._place(b, [one for one, _ in combined], rank)
            length = b.slice(b.op("Shape", where), [0], [2], [3])
            where = b.op("Expand", where, b.op("Concat", channels, length, axis=0))
            value = b.op("GatherElements", flat, where, axis=2)
            for _, weight in combined:
                value = b.op("Mul", value, weight)
            total = b.op("Add", total, value) if total else value
        return total

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
        return self._around(b, axis, at, _linear if self.mode == "linear" else _cubic)

    def _slopes(self, b: Builder, axis: int, at: str) -> list[tuple[str, str]]:
        """Return the entries that are read along an axis, with the slopes of their weights."""
        if self.mode == "cubic":
            return self._around(b, axis, at, _cubic_slope)
        turn = self._turn(b, at, axis)
        taps = self._around(b, axis, self._moved_inside(b, at, axis), _linear_slope)
        return [(index, b.op("Mul", slope, turn) if turn else slope) for index, slope in taps]

    def _around(self, b: Builder, axis: int, at: str, kernel: Kernel) -> list[tuple[str, str]]:
        dtype, low = b.dtype(self.x), b.op("Floor", at)
        t = b.op("Sub", at, low)
        offsets = (0, 1) if self.mode == "linear" else (-1, 0, 1, 2)
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

    def _turn(self, b: Builder, at: str, axis: int) -> str:
        """Return the slope of what moves a place inside: 1, -1, or 0; empty where it stays."""
        dtype = b.dtype(self.x)
        if self.padding == "border":
            return b.op("Cast", b.op("Equal", self._clamped(b, at, axis), at), to=dtype)
        if self.padding != "reflection":
            return ""
        fold, one, two = self._fold(b, at, axis), b.floats(1.0, dtype), b.floats(2.0, dtype)
        back = b.op("Sub", one, b.op("Mul", two, fold.odd))
        return b.op("Where", b.op("Less", at, fold.edge), b.op("Neg", back), back)

    def _reflected(self, b: Builder, at: str, axis: int) -> str:
        """Return a place folded at the edges until it lies inside."""
        fold, two = self._fold(b, at, axis), b.floats(2.0, b.dtype(self.x))
        more = b.op("Sub", fold.span, b.op("Mul", two, fold.rest))
        return b.op("Add", fold.edge, b.op("Add", fold.rest, b.op("Mul", fold.odd, more)))

    def _fold(self, b: Builder, at: str, axis: int) -> Fold:
        dtype, size = b.dtype(self.x), self.size(b, axis)
        one, two = b.floats(1.0, dtype), b.floats(2.0, dtype)
        edge = b.floats(0.0 if self.aligned else -0.5, dtype)
        span = b.op("Max", b.op("Sub", size, one), one) if self.aligned else size
        away = b.op("Abs", b.op("Sub", at, edge))
        turns = b.op("Floor", b.op("Div", away, span))
        rest = b.op("Sub", away, b.op("Mul", turns, span))
        odd = b.op("Sub", turns, b.op("Mul", two, b.op("Floor", b.op("Div", turns, two))))
        return Fold(edge, span, rest, odd)

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
        return self.reading.added(b, b.op("Reshape", m, b.ints([0, 0, -1])), self.places(b))

    def places(self, b: Builder) -> list[str]:
        """Return for each spatial axis where the grid points, in entries of x, ``[N, 1, Q]``."""
        rank = len(b.dims(self.x))
        return [self._coordinate(b, axis, rank) for axis in range(2, rank)]

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


def _linear_slope(b: Builder, t: str, k: int, dtype: int) -> str:
    return b.floats(2.0 * k - 1, dtype)


def _cubic(b: Builder, t: str, k: int, dtype: int) -> str:
    """Return the cubic convolution kernel at distance ``|t - k|``."""
    return _polynomial(b, _distance(b, t, k, dtype), CUBICS[k in (0, 1)], dtype)


def _cubic_slope(b: Builder, t: str, k: int, dtype: int) -> str:
    """Return the derivative of the cubic kernel by t."""
    side, powers = (1 if k < 1 else -1), (3, 2, 1)
    slopes = [side * p * c for p, c in zip(powers, CUBICS[k in (0, 1)], strict=False)]
    return _polynomial(b, _distance(b, t, k, dtype), slopes, dtype)


def _distance(b: Builder, t: str, k: int, dtype: int) -> str:
    return b.op("Sub", t, b.floats(k, dtype)) if k < 1 else b.op("Sub", b.floats(k, dtype), t)


def _polynomial(b: Builder, x: str, coefficients: Sequence[float], dtype: int) -> str:
    """Return a polynomial, the highest power first."""
    value = b.floats(coefficients[0], dtype)
    for c in coefficients[1:]:
        value = b.op("Add", b.op("Mul", value, x), b.floats(c, dtype))
    return value
