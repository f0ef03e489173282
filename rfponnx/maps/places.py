"""Reading an image as a function of the places where it is read, the image held constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, reshape
from rfponnx.maps.deform import DeformConv
from rfponnx.maps.sample import GridSample


@dataclass(frozen=True, slots=True)
class ByGrid(Map):
    """``y[n, c, q] = sum over d of J[n, c, q, d] g[n, q, d]``, J the slopes of x where it is read.

    ``[N, *Q, d] -> [N, C, *Q]``
    """

    sample: GridSample

    def push(self, b: Builder, r: Value) -> Value:
        lead = int(r.stack)
        product = b.op("Mul", b.op("Unsqueeze", r.name, b.ints([1 + lead])), self._slopes(b))
        last = len(b.dims(self.sample.grid)) + lead
        return Value(b.reduce("ReduceSum", product, [last], keepdims=False), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        lead = int(m.stack)
        last = len(b.dims(self.sample.y)) + lead
        product = b.op("Mul", b.op("Unsqueeze", m.name, b.ints([last])), self._slopes(b))
        return Value(b.reduce("ReduceSum", product, [1 + lead], keepdims=False), m.stack)

    def _slopes(self, b: Builder) -> str:
        """Return J, ``[N, C, *Q, d]``; the grid has the last axis of x first."""
        s = self.sample
        places, rank, dtype = s.places(b), len(b.dims(s.x)), b.dtype(s.x)
        found = []
        for axis in reversed(range(2, rank)):
            extent = s.reading.size(b, axis)
            if s.reading.aligned:
                extent = b.op("Sub", extent, b.floats(1.0, dtype))
            slope = b.op("Mul", s.reading.read(b, s.x, places, axis), extent)
            half = b.op("Mul", slope, b.floats(0.5, dtype))
            shaped = b.op("Reshape", half, b.shape(s.y))
            found.append(b.op("Unsqueeze", shaped, b.ints([rank])))
        return b.op("Concat", *found, axis=rank)


@dataclass(frozen=True, slots=True)
class ByOffset(Map):
    """A DeformConv by its offsets or its mask: ``y_q = sum over k, d of W_k J_kdq r_kdq``.

    ``[N, o K d, *Q] -> [N, Co, *Q]``

    Attributes
    ----------
    masked
        By the mask: d = 1, and J is x where it is read.  By the offsets: d is 2, and J the
        slopes of x there, times the mask.
    """

    form: DeformConv
    masked: bool

    def push(self, b: Builder, r: Value) -> Value:
        f, axes = self.form, 1 if self.masked else self.form.geometry.axes
        parted = _parted(b, r, [f.parts, 1, f.taps, axes, -1])
        read = b.op("Mul", parted, self._slopes(b))
        columns = Value(b.reduce("ReduceSum", read, [4 + int(r.stack)], keepdims=False), r.stack)
        g, (_, inner) = f.geometry.group, f.channels(b)
        product = _parted(b, columns, [g, inner // g * f.taps, -1])
        return reshape(b, Value(b.op("MatMul", _matrix(b, f), product), r.stack), f.geometry.narrow)

    def pull(self, b: Builder, m: Value) -> Value:
        f, lead = self.form, int(m.stack)
        g, (outer, inner) = f.geometry.group, f.channels(b)
        turned = b.op("Transpose", _matrix(b, f), perm=[0, 2, 1])
        columns = b.op("MatMul", turned, _parted(b, m, [g, outer // g, -1]))
        shape = [f.parts, inner // f.parts, f.taps, 1, -1]
        read = b.op("Mul", _parted(b, Value(columns, m.stack), shape), self._slopes(b))
        summed = Value(b.reduce("ReduceSum", read, [2 + lead], keepdims=False), m.stack)
        return reshape(b, summed, f.mask if self.masked else f.offset)

    def _slopes(self, b: Builder) -> str:
        """Return J, ``[N, o, Ci / o, K, d, Q]``."""
        f = self.form
        if self.masked:
            return b.op("Unsqueeze", f.read(b), b.ints([4]))
        axes = range(2, 2 + f.geometry.axes)
        parts = [b.op("Unsqueeze", f.read(b, axis), b.ints([4])) for axis in axes]
        slopes = b.op("Concat", *parts, axis=4)
        return b.op("Mul", slopes, _mask(b, f, 1)) if f.mask else slopes


@dataclass(frozen=True, slots=True)
class KernelOfDeform(Map):
    """A DeformConv by its weights.  ``[Co, Ci / group, *K] -> [N, Co, *Q]``"""

    form: DeformConv
    weight: str

    def push(self, b: Builder, r: Value) -> Value:
        f, (outer, inner) = self.form, self.form.channels(b)
        g, lead = f.geometry.group, [-1, 1] * int(r.stack)
        shape = b.ints([*lead, g, outer // g, inner // g * f.taps])
        product = b.op("MatMul", b.op("Reshape", r.name, shape), self._columns(b))
        return reshape(b, Value(product, r.stack), f.geometry.narrow)

    def pull(self, b: Builder, m: Value) -> Value:
        g, outer = self.form.geometry.group, self.form.channels(b)[0]
        turned = b.op("Transpose", self._columns(b), perm=[0, 1, 3, 2])
        product = b.op("MatMul", _parted(b, m, [g, outer // g, -1]), turned)
        summed = b.reduce("ReduceSum", product, [int(m.stack)], keepdims=False)
        return reshape(b, Value(summed, m.stack), self.weight)

    def _columns(self, b: Builder) -> str:
        """Return what the weights multiply, ``[N, g, Ci / g K, Q]``."""
        f, read = self.form, self.form.read(b)
        columns = b.op("Mul", read, _mask(b, f)) if f.mask else read
        g, inner = f.geometry.group, f.channels(b)[1]
        return _parted(b, Value(columns), [g, inner // g * f.taps, -1])


def _matrix(b: Builder, f: DeformConv) -> str:
    """Return the weights as ``[g, Co / g, Ci / g K]``."""
    g, (outer, inner) = f.geometry.group, f.channels(b)
    w = f.weight.emit(b, b.dtype(f.geometry.wide))
    return b.op("Reshape", w, b.ints([g, outer // g, inner // g * f.taps]))


def _mask(b: Builder, f: DeformConv, *more: int) -> str:
    """Return the mask as ``[N, o, 1, K, *more, Q]``."""
    return _parted(b, Value(f.mask), [f.parts, 1, f.taps, *more, -1])


def _parted(b: Builder, v: Value, shape: Sequence[int]) -> str:
    """Return ``[S, N, ...]`` with all that is behind N in a shape."""
    return b.op("Reshape", v.name, b.ints([*[0] * (1 + int(v.stack)), *shape]))
