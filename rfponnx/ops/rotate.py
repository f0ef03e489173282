"""Rotary position embedding."""

from __future__ import annotations

from rfponnx.maps.rotate import Rotary
from rfponnx.ops.conv import attributes
from rfponnx.ops.op import At, Linearisation, Op


def rotary_embedding(at: At) -> Linearisation:
    """``y = R x``, R a rotation of pairs of features by an angle for each position."""
    held = [f"`{i}`" for i in at.node.inputs[1:3] if at.carries(i)]
    if held and at.full:
        raise at.refuse(f"it has no derivative by {' and '.join(held)}")
    note = f"released {' and '.join(held)}" if held else ""
    return at.linear(Rotary(at.x, at.input(1), at.input(2), at.input(3), attributes(at)), note=note)


OPS = (Op("RotaryEmbedding", "linear", rotary_embedding, "y = R x, R a rotation"),)
