"""What some methods make of a multiplier at a ReLU, which is not linear in it."""

from __future__ import annotations

from collections.abc import Callable

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value
from rfponnx.ops.op import Term
from rfponnx.plan.plan import Step

Gate = Callable[[Builder, Term, Step, Value], Value]


def guided(b: Builder, term: Term, step: Step, m: Value) -> Value:
    """``max(mask m, 0)``: guided backpropagation."""
    return Value(b.op("Relu", term.map.pull(b, m).name), m.stack)


def deconvolved(b: Builder, term: Term, step: Step, m: Value) -> Value:
    """``max(m, 0)``: the deconvolution network, which has no mask of the input."""
    return Value(b.op("Relu", m.name), m.stack)


def rectified(q: float) -> Gate:
    """Return the gate of RectGrad: m where ``y m`` is above its q-th percentile in the sample.

    The percentile is interpolated linearly between the two entries around it.
    """

    def gate(b: Builder, term: Term, step: Step, m: Value) -> Value:
        dtype, y = b.dtype(step.y), step.y
        product = b.op("Mul", m.name, y)
        lead = 1 + int(m.stack)
        flat = b.op("Reshape", product, b.ints([*[0] * lead, -1]))
        size = b.op("Gather", b.op("Shape", flat), b.ints([lead]), axis=0)
        place = b.op(
            "Mul", b.op("Cast", b.op("Sub", size, b.ints([1])), to=dtype), b.floats(q / 100, dtype)
        )
        low = b.op("Cast", b.op("Floor", place), to=7)
        part = b.op("Sub", place, b.op("Floor", place))
        count = b.op("Sub", size, low)
        sorted_, _ = b.ops("TopK", flat, count, outputs=2, axis=lead)
        at = b.op("Sub", count, b.ints([1]))
        under = b.op("Gather", sorted_, at, axis=lead)
        over = b.op(
            "Gather", sorted_, b.op("Max", b.op("Sub", at, b.ints([1])), b.ints([0])), axis=lead
        )
        limit = b.op("Add", under, b.op("Mul", b.op("Sub", over, under), part))
        there = b.op("Cast", b.op("Greater", flat, limit), to=dtype)
        shape = b.shape(y, lead=(-1,) if m.stack else ())
        mask = b.op("Reshape", there, shape)
        return Value(b.op("Mul", term.map.pull(b, m).name, mask), m.stack)

    return gate
