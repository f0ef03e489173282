"""Functions of one tensor that an exporter wrote out in several nodes: SiLU, GELU, Mish, ...

If both factors of a product (or quotient) are elementwise functions of one tensor x, so is the
product: ``y = rho(x)``.  It is linearised as that one function, whatever nodes lie between.  So
is a logarithm or inverse of ``a + b exp(c x)``, a softplus or sigmoid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rfponnx.maps.base import Identity, Map
from rfponnx.maps.expr import (
    Expr,
    absolute,
    applied,
    call,
    choose,
    number,
    tensor,
)
from rfponnx.maps.gain import Gain
from rfponnx.ops.activation import ratio
from rfponnx.ops.op import At, Linearisation, Release

#: Their gains by `ratio` are elementwise, they are not.
ENTANGLED = ("Softmax", "LogSoftmax", "Hardmax")

#: Below this a difference to the value at 0 has lost too many digits.
NEAR = 2.0**-7


def written_out(at: At) -> Linearisation | None:
    """Return Mul or Div of two functions of one tensor as one function of the nearest such x.

    `weighted`: ``(rho(x) - rho(0)) / x``, which is ``c gate(x)`` where one factor is ``c x``;
    `taylor`: the derivative by the chain rule.
    """
    a, b = at.node.inputs
    known: dict[str, tuple[str, ...]] = {}
    beyond = lineage(at, b, known)
    x = next((t for t in lineage(at, a, known) if t in beyond), None)
    asked = at.numbers.release in ("left", "right", "split")
    if x is None or asked or not same_shape(at, x, at.y):
        return None
    if at.numbers.kind == "weighted":
        gate = gate_of(at, x)
        if gate is not None:
            return one_function(at, x, gate, offset=None, tangent=False)
    return as_one(at, x, slope_of_product(at, x))


def written_exp(at: At) -> Linearisation | None:
    """Return a function of ``a + b exp(c x)`` as one function of x, except under `taylor`."""
    (u,) = at.carriers
    x = below_exp(at, u)
    if x is None or at.numbers.kind == "taylor" or not same_shape(at, u, at.y):
        return None
    (gain,) = (gain_of(t.map) for t in tangent_of(at, {u}).terms)
    assert gain is not None
    return as_one(at, x, times(gain, slope(at, u, x)))


def as_one(at: At, x: str, tangent: Expr) -> Linearisation:
    """Linearise ``y = rho(x)`` with a known slope."""
    if at.numbers.kind == "taylor":
        return one_function(at, x, tangent)
    gain = ratio(at, x) if at.numbers.kind == "ratio" else secant(at, x, tangent)
    return one_function(at, x, gain, tangent=False)


def one_function(at: At, x: str, gain: Expr, **more: Any) -> Linearisation:
    """Return ``y = g x + o``, with what lies between."""
    between = set().union(*(inside(at, i, x) for i in at.carriers))
    note = f"{at.node.op} is one function of `{x}`"
    return at.gated(gain, x, through=tuple(sorted(between)), note=note, **more)


def below_exp(at: At, u: str) -> str | None:
    """Return x of a ``u = a + b exp(c x)`` with constants a, b, c."""
    affine, factor = (
        ("Add", "Sub", "Mul", "Div", "Neg", "Identity"),
        ("Mul", "Div", "Neg", "Identity"),
    )
    top = before(at, u, affine)
    node = at.graph.producer(top)
    if node is None or node.op != "Exp" or not parents(at, top):
        return None
    return before(at, node.inputs[0], factor)


def before(at: At, t: str, ops: tuple[str, ...]) -> str:
    """Return where a chain of operators on one signal and constants began."""
    while True:
        node, above = at.graph.producer(t), parents(at, t)
        if node is None or node.op not in ops or len(above) != 1:
            return t
        t = above[0][0]


def parents(at: At, t: str) -> tuple[tuple[str, Expr], ...]:
    """Return what a tensor is an elementwise function of, and its gains; nothing if it is not."""
    made, node = at.made.get(t), at.graph.producer(t)
    if made is None or made.frozen or node is None or node.op in ENTANGLED:
        return ()
    found = []
    for term in made.terms:
        if at.graph.is_constant(term.x):
            continue
        gain = gain_of(term.map)
        if gain is None or not same_shape(at, term.x, t):
            return ()
        found.append((term.x, gain))
    return tuple(found)


def same_shape(at: At, a: str, b: str) -> bool:
    """Tell whether two tensors have one shape, as far as it is known."""
    known = at.graph.shape(a)
    return known is not None and known == at.graph.shape(b)


def gain_of(a: Map) -> Expr | None:
    """Return the gain of an elementwise map."""
    if isinstance(a, Identity):
        return number(1)
    return a.gain if isinstance(a, Gain) else None


def lineage(at: At, t: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the tensors that alone decide t, entry by entry: t itself, then ever further back.

    `known` keeps what was found on the way.
    """
    if t not in known:
        above = [lineage(at, x, known) for x, _ in parents(at, t)]
        common = [x for x in above[0] if all(x in other for other in above[1:])] if above else []
        known[t] = (t, *common)
    return known[t]


def inside(at: At, t: str, x: str) -> set[str]:
    """Return the tensors on all ways from x to t, t among them and x not."""
    found: set[str] = set()
    beside: set[str] = set()  # what a function written out before went through
    queue = [t]
    while queue:
        name = queue.pop()
        if name != x and name not in found:
            found.add(name)
            beside |= set(at.made[name].through)
            queue += [p for p, _ in parents(at, name)]
    return found | beside


def multiple(at: At, t: str, x: str) -> Expr | None:
    """Return c if ``t = c x`` with a c that does not depend on x."""
    if t == x:
        return number(1)
    made = at.made[t]
    if made.offset is not None or len(made.terms) > 1:
        return None
    ((before, gain),) = parents(at, t)
    c = multiple(at, before, x)
    if c is None or gain.tensors & (inside(at, t, x) | {x}):
        return None
    return times(c, gain)


def gate_of(at: At, x: str) -> Expr | None:
    """Return the gate g of ``y = g x``, if one factor is x times a constant."""
    a, b = at.node.inputs
    left = multiple(at, a, x)
    if at.node.op == "Div":
        return None if left is None else left / tensor(b)
    if left is not None:
        return times(left, tensor(b))
    right = multiple(at, b, x)
    return None if right is None else times(right, tensor(a))


def secant(at: At, x: str, tangent: Expr) -> Expr:
    """``(y - y(0)) / x``, and the mean of the slopes at x and 0 where x is close to 0.

    y(0) counts as 0 where it is not finite.
    """
    start = at_zero(at, at.y, x)
    start = choose(call("less", absolute(start), 1e30), start, number(0))
    near = call("less", absolute(tensor(x)), NEAR)
    slopes = (tangent + with_zero(at, tangent, x)) * 0.5
    return choose(near, slopes, (at.vy - start) / choose(near, number(1), tensor(x)))


def with_zero(at: At, e: Expr, x: str) -> Expr:
    """Return what an expression is where x is 0."""
    if e.kind == "tensor":
        return at_zero(at, e.attrs[0][1], x)
    return Expr(e.kind, tuple(with_zero(at, a, x) for a in e.args), e.attrs)


def at_zero(at: At, t: str, x: str) -> Expr:
    """Return the value of t where x is 0: the same nodes on constants, folded by a runtime."""
    if t == x:
        return number(0)
    node = at.graph.producer(t)
    if not t or node is None or (t != at.y and not parents(at, t)):
        return tensor(t)
    return applied(node.op, *(at_zero(at, i, x) for i in node.inputs), **node.attrs)


def slope_of_product(at: At, x: str) -> Expr:
    """``a' b + a b'``, or ``(a' - y b') / b``."""
    a, b = at.node.inputs
    left, right = slope(at, a, x), slope(at, b, x)
    if at.node.op == "Div":
        return (left - at.vy * right) / tensor(b)
    return times(left, tensor(b)) + times(right, tensor(a))


def slope(at: At, t: str, x: str) -> Expr:
    """Return dt/dx by the chain rule, over the tangents of the nodes between."""
    if t == x:
        return number(1)
    node, above = at.graph.producer(t), parents(at, t)
    assert node is not None
    names = {p for p, _ in above} | set(node.inputs).intersection(at.made[t].through)
    inner = At(at.graph, node, t, names, at.numbers, at.made)
    total: Expr = number(0)
    for term in tangent_of(inner, names).terms:
        gain = gain_of(term.map)
        if term.x in names and gain is not None:
            part = times(gain, slope(at, term.x, x))
            total = part if total == number(0) else total + part
    return total


def tangent_of(at: At, bearing: set[str]) -> Linearisation:
    """Return what the op table makes of a node under `taylor`."""
    from rfponnx.ops.registry import Registry  # the table holds this family, too

    op = Registry().find(at.node.domain, at.node.op, at.graph.opset)
    assert op is not None
    release: Release = "none" if at.numbers.release == "none" else "auto"
    numbers = replace(at.numbers, kind="taylor", release=release)
    return op.by(At(at.graph, at.node, at.y, bearing, numbers, at.made))


def times(a: Expr, b: Expr) -> Expr:
    """``a b``, without factors of 1."""
    if number(1) in (a, b):
        return b if a == number(1) else a
    return a * b
