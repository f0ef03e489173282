"""The discrete Fourier transform of real or complex signals, as a real linear map."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value

AXIS_IS_INPUT = 20  # the opset from which DFT takes its axis as an operand


@dataclass(frozen=True, slots=True)
class Fourier(Map):
    """``y_k = sum over t of x_t exp(-2 pi i k t / n)``; inverse: ``exp(+...)``, divided by n.

    Complex numbers are pairs along the last axis; a real x has 1 there.

    Attributes
    ----------
    axis
        Of the signal.
    length
        The int64 operand with n; empty for the length of x.
    inverse, onesided
        As the node has them; a onesided y holds k = 0 .. n / 2 of a real x.
    """

    x: str
    y: str
    axis: int
    length: str
    inverse: bool
    onesided: bool

    def push(self, b: Builder, r: Value) -> Value:
        axis = self.axis + int(r.stack)
        return Value(transform(b, r.name, self.length, axis, self.inverse, self.onesided), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        """Return ``conj(F)^T m``: the other transform, times n (or by n), where x has entries."""
        axis, dtype = self.axis + int(m.stack), b.dtype(self.x)
        rank = len(b.graph.shape(self.x) or ()) + int(m.stack)
        n = b.dim(self.x if self.onesided else self.y, self.axis)
        if self.onesided and self.length:
            n = b.op("Reshape", self.length, b.ints([1]))
        name = _fitted(b, m.name, axis, rank, b.dim(self.y, self.axis), n)
        back = transform(b, name, "", axis, not self.inverse, False)
        count = b.op("Cast", n, to=dtype)
        back = b.op("Div" if self.inverse else "Mul", back, count)
        back = _fitted(b, back, axis, rank, n, b.dim(self.x, self.axis))
        if (b.graph.shape(self.x) or ())[-1] == 1:
            back = b.slice(back, [-1], [0], [1])
        return Value(back, m.stack)


@dataclass(frozen=True, slots=True)
class RealInverse(Map):
    """``x_t = sum over k <= n / 2 of c_k Re(y_k exp(2 pi i k t / n)) / n``, c_k 2, 1 at the ends.

    The inverse, onesided transform: half a spectrum ``[*A, n / 2 + 1, *B, 2]`` becomes a real
    signal ``[*A, n, *B, 1]``.
    """

    x: str
    y: str
    axis: int
    length: str

    def push(self, b: Builder, r: Value) -> Value:
        axis = self.axis + int(r.stack)
        return Value(transform(b, r.name, self.length, axis, True, True), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        """Return the onesided spectrum of m times ``c_k / n``."""
        axis, rank = self.axis + int(m.stack), len(b.dims(self.x)) + int(m.stack)
        n, two = b.dim(self.y, self.axis), b.ints([2])
        half = b.op("Add", b.op("Div", n, two), b.ints([1]))
        k = b.op("Range", b.ints(0), b.op("Squeeze", half), b.ints(1))
        ends = b.op("Or", b.op("Equal", k, b.ints([0])), b.op("Equal", b.op("Mul", k, two), n))
        weight = b.op("Cast", b.op("Where", ends, b.ints([1]), two), to=b.dtype(self.x))
        weight = b.op("Div", weight, b.op("Cast", n, to=b.dtype(self.x)))
        aligned = b.op("Reshape", weight, b.ints([-1, *[1] * (rank - 1 - axis)]))
        back = b.op("Mul", transform(b, m.name, "", axis, False, True), aligned)
        return Value(_fitted(b, back, axis, rank, half, b.dim(self.x, self.axis)), m.stack)


def transform(b: Builder, v: str, length: str, axis: int, inverse: bool, onesided: bool) -> str:
    """Return a DFT node, spelled for the opset."""
    how = {"inverse": int(inverse), "onesided": int(onesided)}
    if b.graph.opset >= AXIS_IS_INPUT:
        return b.op("DFT", v, length, b.ints(axis), **how)
    return b.op("DFT", v, *([length] if length else []), axis=axis, **how)


def _fitted(b: Builder, v: str, axis: int, rank: int, have: str, want: str) -> str:
    """Return a value cut, or filled with zeros, to a length along one axis."""
    if have == want:
        return v
    missing = b.op("Max", b.op("Sub", want, have), b.ints([0]))
    zeros = b.ints([0] * (rank + axis)), b.ints([0] * (rank - 1 - axis))
    filled = b.op("Pad", v, b.op("Concat", zeros[0], missing, zeros[1], axis=0))
    return b.op("Slice", filled, b.ints([0]), want, b.ints([axis]))
