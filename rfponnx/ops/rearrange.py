"""Operators that move whole tensors, axes or blocks and change no entry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rfponnx.graph.graph import Graph
from rfponnx.maps.base import Identity, Transposed
from rfponnx.maps.expr import HOLE, Expr, applied, call, ints, number, quotient, shape, tensor
from rfponnx.maps.gain import Gain
from rfponnx.maps.pad import Padded
from rfponnx.maps.rearrange import Blocks, Embed, Part, Permute, Retype, expanded, reshaped
from rfponnx.maps.scatter import Picked, Triangle
from rfponnx.ops.op import At, Linearisation, Op, Term, passed, stopped


def known(at: At, index: int, attribute: str = "") -> tuple[int, ...] | None:
    """Return integers given as an input or, in old opsets, an attribute; None if not known."""
    name = at.input(index)
    value = at.graph.constant(name) if name else at.attr(attribute)
    return None if value is None else tuple(int(v) for v in value)


def same_shape(at: At) -> bool:
    """Tell whether x and y certainly have one shape."""
    return at.shape(at.x) == at.shape(at.y) and None not in at.shape(at.x)


def reshape(at: At) -> Linearisation:
    """The same entries in the shape of y."""
    return passed(at) if same_shape(at) else at.linear(reshaped(at.graph, at.x, at.y))


def transpose(at: At) -> Linearisation:
    """``y = x`` with its axes reordered."""
    perm = tuple(at.attr("perm") or reversed(range(at.rank(at.x))))
    return at.linear(Permute(perm, at.y))


def concat(at: At) -> Linearisation:
    """``y`` = the operands side by side."""
    parts, axis = at.node.inputs, at.axis(1, at.y)
    terms = (Term(p, Embed(p, at.y, axis, parts, i)) for i, p in enumerate(parts))
    return Linearisation(tuple(terms), joint=True)


def split(at: At) -> Linearisation:
    """One of the parts of x along an axis."""
    parts: tuple[int | str, ...] = known(at, 1, "split") or at.node.outputs
    if "" in parts:
        raise at.refuse("a part without a name has a size that is not known")
    return at.linear(Part(Embed(at.y, at.x, at.axis(0, at.x), parts, at.which)))


def cast(at: At) -> Linearisation:
    """A cast between float types, which loses digits at most."""
    same = at.graph.dtype(at.x) == at.graph.dtype(at.y)
    return passed(at) if same else at.linear(Retype(at.x, at.y))


def encoded(graph: Graph, codes: str) -> str:
    """Return the tensor that a QuantizeLinear made these codes of; empty if none did."""
    node = graph.producer(codes)
    return node.inputs[0] if node is not None and node.op == "QuantizeLinear" else ""


def dequantize(at: At) -> Linearisation:
    """``y = x`` up to rounding, which is bias, where y is read from the codes of x."""
    x = encoded(at.graph, at.x)
    same = at.graph.dtype(x) == at.graph.dtype(at.y)
    return at.linear(Identity() if same else Retype(x, at.y), x, offset="rest", tangent=False)


def dropout(at: At) -> Linearisation:
    """``y = x``; in training what is kept is scaled, and the draw is a constant."""
    training = at.graph.constant(at.input(2)) if at.input(2) else False
    if training is not None and not bool(training):
        return passed(at)
    ratio = at.graph.constant(at.input(1)) if at.input(1) else np.array(0.5)
    if at.full and not (ratio is not None and float(ratio) == 0):
        raise at.refuse("in training it does not tell what it drops where its input is 0")
    return at.gated(quotient(at.vy, at.vx, number(0)), offset=None, note="released its draw")


def expand(at: At) -> Linearisation:
    """``y = x`` repeated along axes of length 1."""
    return passed(at) if same_shape(at) else at.linear(expanded(at.graph, at.x, at.y))


def tile(at: At) -> Linearisation:
    """``y`` = copies of x side by side."""
    repeats = tensor(at.input(1))
    behind = applied("Concat", ints([1]), repeats, axis=0)
    node, stacked = (applied("Tile", HOLE, times) for times in (repeats, behind))
    return at.linear(Picked(at.x, at.y, node, stacked))


def depth_to_space(at: At) -> Linearisation:
    """Channels become blocks of pixels."""
    rows_first = at.attr("mode", "DCR") == "DCR"
    return at.linear(Blocks(int(at.attr("blocksize")), rows_first, at.x, at.y))


def space_to_depth(at: At) -> Linearisation:
    """Blocks of pixels become channels."""
    return at.linear(Transposed(Blocks(int(at.attr("blocksize")), True, at.y, at.x)))


def pads_of(at: At) -> tuple[int, ...] | Expr:
    """Return what a Pad puts before and behind every axis: ``(b0, b1, ..., e0, e1, ...)``."""
    rank, given, axes = at.rank(at.x), known(at, 1, "pads"), known(at, 3)
    if at.input(3) and axes is None:
        raise at.refuse(f"its axes `{at.input(3)}` are computed at run time")
    if axes is None:
        return tensor(at.input(1)) if given is None else given
    named = [a % rank for a in axes]
    none = 2 * len(named)  # where there is a zero
    places = [
        named.index(i) + side * len(named) if i in named else none
        for side in (0, 1)
        for i in range(rank)
    ]
    if given is None:
        longer = applied("Concat", tensor(at.input(1)), ints([0]), axis=0)
        return applied("Gather", longer, ints(places), axis=0)
    return tuple((*given, 0)[p] for p in places)


def pad(at: At) -> Linearisation:
    """X with a constant, the offset, around x, or copies of its own entries."""
    mode, pads = at.attr("mode", "constant"), pads_of(at)
    if mode == "constant":
        value = at.graph.constant(at.input(2)) if at.input(2) else at.attr("value", 0.0)
        zero = value is not None and not float(value)
        form = at.linear(Padded(pads, at.x, at.y), offset=None if zero else "rest")
        return at.with_operands(form, {2: Gain(outside(at, pads), at.input(2), at.y)})
    if isinstance(pads, Expr):
        return at.linear(Picked(at.x, at.y, applied("Pad", HOLE, pads, mode=mode)))
    rank = at.rank(at.x)
    behind = (0, *pads[:rank], 0, *pads[rank:])
    node, stacked = (applied("Pad", HOLE, ints(p), mode=mode) for p in (pads, behind))
    return at.linear(Picked(at.x, at.y, node, stacked))


def outside(at: At, pads: tuple[int, ...] | Expr) -> Expr:
    """Return 1 where a Pad puts its constant, else 0."""
    ones = call("Expand", number(1), shape(at.x))
    given = pads if isinstance(pads, Expr) else ints(pads)
    return 1 - applied("Pad", ones, given)


def center_crop_pad(at: At) -> Linearisation:
    """X cut, or filled with zeros, to a size: evenly at both ends, an odd entry at the end."""
    before, after = at.shape(at.x), at.shape(at.y)
    pads = []
    for size, wish in zip(before, after, strict=True):
        if size != wish and not (isinstance(size, int) and isinstance(wish, int)):
            raise at.refuse("a size is computed at run time")
        more = 0 if size == wish else int(wish or 0) - int(size or 0)
        first = more // 2 if more > 0 else -(-more // 2)
        pads.append((first, more - first))
    flat = (*(p for p, _ in pads), *(q for _, q in pads))
    return at.linear(Padded(flat, at.x, at.y))


def trilu(at: At) -> Linearisation:
    """The upper or lower triangle of the last two axes."""
    return at.linear(Triangle(bool(at.attr("upper", 1)), at.input(1)))


def reverse_sequence(at: At) -> Linearisation:
    """The first entries along one axis backwards, how many depends on the batch entry."""
    axes = {k: int(at.attr(k, default)) for k, default in (("batch_axis", 1), ("time_axis", 0))}
    return at.linear(Picked(at.x, at.y, call("ReverseSequence", HOLE, tensor(at.input(1)), **axes)))


def _row(name: str, by: Callable[[At], Linearisation], equation: str, *inputs: int) -> Op:
    return Op(name, "rearranging", by, equation, inputs=inputs or None)


SHAPE = "the same entries, another shape"

OPS = (
    *(_row(name, reshape, SHAPE, 0) for name in ("Flatten", "Reshape", "Squeeze", "Unsqueeze")),
    _row("Transpose", transpose, "y = x, axes reordered"),
    _row("Concat", concat, "the operands side by side"),
    _row("Split", split, "one part of x", 0),
    _row("Identity", passed, "y = x"),
    _row("Dropout", dropout, "y = x, in training some entries scaled, the others 0", 0),
    _row("Cast", cast, "y = x in another float type"),
    _row("CastLike", cast, "y = x in another float type", 0),
    _row("QuantizeLinear", stopped, "codes of x, from which its copy is read", 0),
    _row("DequantizeLinear", dequantize, "y = x up to rounding, which is bias", 0),
    _row("Expand", expand, "y = x repeated along axes of length 1", 0),
    _row("Tile", tile, "copies of x side by side", 0),
    _row("DepthToSpace", depth_to_space, "channels become blocks of pixels"),
    _row("SpaceToDepth", space_to_depth, "blocks of pixels become channels"),
    _row("Pad", pad, "x inside a constant, which is released, or copies of its border", 0, 2),
    _row("CenterCropPad", center_crop_pad, "x cut or filled with zeros to a size", 0),
    _row("Trilu", trilu, "a triangle of the last two axes", 0),
    _row("ReverseSequence", reverse_sequence, "the first entries backwards", 0),
)
