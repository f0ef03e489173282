"""Reading an image as a function of the places where it is read, the image held constant."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value
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
