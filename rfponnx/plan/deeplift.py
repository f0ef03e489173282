"""DeepLIFT: secants between the input and a reference, in place of tangents.

Every step gets maps A with ``y - y0 = sum A (x - x0) + leak``; the leak is 0 for linear steps,
elementwise functions, products and maxima, so that there the total is the difference of the
outputs whatever lies between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from rfponnx.graph.graph import Node
from rfponnx.maps.base import Identity, Map, Plus, then
from rfponnx.maps.elsewhere import elsewhere
from rfponnx.maps.expr import (
    Expr,
    absolute,
    applied,
    choose,
    equal,
    less,
    maximum,
    minimum,
    number,
    pushed,
    step,
    tensor,
)
from rfponnx.maps.gain import Gain
from rfponnx.maps.scatter import Select
from rfponnx.ops.op import At, Linearisation, Numbers, Term
from rfponnx.ops.registry import Registry
from rfponnx.plan.facts import Facts
from rfponnx.plan.layers import Layer, Step, elementwise, layered
from rfponnx.plan.merge import Found, merged, weight_of

NEAR = {"rescale": 1e-10, "reveal_cancel": 1e-7, "no_crossing": 1e-7}
PRODUCTS = frozenset({"Mul", "MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose"})
#: Which parts of w and of the differences raise an output, and which lower it.
RAISE = ((maximum, 1), (minimum, -1))


class Secants:
    """The steps of DeepLIFT.

    Parameters
    ----------
    names
        What each tensor that moves is called at the reference.
    variant
        ``rescale``; ``reveal_cancel``: positive and negative parts of what arrives at a
        nonlinearity have slopes of their own; ``no_crossing``: and never mix ([LIE] eq. 13).
    """

    def __init__(
        self, facts: Facts, names: Mapping[str, str], carried: Collection[str], variant: str
    ) -> None:
        self.facts, self.names, self.carried, self.variant = facts, names, carried, variant

    def steps(self, order: Sequence[Found], kept: Collection[str]) -> list[list[Found]]:
        """Return one list of steps, or two whose walks are added."""
        if self.variant == "rescale":
            return [[(n, y, self._plain(n, y, made)) for n, y, made in order]]
        split = layered(self.facts, merged(self.facts, order, kept, before=True), kept)
        sides = (1, -1) if self.variant == "no_crossing" else (0,)
        return [[self._split(step, side) for step in split] for side in sides]

    # ---- differences -----------------------------------------------------------------

    def base(self, t: str) -> Expr:
        """Return a tensor at the reference."""
        return tensor(self.names.get(t, t))

    def change(self, t: str) -> Expr:
        """Return ``x - x0``."""
        return tensor(t) - self.base(t)

    # ---- one multiplier --------------------------------------------------------------

    def _plain(self, node: Node, y: str, made: Linearisation) -> Linearisation:
        terms = tuple(t for t in made.terms if t.x in self.carried)
        if elementwise(self.facts, y, made) and self._bends(terms[0]):
            gain = self._slope(terms[0], y)
            return replace(made, terms=(Term(terms[0].x, gain),), offset=None, tangent=False)
        if len(terms) > 1 and node.op in PRODUCTS:
            terms = tuple(Term(t.x, self._middle(t.map, y)) for t in terms)
            return replace(made, terms=terms, offset=None, tangent=False)
        if node.op == "Div" and len(terms) > 1:
            return replace(made, terms=self._quotient(node, y), offset=None, tangent=False)
        if len(terms) == 1 and isinstance(terms[0].map, Select):
            terms = self._winners(terms[0], terms[0].map, y)
            return replace(made, terms=terms, offset=None, tangent=False)
        rest = self.change(y)
        for t in terms:
            rest = rest - pushed(t.map, self.change(t.x))
        linear = made.affine or made.offset is None
        return replace(made, terms=terms, offset=None, leak=None if linear else rest)

    def _bends(self, term: Term) -> bool:
        """Tell whether a gain is not the same at x and at the reference."""
        return isinstance(term.map, Gain) and not self.facts.fixed(term.map.gain.tensors)

    def _slope(self, term: Term, y: str) -> Gain:
        """Return ``(y - y0) / (x - x0)``; the slope at x where they are hardly apart."""
        assert isinstance(term.map, Gain)
        dx = self.change(term.x)
        near = less(absolute(dx), NEAR[self.variant])
        secant = self.change(y) / choose(near, number(1), dx)
        return Gain(choose(near, term.map.gain, secant), term.x, y)

    def _middle(self, form: Map, y: str) -> Map:
        """Return half of a map at x and half of it at the reference."""
        both = Plus((form, elsewhere(form, self.names)))
        return then(both, Gain(number(0.5), y, y))

    def _quotient(self, node: Node, y: str) -> tuple[Term, ...]:
        """``a/b - a0/b0 = (1/b + 1/b0)/2 da - (a + a0)/(2 b b0) db``."""
        a, b = node.inputs
        below = tensor(b) * self.base(b)
        first = (1 / tensor(b) + 1 / self.base(b)) * 0.5
        second = (tensor(a) + self.base(a)) * (-0.5) / below
        return Term(a, Gain(first, a, y)), Term(b, Gain(second, b, y))

    def _winners(self, term: Term, form: Select, y: str) -> tuple[Term, ...]:
        """Give the winner at x what y rose, the winner at the reference what it fell."""
        dx = self.change(term.x)
        near = less(absolute(dx), NEAR["rescale"])
        per = choose(near, number(0), 1 / choose(near, number(1), dx))
        top = maximum(tensor(y), self.base(y))
        start = Gain(per, term.x, term.x)
        sides = (
            (form, top - self.base(y)),
            (elsewhere(form, self.names), tensor(y) - top),
        )
        return tuple(Term(term.x, then(start, f, Gain(size, y, y))) for f, size in sides)

    # ---- two multipliers -------------------------------------------------------------

    def _split(self, found: Step, side: int) -> Found:
        """Return a step; with a `side`, only what raises (1) or what lowers (-1)."""
        node, y, made = found
        if not isinstance(made, Layer):
            return node, y, self._plain(node, y, made)
        act = self.facts.graph.producer(made.y)
        single = made.kind == "pool" or made.z == made.y
        if (side == 0 and single) or act is None:
            plain = Linearisation(made.terms, made.offset, affine=True)
            return node, y, self._plain(node, y, plain)
        gains = self._gains(made, act)
        terms: list[Term] = []
        for term in made.terms:
            if term.x in self.carried:
                terms += self._parts(made, term, gains, side)
        return node, y, Linearisation(tuple(terms), tangent=False, through=made.through)

    def _parts(self, layer: Layer, term: Term, gains: Mapping[int, Expr], side: int) -> list[Term]:
        """Return the maps of what raises the layer's output, and of what lowers it."""
        dx, y = self.change(term.x), layer.y
        up, down = step(dx), step(-dx)
        half = equal(dx, 0) * 0.5
        found = []
        for sign in (1, -1):
            for cut, w_sign in RAISE:
                if side and (sign != side or w_sign != side):
                    continue
                form = self._weighted(term.map, cut)
                if form is None:
                    continue
                x_sign = sign if side else sign * w_sign
                mask = (up if x_sign > 0 else down) + half
                start = Gain(mask, term.x, term.x)
                end = Identity() if gains[sign] == number(1) else Gain(gains[sign], y, y)
                found.append(Term(term.x, then(start, form, end)))
        return found

    def _weighted(self, form: Map, cut: Callable[[Expr, float], Expr]) -> Map | None:
        """Return a map with the positive or the negative part of its weights."""
        weight = weight_of(form)
        if weight is not None:
            return replace(form, weight=cut(weight, 0))  # type: ignore[type-var]
        if isinstance(form, Gain):
            return replace(form, gain=cut(form.gain, 0))
        return form if cut is maximum else None  # an operand of a sum: weight 1

    def _gains(self, layer: Layer, act: Node) -> dict[int, Expr]:
        """Return what P and N do to y, on the mean of both orders, divided by P and by N."""
        if layer.z == layer.y:
            return {1: number(1), -1: number(1)}
        sums = {1: self._sum(layer, 1), -1: self._sum(layer, -1)}
        z0, y0, y = self.base(layer.z), self.base(layer.y), tensor(layer.y)
        alone = {s: self._at(act, layer.z, z0 + part) for s, part in sums.items()}
        slope = self._slope_of(act, layer)
        found = {}
        for s, part in sums.items():
            change = (alone[s] - y0 + y - alone[-s]) * 0.5
            near = less(absolute(part), NEAR[self.variant])
            found[s] = choose(near, slope, change / choose(near, number(1), part))
        return found

    def _sum(self, layer: Layer, sign: int) -> Expr:
        """Return the sum of all contributions to z of one sign."""
        total: Expr | None = None
        for term in layer.terms:
            if term.x not in self.carried:
                continue
            dx = self.change(term.x)
            for cut, w_sign in RAISE:
                form = self._weighted(term.map, cut)
                if form is None:
                    continue
                part = maximum(dx, 0) if sign * w_sign > 0 else minimum(dx, 0)
                image = pushed(form, part)
                total = image if total is None else total + image
        assert total is not None
        return total

    def _at(self, act: Node, z: str, value: Expr) -> Expr:
        """Return the activation of another value."""
        inputs = (value if i == z else tensor(i) for i in act.inputs)
        return applied(act.op, *inputs, **act.attrs)

    def _slope_of(self, act: Node, layer: Layer) -> Expr:
        """Return the slope of the activation at x."""
        op = Registry().find(act.domain, act.op, self.facts.graph.opset)
        assert op is not None
        numbers = Numbers("taylor", "none")
        (term,) = op.by(At(self.facts.graph, act, layer.y, {layer.z}, numbers)).terms
        assert isinstance(term.map, Gain)
        return term.map.gain
