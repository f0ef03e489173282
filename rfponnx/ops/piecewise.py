"""Operators that are constant almost everywhere, or do not follow their inputs: A = 0."""

from __future__ import annotations

from rfponnx.ops.op import Op, ops, stopped

STEPS = ("Round", "Floor", "Ceil", "Sign")
LOGIC = (
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    *("And", "Or", "Xor", "Not", "IsNaN", "IsInf"),
    *("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"),
)
PLACES = ("ArgMax", "ArgMin", "NonZero", "Shape", "Size", "NonMaxSuppression", "OneHot")
GENERATORS = (
    *("Constant", "ConstantOfShape", "EyeLike", "Range"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    "Bernoulli",
)

EQUATIONS = (
    (STEPS, "a step: all of y is bias"),
    (LOGIC, "true or false: carries no relevance"),
    (PLACES, "positions and sizes: carry no relevance"),
    (GENERATORS, "does not follow a source"),
)

OPS: tuple[Op, ...] = (
    *(
        row
        for names, equation in EQUATIONS
        for row in ops("piecewise constant", stopped, equation, *names)
    ),
    Op("Binarizer", "piecewise constant", stopped, EQUATIONS[0][1], domain="ai.onnx.ml"),
)
