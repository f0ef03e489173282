"""Products of signals: which factor is a constant (METHODS 3, [RFP] 5.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rfponnx.maps.base import Map, then
from rfponnx.maps.expr import finite, number, quotient, reciprocal, tensor
from rfponnx.maps.gain import Gain, spread, spread_axes
from rfponnx.ops.activation import ratio
from rfponnx.ops.gates import gate
from rfponnx.ops.op import At, Linearisation, Op, Term
from rfponnx.ops.written import written_exp, written_out


def multilinear(
    at: At, by: Callable[[int], Map], places: Sequence[int] = (0, 1), kept: int | None = 0
) -> Linearisation:
    """Linearise a y that is linear in each of some inputs which all carry relevance.

    Parameters
    ----------
    by
        The map of an input (by its place) with the other ones held constant.
    kept
        How many last axes of the inputs never broadcast (2 for a matrix product); ``None`` for
        a node whose inputs do not broadcast.
    """
    terms = {p: Term(at.input(p), by(p)) for p in places}
    if at.numbers.release == "none":
        twice = at.vy if len(terms) == 2 else at.vy * (len(terms) - 1)
        return Linearisation(tuple(terms.values()), -twice, note="nothing is released")
    held = released(at, places, kept)
    parts = [t for p, t in terms.items() if p not in held]
    notes = [f"released `{at.input(p)}`, {why}" for p, why in held.items()]
    if len(parts) > 1:
        notes.append(f"split between {' and '.join(f'`{t.x}`' for t in parts)}")
        parts = [Term(t.x, share(t.map, len(parts), at.y)) for t in parts]
    return Linearisation(tuple(parts), frozen=len(parts) > 1, note="; ".join(notes))


def share(a: Map, count: int, y: str) -> Map:
    """Return one of so many equal parts of a map onto y."""
    part = number(1) / count
    return Gain(a.gain * part, a.x, a.y) if isinstance(a, Gain) else then(a, Gain(part, y, y))


def released(at: At, places: Sequence[int], kept: int | None) -> dict[int, str]:
    """Return the places of the factors that are constants, and why; the others share y.

    The strongest gates go first, then what is broadcast, as long as one factor is left.
    """
    wish, rest, held = at.numbers.release, list(places), {}
    if wish == "split":
        return {}
    if wish in ("left", "right"):
        held[rest.pop(0 if wish == "left" else -1)] = "as asked"
    while len(rest) > 1:
        gates = {p: gate(at.graph, at.input(p)) for p in rest}
        most = max(rank for rank, _ in gates.values())
        found = {p: f"a {name}" for p, (rank, name) in gates.items() if rank == most}
        if len(found) == len(rest):
            wide = [p for p in rest if _broadcast(at, at.input(p), kept)]
            found = dict.fromkeys(wide, "which is broadcast")
        if len(found) in (0, len(rest)):
            break
        held |= found
        rest = [p for p in rest if p not in found]
    return held


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
        return written_out(at) or multilinear(at, lambda p: _times(at, p))
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
        return written_exp(at) or _inverse(at)
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
        halves = tuple(Term(x, share(form, 2, at.y)) for x, form in both)
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
    steps = Gain(quotient(at.vy - at.vx, tensor(b), number(0)), b, at.y)
    return at.with_operands(at.linear(spread(at.graph, a, at.y), offset="rest"), {1: steps})


OPS = (
    Op("Mul", "product", mul, "y = a b, one factor released"),
    Op("Div", "product", div, "y = a / b, the denominator released"),
    Op("Mod", "product", mod, "y = a modulo b, the divisor released"),
)
