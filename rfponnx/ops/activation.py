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
    exp,
    maximum,
    not_less,
    number,
    polynomial,
    reciprocal,
    sigmoid,
    sin,
    sqrt,
    tanh,
    tensor,
)
from rfponnx.ops.op import At, Linearisation, Op

Slope = Callable[[At], Expr]


#: log(1 + t) / t as a quotient of polynomials in t, 0 <= t <= 1, to 2e-8 relative: a least
#: squares fit on Chebyshev points, weights raised where the relative error was largest (Lawson).
LOG1P = (
    (0.999999981, 0.8671936443, 0.1237643626),
    (1.0, 1.367191698, 0.4740590096, 0.03109456309),
)


def exactly(value: float) -> Expr:
    """Return a constant as a sum of two, so that it is exact in float64, too; folded at load."""
    first = round(value * 2**12) / 2**12
    return number(first) + number(value - first)


PI = exactly(math.pi)


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
    """``(softplus(z) - log 2) / z``, where the numerator is max(z, 0) - log(1 + tanh(|z|/2))."""
    a = apart(at.vx)
    t = tanh(a * 0.5)
    above, below = (polynomial(t, c) for c in LOG1P)
    return mirrored(at.vx, above / below * (t / a))


def mirrored(z: Expr, below: Expr) -> Expr:
    """``g(z)`` with g(-a) + g(a) = 1, from its value at -|z|."""
    above = z > 0
    return above + below * (1 - above * 2)


def cosh_secant(at: At) -> Expr:
    """``(cosh z - 1) / z = 2 sinh(z/2) sinh(a/2) / a``."""
    a, sinh = apart(at.vx), "Sinh"
    return call(sinh, at.vx * 0.5) * (call(sinh, a * 0.5) / (a * 0.5))


def cos_secant(at: At) -> Expr:
    """``(cos z - 1) / z = -2 sin(z/2) sin(a/2) / a``."""
    half = apart(at.vx) * 0.5
    return -(sin(at.vx * 0.5) * (sin(half) / half))


def soft_sign_gate(at: At) -> Expr:
    """``1 / (1 + |z|)``."""
    return reciprocal(absolute(at.vx) + 1)


# ---- slopes ---------------------------------------------------------------------------


def bounded(z: Expr) -> Expr:
    """``z`` cut to -15..15, where what is computed of it has long reached its limit."""
    return clip(z, -15, 15)


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
    s = reciprocal(maximum(absolute(at.vx), 1))
    return s / sqrt(s * s + at.vx * s * (at.vx * s))


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
    row("Softplus", "y = log(1 + exp(x))", softplus_secant, lambda at: sigmoid(at.vx)),
    row(
        "Softsign", "y = x / (1 + |x|)", soft_sign_gate,
        lambda at: soft_sign_gate(at) * soft_sign_gate(at),
    ),
    row("Erf", "y = erf(x)", odd("Erf"), erf_slope),
    row("Exp", "y = exp(x)", exp_secant, lambda at: at.vy),
    row("Sqrt", "y = sqrt(x)", one_over(lambda at: at.vy), one_over(lambda at: at.vy, 0.5)),
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
