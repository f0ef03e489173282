"""The offset of an affine node divided among the sources ([RFP] 5.9)."""

from __future__ import annotations

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value, whole
from rfponnx.plan.options import Options
from rfponnx.plan.plan import Group


def divided(
    b: Builder, options: Options, parts: dict[Group, Value], offset: Value, y: str
) -> dict[Group, Value]:
    """Return ``r^s + o (|r^s| + eps) / sum over s' of (|r^s'| + eps)``.

    Parameters
    ----------
    options
        With bias ``split``; ``split_signed`` leaves the absolute value out of the numerator, as
        the formula is printed, and then the streams do not sum to y.
    parts
        Each group's own part of the node's linear output.
    """
    small = b.floats(options.numbers.get("eps", 1e-6), b.dtype(y))
    dense = {group: whole(b, value) for group, value in parts.items()}
    weights = {g: b.op("Add", b.op("Abs", v.name), small) for g, v in dense.items()}
    sums = [
        b.reduce("ReduceSum", weights[g], [0], keepdims=False) if v.stack else weights[g]
        for g, v in dense.items()
    ]
    whole_sum = sums[0] if len(sums) == 1 else b.op("Sum", *sums)
    unit = b.op("Div", offset.name, whole_sum)
    found = {}
    for group, value in dense.items():
        weight = weights[group] if options.bias == "split" else b.op("Add", value.name, small)
        found[group] = Value(b.op("Add", value.name, b.op("Mul", unit, weight)), value.stack)
    return found
