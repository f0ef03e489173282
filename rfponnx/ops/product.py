"""Products of signals: which factor is a constant."""

from __future__ import annotations

from rfponnx.maps.expr import tensor
from rfponnx.ops.op import At, Linearisation, Op


def mul(at: At) -> Linearisation:
    """``y = a b``: one factor is released."""
    a, b = at.node.inputs
    if at.carries(a) and at.carries(b):
        raise at.refuse("both of its factors carry relevance")
    x, gain = (a, b) if at.carries(a) else (b, a)
    return at.gated(tensor(gain), x, offset=None)


OPS = (Op("Mul", "product", mul, "y = a b, one factor released"),)
