"""Convolutions, their transposes, and the geometry that they share with pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched
from rfponnx.maps.expr import Expr, call, ints

BLOCK = 16  # channels of a block in ONNX Runtime's layout: below that its Conv is slow

Attrs = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Windows that lie on a wide tensor ``[N, C, *P]``, one for each entry of a narrow one.

    Window j reads the positions ``s j - begin + d k``, k = 0 .. kernel - 1, along each axis.
    All tuples have one entry per spatial axis.

    Attributes
    ----------
    wide, narrow
        The primal tensors: x and y of a Conv or a pool, y and x of a ConvTranspose.
    pads
        Begin and end of each axis, ``(b0, b1, ..., e0, e1, ...)``; ``None`` where they follow
        from the sizes (SAME, `output_shape`).
    lower
        Whether the odd one of such pads stands at the begin.
    extra
        The output_padding of a ConvTranspose.
    group
        Channel groups.
    ceil
        Whether a last window may reach beyond the pads.
    """

    wide: str
    narrow: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    lower: bool = False
    extra: tuple[int, ...] = ()
    group: int = 1
    ceil: bool = False

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """What a dilated kernel covers along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def margins(self, b: Builder) -> tuple[int, ...] | None:
        """Return what the windows cover beyond the wide tensor, begins and then ends.

        A negative end: so many entries that no window reads.  ``None``: known at run time only.
        """
        n = self.axes
        extra = self.extra or (0,) * n
        wide, narrow = _spatial(b, self.wide), _spatial(b, self.narrow)
        if wide is None or narrow is None:
            if self.pads is None or set(self.strides) != {1}:
                return None
            return (*self.pads[:n], *(e - r for e, r in zip(self.pads[n:], extra, strict=True)))
        steps = zip(narrow, self.strides, self.extent, strict=True)
        over = [(q - 1) * s + e - p for (q, s, e), p in zip(steps, wide, strict=True)]
        if self.pads is not None:
            begin = list(self.pads[:n])
        else:
            total = [max(o + r, 0) for o, r in zip(over, extra, strict=True)]
            begin = [t - t // 2 if self.lower else t // 2 for t in total]
        return (*begin, *(o - a for o, a in zip(over, begin, strict=True)))

    def margins_at_run_time(self, b: Builder) -> tuple[str, str]:
        """Return begins and ends as int64 vectors, computed from the sizes."""
        n = self.axes
        wide, narrow = spatial_sizes(b, self.wide, n), spatial_sizes(b, self.narrow, n)
        steps = b.op("Mul", b.op("Sub", narrow, b.ints([1] * n)), b.ints(self.strides))
        over = b.op("Sub", b.op("Add", steps, b.ints(self.extent)), wide)
        if self.pads is not None:
            begin = b.ints(self.pads[:n])
        else:
            total = b.op("Add", over, b.ints(self.extra)) if any(self.extra) else over
            total = b.op("Max", total, b.ints([0] * n))
            half = b.op("Div", total, b.ints([2] * n))
            begin = b.op("Sub", total, half) if self.lower else half
        return begin, b.op("Sub", over, begin)

    def common(self) -> dict[str, Any]:
        """Return the attributes of a Conv or ConvTranspose that lies so, without its pads."""
        return {
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "group": self.group,
        }

    def gather(self, b: Builder, v: str, w: str) -> str:
        """Return the correlation of a wide value with a kernel, one entry per window."""
        n = self.axes
        known = self.margins(b)
        if known is None and self.pads is not None and not self.ceil:
            known = self.pads  # entries that no window reads need no word in a Conv
        if known is not None and min(known) >= 0:
            return b.op("Conv", v, w, pads=list(known), **self.common())
        if known is not None:
            begin, end = b.ints(known[:n]), b.ints(known[n:])
        else:
            begin, end = self.margins_at_run_time(b)
        none = b.ints([0, 0])
        padded = b.op("Pad", v, b.op("Concat", none, begin, none, end, axis=0))
        return b.op("Conv", padded, w, pads=[0] * (2 * n), **self.common())

    def scatter(self, b: Builder, v: str, w: str) -> str:
        """Return the transpose of `gather`, spelled as what costs least (MEASURED 4)."""
        n = self.axes
        known = self.margins(b)
        flipped = self._flipped(b, w)
        if known is not None and flipped is not None:
            back = [e - 1 - p for e, p in zip(self.extent * 2, known, strict=True)]
            if min(back) >= 0:
                return b.op("Conv", v, flipped(), pads=back, **self.common())
        if known is not None:
            ends = known[n:]
            return b.op(
                "ConvTranspose", v, w, pads=[*known[:n], *(max(e, 0) for e in ends)],
                output_padding=[max(-e, 0) for e in ends], **self.common(),
            )  # fmt: skip
        # The size of the wide tensor is known at run time only: make the most it can be, cut.
        full = b.op(
            "ConvTranspose", v, w, pads=[0] * (2 * n),
            output_padding=[s - 1 for s in self.strides], **self.common(),
        )  # fmt: skip
        begin, _ = self.margins_at_run_time(b)
        end = b.op("Add", begin, spatial_sizes(b, self.wide, n))
        return b.op("Slice", full, begin, end, b.ints(range(2, 2 + n)))

    def _flipped(self, b: Builder, w: str) -> Any:
        """Return what writes the weights of the Conv that is the transpose, if it is cheaper."""
        inner = (b.graph.shape(self.wide) or (None, None))[1]
        outer = (b.graph.shape(self.narrow) or (None, None))[1]
        if set(self.strides) != {1} or not isinstance(inner, int) or not isinstance(outer, int):
            return None
        depthwise = inner == self.group > 1
        if inner % BLOCK and not depthwise:
            return None
        return lambda: flipped(b, w, self.kernel, self.group, outer, inner)


def flipped(b: Builder, w: str, kernel: Sequence[int], group: int, outer: int, inner: int) -> str:
    """Return weights with both channel axes exchanged in every group and the kernel reversed."""
    n = len(kernel)
    spatial = list(range(2, 2 + n))
    if group == 1:
        w = b.op("Transpose", w, perm=[1, 0, *spatial])
    elif group != inner or group != outer:
        w = b.op("Reshape", w, b.ints([group, outer // group, inner // group, *kernel]))
        w = b.op("Transpose", w, perm=[0, 2, 1, *(a + 1 for a in spatial)])
        w = b.op("Reshape", w, b.ints([inner, outer // group, *kernel]))
    axes = [2 + i for i, k in enumerate(kernel) if k > 1]
    if not axes:
        return w
    back, far = [-1] * len(axes), [-(2**62)] * len(axes)
    return b.op("Slice", w, b.ints(back), b.ints(far), b.ints(axes), b.ints(back))


@dataclass(frozen=True, slots=True)
class Windowed(Map):
    """A cross-correlation or its transpose; the push is the primal's node without its bias.

    Attributes
    ----------
    attrs
        Those of the primal's node.
    """

    weight: Expr
    geometry: Geometry
    attrs: Attrs

    kind: ClassVar[str]
    inner: ClassVar[int]  # the axis of the weights that the input channels lie along

    def ends(self) -> tuple[str, str]:
        """Return the primal tensors x and y."""
        raise NotImplementedError

    def back(self, b: Builder, m: str, w: str) -> str:
        """Return the transpose on one value."""
        raise NotImplementedError

    def push(self, b: Builder, r: Value) -> Value:
        (x, y), w, node = self.ends(), self._weight(b), dict(self.attrs)
        return batched(b, r, y, lambda v: b.op(self.kind, v, w, **node), x)

    def pull(self, b: Builder, m: Value) -> Value:
        (x, y), w = self.ends(), self._weight(b)
        return batched(b, m, x, lambda v: self.back(b, v, w), y)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if window.axis != 1 or self.geometry.group != 1:
            return None
        start, stop, axis = ints([window.start]), ints([window.stop]), ints([self.inner])
        return replace(self, weight=call("Slice", self.weight, start, stop, axis)), None

    def _weight(self, b: Builder) -> str:
        return self.weight.emit(b, b.dtype(self.geometry.wide))


@dataclass(frozen=True, slots=True)
class Conv(Windowed):
    """Cross-correlation.  ``[N, Ci, *P] -> [N, Co, *Q]``, weights ``[Co, Ci / group, *K]``."""

    kind = "Conv"
    inner = 1

    def ends(self) -> tuple[str, str]:
        """Return the wide and the narrow tensor."""
        return self.geometry.wide, self.geometry.narrow

    def back(self, b: Builder, m: str, w: str) -> str:
        """Return each narrow entry spread over its window."""
        return self.geometry.scatter(b, m, w)


@dataclass(frozen=True, slots=True)
class ConvTranspose(Windowed):
    """The transpose of a cross-correlation.  ``[N, Ci, *Q] -> [N, Co, *P]``, weights
    ``[Ci, Co / group, *K]``.
    """

    kind = "ConvTranspose"
    inner = 0

    def ends(self) -> tuple[str, str]:
        """Return the narrow and the wide tensor."""
        return self.geometry.narrow, self.geometry.wide

    def back(self, b: Builder, m: str, w: str) -> str:
        """Return each window of the wide tensor gathered."""
        return self.geometry.gather(b, m, w)


def spatial_sizes(b: Builder, tensor: str, axes: int) -> str:
    """Return the spatial sizes of a tensor ``[N, C, *P]`` as an int64 vector."""
    known = _spatial(b, tensor)
    return b.slice(b.shape(tensor), [0], [2], [2 + axes]) if known is None else b.ints(known)


def _spatial(b: Builder, tensor: str) -> tuple[int, ...] | None:
    """Return the spatial sizes of a tensor ``[N, C, *P]``, if all of them are known."""
    sizes = (b.graph.shape(tensor) or ())[2:]
    known = tuple(d for d in sizes if isinstance(d, int))
    return known if known and len(known) == len(sizes) else None
