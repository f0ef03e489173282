"""The layers that rules are for: found among the steps, with the activation that follows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rfponnx.graph.graph import Graph, Node
from rfponnx.maps.base import Identity
from rfponnx.maps.expr import Expr, tensor
from rfponnx.maps.gain import ChannelGain, Gain
from rfponnx.maps.pool import WindowMean
from rfponnx.maps.reduce import Average, GlobalAverage
from rfponnx.ops.op import Linearisation, Term
from rfponnx.plan.facts import Facts
from rfponnx.plan.merge import Found, weight_of

AVERAGES = (WindowMean, Average, GlobalAverage)
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "DeformConv"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A step ``z = sum of terms + b`` that a rule can be given for, and ``y = f(z)``.

    Attributes
    ----------
    node
        The node that is asked for its name.
    kind
        ``conv``, ``dense``, ``batchnorm``, ``add``, ``pool``.
    z, y
        The same tensor, unless an elementwise activation was taken in.
    rectified
        Whether ``y = max(z, 0)``.
    exact
        Whether the terms and the offset sum to z.
    """

    node: Node
    kind: str
    z: str
    y: str
    terms: tuple[Term, ...]
    offset: Expr | None
    rectified: bool = False
    exact: bool = True
    through: tuple[str, ...] = ()
    first: bool = False
    last: bool = False

    def labels(self, graph: Graph) -> tuple[str, ...]:
        """Return the names of all nodes that it is made of."""
        makers = (graph.producer(t) for t in (*self.through, self.z, self.y))
        return tuple(dict.fromkeys(n.label for n in makers if n is not None))


Step = tuple[Node, str, Linearisation | Layer]


def layered(facts: Facts, order: Sequence[Found], kept: Collection[str]) -> list[Step]:
    """Return the steps with the layers among them; an activation alone behind one joins it.

    Passing relevance through an activation is the rule's ``y / d`` in place of ``z / d``: one
    gain for both, and none that is 0 / 0 where z is 0.
    """
    readers: dict[str, int] = {}
    for _, _, made in order:
        for term in made.terms:
            readers[term.x] = readers.get(term.x, 0) + 1
    found: dict[str, Step] = {}
    for node, y, made in order:
        layer = layer_of(facts, node, y, made)
        if layer is not None:
            found[y] = (node, y, layer)
            continue
        x = elementwise(facts, y, made)
        below = found.get(x)[2] if x in found else None  # type: ignore[index]
        joins = isinstance(below, Layer) and below.z == below.y and below.exact
        if joins and readers[x] == 1 and x not in kept and isinstance(below, Layer):
            del found[x]
            rectified = node.op == "Relu"
            through = (*below.through, x)
            joined = replace(below, y=y, rectified=rectified, through=through)
            found[y] = (below.node, y, joined)
        else:
            found[y] = (node, y, made)
    return placed(list(found.values()))


def layer_of(facts: Facts, node: Node, y: str, made: Linearisation) -> Layer | None:
    """Return a step as a layer, if it is one."""
    if isinstance(made.offset, str) or made.frozen:
        return None
    forms, carried = [t.map for t in made.terms], [t for t in made.terms if not facts.fixed([t.x])]
    kind = ""
    if len(forms) == 1 and made.affine:
        weight = weight_of(forms[0])
        if weight is not None and facts.fixed(weight.tensors):
            kind = "conv" if type(forms[0]).__name__ in CONVOLUTIONS else "dense"
        elif isinstance(forms[0], ChannelGain):
            kind = "batchnorm"
    if len(forms) == 1 and isinstance(forms[0], AVERAGES):
        kind = "pool"
    if node.op in ("Add", "Sum", "Sub") and len(carried) > 1:
        kind = "add"
    if not kind:
        return None
    return Layer(node, kind, y, y, made.terms, made.offset, through=made.through)


def elementwise(facts: Facts, y: str, made: Linearisation) -> str:
    """Return the tensor that y is an elementwise function of, with one gain; else nothing."""
    if len(made.terms) != 1 or made.frozen:
        return ""
    term, graph = made.terms[0], facts.graph
    plain = isinstance(term.map, Gain | Identity) and not isinstance(term.map, ChannelGain)
    same = graph.shape(term.x) is not None and graph.shape(term.x) == graph.shape(y)
    return term.x if plain and same else ""


def placed(steps: Sequence[Step]) -> list[Step]:
    """Mark the layers with weights that no other one precedes (first) or follows (last)."""
    behind: set[str] = set()
    first: set[str] = set()
    for _, y, made in steps:
        weighted = isinstance(made, Layer) and made.kind in ("conv", "dense")
        below = any(t.x in behind for t in made.terms)
        if weighted and not below:
            first.add(y)
        if weighted or below:
            behind.add(y)
    ahead: set[str] = set()
    last: set[str] = set()
    for _, y, made in reversed(steps):
        weighted = isinstance(made, Layer) and made.kind in ("conv", "dense")
        if weighted and y not in ahead:
            last.add(y)
        if weighted or y in ahead:
            ahead.update(t.x for t in made.terms)
    return [
        (n, y, replace(m, first=y in first, last=y in last) if isinstance(m, Layer) else m)
        for n, y, m in steps
    ]


def rectified(layer: Layer) -> Expr:
    """Return z of a layer, read off y where y is ``max(z, 0)`` and nothing else counts."""
    return tensor(layer.y if layer.rectified else layer.z)
