"""Elementwise functions: the active piece of Relu, the secant or tangent of the smooth.

A smooth function ``y = rho(z)`` is a row of two expressions: its *secant* through the origin,
``(rho(z) - rho(0)) / z``, spelled so that no digits are lost anywhere (nothing is subtracted
that is nearly equal, and the limit at 0 comes out by itself), and its *slope* ``rho'(z)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rfponnx.maps.expr import (
    TINY,
    Expr,
    absolute,
    apart,
    call,
    choose,
    clip,
    cos,
    doubled,
    erf,
    exp,
    finite,
    log,
    maximum,
    minimum,
    not_less,
    number,
    polynomial,
    quotient,
    reciprocal,
    sigmoid,
    sin,
    sqrt,
    tanh,
    tensor,
)
from rfponnx.ops.op import At, Linearisation, Op

Slope = Callable[[At], Expr]

#: Constants as quotients and sums of numbers that float32 holds exactly, so that they are exact
#: in float64 too; a runtime folds them when it loads the model.
PI = number(3.140625) + number(math.pi - 3.140625)
SLOPE = sqrt(8 / PI)  # of the cubic in the Gelu that is written with Tanh
CUBIC = number(44715) / 1e6  # its cubic term

#: The polynomial in t = 1 / (1 + 0.35 a) of Phi(-a) exp(a^2 / 2) / t, a >= 0, to 3e-8 relative:
#: least squares on Chebyshev points, weights raised where the error was largest (Lawson).
MILLS = (
    0.139621258, 0.139864337, 0.119815493, 0.105574822, -0.0232638867, 0.159392989,
    -0.255901933, 0.144060837, -0.0291639331,
)  # fmt: skip


def relu(at: At) -> Linearisation:
    """``y = max(x, 0)``: the mask is read off y, so that the primal's Conv + Relu stays fused."""
    return at.gated(at.vy > 0, offset=None)


def smooth(secant: Slope | None, slope: Slope) -> Callable[[At], Linearisation]:
    """Return the linearisation of a smooth function (METHODS 2).

    Parameters
    ----------
    secant
        ``(rho(z) - rho(0)) / z``; ``None`` where rho(0) is not finite: there `weighted` is
        `ratio`.
    slope
        ``rho'(z)``, finite wherever it is written.
    """

    def by(at: At) -> Linearisation:
        if at.numbers.kind == "taylor":
            return at.gated(slope(at))
        if at.numbers.kind == "ratio" or secant is None:
            return at.gated(ratio(at, at.x), tangent=False)
        return at.gated(secant(at), tangent=False)

    return by


def ratio(at: At, x: str) -> Expr:
    """``(y + c) / x`` where ``|x| >= eps``, else 0 ([RFP] eq. 5); c is the option `shift`."""
    z = tensor(x)
    counts = not_less(absolute(z), at.numbers.eps)
    above = at.vy + at.numbers.shift if at.numbers.shift else at.vy
    return choose(counts, above / choose(counts, z, number(1)), number(0))


def odd(function: str) -> Slope:
    """Return the secant of an odd function: ``f(a) / a``, a = |z| kept from 0."""
    return lambda at: call(function, apart(at.vx)) / apart(at.vx)


# ---- exponentials ---------------------------------------------------------------------


def expm1_secant(a: Expr) -> Expr:
    """``(1 - exp(-a)) / a`` for a > 0: with t = tanh(a/2), 1 - exp(-a) = 2 t / (1 + t)."""
    half = a * 0.5
    t = tanh(half)
    return t / (half * (t + 1))


def exp_secant(at: At) -> Expr:
    """``(exp(z) - 1) / z``, the secant of exp(-|z|) times max(exp(z), 1)."""
    return expm1_secant(apart(at.vx)) * maximum(at.vy, 1)


def negative(z: Expr) -> Expr:
    """``-z`` kept from 0, for what happens at negative z only; at positive z it is its limit."""
    return maximum(-z, TINY)


def elu_secant(at: At) -> Expr:
    """1 for z > 0, else ``alpha (exp(z) - 1) / z``."""
    alpha, below = float(at.attr("alpha", 1.0)), expm1_secant(negative(at.vx))
    return below if alpha == 1 else choose(at.vx > 0, number(1), below * alpha)


def elu_slope(at: At) -> Expr:
    """1 for z > 0, else ``alpha exp(z) = y + alpha``."""
    return choose(at.vx > 0, number(1), at.vy + float(at.attr("alpha", 1.0)))


def selu(at: At) -> tuple[float, float]:
    """Return alpha and gamma."""
    alpha = at.attr("alpha", 1.67326319217681884765625)
    return float(alpha), float(at.attr("gamma", 1.05070102214813232421875))


def selu_secant(at: At) -> Expr:
    """``gamma`` for z > 0, else ``gamma alpha (exp(z) - 1) / z``."""
    alpha, gamma = selu(at)
    below = expm1_secant(negative(at.vx)) * (number(alpha) * gamma)
    return choose(at.vx > 0, number(gamma), below)


def selu_slope(at: At) -> Expr:
    """``gamma`` for z > 0, else ``y + alpha gamma``."""
    alpha, gamma = selu(at)
    return choose(at.vx > 0, number(gamma), at.vy + number(alpha) * gamma)


def celu_secant(at: At) -> Expr:
    """1 for z > 0, else ``(exp(u) - 1) / u`` with u = z / alpha."""
    return expm1_secant(negative(at.vx / float(at.attr("alpha", 1.0))))


def celu_slope(at: At) -> Expr:
    """1 for z > 0, else ``exp(z / alpha) = y / alpha + 1``."""
    return choose(at.vx > 0, number(1), at.vy / float(at.attr("alpha", 1.0)) + 1)


def softplus_secant(at: At) -> Expr:
    """``(softplus(z) - log 2) / z``, where the numerator is max(z, 0) - log(1 + tanh(|z|/2)).

    With w the float nearest to 1 + t, log(1 + t) = t log(w) / (w - 1) in all digits (Kahan).
    """
    a = apart(at.vx)
    t = tanh(a * 0.5)
    w = t + 1
    part = quotient(log(w), w - 1, number(1)) * (t / a)
    return choose(at.vx > 0, 1 - part, part)


def cosh_secant(at: At) -> Expr:
    """``(cosh z - 1) / z = 2 sinh(z/2) sinh(a/2) / a``."""
    a, sinh = apart(at.vx), "Sinh"
    return call(sinh, at.vx * 0.5) * (call(sinh, a * 0.5) / (a * 0.5))


def cos_secant(at: At) -> Expr:
    """``(cos z - 1) / z = -2 sin(z/2) sin(a/2) / a``."""
    half = apart(at.vx) * 0.5
    return -(sin(at.vx * 0.5) * (sin(half) / half))


# ---- functions with a gate: y = z gate(z) ---------------------------------------------


def bounded(z: Expr) -> Expr:
    """``z`` cut to -20..20, where what is computed of it has long reached its limit."""
    return clip(z, -20, 20)


def logistic(z: Expr, *, wide: bool) -> Expr:
    """The sigmoid in all digits: ``exp(min(z, 0)) sigmoid(|z|)``; z itself in double if `wide`."""
    tail = exp(minimum(z, 0))
    return (doubled(tail) if wide else tail) * sigmoid(absolute(z))


def swish_gate(at: At) -> Expr:
    """``sigmoid(alpha z)``."""
    alpha = float(at.attr("alpha", 1.0))
    return logistic(at.vx if alpha == 1 else at.vx * alpha, wide=alpha != 1)


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
    z, a = bounded(at.vx), absolute(at.vx)
    if at.attr("approximate", "none") == "tanh":
        return logistic(gelu_cubic(z), wide=True)
    t = reciprocal(a * 0.35 + 1)
    tail = doubled(exp(z * z * -0.5)) * (t * polynomial(t, MILLS))
    return choose(at.vx > 0, 1 - tail, tail)


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


def soft_sign_gate(at: At) -> Expr:
    """``1 / (1 + |z|)``."""
    return reciprocal(absolute(at.vx) + 1)


# ---- slopes ---------------------------------------------------------------------------


def guarded(x: Expr, divisor: Expr) -> Expr:
    """``x / divisor``, and 0 where the divisor is not positive: there is no slope."""
    return choose(divisor > 0, x / choose(divisor > 0, divisor, number(1)), number(0))


def inside_one(at: At) -> Expr:
    """``1 - z^2`` in all digits."""
    return (1 - at.vx) * (at.vx + 1)


def one_and_square(at: At) -> tuple[Expr, Expr]:
    """Return s^2 and ``s^2 (1 + z^2)`` with s = min(1, 1 / |z|): no overflow."""
    s = reciprocal(maximum(absolute(at.vx), 1))
    return s * s, s * s + at.vx * s * (at.vx * s)


def atan_slope(at: At) -> Expr:
    """``1 / (1 + z^2)``."""
    above, below = one_and_square(at)
    return above / below


def asinh_slope(at: At) -> Expr:
    """``1 / sqrt(1 + z^2)``."""
    above, below = one_and_square(at)
    return sqrt(above / below)


def acosh_slope(at: At) -> Expr:
    """``1 / sqrt(z^2 - 1)``."""
    return guarded(number(1), sqrt(at.vx - 1) * sqrt(at.vx + 1))


def erf_slope(at: At) -> Expr:
    """``2 / sqrt(pi) exp(-z^2)``."""
    z = bounded(at.vx)
    return exp(-(z * z)) * (2 / sqrt(PI))


def row(name: str, equation: str, secant: Slope | None, slope: Slope) -> Op:
    """Return the row of a smooth function."""
    return Op(name, "smooth", smooth(secant, slope), equation)


def one_over(divisor: Callable[[At], Expr], top: float = 1.0) -> Slope:
    """Return the slope ``top / divisor``, and 0 where the divisor is not positive."""
    return lambda at: guarded(number(top), divisor(at))


OPS = (
    Op("Relu", "selecting", relu, "y = (y > 0) x"),
    row(
        "Sigmoid", "y = 1 / (1 + exp(-x))",
        lambda at: tanh(apart(at.vx) * 0.5) / apart(at.vx) * 0.5,
        lambda at: at.vy * (1 - at.vy),
    ),
    row("Tanh", "y = tanh(x)", odd("Tanh"), lambda at: 1 - at.vy * at.vy),
    row("Elu", "y = max(x, 0) + alpha (exp(min(x, 0)) - 1)", elu_secant, elu_slope),
    row("Selu", "y = gamma elu(x)", selu_secant, selu_slope),
    row("Celu", "y = max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1)", celu_secant, celu_slope),
    row("Gelu", "y = x Phi(x)", gelu_gate, gelu_slope),
    row("Swish", "y = x sigmoid(alpha x)", swish_gate, swish_slope),
    row("Mish", "y = x tanh(log(1 + exp(x)))", mish_gate, mish_slope),
    row("HardSwish", "y = x min(max(x + 3, 0), 6) / 6", hard_swish_gate, hard_swish_slope),
    row("Softplus", "y = log(1 + exp(x))", softplus_secant, lambda at: sigmoid(at.vx)),
    row(
        "Softsign", "y = x / (1 + |x|)", soft_sign_gate,
        lambda at: soft_sign_gate(at) * soft_sign_gate(at),
    ),
    row("Erf", "y = erf(x)", odd("Erf"), erf_slope),
    row("Exp", "y = exp(x)", exp_secant, lambda at: at.vy),
    row("Log", "y = log(x)", None, lambda at: finite(guarded(number(1), at.vx))),
    row("Sqrt", "y = sqrt(x)", one_over(lambda at: at.vy), one_over(lambda at: at.vy, 0.5)),
    row("Reciprocal", "y = 1 / x", None, lambda at: -finite(at.vy * at.vy)),
    row("Sin", "y = sin(x)", odd("Sin"), lambda at: cos(at.vx)),
    row("Cos", "y = cos(x)", cos_secant, lambda at: -sin(at.vx)),
    row("Tan", "y = tan(x)", odd("Tan"), lambda at: at.vy * at.vy + 1),
    row("Asin", "y = asin(x)", odd("Asin"), one_over(lambda at: sqrt(inside_one(at)))),
    row(
        "Acos", "y = acos(x)", lambda at: -odd("Asin")(at),
        lambda at: -guarded(number(1), sqrt(inside_one(at))),
    ),
    row("Atan", "y = atan(x)", odd("Atan"), atan_slope),
    row("Sinh", "y = sinh(x)", odd("Sinh"), lambda at: call("Cosh", at.vx)),
    row("Cosh", "y = cosh(x)", cosh_secant, lambda at: call("Sinh", at.vx)),
    row("Asinh", "y = asinh(x)", odd("Asinh"), asinh_slope),
    row("Acosh", "y = acosh(x)", None, acosh_slope),
    row("Atanh", "y = atanh(x)", odd("Atanh"), one_over(inside_one)),
)  # fmt: skip
