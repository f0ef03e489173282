"""Operators that pick entries by their values."""

from __future__ import annotations

from typing import Any

from rfponnx.maps.expr import applied, tensor
from rfponnx.maps.rearrange import Select
from rfponnx.ops.op import At, Linearisation, Op


def max_pool(at: At) -> Linearisation:
    """The winner of every window: the first maximum in row-major order, never padding."""
    if at.which:
        raise at.refuse("its output `Indices` carries no relevance")
    keep = ("kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode")
    attrs: dict[str, Any] = {k: at.attr(k) for k in keep if at.attr(k) is not None}
    winners = applied("MaxPool", tensor(at.x), output=1, **attrs)
    return at.linear(Select(at.x, at.y, winners))


OPS = (Op("MaxPool", "selecting", max_pool, "y = x at the window's first maximum"),)
