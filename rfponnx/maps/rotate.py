"""Rotation of pairs of features by angles that depend on the position (RotaryEmbedding)."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, reshape
from rfponnx.maps.conv import Attrs


@dataclass(frozen=True, slots=True)
class Rotary(Map):
    """Each pair of features turned by an angle; backward by the opposite one.

    ``[N, H, T, D]``, or ``[N, T, H D]`` with the attribute `num_heads`.

    Attributes
    ----------
    cos, sin, positions
        Operands of the primal's node; the last one is empty where absent.
    """

    x: str
    cos: str
    sin: str
    positions: str
    attrs: Attrs

    def push(self, b: Builder, r: Value) -> Value:
        return self._turned(b, r, self.sin)

    def pull(self, b: Builder, m: Value) -> Value:
        return self._turned(b, m, b.op("Neg", self.sin))

    def _turned(self, b: Builder, v: Value, sin: str) -> Value:
        node = dict(self.attrs)
        given = [self.cos, sin, *([self.positions] if self.positions else [])]
        if not v.stack:
            return Value(b.op("RotaryEmbedding", v.name, *given, **node))
        # the sources become more heads: [S, N, H, T, D] -> [N, S H, T, D]
        flat = len(b.dims(self.x)) == 3
        name, perm = v.name, [1, 0, 2, 3, 4]
        if flat:
            heads = int(node["num_heads"])
            name = b.op("Reshape", name, b.ints([0, 0, 0, heads, -1]))
            perm = [1, 0, 3, 2, 4]
        back = [perm.index(a) for a in range(5)]
        turned = b.op("Transpose", name, perm=perm)
        shape = b.op("Shape", turned)
        ends = b.slice(shape, [0], [0], [1]), b.slice(shape, [0], [3], [5])
        merged = b.op("Reshape", turned, b.op("Concat", ends[0], b.ints([-1]), ends[1], axis=0))
        attrs = {k: value for k, value in node.items() if k != "num_heads"}
        done = b.op("RotaryEmbedding", merged, *given, **attrs)
        apart = b.op("Transpose", b.op("Reshape", done, shape), perm=back)
        return reshape(b, Value(apart, stack=True), self.x) if flat else Value(apart, stack=True)
