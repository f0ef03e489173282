"""Sums and means over windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched
from rfponnx.maps.conv import Attrs, Geometry, spatial_sizes


@dataclass(frozen=True, slots=True)
class WindowMean(Map):
    """The mean over each window (AveragePool).  ``[N, C, *P] -> [N, C, *Q]``

    Attributes
    ----------
    attrs
        Those of the primal's node, which decide what counts: the push is the same node.
    """

    geometry: Geometry
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        g, node = self.geometry, dict(self.attrs)
        return batched(b, r, g.narrow, lambda v: b.op("AveragePool", v, **node), g.wide)

    def pull(self, b: Builder, m: Value) -> Value:
        g, one = self.geometry, b.dtype(self.geometry.wide)
        known = g.margins(b)
        if known is not None and not any(known) and set(g.dilations) == {1}:
            part = b.op("Div", b.floats(1.0, one), b.floats(prod(g.kernel), one))
            share = Value(b.op("Mul", m.name, part), m.stack)
            if g.kernel == g.strides:
                return repeated(b, share, g)
            return spread_over(b, share, g)
        return spread_over(b, Value(b.op("Mul", m.name, self._weight(b)), m.stack), g)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        return (self, replace(window, of=self.geometry.narrow)) if window.axis == 1 else None

    def _weight(self, b: Builder) -> str:
        """Return what each window's entries are multiplied by, ``[1, 1, *Q]``.

        Exact for every convention of counting: the node on ones, by the entries really there.
        """
        g, dtype = self.geometry, b.dtype(self.geometry.wide)
        one = b.floats(1.0, dtype)
        size = b.op("Concat", b.ints([1, 1]), spatial_sizes(b, g.wide, g.axes), axis=0)
        ones = b.op("Expand", one, size)
        mean = b.op("AveragePool", ones, **dict(self.attrs))
        there = b.op("Max", g.gather(b, ones, ones_kernel(b, g, dtype)), one)
        return b.op("Div", mean, there)


@dataclass(frozen=True, slots=True)
class WindowSum(Map):
    """The sum over each window.  ``[N, C, *P] -> [N, C, *Q]``"""

    geometry: Geometry

    def push(self, b: Builder, r: Value) -> Value:
        g, dtype = self.geometry, b.dtype(self.geometry.wide)
        one_by_one = b.op("Reshape", r.name, _planes(b, g.wide, g.axes))
        total = g.gather(b, one_by_one, ones_kernel(b, g, dtype))
        return Value(b.op("Reshape", total, b.shape(g.narrow, lead=_lead(r))), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return spread_over(b, m, self.geometry)


def ones_kernel(b: Builder, g: Geometry, dtype: int) -> str:
    """Return the kernel whose correlation sums a window of one channel."""
    return b.floats(np.ones((1, 1, *g.kernel)), dtype)


def spread_over(b: Builder, m: Value, g: Geometry) -> Value:
    """Return each narrow entry added to all entries of its window, every channel apart."""
    planes = b.op("Reshape", m.name, _planes(b, g.narrow, g.axes))
    wide = g.scatter(b, planes, ones_kernel(b, g, b.dtype(g.wide)))
    return Value(b.op("Reshape", wide, b.shape(g.wide, lead=_lead(m))), m.stack)


def repeated(b: Builder, m: Value, g: Geometry) -> Value:
    """Return each narrow entry written to all of its window, where windows tile the wide tensor."""
    scales = b.constant(np.asarray([1, 1, *g.strides], np.float32))

    def node(v: str) -> str:
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return b.op("Resize", v, "", scales, mode="nearest", **how)

    return batched(b, m, g.wide, node, g.narrow)


def _planes(b: Builder, tensor: str, axes: int) -> str:
    """Return the shape that puts every channel of every sample into the batch."""
    sizes = (b.graph.shape(tensor) or ())[2:]
    known = [d for d in sizes if isinstance(d, int)]
    if len(known) == axes:
        return b.ints([-1, 1, *known])
    return b.op("Concat", b.ints([-1, 1]), spatial_sizes(b, tensor, axes), axis=0)


def _lead(v: Value) -> tuple[int, ...]:
    return (-1,) if v.stack else ()
