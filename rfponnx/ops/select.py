"""Operators that pick entries by their values, and the piece-wise linear functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rfponnx.maps.expr import (
    HOLE,
    Expr,
    absolute,
    applied,
    call,
    choose,
    equal,
    ints,
    minimum,
    number,
    positions,
    shape,
    sign,
    step,
    tensor,
)
from rfponnx.maps.gain import Gain
from rfponnx.maps.scatter import Picked, Select
from rfponnx.ops.linear import reduction_axes
from rfponnx.ops.op import At, Linearisation, Op, Term, passed, stopped

#: From here on a bound of a float type bounds nothing.
UNBOUNDED = 3.4e38


def max_pool(at: At) -> Linearisation:
    """The winner of every window: the first maximum in row-major order, never padding."""
    keep = ("kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode")
    attrs: dict[str, Any] = {k: at.attr(k) for k in keep if at.attr(k) is not None}
    given = "" if at.attr("storage_order") else "".join(at.node.outputs[1:])
    winners = tensor(given) if given else applied("MaxPool", tensor(at.x), output=1, **attrs)
    return at.linear(Select(at.x, at.y, winners))


def extreme(at: At, axes: Sequence[int], kind: str) -> Linearisation:
    """The first entry along some axes, in row-major order, that `kind` finds (an ArgMax)."""
    if 0 in at.shape(at.x):
        return stopped(at)
    x, where = tensor(at.x), positions(at.x)
    axis = axes[0] if len(axes) == 1 else -1
    if len(axes) > 1:
        x, where = _rows(at, x, axes), _rows(at, where, axes)
    winner = applied(kind, x, axis=axis, keepdims=1)
    index = applied("GatherElements", where, winner, axis=axis)
    if len(axes) > 1 or at.rank(at.y) < at.rank(at.x):
        index = call("Reshape", index, shape(at.y))
    return at.linear(Select(at.x, at.y, index, distinct=True))


def _rows(at: At, values: Expr, axes: Sequence[int]) -> Expr:
    """Return values shaped like x with some axes as one last axis, the others kept."""
    kept = [a for a in range(at.rank(at.x)) if a not in axes]
    if [*kept, *axes] != list(range(at.rank(at.x))):
        values = applied("Transpose", values, perm=[*kept, *axes])
    sizes = [at.shape(at.x)[a] for a in axes]
    known = [s for s in sizes if isinstance(s, int)]
    length = int(np.prod(known)) if len(known) == len(sizes) else -1
    return applied("Reshape", values, ints([*[0] * len(kept), length]))


def global_max_pool(at: At) -> Linearisation:
    """The first maximum over all spatial axes."""
    return extreme(at, range(2, at.rank(at.x)), "ArgMax")


def reduce_extreme(at: At) -> Linearisation:
    """The first extreme over axes."""
    axes = reduction_axes(at)
    return extreme(at, axes, f"Arg{at.node.op.removeprefix('Reduce')}") if axes else passed(at)


def top_k(at: At) -> Linearisation:
    """The largest entries along an axis, as the node itself finds them."""
    given = at.node.outputs[1] if len(at.node.outputs) > 1 else ""
    attrs = dict(at.node.attrs)
    found = applied("TopK", tensor(at.x), tensor(at.input(1)), output=1, **attrs)
    indices = tensor(given) if given else found
    node = applied("GatherElements", positions(at.x), indices, axis=at.axis(-1, at.x))
    return at.linear(Select(at.x, at.y, node, distinct=True))


def unique(at: At) -> Linearisation:
    """The entries that differ, or the slices along an axis; the first of equal ones counts."""
    if at.which:
        raise at.refuse(f"its output `{at.y}` counts entries")
    given = at.node.outputs[1] if len(at.node.outputs) > 1 else ""
    first = tensor(given) if given else applied("Unique", tensor(at.x), output=1, **at.node.attrs)
    if at.attr("axis") is None:
        return at.linear(Select(at.x, at.y, first, distinct=True))
    along = at.axis(0, at.x)
    node, behind = (applied("Gather", HOLE, first, axis=a) for a in (along, along + 1))
    return at.linear(Picked(at.x, at.y, node, behind))


def extreme_of(at: At) -> Linearisation:
    """``y = max(a, b, ...)``, each spread to the shape of y: of equal operands the first wins."""
    operands = tuple(dict.fromkeys(at.node.inputs))
    if len(operands) == 1:
        return passed(at)
    terms, free = [], number(1)
    for place, name in enumerate(operands):
        last = place == len(operands) - 1
        wins = free if last else equal(tensor(name), at.vy)
        if place and not last:
            wins = free * wins
        if at.carries(name):
            terms.append(Term(name, Gain(wins, name, at.y)))
        free = free - wins
    return Linearisation(tuple(terms), "rest" if len(terms) < len(operands) else None)


def abs_(at: At) -> Linearisation:
    """``y = |x|``, slope 0 at 0."""
    return at.gated(sign(at.vx), offset=None)


def leaky_relu(at: At) -> Linearisation:
    """``y = x`` above 0, else ``alpha x``; y has the sign of x where alpha >= 0."""
    alpha = float(at.attr("alpha", 0.01))
    above = step(at.vy if alpha >= 0 else at.vx)
    if not alpha:
        return at.gated(above, offset=None)
    if 0 < alpha <= 1:
        return at.gated(call("Clip", above, alpha, 1), offset=None)
    return at.gated(choose(above, number(1), number(alpha)), offset=None)


def prelu(at: At) -> Linearisation:
    """``y = x`` above 0, else ``slope x``; the slope is released."""
    made = at.gated(choose(at.vx > 0, number(1), tensor(at.input(1))), offset=None)
    return at.with_operands(made, {1: Gain(minimum(at.vx, 0), at.input(1), at.y)})


def thresholded_relu(at: At) -> Linearisation:
    """``y = x`` above alpha, else 0."""
    alpha = float(at.attr("alpha", 1.0))
    return at.gated(at.vy > 0 if alpha >= 0 else at.vx > alpha, offset=None)


def bound(at: At, index: int, attribute: str) -> Expr | None:
    """Return a bound of Clip, a number where it is known; None where it bounds nothing."""
    name = at.input(index)
    value = at.graph.constant(name) if name else at.attr(attribute)
    if value is None:
        return tensor(name) if name else None
    return number(float(value)) if abs(float(value)) < UNBOUNDED else None


def clip(at: At) -> Linearisation:
    """``y = x`` strictly inside the bounds, a bound outside; where both meet, a constant."""
    low, high = bound(at, 1, "min"), bound(at, 2, "max")
    inside = [at.vy > low] if low is not None else []
    inside += [at.vy < high] if high is not None else []
    if not inside:
        return passed(at)
    gain = inside[0] if len(inside) == 1 else inside[0] * inside[1]
    offset = None if {low, high} <= {None, number(0)} else "rest"
    highest = number(0) if high is None else equal(at.vy, high)
    lowest = number(0) if low is None else equal(at.vy, low) * (1 - highest)
    by = {i: Gain(g, at.input(i), at.y) for i, g in ((1, lowest), (2, highest))}
    return at.with_operands(at.gated(gain, offset=offset), by)


def hard_sigmoid(at: At) -> Linearisation:
    """``y = alpha x + beta``, cut to 0..1."""
    inside = (at.vy > 0) * (at.vy < 1)
    return at.gated(inside * float(at.attr("alpha", 0.2)))


def shrink(at: At) -> Linearisation:
    """``y = x`` moved by a bias towards 0 where ``|x| > lambd``, else 0."""
    size = float(at.attr("lambd", 0.5))
    outside = absolute(at.vx) > size if size >= 0 else number(1)
    return at.gated(outside, offset="rest" if float(at.attr("bias", 0.0)) else None)


def _row(name: str, by: Callable[[At], Linearisation], equation: str, *inputs: int) -> Op:
    return Op(name, "selecting", by, equation, inputs=inputs or None)


OPS = (
    _row("MaxPool", max_pool, "y = x at the window's first maximum"),
    _row("GlobalMaxPool", global_max_pool, "y = x at the first maximum over space"),
    _row("ReduceMax", reduce_extreme, "y = x at the first maximum over axes", 0),
    _row("ReduceMin", reduce_extreme, "y = x at the first minimum over axes", 0),
    _row("Max", extreme_of, "y = the largest operand, of equal ones the first"),
    _row("Min", extreme_of, "y = the smallest operand, of equal ones the first"),
    _row("TopK", top_k, "y = x at the k largest along an axis", 0),
    _row("Unique", unique, "y = x at the first of equal entries"),
    _row("Abs", abs_, "y = sign(x) x"),
    _row("LeakyRelu", leaky_relu, "y = x above 0, else alpha x"),
    _row("PRelu", prelu, "y = x above 0, else slope x, the slope released"),
    _row("ThresholdedRelu", thresholded_relu, "y = x above alpha, else 0"),
    _row("Clip", clip, "y = x strictly between the bounds, else a bound, which is released"),
    _row("HardSigmoid", hard_sigmoid, "y = alpha x + beta, cut to 0..1"),
    _row("Shrink", shrink, "y = x moved by a bias where |x| > lambd, else 0"),
)
