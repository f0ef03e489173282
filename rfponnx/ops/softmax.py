"""Softmax, LogSoftmax, Hardmax where a path goes through them (METHODS 3).

Most never need this: at the end of a model they are looked through, and as a factor of a product
they are released.
"""

from __future__ import annotations

from collections.abc import Callable

from rfponnx.maps.base import Map
from rfponnx.maps.softmax import LogSoftmaxTangent, SoftmaxTangent
from rfponnx.ops.activation import ratio
from rfponnx.ops.op import At, Linearisation, Op, stopped


def softmax(tangent: Callable[[int, str], Map]) -> Callable[[At], Linearisation]:
    """Return the linearisation: the tangent under `taylor`, else the ratio y / x."""

    def by(at: At) -> Linearisation:
        if at.numbers.kind == "taylor":
            return at.linear(tangent(at.axis(-1, at.x), at.y), offset="rest")
        return at.gated(ratio(at, at.x), tangent=False)

    return by


def hardmax(at: At) -> Linearisation:
    """1 at the first maximum: piecewise constant."""
    if at.numbers.kind == "taylor":
        return stopped(at)
    return at.gated(ratio(at, at.x), tangent=False)


OPS = (
    Op("Softmax", "softmax family", softmax(SoftmaxTangent), "y = exp(x) / sum of exp(x)"),
    Op("LogSoftmax", "softmax family", softmax(LogSoftmaxTangent), "y = x - log sum of exp(x)"),
    Op("Hardmax", "softmax family", hardmax, "y = 1 at the first maximum"),
)
