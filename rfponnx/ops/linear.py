"""Sums, matrix products and other operators that are linear in what carries relevance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from string import ascii_letters

import numpy as np

from rfponnx.maps.base import Map, then
from rfponnx.maps.contract import Einsum, Gemm, MatMul
from rfponnx.maps.expr import array, number, tensor
from rfponnx.maps.gain import Gain, spread
from rfponnx.ops.op import At, Linearisation, Op, Term, ops
from rfponnx.ops.product import multilinear


def gemm(at: At) -> Linearisation:
    """``y = alpha A' B' + beta C``; C is a term or the offset."""
    made = factored(at, lambda place: gemm_by(at, place), kept=2)
    beta, c = float(at.attr("beta", 1.0)), at.input(2)
    if not c or not beta:
        return made
    if made.affine and at.graph.is_constant(c):
        return replace(made, offset=tensor(c) if beta == 1 else beta * tensor(c))
    scaled = Gain(number(beta), c, c)
    shift = Term(c, then(*([scaled] if beta != 1 else []), spread(at.graph, c, at.y)))
    whole = replace(made, terms=(*made.terms, shift), affine=False)
    return whole if made.offset is None else replace(whole, offset="rest")


def gemm_by(at: At, place: int) -> Map:
    """Return the map of one factor of a Gemm, the other one held constant."""
    x, other = at.input(place), tensor(at.input(1 - place))
    alpha = float(at.attr("alpha", 1.0))
    trans_a, trans_b = bool(at.attr("transA", 0)), bool(at.attr("transB", 0))
    if place == 0 and not trans_a:
        return Gemm(other, trans_b, alpha, x, at.y)
    operands = ("ki" if trans_a else "ik", "jk" if trans_b else "kj")
    form = Einsum(operands, "ij", place, (other,), x, at.y)
    return then(form, Gain(number(alpha), at.y, at.y)) if alpha != 1 else form


def matmul(at: At) -> Linearisation:
    """``y = a b``."""
    vectors = min(at.rank(i) for i in at.node.inputs) < 2
    return factored(at, lambda place: matmul_by(at, place), kept=None if vectors else 2)


def matmul_by(at: At, place: int) -> Map:
    """Return the map of one factor of a MatMul, the other one held constant."""
    x, other = at.input(place), at.input(1 - place)
    ranks = at.rank(at.input(0)), at.rank(at.input(1))
    if min(ranks) > 1:
        last = at.rank(x) - 1
        return MatMul(tensor(other), place == 1, at.rank(other), last, x, at.y)
    k, rest = "k", ascii_letters.replace("k", "")
    left = rest[: ranks[0] - 1] + k
    right = k if ranks[1] == 1 else rest[: ranks[1] - 2] + k + rest[ranks[1] - 2]
    return Einsum((left, right), (left + right).replace(k, ""), place, (tensor(other),), x, at.y)


def einsum(at: At) -> Linearisation:
    """``y`` = an Einsum."""
    return factored(at, lambda place: einsum_by(at, place), len(at.node.inputs), kept=None)


def einsum_by(at: At, place: int) -> Map:
    """Return the map of one operand of an Einsum, the others held constant."""
    operands, result = equation(at)
    others = [tensor(i) for k, i in enumerate(at.node.inputs) if k != place]
    mine, free = "", (c for c in ascii_letters if c not in "".join(operands))
    for axis, letter in enumerate(operands[place]):
        if letter not in mine:
            mine += letter
            continue
        size = at.shape(at.input(place))[axis]  # a diagonal: times a matrix of units
        if not isinstance(size, int):
            raise at.refuse(f"the diagonal of `{at.input(place)}` is of a size not known")
        mine += next(free)
        operands = (*operands, letter + mine[-1])
        others.append(array(np.eye(size)))
    operands = (*operands[:place], mine, *operands[place + 1 :])
    return Einsum(operands, result, place, tuple(others), at.input(place), at.y)


def equation(at: At) -> tuple[tuple[str, ...], str]:
    """Return the letters of the operands and of the result, an ellipsis spelled out."""
    text = str(at.attr("equation")).replace(" ", "")
    left, arrow, right = text.partition("->")
    given = left.split(",")
    free = [letter for letter in ascii_letters if letter not in text]
    counts = [
        at.rank(i) - len(t.replace("...", "")) for t, i in zip(given, at.node.inputs, strict=True)
    ]
    most = max((c for c, t in zip(counts, given, strict=True) if "..." in t), default=0)
    dots = "".join(free[:most])
    if not arrow:
        once = sorted(c for c in set(left) - set("...,") if left.count(c) == 1)
        right = "..." * ("..." in left) + "".join(once)
    operands = tuple(t.replace("...", dots[most - c :]) for t, c in zip(given, counts, strict=True))
    return operands, right.replace("...", dots)


def factored(
    at: At, by: Callable[[int], Map], count: int = 2, *, kept: int | None
) -> Linearisation:
    """Linearise a product of the first `count` inputs: of signals, `multilinear` decides."""
    places = [i for i in range(count) if at.carries(at.input(i))]
    if len(places) > 1:
        return multilinear(at, by, places, kept)
    place = places[0] if places else 0
    return at.linear(by(place), at.input(place), affine=True)


def reduction_axes(at: At) -> tuple[int, ...]:
    """Return the axes of a reduction: an attribute, later an input; none means all."""
    axes = at.list_input(1, "axes")
    if not axes and int(at.attr("noop_with_empty_axes", 0)):
        return ()
    return at.axes(axes or None, at.x)


def add(at: At) -> Linearisation:
    """``y = a + b + ...``, each spread to the shape of y."""
    return at.added(*(i for i in at.node.inputs if i), affine=True)


def sub(at: At) -> Linearisation:
    """``y = a - b``."""
    a, b = at.node.inputs
    minus = then(Gain(number(-1.0), b, b), spread(at.graph, b, at.y))
    return Linearisation((Term(a, spread(at.graph, a, at.y)), Term(b, minus)), affine=True)


def mean_of(at: At) -> Linearisation:
    """``y = (a + b + ...) / n``."""
    share = number(1.0) / number(len(at.node.inputs))
    terms = (Term(i, then(Gain(share, i, i), spread(at.graph, i, at.y))) for i in at.node.inputs)
    return Linearisation(tuple(terms), affine=True)


def neg(at: At) -> Linearisation:
    """``y = -x``."""
    return at.gated(number(-1.0), offset=None)


OPS = (
    Op("Gemm", "linear", gemm, "y = alpha A B + beta C"),
    Op("MatMul", "linear", matmul, "y = A B, of two signals one is released"),
    Op("Einsum", "linear", einsum, "y = sum of products, of two signals one is released"),
    *ops("linear", add, "y = sum of operands", "Add", "Sum"),
    Op("Sub", "linear", sub, "y = a - b"),
    Op("Mean", "linear", mean_of, "y = mean of operands"),
    Op("Neg", "linear", neg, "y = -x"),
)
