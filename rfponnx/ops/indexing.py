"""Operators that pick entries by index, or put them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rfponnx.graph.builder import INT64
from rfponnx.maps.base import Identity, Transposed, then
from rfponnx.maps.expr import (
    HOLE,
    Expr,
    applied,
    call,
    choose,
    equal,
    ints,
    maximum,
    number,
    positions,
    quotient,
    shape,
    tensor,
)
from rfponnx.maps.gain import Gain, spread
from rfponnx.maps.pad import Cut
from rfponnx.maps.scatter import Fold, Masked, Picked, Select
from rfponnx.ops.op import At, Linearisation, Op, Term, passed
from rfponnx.ops.rearrange import known, same_shape


def slice_(at: At) -> Linearisation:
    """``y = x[starts:ends:steps]`` along axes."""
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (known(at, i, n) for i, n in enumerate(names, 1))
    if axes is None and not at.input(3):
        count = len(starts) if starts is not None else at.shape(at.input(1))[0]
        axes = tuple(range(count)) if isinstance(count, int) else None
    if axes is not None:
        axes = tuple(a % max(at.rank(at.x), 1) for a in axes)
    if steps is None and not at.input(4) and axes is not None:
        steps = (1,) * len(axes)
    if starts is not None and ends is not None and axes is not None and steps is not None:
        if same_shape(at) and set(steps) <= {1}:
            return passed(at)
        return at.linear(Cut(axes, starts, ends, steps, at.x, at.y))
    begin, end = _operand(at, 1, starts), _operand(at, 2, ends)
    stride = (_operand(at, 4, steps),) if at.input(4) else ()
    along = _operand(at, 3, axes)
    node = applied("Slice", HOLE, begin, end, along, *stride)
    if axes is None:
        return at.linear(Picked(at.x, at.y, node))
    behind = applied("Slice", HOLE, begin, end, ints([a + 1 for a in axes]), *stride)
    return at.linear(Picked(at.x, at.y, node, behind))


def _operand(at: At, index: int, values: tuple[int, ...] | None) -> Expr:
    return tensor(at.input(index)) if values is None else ints(values)


def gather(at: At) -> Linearisation:
    """``y = x[..., indices, ...]`` along an axis."""
    axis, indices = at.axis(0, at.x), tensor(at.input(1))
    node, behind = (applied("Gather", HOLE, indices, axis=a) for a in (axis, axis + 1))
    return at.linear(Picked(at.x, at.y, node, behind))


def gather_elements(at: At) -> Linearisation:
    """``y[i, j] = x[i, indices[i, j]]`` (axis 1)."""
    indices = tensor(at.input(1))
    node = applied("GatherElements", HOLE, indices, axis=at.axis(0, at.x))
    return at.linear(Picked(at.x, at.y, node))


def gather_nd(at: At) -> Linearisation:
    """``y[i] = x[indices[i, :]]``, a whole slice where the index is short."""
    batch = int(at.attr("batch_dims", 0))
    node = applied("GatherND", HOLE, tensor(at.input(1)), batch_dims=batch)
    return at.linear(Picked(at.x, at.y, node))


def compress(at: At) -> Linearisation:
    """The slices of x along an axis, or its entries, for which a condition holds."""
    condition, axis = tensor(at.input(1)), at.attr("axis")
    if axis is None:
        flat = applied("Reshape", HOLE, ints([0, -1]))
        behind = applied("Compress", flat, condition, axis=1)
        return at.linear(Picked(at.x, at.y, applied("Compress", HOLE, condition), behind))
    first = at.axis(0, at.x)
    node, behind = (applied("Compress", HOLE, condition, axis=a) for a in (first, first + 1))
    return at.linear(Picked(at.x, at.y, node, behind))


def array_feature_extractor(at: At) -> Linearisation:
    """Entries of the last axis, by index."""
    last, flat = at.rank(at.x) - 1, applied("Reshape", tensor(at.input(1)), ints([-1]))
    node, behind = (applied("Gather", HOLE, flat, axis=a) for a in (last, last + 1))
    return at.linear(Picked(at.x, at.y, node, behind))


def where(at: At) -> Linearisation:
    """``y = x`` where the condition holds, else z; the condition is a constant."""
    condition = at.input(0)
    terms, offset = [], None
    for name, holds in ((at.input(1), True), (at.input(2), False)):
        if at.carries(name):
            mask = Masked(condition, holds, at.y)
            terms.append(Term(name, then(spread(at.graph, name, at.y), mask)))
        else:
            pair = (tensor(name), number(0)) if holds else (number(0), tensor(name))
            offset = call("Where", tensor(condition), *pair)
    return Linearisation(tuple(terms), offset)


def scatter(at: At) -> Linearisation:
    """X with some entries replaced by updates, or with updates added to them."""
    x, indices, updates = at.node.inputs
    kind, reduction = at.node.op, at.attr("reduction", "none")
    attrs: dict[str, Any] = {} if kind == "ScatterND" else {"axis": at.axis(0, x)}
    if reduction == "mul":
        return _multiplied(at, kind, attrs)
    if reduction not in ("none", "add"):
        return _extreme(at, kind, attrs)
    ones, zeros = call("Expand", number(1), shape(x)), call("Expand", number(0), shape(updates))
    added = reduction == "add"
    kept = number(1) if added else applied(kind, ones, tensor(indices), zeros, **attrs)
    terms, offset = [], None
    if at.carries(x):
        terms.append(Term(x, Identity() if added else Gain(kept, x, at.y)))
    else:
        offset = tensor(x) if added else applied(kind, tensor(x), tensor(indices), zeros, **attrs)
    if at.carries(updates):
        places = _at_updates(at, positions(at.y))
        terms.append(Term(updates, Transposed(Select(at.y, updates, places, distinct=not added))))
    else:
        nothing = call("Expand", number(0), shape(x))
        put = applied(kind, nothing, tensor(indices), tensor(updates), **at.node.attrs)
        offset = put if offset is None else offset + put
    return Linearisation(tuple(terms), offset)


def _at_updates(at: At, values: Expr) -> Expr:
    """Return the entries of values, shaped like y, where the updates go."""
    indices = tensor(at.input(1))
    if at.node.op == "ScatterND":
        return call("GatherND", values, indices)
    return call("GatherElements", values, indices, axis=at.axis(0, at.y))


def _multiplied(at: At, kind: str, attrs: dict[str, Any]) -> Linearisation:
    """Entries of x times updates, which are released; of updates alone all have the same share."""
    x, indices, updates = at.node.inputs
    ones, each = (call("Expand", number(1), shape(t)) for t in (x, updates))
    places = Transposed(Select(at.y, updates, _at_updates(at, positions(at.y))))
    if not at.carries(x) and not at.full:
        count = applied(kind, ones - 1, tensor(indices), each, reduction="add", **attrs)
        part = quotient(at.vy, maximum(count, 1), number(0))
        gain = quotient(_at_updates(at, part), tensor(updates), number(0))
        form = then(Gain(gain, updates, updates), places)
        return at.linear(form, updates, offset="rest", frozen=True)
    factor = applied(kind, ones, tensor(indices), tensor(updates), reduction="mul", **attrs)
    zero = equal(tensor(updates), number(0))
    filled = choose(zero, number(1), tensor(updates))
    product = applied(kind, tensor(x), tensor(indices), filled, reduction="mul", **attrs)
    zeros = applied(kind, ones - 1, tensor(indices), zero, reduction="add", **attrs)
    alone = equal(_at_updates(at, zeros), zero)  # no other factor is 0
    others = choose(alone, _at_updates(at, product) / filled, number(0))
    by = {2: then(Gain(others, updates, updates), places)}
    return at.with_operands(at.gated(factor, x, offset=None), by)


def _extreme(at: At, kind: str, attrs: dict[str, Any]) -> Linearisation:
    """Entries of x compared with updates, of equal ones x and then the first wins."""
    x, indices, updates = at.node.inputs
    places = Transposed(Select(at.y, updates, _at_updates(at, positions(at.y))))
    kept = equal(tensor(x), at.vy)
    equals = equal(tensor(updates), _at_updates(at, at.vy)) * _at_updates(at, 1 - kept)
    order, far = positions(updates), ints([2**62])
    ranked = applied("Where", call("Greater", equals, 0.5), order, far)
    begin = applied("Expand", far, shape(x))
    first = applied(kind, begin, tensor(indices), ranked, reduction="min", **attrs)
    wins = equals * equal(order, _at_updates(at, first))
    terms = Term(x, Gain(kept, x, at.y)), Term(updates, then(Gain(wins, updates, updates), places))
    return Linearisation(tuple(t for t in terms if at.carries(t.x)), "rest")


def one_hot(at: At) -> Linearisation:
    """``y`` = the second of two values in one place along an axis, elsewhere the first."""
    indices, depth, values = at.node.inputs
    two = applied("Cast", ints([0, 1]), to=at.graph.dtype(values))
    hot = applied("OneHot", tensor(indices), tensor(depth), two, axis=int(at.attr("axis", -1)))
    return at.linear(Select(values, at.y, applied("Cast", hot, to=INT64)), values)


def col2im(at: At) -> Linearisation:
    """Patches added up where they lie on the image."""
    block, channels = known(at, 2), at.shape(at.y)[1]
    if block is None or not isinstance(channels, int):
        raise at.refuse("the size of its patches is not known")
    names = ("pads", "strides", "dilations")
    attrs = tuple((n, tuple(at.attr(n))) for n in names if at.attr(n))
    return at.linear(Fold(at.input(1), block, channels, attrs, at.x, at.y))


def _row(name: str, by: Callable[[At], Linearisation], equation: str, *inputs: int) -> Op:
    return Op(name, "rearranging", by, equation, inputs=inputs)


OPS = (
    _row("Slice", slice_, "y = x[starts:ends:steps]", 0),
    _row("Gather", gather, "y = x[indices] along an axis", 0),
    _row("GatherElements", gather_elements, "y[j] = x[indices[j]] along an axis", 0),
    _row("GatherND", gather_nd, "y[j] = x[indices[j, :]]", 0),
    _row("Compress", compress, "the entries of x for which a condition holds", 0),
    _row("Col2Im", col2im, "patches added up to an image", 0),
    _row("OneHot", one_hot, "y = the second of two values in one place, else the first", 2),
    _row("Where", where, "y = x where c, else z; c released", 1, 2),
    *(
        _row(name, scatter, "x with updates put in or added", 0, 2)
        for name in ("Scatter", "ScatterElements", "ScatterND")
    ),
    Op(
        "ArrayFeatureExtractor",
        "rearranging",
        array_feature_extractor,
        "entries of the last axis",
        domain="ai.onnx.ml",
        inputs=(0,),
    ),
)
