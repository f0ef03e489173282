"""A gain per channel behind a layer with weights becomes part of the weights.

``g (W x + b) = (g W) x + g b``: exact, and the scaled weights are computed once in the graph
and shared by all streams, where every stream would else scale its own tensor (and the runtime,
folding that into its weights, would keep a copy for each).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from rfponnx.graph.graph import Graph, Node
from rfponnx.maps.base import Map
from rfponnx.maps.contract import Gemm
from rfponnx.maps.conv import Conv
from rfponnx.maps.expr import Expr
from rfponnx.maps.gain import ChannelGain, unsqueezed
from rfponnx.ops.op import Linearisation, Term

Found = tuple[Node, str, Linearisation]


def merged(graph: Graph, order: Sequence[Found], kept: Collection[str]) -> list[Found]:
    """Return the steps with each gain per channel joined to the layer that it alone follows.

    Parameters
    ----------
    kept
        Tensors whose streams are asked for: sources, what is explained.
    """
    made = {y: linearisation for _, y, linearisation in order}
    readers: dict[str, list[str]] = {}
    for _, y, linearisation in order:
        for term in linearisation.terms:
            readers.setdefault(term.x, []).append(y)
    joined: dict[str, Linearisation] = {}
    gone: set[str] = set()
    for _, y, after in order:
        z = after.terms[0].x if len(after.terms) == 1 else ""
        if z in made and z not in kept and readers[z] == [y]:
            one = _joined(graph, y, z, made[z], after)
            if one is not None:
                joined[y] = one
                gone.add(z)
    return [(n, y, joined.get(y, one)) for n, y, one in order if y not in gone]


def _joined(
    graph: Graph, y: str, z: str, before: Linearisation, after: Linearisation
) -> Linearisation | None:
    """Return ``y = g (W x + b) + c`` as one step, if the two are of this form."""
    gain = after.terms[0].map
    affine = before.affine and after.affine and "rest" not in (before.offset, after.offset)
    if not (affine and isinstance(gain, ChannelGain) and len(before.terms) == 1):
        return None
    form = _scaled(before.terms[0].map, gain.slope, y)
    if form is None or not all(map(graph.is_constant, form.weight.tensors)):
        return None
    offset, more = after.offset, before.offset
    if isinstance(more, Expr) and offset != "rest":
        offset = gain.gain * more if offset is None else gain.gain * more + offset
    term = Term(before.terms[0].x, form)
    through = (*before.through, z, *after.through)
    return Linearisation((term,), offset, affine=True, through=through)


def _scaled(form: Map, slope: Expr, y: str) -> Conv | Gemm | None:
    """Return a layer whose outputs are scaled channel by channel; ``None`` for other maps."""
    if isinstance(form, Conv):
        geometry = replace(form.geometry, narrow=y)
        weight = form.weight * unsqueezed(slope, range(1, 2 + geometry.axes))
        return Conv(weight, geometry, form.attrs)
    if isinstance(form, Gemm):
        weight = form.weight * (unsqueezed(slope, [1]) if form.trans_b else slope)
        return replace(form, weight=weight, y=y)
    return None
