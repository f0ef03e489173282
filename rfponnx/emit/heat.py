"""Heat quantization: a map in a few levels ([RES] eq. 8)."""

from __future__ import annotations

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value
from rfponnx.plan.options import Options


def quantised(b: Builder, options: Options, value: Value, tensor: str, rank: int) -> Value:
    """Return a map ``[N, *P]`` (behind an axis of targets) in levels between its extremes.

    ``printed``: ``a_min + floor((a - a_min) / bin) Q``, as the equation has it; ``scaled``: times
    the width of a bin in place of Q, so that the scale stays; ``code``: as the authors' code, the
    lower edges of Q - 1 bins.  A constant map stays as it is.
    """
    dtype, lead = b.dtype(tensor), int(value.stack)
    bins, how = int(options.numbers.get("bins", 8)), options.numbers.get("quantize", "scaled")
    count = bins - 1 if how == "code" else bins
    if not rank:
        return value
    axes = list(range(lead + 1, lead + rank)) or [lead]  # a vector is one map
    low = b.reduce("ReduceMin", value.name, axes)
    high = b.reduce("ReduceMax", value.name, axes)
    width = b.op("Div", b.op("Sub", high, low), b.floats(float(max(count, 1)), dtype))
    flat = b.op("Equal", width, b.floats(0.0, dtype))
    safe = b.op("Where", flat, b.floats(1.0, dtype), width)
    level = b.op("Floor", b.op("Div", b.op("Sub", value.name, low), safe))
    if how != "printed":  # the maximum itself is the last edge, whatever rounding makes of it
        top = b.op("GreaterOrEqual", value.name, high)
        level = b.op("Where", top, b.floats(float(count), dtype), level)
    unit = b.floats(float(bins), dtype) if how == "printed" else safe
    found = b.op("Add", low, b.op("Mul", level, unit))
    return Value(b.op("Where", flat, value.name, found), value.stack)
