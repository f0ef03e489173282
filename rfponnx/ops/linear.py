"""Operators that are linear in their relevance-bearing operand, up to a constant."""

from __future__ import annotations



from rfponnx.maps.base import then
from rfponnx.maps.contract import Conv, Gemm, Geometry, MatMul
from rfponnx.maps.expr import Expr, number, per_channel, sqrt, tensor
from rfponnx.maps.gain import Gain, spread
from rfponnx.maps.rearrange import Permute
from rfponnx.maps.reduce import Average, GlobalAverage, Total
from rfponnx.ops.op import At, Linearisation, Op, Term, ops, passed


def geometry(at: At, kernel: tuple[int, ...]) -> Geometry:
    """Return how a Conv-like node lies on its input; SAME pads are solved where possible."""
    n = len(kernel)
    strides = tuple(at.attr("strides") or (1,) * n)
    dilations = tuple(at.attr("dilations") or (1,) * n)
    auto, group = at.attr("auto_pad", "NOTSET"), int(at.attr("group", 1))
    if auto in ("NOTSET", ""):
        pads = tuple(at.attr("pads") or (0,) * (2 * n))
        return Geometry(kernel, strides, dilations, pads, group)
    if auto == "VALID":
        return Geometry(kernel, strides, dilations, (0,) * (2 * n), group)
    return Geometry(kernel, strides, dilations, None, group, auto)


def kernel_of(at: At, weight: str) -> tuple[int, ...]:
    """Return the spatial extent of a kernel."""
    given = at.attr("kernel_shape") or at.shape(weight)[2:]
    if not all(isinstance(k, int) for k in given):
        raise at.refuse(f"the kernel shape of `{weight}` is not known")
    return tuple(int(k) for k in given)


def conv(at: At) -> Linearisation:
    """``y = W * x + b``: the bias is the offset."""
    weight, bias = at.input(1), at.input(2)
    if at.carries(weight):
        raise at.refuse("its weights carry relevance")
    form = Conv(tensor(weight), geometry(at, kernel_of(at, weight)), at.x, at.y)
    offset = per_channel(tensor(bias), at.rank(at.y)) if bias else None
    return at.linear(form, offset=offset, affine=True)


def gemm(at: At) -> Linearisation:
    """``y = alpha A' B' + beta C`` with one relevance-bearing factor; C is a term or the offset."""
    a, b, c = at.input(0), at.input(1), at.input(2)
    alpha, beta = float(at.attr("alpha", 1.0)), float(at.attr("beta", 1.0))
    trans_a, trans_b = bool(at.attr("transA", 0)), bool(at.attr("transB", 0))
    if at.carries(a) and at.carries(b):
        raise at.refuse("both of its factors carry relevance")
    if at.carries(b):
        turned = Permute((1, 0), at.y)
        inner = Gemm(tensor(a), not trans_a, alpha, b, at.y)
        maps = (turned, inner) if not trans_b else (inner,)
        terms = [Term(b, then(*maps, Permute((1, 0), at.y)))]
    else:
        form = Gemm(tensor(b), trans_b, alpha, a, at.y)
        terms = [Term(a, then(Permute((1, 0), a), form) if trans_a else form)]
    if c and beta and not at.graph.is_constant(c):
        scaled = Gain(number(beta), c, c)
        terms.append(Term(c, then(*([scaled] if beta != 1 else []), spread(at.graph, c, at.y))))
        return Linearisation(tuple(terms))
    offset: Expr | None = tensor(c) if c and beta else None
    return Linearisation(tuple(terms), beta * offset if offset and beta != 1 else offset, True)


def batch_normalization(at: At) -> Linearisation:
    """``y = s / sqrt(v + eps) (x - m) + b`` with the statistics of the training data."""
    if int(at.attr("training_mode", 0)):
        raise at.refuse("it is in training mode")
    scale, shift, mean, variance = (tensor(at.input(i)) for i in range(1, 5))
    rank = at.rank(at.x)
    slope = scale / sqrt(variance + float(at.attr("epsilon", 1e-5)))
    gain = per_channel(slope, rank)
    offset = per_channel(shift - mean * slope, rank)
    return at.gated(gain, offset=offset, affine=True)


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
    share = number(1.0 / len(at.node.inputs))
    terms = (Term(i, then(Gain(share, i, i), spread(at.graph, i, at.y))) for i in at.node.inputs)
    return Linearisation(tuple(terms))


def neg(at: At) -> Linearisation:
    """``y = -x``."""
    return at.gated(number(-1.0), offset=None)


def reduction_axes(at: At) -> tuple[int, ...]:
    """Return the axes of a reduction: an attribute, later an input; none means all."""
    axes = at.list_input(1, "axes")
    if not axes and int(at.attr("noop_with_empty_axes", 0)):
        return ()
    return at.axes(axes or None, at.x)


def reduce_sum(at: At) -> Linearisation:
    """``y = sum of x over axes``."""
    axes = reduction_axes(at)
    return at.linear(Total(axes, bool(at.attr("keepdims", 1)), at.x)) if axes else passed(at)


def reduce_mean(at: At) -> Linearisation:
    """``y = mean of x over axes``."""
    axes = reduction_axes(at)
    return at.linear(Average(axes, bool(at.attr("keepdims", 1)), at.x)) if axes else passed(at)


def matmul(at: At) -> Linearisation:
    """``y = a b`` with one relevance-bearing factor of rank >= 2."""
    a, b = at.node.inputs
    if at.carries(a) and at.carries(b):
        raise at.refuse("both of its factors carry relevance")
    if min(at.rank(a), at.rank(b)) < 2:
        raise at.refuse("a factor is a vector")
    if at.carries(b):
        return at.linear(MatMul(tensor(a), True, at.rank(a), b, at.y), b, affine=True)
    return at.linear(MatMul(tensor(b), False, at.rank(b), a, at.y), affine=True)


OPS = (
    Op("Conv", "linear", conv, "y = W * x + b"),
    Op("Gemm", "linear", gemm, "y = alpha A B + beta C"),
    Op("MatMul", "linear", matmul, "y = A B, one factor carries relevance"),
    Op(
        "BatchNormalization", "linear", batch_normalization, "y = s (x - m) / sqrt(v + eps) + b",
        inputs=(0,),
    ),
    *ops("linear", add, "y = sum of operands", "Add", "Sum"),
    Op("Sub", "linear", sub, "y = a - b"),
    Op("Mean", "linear", mean_of, "y = mean of operands"),
    Op("Neg", "linear", neg, "y = -x"),
    Op("ReduceSum", "linear", reduce_sum, "y = sum over axes"),
    Op("ReduceMean", "linear", reduce_mean, "y = mean over axes"),
    Op(
        "GlobalAveragePool", "linear", lambda at: at.linear(GlobalAverage(at.x, at.y)),
        "y = mean over the spatial axes",
    ),
)
