"""Products of signals: which factor is a constant (METHODS 3, [RFP] 5.10)."""

from __future__ import annotations

from collections.abc import Callable

from rfponnx.maps.base import Map, then
from rfponnx.maps.expr import finite, number, quotient, reciprocal, tensor
from rfponnx.maps.gain import Gain, spread, spread_axes
from rfponnx.ops.activation import ratio
from rfponnx.ops.gates import gate
from rfponnx.ops.op import At, Linearisation, Op, Term, stopped
from rfponnx.ops.written import written_out


def bilinear(
    at: At, by: Callable[[int], Map], places: tuple[int, int] = (0, 1), kept: int | None = 0
) -> Linearisation:
    """Linearise a y that is linear in each of two inputs which both carry relevance.

    Parameters
    ----------
    by
        The map of an input (by its place) with the other one held constant.
    kept
        How many last axes of the inputs never broadcast (2 for a matrix product); ``None`` for
        a node whose inputs do not broadcast.
    """
    terms = {p: Term(at.input(p), by(p)) for p in places}
    if at.numbers.release == "none":
        return Linearisation(tuple(terms.values()), -at.vy, note="nothing is released")
    place, why = released(at, places, kept)
    if place is not None:
        terms.pop(place)
        return Linearisation(tuple(terms.values()), note=f"released `{at.input(place)}`, {why}")
    halves = tuple(Term(t.x, halved(t.map, at.y)) for t in terms.values())
    names = " and ".join(f"`{at.input(p)}`" for p in places)
    return Linearisation(halves, frozen=True, note=f"split between {names}")


def halved(a: Map, y: str) -> Map:
    """Return half of a map onto y."""
    if isinstance(a, Gain):
        return Gain(a.gain * 0.5, a.x, a.y)
    return then(a, Gain(number(0.5), y, y))


def released(at: At, places: tuple[int, int], kept: int | None) -> tuple[int | None, str]:
    """Return the place of the factor that is a constant, and why; ``None`` to split."""
    if at.numbers.release in ("left", "right"):
        return places[at.numbers.release == "right"], "as asked"
    if at.numbers.release == "split":
        return None, ""
    found = [gate(at.graph, at.input(p)) for p in places]
    if found[0][0] != found[1][0]:
        best = found[1][0] > found[0][0]
        return places[best], f"a {found[best][1]}"
    wide = [bool(_broadcast(at, at.input(p), kept)) for p in places]
    if wide[0] != wide[1]:
        return places[wide[1]], "which is broadcast"
    return None, ""


def _broadcast(at: At, name: str, kept: int | None) -> tuple[int, ...]:
    """Return the axes of y along which an input is broadcast."""
    x, y = at.shape(name), at.shape(at.y)
    if kept is None:
        return ()
    return spread_axes(x[: len(x) - kept], y[: len(y) - kept])


def mul(at: At) -> Linearisation:
    """``y = a b``: a function of one tensor, or one factor is released."""
    a, b = at.node.inputs
    if at.carries(a) and at.carries(b):
        return written_out(at) or bilinear(at, lambda p: _times(at, p))
    x, gain = (a, b) if at.carries(a) else (b, a)
    return at.gated(tensor(gain), x, offset=None)


def _times(at: At, place: int) -> Map:
    return Gain(tensor(at.input(1 - place)), at.input(place), at.y)


def div(at: At) -> Linearisation:
    """``y = a / b``: the denominator is released, unless a and b are functions of one tensor."""
    a, b = at.node.inputs
    above = Term(a, Gain(reciprocal(tensor(b)), a, at.y))
    if not at.carries(b):
        return Linearisation((above,))
    if not at.carries(a):
        return _inverse(at)
    written = written_out(at)
    if written is not None:
        return written
    if at.numbers.release == "none":
        below = Term(b, Gain(finite(quotient(-at.vy, tensor(b), number(0))), b, at.y))
        return Linearisation((above, below), at.vy, note="nothing is released")
    if at.numbers.release == "left":
        return _inverse(at)
    if at.numbers.release == "split":
        both = ((a, above.map), (b, Gain(ratio(at, b), b, at.y)))
        halves = tuple(Term(x, halved(form, at.y)) for x, form in both)
        return Linearisation(halves, "rest", frozen=True, note=f"split between `{a}` and `{b}`")
    return Linearisation((above,), note=f"released `{b}`, the denominator")


def _inverse(at: At) -> Linearisation:
    """``y = a / b`` as a function of b, which is not finite at 0."""
    b = at.node.inputs[1]
    note = f"released `{at.x}`, as asked" if at.carries(at.x) else ""
    if at.numbers.kind == "taylor":
        return at.gated(finite(quotient(-at.vy, tensor(b), number(0))), b, note=note)
    return at.gated(ratio(at, b), b, tangent=False, note=note)


def mod(at: At) -> Linearisation:
    """``y = a - b floor(a / b)``: slope 1, the divisor released."""
    a, b = at.node.inputs
    if not at.carries(a):
        return stopped(at)
    note = f"released `{b}`, the divisor" if at.carries(b) else ""
    return at.linear(spread(at.graph, a, at.y), offset="rest", note=note)


OPS = (
    Op("Mul", "product", mul, "y = a b, one factor released"),
    Op("Div", "product", div, "y = a / b, the denominator released"),
    Op("Mod", "product", mod, "y = a modulo b, the divisor released"),
)
