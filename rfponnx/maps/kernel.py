"""Convolutions as functions of their weights, the data held constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, behind_stack
from rfponnx.maps.conv import Attrs, Geometry
from rfponnx.maps.expr import Expr


@dataclass(frozen=True, slots=True)
class KernelOfConv(Map):
    """Cross-correlation with x.  ``[Co, Ci / group, *K] -> [N, Co, *Q]``

    Attributes
    ----------
    x
        ``[N, Ci, *P]``.
    rows
        Co.
    """

    x: Expr
    rows: int
    geometry: Geometry
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        g, x = self.geometry, self.x.emit(b, b.dtype(self.geometry.wide))
        if not r.stack:
            return Value(b.op("Conv", x, r.name, **dict(self.attrs)))
        n, part = g.axes, self.rows // g.group
        # [S, g, Co / g, ...] -> [g S Co / g, ...]: every group holds the rows of all sources
        w = _split(b, r.name, (-1, g.group, part), 2, n + 1)
        w = _joined(b, b.op("Transpose", w, perm=[1, 0, *range(2, n + 4)]), 3, n + 1)
        return _unmixed(b, b.op("Conv", x, w, **dict(self.attrs)), g.narrow, g, part)

    def pull(self, b: Builder, m: Value) -> Value:
        g, x = self.geometry, self.x.emit(b, b.dtype(self.geometry.wide))
        n, part = g.axes, self.rows // g.group
        # [S, N, g, Co / g, *Q] -> [g, S, Co / g, N, *Q]
        narrow = _split(b, _stacked(b, m), (g.group, part), 1, n, at=2)
        narrow = b.op("Transpose", narrow, perm=[2, 0, 3, 1, *range(4, n + 4)])
        found = _correlated(b, _folded(b, x, g), _joined(b, narrow, 3, n + 1), g)
        # [Ci / g, g S Co / g, *K] -> [S, g, Co / g, Ci / g, *K]
        found = _split(b, found, (g.group, -1, part), 1, n, at=1)
        found = b.op("Transpose", found, perm=[2, 1, 3, 0, *range(4, n + 4)])
        found = _joined(b, found, 2, n + 1, at=1)
        return _like(b, found, m)


@dataclass(frozen=True, slots=True)
class KernelOfTranspose(Map):
    """The transpose of a cross-correlation.  ``[Ci, Co / group, *K] -> [N, Co, *P]``

    Attributes
    ----------
    x
        ``[N, Ci, *Q]``.
    columns
        Co / group.
    """

    x: Expr
    columns: int
    geometry: Geometry
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        g, x = self.geometry, self.x.emit(b, b.dtype(self.geometry.wide))
        if not r.stack:
            return Value(b.op("ConvTranspose", x, r.name, **dict(self.attrs)))
        n = g.axes
        # [S, Ci, Co / g, *K] -> [Ci, S Co / g, *K]
        w = b.op("Transpose", r.name, perm=[1, 0, *range(2, n + 3)])
        w = _joined(b, w, 2, n, at=1)
        return _unmixed(b, b.op("ConvTranspose", x, w, **dict(self.attrs)), g.wide, g, self.columns)

    def pull(self, b: Builder, m: Value) -> Value:
        g, x = self.geometry, self.x.emit(b, b.dtype(self.geometry.wide))
        n = g.axes
        # [S, N, g, Co / g, *P] -> [S Co / g, g N, *P]
        wide = _split(b, _stacked(b, m), (g.group, self.columns), 1, n, at=2)
        wide = b.op("Transpose", wide, perm=[0, 3, 2, 1, *range(4, n + 4)])
        wide = _joined(b, _joined(b, wide, 2, n, at=2), 2, n + 1)
        narrow = b.op("Transpose", x, perm=[1, 0, *range(2, n + 2)])
        # [S Co / g, Ci, *K] -> [S, Ci, Co / g, *K]
        found = _split(b, _correlated(b, wide, narrow, g), (-1, self.columns), 1, n + 1)
        return _like(b, b.op("Transpose", found, perm=[0, 2, 1, *range(3, n + 3)]), m)


@dataclass(frozen=True, slots=True)
class PerChannel(Map):
    """A vector over the channels added to all entries of y.  ``[C] -> [N, C, *Q]``"""

    y: str

    def push(self, b: Builder, r: Value) -> Value:
        lead, rank = int(r.stack), len(b.dims(self.y))
        ones = b.ints([lead, *range(lead + 2, lead + rank)])
        target = b.shape(self.y, lead=(1,) * lead)
        return Value(b.op("Expand", b.op("Unsqueeze", r.name, ones), target), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        axes = behind_stack(m, [0, *range(2, len(b.dims(self.y)))])
        return Value(b.reduce("ReduceSum", m.name, axes, keepdims=False), m.stack)


def _stacked(b: Builder, m: Value) -> str:
    return m.name if m.stack else b.op("Unsqueeze", m.name, b.ints([0]))


def _like(b: Builder, found: str, m: Value) -> Value:
    """Return a stacked result as what it was asked of: without the axis where that had none."""
    return Value(found if m.stack else b.op("Squeeze", found, b.ints([0])), m.stack)


def _split(
    b: Builder, name: str, parts: Sequence[int], gone: int, after: int, *, at: int = 0
) -> str:
    """Make `parts` of the `gone` axes from `at` on; `after` axes follow."""
    shape = b.op("Shape", name)
    head = [0] * at
    tail = b.slice(shape, [0], [at + gone], [at + gone + after])
    return b.op("Reshape", name, b.op("Concat", b.ints([*head, *parts]), tail, axis=0))


def _joined(b: Builder, name: str, count: int, after: int, *, at: int = 0) -> str:
    """Make one axis of the `count` axes from `at` on; `after` axes follow."""
    return _split(b, name, (-1,), count, after, at=at)


def _folded(b: Builder, x: str, g: Geometry) -> str:
    """``[N, g Ci / g, *P] -> [Ci / g, g N, *P]``."""
    n = g.axes
    parted = _split(b, x, (g.group, -1), 1, n, at=1)
    parted = b.op("Transpose", parted, perm=[2, 1, 0, *range(3, n + 3)])
    return _joined(b, parted, 2, n, at=1)


def _unmixed(b: Builder, found: str, y: str, g: Geometry, part: int) -> Value:
    """``[N, g S part, *E] -> [S, N, g part, *E]``, the shape of y behind S."""
    n = g.axes
    parted = _split(b, found, (g.group, -1, part), 1, n, at=1)
    parted = b.op("Transpose", parted, perm=[2, 0, 1, 3, *range(4, n + 4)])
    return Value(_joined(b, parted, 2, n, at=2), stack=True)


def _correlated(b: Builder, wide: str, narrow: str, g: Geometry) -> str:
    """Return what every kernel entry multiplies: ``[A, g N, *P], [B, N, *Q] -> [A, B, *K]``.

    The windows of this step where those of the node dilate, and dilate where they step.
    """
    n, known = g.axes, g.margins(b)
    if known is not None:
        begin, end = b.ints(known[:n]), b.ints(known[n:])
    else:
        begin, end = g.margins_at_run_time(b)
    none = b.ints([0, 0])
    padded = b.op("Pad", wide, b.op("Concat", none, begin, none, end, axis=0))
    return b.op(
        "Conv", padded, narrow,
        strides=list(g.dilations), dilations=list(g.strides), group=g.group, pads=[0] * (2 * n),
    )  # fmt: skip
