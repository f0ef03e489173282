"""Convolution that reads its input at places moved by an offset (DeformConv)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, batched
from rfponnx.maps.conv import Attrs, Geometry, spatial_sizes
from rfponnx.maps.expr import Expr
from rfponnx.maps.sample import Reading


@dataclass(frozen=True, slots=True)
class DeformConv(Map):
    """``y[q] = sum over k of W_k mask_k x(s q - pad + d k + offset_k)``, x read linearly.

    ``[N, Ci, *P] -> [N, Co, *Q]``, weights ``[Co, Ci / group, *K]``.

    Attributes
    ----------
    offset, mask
        Primal tensors ``[N, o K 2, *Q]`` and ``[N, o K, *Q]``; the mask may be absent.
    parts
        The o groups of channels that have offsets of their own.
    attrs
        Those of the primal's node.
    """

    weight: Expr
    offset: str
    mask: str
    parts: int
    geometry: Geometry
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        g, w = self.geometry, self.weight.emit(b, b.dtype(self.geometry.wide))

        def node(v: str) -> str:
            moved = [self._repeated(b, self.offset, r)]
            if self.mask:
                moved += ["", self._repeated(b, self.mask, r)]
            return b.op("DeformConv", v, w, *moved, **dict(self.attrs))

        return batched(b, r, g.narrow, node, g.wide)

    def pull(self, b: Builder, m: Value) -> Value:
        g = self.geometry
        return batched(b, m, g.wide, lambda v: self._scattered(b, v, m), g.narrow)

    def _repeated(self, b: Builder, tensor: str, v: Value) -> str:
        """Return an operand once for each source, sources and samples in one axis."""
        if not v.stack:
            return tensor
        sources = b.slice(b.op("Shape", v.name), [0], [0], [1])
        shape = b.shape(tensor)
        wide = b.op("Expand", tensor, b.op("Concat", sources, shape, axis=0))
        tail = b.slice(shape, [0], [1], [len(b.dims(tensor))])
        return b.op("Reshape", wide, b.op("Concat", b.ints([-1]), tail, axis=0))

    def _scattered(self, b: Builder, m: str, v: Value) -> str:
        g, o = self.geometry, self.parts
        columns = self._columns(b, m)  # [N, Ci, K Q]
        if self.mask:
            mask = b.op("Reshape", self._repeated(b, self.mask, v), b.ints([0, o, 1, -1]))
            apart = b.op("Reshape", columns, self._groups(b, o))
            columns = b.op("Mul", apart, mask)
        flat = b.op("Reshape", columns, self._groups(b, o, joined=True))  # [N o, Ci / o, K Q]
        places = self._places(b, self._repeated(b, self.offset, v))
        added = Reading(g.wide).added(b, flat, places)
        return b.op("Reshape", added, self._image(b, self.channels(b)[1]))

    def read(self, b: Builder, by: int = 0) -> str:
        """Return x at the moved places, or its slopes along an axis, ``[N, o, Ci / o, K, Q]``."""
        g, per = self.geometry, self.channels(b)[1] // self.parts
        image = b.op("Reshape", g.wide, self._image(b, per))
        values = Reading(g.wide).read(b, image, self._places(b, self.offset), by)
        parts = b.ints([self.parts, per, self.taps, -1])
        return b.op("Reshape", values, b.op("Concat", b.dim(g.wide, 0), parts, axis=0))

    def _places(self, b: Builder, offset: str) -> list[str]:
        """Return where x is read along each axis, ``[N o, 1, K Q]``."""
        steps, places = b.op("Reshape", offset, self._offsets(b)), []
        for axis in range(self.geometry.axes):
            moved = b.op("Squeeze", b.slice(steps, [2], [axis], [axis + 1]), b.ints([2]))
            moved = b.op("Add", moved, self._base(b, axis))
            places.append(b.op("Reshape", moved, b.ints([0, 1, -1])))
        return places

    def _columns(self, b: Builder, m: str) -> str:
        """Return what every place that was read gets: ``W^T m``."""
        g, count = self.geometry, prod(self.geometry.kernel)
        w = self.weight.emit(b, b.dtype(g.wide))
        outer, inner = self.channels(b)
        w = b.op("Reshape", w, b.ints([g.group, outer // g.group, inner // g.group * count]))
        w = b.op("Transpose", w, perm=[0, 2, 1])
        m = b.op("Reshape", m, b.ints([0, g.group, outer // g.group, -1]))
        return b.op("Reshape", b.op("MatMul", w, m), b.ints([0, inner, -1]))

    def channels(self, b: Builder) -> tuple[int, int]:
        """Return Co and Ci."""
        outer, inner = (b.dims(t)[1] for t in (self.geometry.narrow, self.geometry.wide))
        assert isinstance(outer, int)
        assert isinstance(inner, int)
        return outer, inner

    def _groups(self, b: Builder, o: int, *, joined: bool = False) -> str:
        per = self.channels(b)[1] // o
        count = b.op("Mul", b.reduce("ReduceProd", self._narrow(b), [0]), b.ints([self.taps]))
        lead = b.ints([-1, per] if joined else [-1, o, per])
        return b.op("Concat", lead, count, axis=0)

    @property
    def taps(self) -> int:
        """K: how many entries a window reads in each channel."""
        return prod(self.geometry.kernel)

    def _narrow(self, b: Builder) -> str:
        return spatial_sizes(b, self.geometry.narrow, self.geometry.axes)

    def _offsets(self, b: Builder) -> str:
        lead = b.ints([-1, self.taps, self.geometry.axes])
        return b.op("Concat", lead, self._narrow(b), axis=0)

    def _image(self, b: Builder, channels: int) -> str:
        sizes = spatial_sizes(b, self.geometry.wide, self.geometry.axes)
        return b.op("Concat", b.ints([-1, channels]), sizes, axis=0)

    def _base(self, b: Builder, axis: int) -> str:
        """Return where a kernel that is not moved reads along one axis, ``[K, *Q]``."""
        g, n, dtype = self.geometry, self.geometry.axes, b.dtype(self.geometry.wide)
        assert g.pads is not None
        taps = [g.dilations[axis] * k[axis] - g.pads[axis] for k in product(*map(range, g.kernel))]
        count = b.op("Squeeze", b.slice(self._narrow(b), [0], [axis], [axis + 1]), b.ints([0]))
        steps = b.op("Cast", b.op("Range", b.ints(0), count, b.ints(1)), to=dtype)
        steps = b.op("Mul", steps, b.floats(g.strides[axis], dtype))
        steps = b.op("Reshape", steps, b.ints([-1, *[1] * (n - 1 - axis)]))
        return b.op("Add", b.floats(np.reshape(taps, (-1, *[1] * n)), dtype), steps)
