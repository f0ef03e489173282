"""Functions that are a signal times a gate of itself, ``y = z gate(z)``: the gate is the secant."""

from __future__ import annotations

from rfponnx.maps.expr import (
    Expr,
    absolute,
    call,
    clip,
    doubled,
    erf,
    exp,
    minimum,
    number,
    polynomial,
    reciprocal,
    sigmoid,
    sqrt,
)
from rfponnx.ops.activation import PI, bounded, exactly, mirrored, row
from rfponnx.ops.op import At

SLOPE = sqrt(8 / PI)  # of the cubic in the Gelu that is written with Tanh
CUBIC = exactly(0.044715)  # its cubic term

#: Phi(-a) exp(a^2 / 2) / t as a polynomial in t = 1 / (1 + 0.35 a), a >= 0, to 3e-8 relative,
#: fitted as LOG1P was.  (1 + erf) / 2 has lost its digits at -3; a double exp takes 60 times as
#: long as the float one.
MILLS = (
    0.139621258, 0.139864337, 0.119815493, 0.105574822, -0.0232638867, 0.159392989,
    -0.255901933, 0.144060837, -0.0291639331,
)  # fmt: skip


def logistic(z: Expr, *, wide: bool) -> Expr:
    """The sigmoid in all digits: ``exp(min(z, 0)) sigmoid(|z|)``; z itself in double if `wide`."""
    low = minimum(z, 0)
    return (exp_of_sum(low) if wide else exp(low)) * sigmoid(absolute(z))


def exp_of_sum(u: Expr) -> Expr:
    """``exp(u)`` of a u whose rounding would show: ``exp(u_1) (1 + u_2)``, u_1 + u_2 = u."""
    first = doubled(u)
    return exp(first) * (doubled(u - first) + 1)


def swish_gate(at: At) -> Expr:
    """``sigmoid(alpha z)``."""
    alpha = float(at.attr("alpha", 1.0))
    if alpha == 1:
        return logistic(at.vx, wide=False)
    most = 110 / max(abs(alpha), 1e-30)  # exp(-110) is 0 in float32
    return logistic(clip(at.vx, -most, most) * alpha, wide=True)


def swish_slope(at: At) -> Expr:
    """``s + alpha z s (1 - s)``."""
    alpha = float(at.attr("alpha", 1.0))
    s = sigmoid(at.vx * alpha)
    return s + at.vx * (s * (1 - s)) * alpha


def mish_gate(at: At) -> Expr:
    """``tanh(log(1 + exp(z))) = s (2 - s) / (1 + (1 - s)^2)`` with s = sigmoid(z)."""
    s = logistic(at.vx, wide=False)
    return s * (2 - s) / ((1 - s) * (1 - s) + 1)


def mish_slope(at: At) -> Expr:
    """``g + z (1 - g^2) sigmoid(z)``, g the gate."""
    g = mish_gate(at)
    return g + at.vx * ((1 - g * g) * sigmoid(at.vx))


def hard_swish_gate(at: At) -> Expr:
    """``min(max(z + 3, 0), 6) / 6``."""
    return clip(at.vx + 3, 0, 6) * (number(1) / 6)


def hard_swish_slope(at: At) -> Expr:
    """The gate, and ``z / 6`` where it is neither 0 nor 1."""
    inside = call("less", absolute(at.vx), 3)
    return hard_swish_gate(at) + bounded(at.vx) * inside / 6


def gelu_gate(at: At) -> Expr:
    """``Phi(z)``, the normal distribution; with `tanh`, the sigmoid of an odd cubic."""
    z = bounded(at.vx)
    if at.attr("approximate", "none") == "tanh":
        return logistic(gelu_cubic(z), wide=True)
    t = reciprocal(absolute(at.vx) * 0.35 + 1)
    return mirrored(at.vx, exp_of_square(z) * (t * polynomial(t, MILLS)))


def exp_of_square(z: Expr) -> Expr:
    """``exp(-z^2 / 2)`` in all digits for |z| < 16: z is cut where its square still fits."""
    most = call("Round", z * 256) * (1 / 256)
    return exp(most * most * -0.5) * exp((z - most) * (z + most) * -0.5)


def gelu_cubic(z: Expr) -> Expr:
    """``2 sqrt(2 / pi) (z + 0.044715 z^3)``."""
    return z * (z * z * CUBIC + 1) * SLOPE


def gelu_slope(at: At) -> Expr:
    """``Phi(z) + z phi(z)``; with `tanh`, ``s + z s (1 - s) u'(z)``, u the cubic."""
    z = bounded(at.vx)
    if at.attr("approximate", "none") == "tanh":
        s = sigmoid(gelu_cubic(z))
        return s + z * (s * (1 - s)) * ((z * z * (CUBIC * 3) + 1) * SLOPE)
    gate = erf(at.vx * sqrt(number(0.5))) * 0.5 + 0.5
    return gate + z * (exp(z * z * -0.5) / sqrt(PI * 2))


OPS = (
    row("Gelu", "y = x Phi(x)", gelu_gate, gelu_slope),
    row("Swish", "y = x sigmoid(alpha x)", swish_gate, swish_slope),
    row("Mish", "y = x tanh(log(1 + exp(x)))", mish_gate, mish_slope),
    row("HardSwish", "y = x min(max(x + 3, 0), 6) / 6", hard_swish_gate, hard_swish_slope),
)
