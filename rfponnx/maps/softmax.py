"""The tangents of Softmax and LogSoftmax along an axis."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, behind_stack


@dataclass(frozen=True, slots=True)
class SoftmaxTangent(Map):
    """``p (x - sum of p x)`` along an axis, p = y the probabilities: symmetric."""

    axis: int
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        common = b.reduce("ReduceSum", b.op("Mul", r.name, self.y), behind_stack(r, (self.axis,)))
        return Value(b.op("Mul", b.op("Sub", r.name, common), self.y), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        return self.push(b, m)


@dataclass(frozen=True, slots=True)
class LogSoftmaxTangent(Map):
    """``x - sum of p x`` along an axis, p = exp(y) the probabilities."""

    axis: int
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        weighted = b.op("Mul", r.name, b.op("Exp", self.y))
        common = b.reduce("ReduceSum", weighted, behind_stack(r, (self.axis,)))
        return Value(b.op("Sub", r.name, common), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        common = b.reduce("ReduceSum", m.name, behind_stack(m, (self.axis,)))
        return Value(b.op("Sub", m.name, b.op("Mul", b.op("Exp", self.y), common)), m.stack)
