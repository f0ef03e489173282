"""Chains of affine steps with constant parameters become one layer with weights.

``g (W x + b) + c = (g W) x + (g b + c)`` behind a layer, and ``W (g x + c) + b`` before one:
exact, and the derived weights are computed once in the graph and shared by all streams, where
every stream would else scale its own tensor (and the runtime, folding that into its weights,
would keep a copy for each).  For rules a layer with all of its bias is what the model means.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rfponnx.graph.graph import Graph, Node
from rfponnx.maps.base import Identity, Map
from rfponnx.maps.contract import Gemm, MatMul
from rfponnx.maps.conv import Conv, ConvTranspose, Geometry
from rfponnx.maps.expr import Expr, applied, extent, ints, number, pushed, shape, tensor
from rfponnx.maps.gain import ChannelGain, Gain, Spread, unsqueezed
from rfponnx.ops.op import Linearisation, Term
from rfponnx.plan.facts import Facts

Found = tuple[Node, str, Linearisation]


@dataclass(frozen=True, slots=True)
class Affine:
    """``y = g x + c`` with parameters g, one a channel, and c."""

    x: str
    slope: Expr | None
    gain: Expr | None
    shift: Expr | None


def merged(
    facts: Facts, order: Sequence[Found], kept: Collection[str], *, before: bool = False
) -> list[Found]:
    """Return the steps with each affine step joined to the layer that it alone follows.

    Parameters
    ----------
    kept
        Tensors whose streams are asked for: sources, what is explained.
    before
        Whether a BatchNormalization that no layer precedes is joined to the one it precedes.
    """
    after = _joined(order, kept, lambda y, made, z, inner: _behind(facts, y, z, inner, made))
    if not before:
        return after
    return _joined(after, kept, lambda y, made, z, inner: _ahead(facts, made, z, inner))


def _joined(order: Sequence[Found], kept: Collection[str], one: Any) -> list[Found]:
    """Return the steps, each joined by `one` to the step before it that it alone reads."""
    made = {y: linearisation for _, y, linearisation in order}
    readers: dict[str, list[str]] = {}
    for _, y, linearisation in order:
        for term in linearisation.terms:
            readers.setdefault(term.x, []).append(y)
    joined: dict[str, Linearisation] = {}
    gone: set[str] = set()
    for _, y, after in order:
        for z in dict.fromkeys(t.x for t in after.terms):
            if z not in made or z in kept or readers[z] != [y]:
                continue
            found = one(y, after, z, joined.get(z, made[z]))
            if found is not None:
                joined[y] = found
                gone.add(z)
                break
    return [(n, y, joined.get(y, found)) for n, y, found in order if y not in gone]


def _behind(
    facts: Facts, y: str, z: str, before: Linearisation, after: Linearisation
) -> Linearisation | None:
    """Return ``y = g (W x + b) + c`` as one step, if the two are of this form."""
    if not before.affine or before.offset == "rest" or len(before.terms) != 1:
        return None
    form = before.terms[0].map
    weight = weight_of(form)
    if weight is None or not facts.fixed(weight.tensors):
        return None
    step = _affine(facts, after, z, y, _channel_axis(form, facts.graph, y))
    scaled = None if step is None else _scaled(facts.graph, form, step.slope, y)
    if step is None or scaled is None:
        return None
    offset = before.offset
    if isinstance(offset, Expr) and step.gain is not None:
        offset = step.gain * offset
    if step.shift is not None:
        offset = offset + step.shift if isinstance(offset, Expr) else step.shift
    through = (*before.through, z, *after.through)
    return Linearisation(
        (Term(before.terms[0].x, scaled),), offset, affine=True, through=through, note=before.note
    )


def _ahead(
    facts: Facts, after: Linearisation, z: str, before: Linearisation
) -> Linearisation | None:
    """Return ``y = W (g x + c) + b`` as one step, if the first is a BatchNormalization."""
    if len(after.terms) != 1 or not after.affine or after.offset == "rest":
        return None
    form, first = after.terms[0].map, before.terms[0].map if len(before.terms) == 1 else None
    weight = weight_of(form)
    if not isinstance(first, ChannelGain) or weight is None or not facts.fixed(weight.tensors):
        return None
    x = before.terms[0].x
    slim = _fed(facts.graph, form, first.slope, x)
    if slim is None or not isinstance(before.offset, Expr):
        return None
    shift = pushed(form, applied("Expand", before.offset, shape(z)))
    offset = after.offset + shift if isinstance(after.offset, Expr) else shift
    through = (*before.through, z, *after.through)
    return Linearisation((Term(x, slim),), offset, affine=True, through=through, note=after.note)


def weight_of(form: Map) -> Expr | None:
    """Return the weights of a map that has some which its terms share."""
    if isinstance(form, Conv | ConvTranspose | Gemm | MatMul):
        return form.weight
    return None


def _affine(facts: Facts, made: Linearisation, x: str, y: str, axis: int) -> Affine | None:
    """Return a step as ``g x + c`` with g along one axis of y, if it is of this form."""
    mine = [t for t in made.terms if t.x == x]
    others = [t for t in made.terms if t.x != x]
    plain = made.offset is None or isinstance(made.offset, Expr)
    if len(mine) != 1 or not plain or not made.tangent or made.frozen:
        return None
    if not all(facts.fixed([t.x]) for t in others):
        return None
    if isinstance(made.offset, Expr) and not facts.fixed(made.offset.tensors):
        return None
    form, shift = mine[0].map, made.offset if isinstance(made.offset, Expr) else None
    for term in others:
        value = tensor(term.x)
        image = value if isinstance(term.map, Identity | Spread) else pushed(term.map, value)
        shift = image if shift is None else shift + image
    if facts.graph.shape(x) != facts.graph.shape(y):
        return None
    if isinstance(form, Identity):
        return Affine(x, None, None, shift)
    slope = _slope(facts, form, y, axis)
    return None if slope is None else Affine(x, slope, form.gain, shift)  # type: ignore[attr-defined]


def _slope(facts: Facts, form: Map, y: str, axis: int) -> Expr | None:
    """Return a constant gain as a vector along one axis of y, if it is one."""
    if isinstance(form, ChannelGain) and axis == 1:
        return form.slope
    if not isinstance(form, Gain) or not facts.fixed(form.gain.tensors):
        return None
    sizes, dims = extent(form.gain, facts.graph), facts.graph.shape(y)
    if sizes is None or dims is None or len(sizes) > len(dims):
        return None
    lead = len(dims) - len(sizes)
    if any(d != 1 for i, d in enumerate(sizes) if i + lead != axis):
        return None
    return applied("Reshape", form.gain, ints([-1]))


def _channel_axis(form: Map, graph: Graph, y: str) -> int:
    """Return the axis of y along which a layer's outputs lie."""
    return 1 if isinstance(form, Conv | ConvTranspose) else len(graph.shape(y) or (0, 0)) - 1


def _scaled(graph: Graph, form: Map, slope: Expr | None, y: str) -> Map | None:
    """Return a layer whose outputs, now y, are scaled; ``None`` for other maps."""
    if isinstance(form, Conv):
        geometry = replace(form.geometry, narrow=y)
        scale = None if slope is None else unsqueezed(slope, range(1, 2 + geometry.axes))
        return replace(form, weight=times(form.weight, scale), geometry=geometry)
    if isinstance(form, ConvTranspose):
        g = form.geometry
        scale = None if slope is None else _of_wide(graph, slope, g)
        if slope is not None and scale is None:
            return None
        return replace(form, weight=times(form.weight, scale), geometry=replace(g, wide=y))
    if isinstance(form, Gemm):
        scale = None if slope is None else unsqueezed(slope, [1] if form.trans_b else [])
        return replace(form, weight=times(form.weight, scale), y=y)
    if isinstance(form, MatMul) and not form.left and form.rank == 2:
        return replace(form, weight=times(form.weight, slope), y=y)
    return None


def _fed(graph: Graph, form: Map, slope: Expr, x: str) -> Map | None:
    """Return a layer whose inputs, now x, are scaled first; ``None`` for other maps."""
    if isinstance(form, Conv):
        g = form.geometry
        scale = _of_wide(graph, slope, g)
        if scale is None:
            return None
        return replace(form, weight=form.weight * scale, geometry=replace(g, wide=x))
    if isinstance(form, ConvTranspose):
        g = form.geometry
        scale = unsqueezed(slope, range(1, 2 + g.axes))
        return replace(form, weight=form.weight * scale, geometry=replace(g, narrow=x))
    if isinstance(form, Gemm):
        scale = slope if form.trans_b else unsqueezed(slope, [1])
        return replace(form, weight=form.weight * scale, x=x)
    if isinstance(form, MatMul) and not form.left and form.rank == 2 and graph.rank(x) == 2:
        return replace(form, weight=form.weight * unsqueezed(slope, [1]), x=x)
    return None


def _of_wide(graph: Graph, slope: Expr, g: Geometry) -> Expr | None:
    """Return a gain of the wide channels in the shape of the weights ``[C, W / g, ...]``.

    The narrow channels of a group, C / g rows, share its part of the gain.
    """
    if g.group == 1:
        return unsqueezed(slope, (0, *range(2, 2 + g.axes)))
    count = (graph.shape(g.narrow) or (None, None))[1]
    if not isinstance(count, int):
        return None
    parted = applied("Reshape", slope, ints([g.group, 1, -1]))
    repeated = applied("Expand", parted, ints([1, count // g.group, 1]))
    return applied("Reshape", repeated, ints([count, -1, *[1] * g.axes]))


def times(weight: Expr, scale: Expr | None) -> Expr:
    """Return scaled weights; unscaled ones where there is no scale."""
    return weight if scale is None or scale == number(1) else weight * scale
