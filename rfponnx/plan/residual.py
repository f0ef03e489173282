"""How a sum of branches is divided among them ([RES] eq. 4-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rfponnx.graph.graph import Graph
from rfponnx.maps.base import then
from rfponnx.maps.expr import (
    TINY,
    Expr,
    absolute,
    choose,
    not_less,
    number,
    sign,
    tensor,
)
from rfponnx.maps.gain import Gain
from rfponnx.ops.op import Linearisation, Term
from rfponnx.plan.explained import MOVES
from rfponnx.plan.facts import Facts
from rfponnx.plan.layers import Layer, Step
from rfponnx.plan.surrogate import Carried, summed, surrogate
from rfponnx.rules.convention import Convention
from rfponnx.rules.rule import Rule, norm


def divides(c: Convention, layer: Layer, graph: Graph) -> bool:
    """Tell whether a policy other than the linear rule divides this sum of equal shapes."""
    special = c.residual != "proportional" or c.identity_skips == "exclude"
    return special and len(branches(graph, layer)) > 1


def branches(graph: Graph, layer: Layer) -> tuple[Term, ...]:
    """Return the terms of a residual sum: operands that are shaped like it."""
    y = graph.shape(layer.y)
    return tuple(t for t in layer.terms if graph.shape(t.x) == y and not graph.is_constant(t.x))


def skips(graph: Graph, steps: Sequence[Step]) -> Mapping[str, frozenset[str]]:
    """Return, for each sum, the operands that are identity skips: ancestors of another one.

    Rearranging operators between do not count.
    """
    above: dict[str, frozenset[str]] = {}

    def ancestors(t: str) -> frozenset[str]:
        if t not in above:
            node = graph.producer(t)
            inputs = [] if node is None else [i for i in node.inputs if i]
            above[t] = frozenset({t}).union(*(above.get(i) or frozenset({i}) for i in inputs))
        return above[t]

    for node in graph.nodes:  # in the order of the file, so that no recursion is needed
        for name in filter(None, node.outputs):
            ancestors(name)

    def origin(t: str) -> str:
        node = graph.producer(t)
        while node is not None and node.op in MOVES:
            t = node.inputs[0]
            node = graph.producer(t)
        return t

    found = {}
    for _, y, made in steps:
        if isinstance(made, Layer) and made.kind == "add":
            names = [t.x for t in made.terms]
            found[y] = frozenset(
                n for n in names if any(origin(n) in ancestors(m) for m in names if m != n)
            )
    return found


def divided(
    facts: Facts,
    c: Convention,
    layer: Layer,
    carried: Carried,
    skipped: Mapping[str, frozenset[str]],
    rule: Rule | None,
) -> Linearisation:
    """Return a residual sum under a policy."""
    free = branches(facts.graph, layer)
    # `skips` knows the sum by the tensor it makes, with or without its activation
    out = skipped.get(layer.y, frozenset()) if c.identity_skips == "exclude" else frozenset()
    shared = tuple(t for t in free if t.x not in out) or free
    if c.residual == "proportional":
        part = replace(layer, terms=shared, exact=len(shared) == len(layer.terms))
        return surrogate(facts, rule or norm(c, "add"), part, carried)
    value = number(1) if carried.above else tensor(layer.y)
    if c.residual == "symmetric":
        count = number(1) / len(shared)
        terms = tuple(_share(layer, t, count, value, carried) for t in shared)
        return Linearisation(terms, note="symmetric", tangent=False, through=layer.through)
    sizes = summed([absolute(tensor(t.x)) for t in shared])
    assert sizes is not None
    there = not_less(sizes, TINY)
    per = choose(there, value / choose(there, sizes, number(1)), number(0))
    parts = []
    for t in shared:
        v = tensor(t.x)
        start = Gain(absolute(v) if t.x in carried.below else sign(v), t.x, t.x)
        parts.append(Term(t.x, then(start, Gain(per, layer.y, layer.y))))
    lost = value * (1 - there)
    return Linearisation(
        tuple(parts), note="ratio", tangent=False, leak=lost, through=layer.through
    )


def _share(layer: Layer, term: Term, count: Expr, value: Expr, carried: Carried) -> Term:
    """Return one of equal shares, which relevance itself is needed for."""
    gain = count if carried.above else value * count
    return Term(term.x, Gain(gain, layer.y, layer.y))
