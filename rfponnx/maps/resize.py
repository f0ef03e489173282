"""Interpolation to another size, axis by axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched
from rfponnx.maps.conv import Attrs


@dataclass(frozen=True, slots=True)
class Resize(Map):
    """Interpolation: a matrix along each resized axis, the operator itself gives the matrix.

    Attributes
    ----------
    roi, scales, sizes
        Operands of the primal's node; empty where absent.  One of the last two is given.
    attrs
        Attributes of the node, with nothing but zeros outside of x.
    operand
        The axis of x that each entry of `scales` or `sizes` is for.
    axes
        The axes whose entries may change.
    repeats
        How often each spatial entry is repeated, where that is all that happens.
    """

    x: str
    y: str
    roi: str
    scales: str
    sizes: str
    attrs: Attrs
    operand: tuple[int, ...]
    axes: tuple[int, ...]
    repeats: tuple[int, ...] = ()

    def push(self, b: Builder, r: Value) -> Value:
        if r.stack and 0 in self.axes:
            return self._by_matrices(b, r, push=True)
        node = dict(self.attrs)

        def resized(v: str) -> str:
            sizes = self._sizes_of(b, v) if r.stack else self.sizes
            given = [self.roi, self.scales, sizes]
            while not given[-1]:
                given.pop()
            return b.op("Resize", v, *given, **node)

        return batched(b, r, self.y, resized, self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        if not self.repeats:
            return self._by_matrices(b, m, push=False)
        k = list(self.repeats)

        def summed(v: str) -> str:
            mean = b.op("AveragePool", v, kernel_shape=k, strides=k)
            return b.op("Mul", mean, b.floats(prod(k), b.dtype(self.x)))

        return batched(b, m, self.x, summed, self.y)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        free = window.axis not in self.axes and (not self.sizes or window.axis not in self.operand)
        return (self, replace(window, of=self.y)) if free else None

    def _sizes_of(self, b: Builder, v: str) -> str:
        """Return `sizes` for a value whose batch is longer than that of x."""
        if not self.sizes or 0 not in self.operand:
            return self.sizes
        batch = b.slice(b.op("Shape", v), [0], [0], [1])
        known = b.sizes(self.y)
        if known is not None:
            return b.op("Concat", batch, b.ints(known[1:]), axis=0)
        rest = b.slice(self.sizes, [0], [1], [len(self.operand)])
        return b.op("Concat", batch, rest, axis=0)

    def _by_matrices(self, b: Builder, v: Value, *, push: bool) -> Value:
        rank = len(b.graph.shape(self.x) or ())
        name, last = v.name, rank - 1 + int(v.stack)
        for axis in self.axes:
            matrix = self._matrix(b, axis, rank)  # [P, Q]: from entries of x to those of y
            name = _along(b, name, matrix, axis + int(v.stack), last, forward=push)
        return Value(name, v.stack)

    def _matrix(self, b: Builder, axis: int, rank: int) -> str:
        """Return what the operator makes of unit vectors along an axis, ``[P, Q]``."""
        attrs = {k: v for k, v in self.attrs if k != "axes"}
        if attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            return self._matrix_in_place(b, axis, rank)
        size = b.dim(self.x, axis)
        units = b.op("Unsqueeze", identity(b, size, b.dtype(self.x)), b.ints([1, 2]))
        place, roi = self.operand.index(axis), ""
        if self.roi:
            roi = self._roi(b, place)
        if self.sizes:
            sizes = b.op("Concat", size, b.ints([1, 1]), b.dim(self.y, axis), axis=0)
            found = b.op("Resize", units, roi, "", sizes, **attrs)
        else:
            ones = b.constant(np.ones(3, np.float32))
            scale = b.slice(self.scales, [0], [place], [place + 1])
            scales = b.op("Concat", ones, scale, axis=0)
            found = b.op("Resize", units, roi, scales, **attrs)
        return b.op("Squeeze", found, b.ints([1, 2]))

    def _roi(self, b: Builder, place: int) -> str:
        """Return the region of one axis, for a tensor whose last axis is that one."""
        n, dtype = len(self.operand), b.dtype(self.roi)
        zeros, ones = b.floats(np.zeros(3), dtype), b.floats(np.ones(3), dtype)
        start = b.slice(self.roi, [0], [place], [place + 1])
        end = b.slice(self.roi, [0], [n + place], [n + place + 1])
        return b.op("Concat", zeros, start, ones, end, axis=0)

    def _matrix_in_place(self, b: Builder, axis: int, rank: int) -> str:
        """Return the matrix of an axis whose scale depends on the sizes of the other axes.

        The unit vectors, constant along the other axes, are resized at the full size.
        """
        size = b.dim(self.x, axis)
        units = identity(b, size, b.dtype(self.x))  # [P, P]: the batch, and the axis
        units = b.op("Unsqueeze", units, b.ints([a for a in range(1, rank) if a != axis]))
        tail = b.slice(b.shape(self.x), [0], [2], [rank])
        full = b.op("Expand", units, b.op("Concat", size, b.ints([1]), tail, axis=0))
        sizes = self.sizes
        if 0 in self.operand:
            asked = b.slice(self.sizes, [0], [2], [len(self.operand)])
            sizes = b.op("Concat", size, b.ints([1]), asked, axis=0)
        found = b.op("Resize", full, self.roi, "", sizes, **dict(self.attrs))
        others = [a for a in range(1, rank) if a != axis]
        first = b.slice(found, others, [0] * len(others), [1] * len(others))
        return b.op("Squeeze", first, b.ints(others))


def identity(b: Builder, size: str, dtype: int) -> str:
    """Return the identity matrix of a size, given as an int64 vector of length 1."""
    count = b.op("Squeeze", size, b.ints([0]))
    index = b.op("Range", b.ints(0), count, b.ints(1))
    rows, columns = b.op("Unsqueeze", index, b.ints([1])), b.op("Unsqueeze", index, b.ints([0]))
    return b.op("Cast", b.op("Equal", rows, columns), to=dtype)


def _along(b: Builder, v: str, matrix: str, axis: int, last: int, *, forward: bool) -> str:
    """Return a value multiplied along one axis: by ``M^T`` forward, else by M."""
    if axis == last:
        m = matrix if forward else b.op("Transpose", matrix, perm=[1, 0])
        return b.op("MatMul", v, m)
    m = b.op("Transpose", matrix, perm=[1, 0]) if forward else matrix
    if axis == last - 1:
        return b.op("MatMul", m, v)
    swap = list(range(last + 1))
    swap[axis], swap[last - 1] = last - 1, axis
    turned = b.op("MatMul", m, b.op("Transpose", v, perm=swap))
    return b.op("Transpose", turned, perm=swap)
