"""Operators that move entries and change none."""

from __future__ import annotations

from rfponnx.maps.base import Identity
from rfponnx.maps.rearrange import Embed, Part, Permute, Reshape
from rfponnx.ops.op import At, Linearisation, Op, Term, ops, passed, stopped


def reshape(at: At) -> Linearisation:
    """The same entries in the shape of y."""
    same = at.shape(at.x) == at.shape(at.y)
    return at.linear(Identity() if same and None not in at.shape(at.x) else Reshape(at.x, at.y))


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
    parts = at.node.outputs
    return at.linear(Part(Embed(at.y, at.x, at.axis(0, at.x), parts, at.which)))


def cast(at: At) -> Linearisation:
    """A cast between float types; to integers the value is constant almost everywhere."""
    same = at.graph.dtype(at.x) == at.graph.dtype(at.y)
    if same:
        return passed(at)
    return stopped(at)


OPS = (
    *ops("rearranging", reshape, "the same entries, another shape", "Flatten"),
    *(
        Op(name, "rearranging", reshape, "the same entries, another shape", inputs=(0,))
        for name in ("Reshape", "Squeeze", "Unsqueeze")
    ),
    Op("Transpose", "rearranging", transpose, "y = x, axes reordered"),
    Op("Concat", "rearranging", concat, "the operands side by side"),
    Op("Split", "rearranging", split, "one part of x", inputs=(0,)),
    *ops("rearranging", passed, "y = x", "Identity"),
    Op("Dropout", "rearranging", passed, "y = x (inference)", inputs=(0,)),
    Op("Cast", "rearranging", cast, "y = x in another float type"),
)
