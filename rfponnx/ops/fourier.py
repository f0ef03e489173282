"""Transforms between a signal and its spectrum."""

from __future__ import annotations

from rfponnx.maps.fourier import AXIS_IS_INPUT, Fourier, RealInverse
from rfponnx.ops.op import At, Linearisation, Op


def dft(at: At) -> Linearisation:
    """The discrete Fourier transform, or its inverse, along one axis."""
    inverse, onesided = bool(at.attr("inverse", 0)), bool(at.attr("onesided", 0))
    axis = int(at.attr("axis", 1))
    if at.graph.opset >= AXIS_IS_INPUT:
        given = at.input(2)
        axis = int(at.constant(given, "axis").ravel()[0]) if given else -2
    if inverse and onesided:
        return at.linear(RealInverse(at.x, at.y, axis % at.rank(at.x), at.input(1)))
    return at.linear(Fourier(at.x, at.y, axis % at.rank(at.x), at.input(1), inverse, onesided))


OPS = (Op("DFT", "linear", dft, "y = F x", inputs=(0,)),)
