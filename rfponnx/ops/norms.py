"""Norms, and other functions of many entries, as sums of shares.

``y = sum_i (share_i / x_i) x_i`` with the share released (METHODS 3).  Where it is homogeneous
of degree one (L1, L2, the Lp pools) that is the tangent; with ``--release '*=none'`` all are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rfponnx.maps.base import then
from rfponnx.maps.expr import (
    Expr,
    absolute,
    applied,
    choose,
    equal,
    exp,
    ints,
    number,
    power,
    quotient,
    reciprocal,
    sign,
    total,
)
from rfponnx.maps.gain import Gain
from rfponnx.maps.pool import WindowSum
from rfponnx.maps.reduce import Total
from rfponnx.ops.conv import lying
from rfponnx.ops.linear import reduction_axes
from rfponnx.ops.op import At, Linearisation, Op

ZERO = number(0.0)

#: From the node, y with its axes kept, and the axes: the gain of every entry.
Share = Callable[[At, Expr, Sequence[int]], Expr]


def shared(share: Share, tangent: Share | None = None) -> Callable[[At], Linearisation]:
    """Return a reduction with gains ``share_i / x_i``; `tangent` where that is no derivative."""

    def reduction(at: At) -> Linearisation:
        axes = reduction_axes(at)
        if not axes:  # what it then does to each entry depends on the runtime
            if at.full and tangent is not None:
                raise at.refuse("without axes what it does depends on the runtime")
            return at.gated(quotient(at.vy, at.vx, ZERO), frozen=not at.full)
        keep = bool(at.attr("keepdims", 1))
        y = at.vy if keep else applied("Unsqueeze", at.vy, ints(axes))
        full = tangent is not None and at.numbers.release == "none"
        gain = tangent(at, y, axes) if tangent and full else share(at, y, axes)
        form = then(Gain(gain, at.x, at.x), Total(axes, keep, at.x))
        homogeneous = tangent is None
        note = "" if homogeneous or full else "released the shares of its entries"
        frozen = not homogeneous and not full
        return at.linear(form, offset=None if homogeneous else "rest", frozen=frozen, note=note)

    return reduction


def of_log_sum_exp(at: At, y: Expr, _: Sequence[int]) -> Expr:
    """``exp(x_i - y) y / x_i``, and 0 (all to bias) where ``|x_i| <= eps``."""
    beyond = absolute(at.vx) > at.numbers.eps
    return choose(beyond, exp(at.vx - y) * y / choose(beyond, at.vx, number(1.0)), ZERO)


def of_product(at: At, y: Expr, axes: Sequence[int]) -> Expr:
    """``prod of the others / n``: every entry has the same share."""
    ones = choose(equal(at.vx, at.vx), number(1.0), ZERO)
    return others(at, y, axes) / total(ones, ints(axes))


def others(at: At, _: Expr, axes: Sequence[int]) -> Expr:
    """Return the product of all entries but this one, also where some are 0."""
    x = at.vx
    zero = equal(x, ZERO)
    filled = choose(zero, number(1.0), x)
    if at.graph.opset >= 18:
        rest = applied("ReduceProd", filled, ints(axes)) / filled
    else:
        rest = applied("ReduceProd", filled, axes=tuple(axes)) / filled
    return choose(equal(total(zero, ints(axes)), zero), rest, ZERO)


def lp_pool(at: At) -> Linearisation:
    """The p-norm of every window."""
    form = WindowSum(lying(at, at.attr("kernel_shape")))
    p = int(at.attr("p", 2))
    last = [Gain(_per_norm(at, p), at.y, at.y)] if p > 1 else []
    return at.linear(then(Gain(_powers(at, p), at.x, at.x), form, *last))


def global_lp_pool(at: At) -> Linearisation:
    """The p-norm over all spatial axes."""
    axes, p = tuple(range(2, at.rank(at.x))), int(at.attr("p", 2))
    last = [Gain(_per_norm(at, p), at.y, at.y)] if p > 1 else []
    return at.linear(then(Gain(_powers(at, p), at.x, at.x), Total(axes, True, at.x), *last))


def _powers(at: At, p: int) -> Expr:
    """Return ``sign(x) |x|^(p - 1)``."""
    if p == 1:
        return sign(at.vx)
    return at.vx if p == 2 else at.vx * power(absolute(at.vx), number(p - 2))


def _per_norm(at: At, p: int) -> Expr:
    """Return ``1 / y^(p - 1)``, 0 where y is 0."""
    y = at.vy if p == 2 else power(at.vy, number(p - 1))
    return quotient(number(1.0), y, ZERO)


OPS = (
    Op("ReduceL1", "norms", shared(lambda at, y, _: sign(at.vx)), "y = sum sign(x) x"),
    Op("ReduceL2", "norms", shared(lambda at, y, _: quotient(at.vx, y, ZERO)), "y = sum (x / y) x"),
    Op(
        "ReduceSumSquare",
        "norms",
        shared(lambda at, y, _: at.vx, lambda at, y, _: at.vx * 2),
        "y = sum x x, one x released",
    ),
    Op(
        "ReduceLogSum",
        "norms",
        shared(
            lambda at, y, axes: quotient(y, total(at.vx, ints(axes)), ZERO),
            lambda at, y, axes: reciprocal(total(at.vx, ints(axes))),
        ),
        "y = sum (y / sum x) x",
    ),
    Op(
        "ReduceLogSumExp",
        "norms",
        shared(of_log_sum_exp, lambda at, y, _: exp(at.vx - y)),
        "y = sum (exp(x - y) y / x) x",
    ),
    Op("ReduceProd", "norms", shared(of_product, others), "y = sum (product of the others / n) x"),
    Op("LpPool", "norms", lp_pool, "y = sum (sign(x) |x|^(p-1) / y^(p-1)) x over every window"),
    Op("GlobalLpPool", "norms", global_lp_pool, "y = sum (sign(x) |x|^(p-1) / y^(p-1)) x"),
)
