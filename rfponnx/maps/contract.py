"""Maps that multiply by weights: convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched
from rfponnx.maps.expr import Expr, call, ints


BLOCK = 16  # channels of a block in ONNX Runtime's layout: below that its Conv is slow


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a kernel lies on its input; all tuples have one entry per spatial axis.

    Attributes
    ----------
    kernel, strides, dilations
        Positive integers.
    pads
        Begin and end of each axis, ``(b0, b1, ..., e0, e1, ...)``; ``None`` for `auto`.
    group
        Channel groups.
    auto
        ``SAME_UPPER`` or ``SAME_LOWER`` where the pads depend on a size not known yet.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    group: int = 1
    auto: str = ""

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """What a dilated kernel covers along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the Conv node with this geometry."""
        pads = {"pads": list(self.pads)} if self.pads is not None else {"auto_pad": self.auto}
        return {
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "group": self.group,
            **pads,
        }


@dataclass(frozen=True, slots=True)
class Conv(Map):
    """Cross-correlation with a kernel.  ``[N, Ci, *P] -> [N, Co, *Q]``, weights ``[Co, Ci/g, *K]``."""

    weight: Expr
    geometry: Geometry
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        w = self.weight.emit(b, _dtype(b, self.x))
        attrs = self.geometry.attributes()
        return batched(b, r, self.y, lambda v: b.op("Conv", v, w, **attrs), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return batched(b, m, self.x, lambda v: self._transposed(b, v), self.y)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if window.axis != 1 or self.geometry.group != 1:
            return None
        start, stop, axis = ints([window.start]), ints([window.stop]), ints([1])
        part = call("Slice", self.weight, start, stop, axis)
        return Conv(part, self.geometry, self.x, self.y), None

    def _transposed(self, b: Builder, m: str) -> str:
        """Return the transposed convolution, spelled as what costs least (MEASURED 4)."""
        w = self.weight.emit(b, _dtype(b, self.x))
        g = self.geometry
        rows = b.graph.shape(self.x) or ()
        inner = rows[1] if len(rows) > 1 else None
        depthwise = isinstance(inner, int) and inner == g.group and g.group > 1
        wide = isinstance(inner, int) and (inner // g.group) % BLOCK == 0
        if set(g.strides) == {1} and g.pads is not None and (wide or depthwise):
            back = tuple(e - 1 - p for e, p in zip(g.extent * 2, g.pads, strict=True))
            if min(back) >= 0:
                attrs = Geometry(g.kernel, g.strides, g.dilations, back, g.group).attributes()
                return b.op("Conv", m, self._flipped(b, w), **attrs)
        return self._scattered(b, m, w)

    def _flipped(self, b: Builder, w: str) -> str:
        """Return the weights with both channel axes exchanged and every kernel reversed."""
        g, n = self.geometry, self.geometry.axes
        co, ci = (b.graph.shape(self.y) or ())[1], (b.graph.shape(self.x) or ())[1]
        spatial = list(range(2, 2 + n))
        assert isinstance(co, int) and isinstance(ci, int)
        if g.group == 1:
            w = b.op("Transpose", w, perm=[1, 0, *spatial])
        else:
            k, per_out, per_in = g.kernel, co // g.group, ci // g.group
            w = b.op("Reshape", w, b.ints([g.group, per_out, per_in, *k]))
            w = b.op("Transpose", w, perm=[0, 2, 1, *(a + 1 for a in spatial)])
            w = b.op("Reshape", w, b.ints([ci, per_out, *k]))
        if all(k == 1 for k in g.kernel):
            return w
        far = [-(2**62)] * n
        return b.op("Slice", w, b.ints([-1] * n), b.ints(far), b.ints(spatial), b.ints([-1] * n))

    def _scattered(self, b: Builder, m: str, w: str) -> str:
        """Return ConvTranspose, cut or filled to the size of x."""
        g, n = self.geometry, self.geometry.axes
        begin, rest = self._margins(b)
        common = {"strides": list(g.strides), "dilations": list(g.dilations), "group": g.group}
        if begin is not None and rest is not None:
            assert g.pads is not None or begin
            return b.op(
                "ConvTranspose", m, w, pads=[*begin, *self._ends(b, begin, rest)],
                output_padding=list(rest), **common,
            )
        # The size of x is known at run time only: produce the most it can be, then cut.
        full = b.op(
            "ConvTranspose", m, w, pads=[0] * (2 * n),
            output_padding=[s - 1 for s in g.strides], **common,
        )
        start = b.ints(list(begin)) if begin is not None else self._same_begin(b)
        size = b.slice(b.shape(self.x), [0], [2], [2 + n])
        return b.op("Slice", full, start, b.op("Add", start, size), b.ints(range(2, 2 + n)))

    def _margins(self, b: Builder) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """Return the begin pads, and the rows of x that no kernel position starts from."""
        g, n = self.geometry, self.geometry.axes
        xs, ys = (b.graph.shape(self.x) or ())[2:], (b.graph.shape(self.y) or ())[2:]
        known = all(isinstance(d, int) for d in (*xs, *ys)) and len(xs) == len(ys) == n
        begin = g.pads[:n] if g.pads is not None else None
        if not known:
            stepless = set(g.strides) == {1} and g.pads is not None
            return begin, (0,) * n if stepless else None
        x, y = [int(d) for d in xs if d is not None], [int(d) for d in ys if d is not None]
        cover = [(q - 1) * s + e for q, s, e in zip(y, g.strides, g.extent, strict=True)]
        if g.pads is None:
            total = [max(c - p, 0) for c, p in zip(cover, x, strict=True)]
            begin = tuple(t // 2 if g.auto == "SAME_UPPER" else t - t // 2 for t in total)
            ends = tuple(t - a for t, a in zip(total, begin, strict=True))
        else:
            ends = g.pads[n:]
        assert begin is not None
        rest = [p + a + e - c for p, a, e, c in zip(x, begin, ends, cover, strict=True)]
        return begin, tuple(rest)

    def _ends(self, b: Builder, begin: Sequence[int], rest: Sequence[int]) -> list[int]:
        g, n = self.geometry, self.geometry.axes
        if g.pads is not None:
            return list(g.pads[n:])
        xs, ys = (b.graph.shape(self.x) or ())[2:], (b.graph.shape(self.y) or ())[2:]
        sizes = zip(xs, ys, g.strides, g.extent, begin, rest, strict=True)
        return [(int(q or 0) - 1) * s + e - a - int(p or 0) + r for p, q, s, e, a, r in sizes]

    def _same_begin(self, b: Builder) -> str:
        """Return the begin pads of SAME, computed from the sizes at run time."""
        g, n = self.geometry, self.geometry.axes
        size = b.slice(b.shape(self.x), [0], [2], [2 + n])
        out = b.slice(b.shape(self.y), [0], [2], [2 + n])
        steps = b.op("Mul", b.op("Sub", out, b.ints([1] * n)), b.ints(g.strides))
        total = b.op("Sub", b.op("Add", steps, b.ints(g.extent)), size)
        total = b.op("Max", total, b.ints([0] * n))
        half = b.op("Div", total, b.ints([2] * n))
        return half if g.auto == "SAME_UPPER" else b.op("Sub", total, half)


@dataclass(frozen=True, slots=True)
class Gemm(Map):
    """``y = alpha x W`` on a matrix x, spelled as the Gemm that the primal has."""

    weight: Expr
    trans_b: bool
    alpha: float
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return batched(b, r, self.y, lambda v: self._gemm(b, v, self.trans_b), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return batched(b, m, self.x, lambda v: self._gemm(b, v, not self.trans_b), self.y)

    def _gemm(self, b: Builder, v: str, trans: bool) -> str:
        w = self.weight.emit(b, _dtype(b, self.x))
        alpha = self.alpha if self.alpha != 1 else None
        return b.op("Gemm", v, w, transB=int(trans) or None, alpha=alpha)


@dataclass(frozen=True, slots=True)
class MatMul(Map):
    """``y = x W`` (or ``W x`` with `left`) over the last two axes; x and W have rank >= 2."""

    weight: Expr
    left: bool
    rank: int  # of W
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return self._product(b, r, self.weight.emit(b, _dtype(b, self.x)), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        w = self.weight.emit(b, _dtype(b, self.x))
        perm = [*range(self.rank - 2), self.rank - 1, self.rank - 2]
        product = self._product(b, m, b.op("Transpose", w, perm=perm), self.y)
        rank_x, rank_y = len(b.graph.shape(self.x) or ()), len(b.graph.shape(self.y) or ())
        # What broadcast over the batch axes is summed back; the last two axes never broadcast.
        rows, batch = b.graph.shape(self.x) or (), (b.graph.shape(self.y) or ())[:-2]
        extra = rank_y - rank_x
        axes = [i for i, d in enumerate(batch) if i < extra or (rows[i - extra] == 1 and d != 1)]
        if not axes:
            return product
        lead = int(m.stack)
        name = b.reduce("ReduceSum", product.name, [a + lead for a in axes])
        gone = b.ints([lead + i for i in range(extra)])
        return Value(b.op("Squeeze", name, gone) if extra else name, m.stack)

    def _product(self, b: Builder, v: Value, w: str, of: str) -> Value:
        rank = len(b.graph.shape(of) or ())
        name = v.name
        if v.stack and self.rank > rank:
            name = b.op("Unsqueeze", name, b.ints(range(1, 1 + self.rank - rank)))
        pair = (w, name) if self.left else (name, w)
        return Value(b.op("MatMul", *pair), v.stack)


def _dtype(b: Builder, tensor: str) -> int:
    dtype = b.graph.dtype(tensor)
    assert dtype is not None
    return dtype


