"""Elementwise functions: the active piece of the piece-wise linear, the secant of the smooth."""

from __future__ import annotations

from rfponnx.ops.op import At, Linearisation, Op


def relu(at: At) -> Linearisation:
    """``y = max(x, 0)``: the mask is read off y, so that the primal's Conv + Relu stays fused."""
    return at.gated(at.vy > 0, offset=None)


OPS = (Op("Relu", "selecting", relu, "y = (y > 0) x"),)
