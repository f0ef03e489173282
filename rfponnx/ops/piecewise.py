"""Operators that are constant almost everywhere, or do not follow their inputs: A = 0."""

from __future__ import annotations

from rfponnx.maps.base import Map, then
from rfponnx.maps.expr import call, positions
from rfponnx.maps.gain import Gain, spread
from rfponnx.ops.op import At, Linearisation, Op, ops, stopped

STEPS = ("Round", "Floor", "Ceil", "Sign")
LOGIC = (
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    *("And", "Or", "Xor", "Not", "IsNaN", "IsInf"),
    *("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"),
)
PLACES = ("ArgMax", "ArgMin", "NonZero", "Shape", "Size", "NonMaxSuppression")
GENERATORS = (
    *("Constant", "ConstantOfShape", "EyeLike"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    "Bernoulli",
)

EQUATIONS = (
    (STEPS, "a step: all of y is bias"),
    (LOGIC, "true or false: carries no relevance"),
    (PLACES, "positions and sizes: carry no relevance"),
    (GENERATORS, "does not follow a source"),
)


def range_(at: At) -> Linearisation:
    """``y_i = start + i delta``, both released."""
    index = Gain(call("Cast", positions(at.y), to=at.graph.dtype(at.y)), at.y, at.y)
    by: dict[int, Map] = {}
    for place, more in ((0, ()), (2, (index,))):
        if at.carries(at.input(place)):
            by[place] = then(spread(at.graph, at.input(place), at.y), *more)
    return at.with_operands(stopped(at), by)


OPS: tuple[Op, ...] = (
    *(
        row
        for names, equation in EQUATIONS
        for row in ops("piecewise constant", stopped, equation, *names)
    ),
    Op("Range", "piecewise constant", range_, "y_i = start + i delta, both released"),
    Op("Binarizer", "piecewise constant", stopped, EQUATIONS[0][1], domain="ai.onnx.ml"),
)
