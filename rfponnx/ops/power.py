"""Powers, inverses and logarithms: what is not smooth at 0, or has a signal as the exponent."""

from __future__ import annotations

import numpy as np

from rfponnx.maps.base import then
from rfponnx.maps.expr import (
    Expr,
    absolute,
    apart,
    array,
    call,
    choose,
    equal,
    finite,
    log,
    maximum,
    number,
    power,
    tensor,
)
from rfponnx.maps.gain import Gain, spread
from rfponnx.ops.activation import expm1_secant, guarded, ratio, smooth
from rfponnx.ops.op import At, Linearisation, Op, Term, stopped
from rfponnx.ops.written import written_exp


def pow_(at: At) -> Linearisation:
    """``y = a^b``; where both carry relevance, the exponent is released."""
    a, b = at.node.inputs
    if not at.carries(b):
        return _of_base(at)
    if not at.carries(a):
        return _of_exponent(at)
    if at.numbers.release == "none":
        terms = (Term(a, Gain(_slope(at), a, at.y)), Term(b, Gain(at.vy * _log(at), b, at.y)))
        return Linearisation(terms, "rest", note="nothing is released")
    if at.numbers.release == "split":
        raise at.refuse("a power cannot be split")
    made = _of_exponent(at) if at.numbers.release == "left" else _of_base(at)
    gone = a if at.numbers.release == "left" else b
    note = f"released `{gone}`, the {'base' if gone == a else 'exponent'}"
    return Linearisation(made.terms, made.offset, tangent=made.tangent, note=note)


def _of_base(at: At) -> Linearisation:
    """Linearise a power of a signal; secant ``x^(p-1)``, slope ``p x^(p-1)``."""
    taylor = at.numbers.kind == "taylor"
    p = None if at.carries(at.input(1)) else at.graph.constant(at.input(1))
    if p is None:
        return at.gated(_slope(at) if taylor else ratio(at, at.x), tangent=taylor)
    if not np.any(p):
        return stopped(at)
    if np.all(p == 1):
        return at.linear(then(spread(at.graph, at.x, at.y)))
    if at.numbers.kind == "ratio":
        return at.gated(ratio(at, at.x), tangent=False)
    return at.gated(_gain(at, np.asarray(p, np.float64), taylor), tangent=taylor)


def _gain(at: At, p: np.ndarray, taylor: bool) -> Expr:
    """Return ``x^(p-1)``, times p for the slope; 0 where it has no limit at 0.

    The secant of a negative power is the ratio: 0 where ``|x|`` is at most eps.
    """
    factor = p if taylor else (p != 0).astype(np.float64)
    if p.min() > 1:
        gain = at.vx if np.all(p == 2) else power(at.vx, _expr(p - 1))
        return _expr(factor) * gain if taylor else gain
    limit = 0.0 if taylor else at.numbers.eps
    counts = call("greater", absolute(at.vx), _expr(np.where(p < 0, limit, 0.0)))
    gain = power(choose(counts, at.vx, number(1)), _expr(p - 1)) * _expr(factor)
    return choose(counts, finite(gain), _expr((p == 1).astype(np.float64)))


def _expr(values: np.ndarray) -> Expr:
    """Return a constant: a number where all entries are the same."""
    if values.size and np.all(values == values.flat[0]):
        return number(values.flat[0])
    return array(values)


def _of_exponent(at: At) -> Linearisation:
    """Linearise ``a^x = exp(x log a)``; a base that is not positive counts as bias."""
    x = at.input(1)
    if at.numbers.kind == "taylor":
        return at.gated(at.vy * _log(at), x)
    if at.numbers.kind == "ratio":
        return at.gated(ratio(at, x), x, tangent=False)
    secant = expm1_secant(apart(tensor(x) * _log(at))) * maximum(at.vy, 1)
    return at.gated(_log(at) * secant, x, tangent=False)


def _log(at: At) -> Expr:
    return log(choose(at.vx > 0, at.vx, number(1)))


def _slope(at: At) -> Expr:
    """``b a^(b - 1)`` for an exponent known at run time only."""
    exponent = tensor(at.input(1))
    if not at.graph.is_float(at.input(1)):
        exponent = call("Cast", exponent, to=at.graph.dtype(at.y))
    none = equal(exponent, number(0))
    return choose(none, number(0), finite(exponent * power(at.vx, exponent - 1)))


def log_(at: At) -> Linearisation:
    """``y = log(x)``, not finite at 0; the log of ``a + b exp(c x)`` is a softplus of x."""
    slope = smooth(None, lambda at: finite(guarded(number(1), at.vx)))
    return written_exp(at) or slope(at)


def reciprocal_(at: At) -> Linearisation:
    """``y = 1 / x``, not finite at 0; the inverse of ``a + b exp(c x)`` is a sigmoid of x."""
    slope = smooth(None, lambda at: -finite(at.vy * at.vy))
    return written_exp(at) or slope(at)


OPS = (
    Op("Pow", "smooth", pow_, "y = a^b, the exponent released"),
    Op("Log", "smooth", log_, "y = log(x)"),
    Op("Reciprocal", "smooth", reciprocal_, "y = 1 / x"),
)
