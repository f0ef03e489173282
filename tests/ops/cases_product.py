"""Products of signals, functions written out in several nodes, powers and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of

PAIR = (X((2, 3)), X((2, 3)))
AWAY = X((2, 3), low=0.5, high=2.0)  # from zero
FEATURES = X((2, 3, 2, 2))
SQUEEZED = X((2, 3, 1, 1))


def number(value: float) -> W:
    return W(np.array(value, np.float32))


def released(how: str) -> dict[str, Any]:
    return {"release": [f"*={how}"]}


def written(about: str, op: str, *rows: tuple[Any, ...], x: X | None = None, **more: Any) -> Case:
    """Return a row about a function of x0 that is written out with the constants given."""
    values = more.pop("constants", ())
    operands = [x or X((2, 5)), *(number(v) for v in values)]
    return Case(op, about, operands, nodes=nodes_of(*rows), **more)


PRODUCTS = (
    Case("Mul", "of a signal and a constant", [X((2, 3)), W((3,))]),
    Case("Mul", "of a channel window and a constant per channel", [FEATURES, W((3, 1, 1))]),
    Case("Mul", "of a constant and a smaller signal", [W((2, 3)), X((3,))]),
    Case("Mul", "of a signal and a run-time tensor", [X((2, 3)), N((2, 3))]),
    Case("Mul", "of one row and many", [X((1, 3)), W((4, 1))]),
    Case("Mul", "of two alike is split", PAIR),
    Case("Mul", "of two, left released", PAIR, options=released("left")),
    Case("Mul", "of two, right released", PAIR, options=released("right")),
    Case("Mul", "of two, nothing released", PAIR, options=released("none")),
    Case("Mul", "with a factor that is broadcast", [FEATURES, SQUEEZED]),
    Case("Mul", "with a first factor that is broadcast", [SQUEEZED, FEATURES]),
    Case("Mul", "with a factor of lower rank", [FEATURES, X((3, 1, 2))]),
    Case("Mul", "of an outer product", [X((3, 1)), X((1, 4))]),
    Case("Mul", "of a broadcast factor, nothing released", [FEATURES, SQUEEZED],
         options=released("none")),
    Case("Mul", "with exact zeros", [X([0.0, -0.0, 1.0]), X([2.0, 0.0, -0.0])]),
    Case("Mul", "of old broadcasting", [FEATURES, W((3, 1, 1))], opset=8),
    Case("Div", "by a constant", [X((2, 3)), W((3,))]),
    Case("Div", "by a run-time tensor", [X((2, 3)), N((2, 3), low=1.0, high=2.0)]),
    Case("Div", "by a signal", [X((2, 3)), AWAY]),
    Case("Div", "of a constant by a signal", [W((2, 3)), AWAY]),
    Case("Div", "of a constant by a smaller signal", [W((2, 3)), X((3,), low=0.5, high=2.0)]),
    Case("Div", "of a constant by almost zero", [number(1.0), X([1e-7, -1e-7, 1e-6, 2.0])],
         options={"linearisation": "weighted"}),
    Case("Div", "by a signal, left released", [X((2, 3)), AWAY], options=released("left")),
    Case("Div", "by a signal, split", [X((2, 3)), AWAY], options=released("split")),
    Case("Div", "by a signal, nothing released", [X((2, 3)), AWAY], options=released("none")),
    Case("Mod", "of a signal", [X([3.25, -3.25, 0.5]), number(2.0)], {"fmod": 1}),
    Case("Mod", "by a signal", [X([3.25, 7.5]), X([2.0, 2.0])], {"fmod": 1}),
    Case("Mod", "by a signal alone, which is broadcast", [W([[3.25], [-7.5]]), X([2.0, 1.6])],
         {"fmod": 1}),
    Case("MatMul", "of two signals", [X((2, 3)), X((3, 4))]),
    Case("MatMul", "of two, nothing released", [X((2, 3)), X((3, 4))], options=released("none")),
    Case("MatMul", "of a batch and a matrix", [X((2, 2, 3)), X((3, 4))]),
    Case("MatMul", "of a signal by itself", [X((3, 3))], nodes=nodes_of(("MatMul", "x0 x0", "y0"))),
    Case("MatMul", "of two vectors", [X((3,)), X((3,))], free=()),
    Case("Gemm", "of two signals and a bias", [X((2, 3)), X((3, 4)), W((4,))]),
    Case("Gemm", "of three signals", [X((2, 3)), X((3, 4)), X((4,))], {"beta": 0.5, "alpha": 2.0}),
    Case("Gemm", "of two signals, nothing released", [X((2, 3)), X((3, 4)), W((4,))],
         options=released("none")),
    Case("Einsum", "of two signals", [X((2, 3)), X((2, 4))], {"equation": "bi,bj->bij"}),
    Case("Einsum", "of three signals", [X((2, 3)), X((2, 4)), X((2,))],
         {"equation": "bi,bj,b->bij"}),
    Case("Einsum", "of three, nothing released", [X((2, 3)), X((2, 4)), X((2,))],
         {"equation": "bi,bj,b->bij"}, options=released("none")),
    Case("Einsum", "of three, right released", [X((2, 3)), X((2, 4)), X((2,))],
         {"equation": "bi,bj,b->bij"}, options=released("right")),
    Case("Conv", "with weights that are a signal", [X((1, 2, 4, 4)), X((3, 2, 3, 3))], free=()),
    Case("Conv", "with only weights that are a signal", [N((1, 2, 4, 4)), X((3, 2, 3, 3))],
         free=()),
)  # fmt: skip

GATES = (
    Case("Mul", "with a sigmoid", PAIR, nodes=nodes_of(
        ("Sigmoid", "x1", "s"), ("Mul", "x0 s", "y0"))),
    Case("Mul", "of tanh and sigmoid", PAIR, nodes=nodes_of(
        ("Tanh", "x0", "t"), ("Sigmoid", "x1", "s"), ("Mul", "s t", "y0"))),
    Case("Mul", "with a softmax before a sigmoid", PAIR, nodes=nodes_of(
        ("Sigmoid", "x0", "s"), ("Softmax", "x1", "p", {"axis": -1}), ("Mul", "s p", "y0"))),
    Case("Mul", "with one minus a sigmoid, moved", [X((2, 3)), X((3, 2)), number(1.0)],
         nodes=nodes_of(("Sigmoid", "x1", "s"), ("Sub", "w2 s", "c"),
                        ("Transpose", "c", "t", {"perm": [1, 0]}), ("Mul", "x0 t", "y0")), free=()),
    Case("Mul", "with a hard sigmoid written out", [*PAIR, number(3), number(0), number(6)],
         nodes=nodes_of(("Add", "x1 w2", "a"), ("Clip", "a w3 w4", "c"), ("Div", "c w4", "h"),
                        ("Mul", "h x0", "y0"))),
    Case("Mul", "with a written softmax", [X((2, 3)), X((2, 3)), W(np.array([1]))], nodes=nodes_of(
        ("Exp", "x1", "e"), ("ReduceSum", "e w2", "s", {"keepdims": 1}), ("Div", "e s", "p"),
        ("Mul", "x0 p", "y0"))),
    Case("Mul", "with a written sigmoid", [X((2, 3)), X((2, 3)), number(1)], nodes=nodes_of(
        ("Exp", "x1", "e"), ("Add", "e w2", "s"), ("Div", "w2 s", "p"), ("Mul", "x0 p", "y0"))),
    Case("Mul", "with the inverse of a signal", [AWAY, AWAY], nodes=nodes_of(
        ("Sqrt", "x0", "s"), ("Reciprocal", "s", "r"), ("Mul", "r x1", "y0"))),
    Case("Mul", "with a negative power of a signal", [AWAY, AWAY, number(-0.5)], nodes=nodes_of(
        ("Pow", "x0 w2", "r"), ("Mul", "r x1", "y0"))),
    Case("Mul", "of a function and its softmax", [X((2, 3))], nodes=nodes_of(
        ("Tanh", "x0", "t"), ("Softmax", "x0", "p", {"axis": -1}), ("Mul", "t p", "y0"))),
    Case("MatMul", "with attention", [X((2, 3, 3)), X((2, 3, 4))], nodes=nodes_of(
        ("Softmax", "x0", "p", {"axis": -1}), ("MatMul", "p x1", "y0"))),
)  # fmt: skip

WRITTEN = (
    written("SiLU", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "x0 s", "y0")),
    written("SiLU, the gate first", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "s x0", "y0")),
    written("QuickGELU", "Mul", ("Mul", "x0 w1", "a"), ("Sigmoid", "a", "s"), ("Mul", "x0 s", "y0"),
            constants=(1.702,)),
    Case("Mul", "Swish with a beta per channel", [FEATURES, W((3, 1, 1))], nodes=nodes_of(
        ("Mul", "x0 w1", "a"), ("Sigmoid", "a", "s"), ("Mul", "x0 s", "y0"))),
    written("GELU by Erf", "Mul", ("Div", "x0 w1", "a"), ("Erf", "a", "e"), ("Add", "e w2", "b"),
            ("Mul", "x0 b", "c"), ("Mul", "c w3", "y0"), constants=(2**0.5, 1, 0.5)),
    written("GELU by Erf, half first", "Mul", ("Mul", "x0 w1", "a"), ("Erf", "a", "e"),
            ("Add", "w2 e", "b"), ("Mul", "x0 w3", "h"), ("Mul", "h b", "y0"),
            constants=(2**-0.5, 1, 0.5)),
    written("GELU by Tanh with Pow", "Mul", ("Pow", "x0 w1", "c"), ("Mul", "c w2", "d"),
            ("Add", "x0 d", "e"), ("Mul", "e w3", "f"), ("Tanh", "f", "t"), ("Add", "t w4", "g"),
            ("Mul", "x0 w5", "h"), ("Mul", "h g", "y0"),
            constants=(3, 0.044715, (2 / np.pi) ** 0.5, 1, 0.5)),
    written("GELU by Tanh with Mul", "Mul", ("Mul", "x0 x0", "b"), ("Mul", "b x0", "c"),
            ("Mul", "c w1", "d"), ("Add", "d x0", "e"), ("Mul", "e w2", "f"), ("Tanh", "f", "t"),
            ("Add", "t w3", "g"), ("Mul", "x0 g", "h"), ("Mul", "h w4", "y0"),
            constants=(0.044715, (2 / np.pi) ** 0.5, 1, 0.5)),
    written("Mish", "Mul", ("Softplus", "x0", "s"), ("Tanh", "s", "t"), ("Mul", "x0 t", "y0")),
    written("a product with a written softplus", "Mul", ("Exp", "x0", "e"), ("Add", "e w1", "b"),
            ("Log", "b", "l"), ("Mul", "x0 l", "y0"), constants=(1,)),
    written("HardSwish by Clip", "Mul", ("Add", "x0 w1", "a"), ("Clip", "a w2 w3", "c"),
            ("Mul", "x0 c", "m"), ("Div", "m w3", "y0"), constants=(3, 0, 6), kinks=True),
    written("HardSwish by HardSigmoid", "Mul", ("HardSigmoid", "x0", "h", {"alpha": 1 / 6}),
            ("Mul", "x0 h", "y0"), kinks=True),
    written("a square", "Mul", ("Mul", "x0 x0", "y0")),
    written("StarReLU", "Mul", ("Relu", "x0", "r"), ("Mul", "r r", "s"), ("Mul", "s w1", "a"),
            ("Add", "a w2", "y0"), constants=(0.9, -0.4), kinks=True),
    written("softsign", "Div", ("Abs", "x0", "a"), ("Add", "a w1", "b"), ("Div", "x0 b", "y0"),
            constants=(1,), kinks=True),
    written("SiLU by Exp", "Div", ("Neg", "x0", "n"), ("Exp", "n", "e"), ("Add", "e w1", "b"),
            ("Div", "x0 b", "y0"), constants=(1,)),
    written("sigmoid by Exp", "Div", ("Neg", "x0", "n"), ("Exp", "n", "e"), ("Add", "w1 e", "b"),
            ("Div", "w1 b", "y0"), constants=(1,)),
    written("sigmoid by Exp and Reciprocal", "Reciprocal", ("Mul", "x0 w1", "n"), ("Exp", "n", "e"),
            ("Add", "e w2", "b"), ("Reciprocal", "b", "y0"), constants=(-2, 1),
            x=X([0.0, -0.0, 1e-38, 1e-3, -5e-3, 1e-2, 3.0])),
    written("softplus by Exp", "Log", ("Exp", "x0", "e"), ("Add", "e w1", "b"), ("Log", "b", "y0"),
            constants=(1,)),
    written("tanh by Exp", "Div", ("Exp", "x0", "e"), ("Neg", "x0", "n"), ("Exp", "n", "f"),
            ("Sub", "e f", "s"), ("Add", "e f", "c"), ("Div", "s c", "y0")),
    written("the inverse of exp less one", "Reciprocal", ("Exp", "x0", "e"), ("Sub", "e w1", "b"),
            ("Reciprocal", "b", "y0"), constants=(1,), x=AWAY),
    written("at exact and negative zero", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "x0 s", "y0"),
            x=X([0.0, -0.0, 1e-38, -1e-44, 1.0])),
    written("a product that is not 0 at 0", "Mul", ("Cos", "x0", "c"), ("Sigmoid", "x0", "s"),
            ("Mul", "c s", "y0"), x=X([0.0, -0.0, 1e-5, 0.5, -3.0])),
    written("a quotient that is not 0 at 0", "Div", ("Cos", "x0", "c"), ("Exp", "x0", "e"),
            ("Div", "c e", "y0")),
    written("a product that is not finite at 0", "Mul", ("Log", "x0", "l"), ("Exp", "x0", "e"),
            ("Mul", "l e", "y0"), x=AWAY),
    written("SiLU, left released", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "s x0", "y0"),
            options=released("left")),
    written("SiLU, split", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "s x0", "y0"),
            options=released("split")),
    written("SiLU, nothing released", "Mul", ("Sigmoid", "x0", "s"), ("Mul", "s x0", "y0"),
            options=released("none")),
)  # fmt: skip

POWERS = (
    Case("Pow", "square", [X((2, 3)), number(2)]),
    Case("Pow", "cube", [X((2, 3)), number(3)]),
    Case("Pow", "with a square root", [AWAY, number(0.5)]),
    Case("Pow", "negative", [AWAY, number(-1.5)]),
    Case("Pow", "first and zeroth", [AWAY, W([1.0, 0.0, 2.0])]),
    Case("Pow", "all zeroth", [X((2, 3)), number(0)]),
    Case("Pow", "all first", [X((2, 3)), number(1)]),
    Case("Pow", "with a wider array of exponents", [AWAY, W([[[1.0]], [[0.5]], [[-1.0]]])]),
    Case("Pow", "at exact and negative zero", [X([0.0, -0.0, 1e-38, 1.5]), W([0.5, 2, 0.5, 1])],
         options={"linearisation": "weighted"}),
    Case("Pow", "with an integer exponent", [X((2, 3)), W(np.array(3, np.int64))]),
    Case("Pow", "with an exponent of a run", [AWAY, N((3,))]),
    Case("Pow", "with an integer exponent of a run", [AWAY, N(np.array([2, 3, 1]))], free=()),
    Case("Pow", "of a constant base", [W([0.5, 2.0, 10.0]), X((2, 3))]),
    Case("Pow", "of two signals", [AWAY, X((2, 3))]),
    Case("Pow", "of two signals at zeros", [X([0.0, 0.0, -2.0, 2.0]), X([1.0, 3.0, 0.0, 0.0])],
         kinks=True),
    Case("Pow", "with an exponent of a run at zeros", [X([0.0, -2.0, 0.0]), N([1.0, 3.0, 2.0])]),
    Case("Pow", "of two signals, left released", [AWAY, X((2, 3))], options=released("left")),
    Case("Pow", "of two signals, nothing released", [AWAY, X((2, 3))], options=released("none")),
    Case("Pow", "of two signals, split", [AWAY, X((2, 3))], options=released("split"),
         refuses="cannot be split"),
)  # fmt: skip

SOFTMAX = tuple(
    case
    for op in ("Softmax", "LogSoftmax", "Hardmax")
    for case in (
        Case(op, "over the last axis", [X((2, 3))]),
        Case(op, "over the channels", [X((2, 3, 2))], {"axis": 1}),
        Case(
            op, "at exact zeros", [X([[0.0, -0.0, 1e-38], [1.0, 2.0, 3.0]])], kinks=op == "Hardmax"
        ),
        Case(op, "over the first axis", [X((2, 3, 2))], {"axis": 0}),
    )
)

SOFTMAX_OLD = tuple(
    Case(op, "over several axes, of an old opset", [X((2, 3, 2))], {"axis": 1}, opset=11)
    for op in ("Softmax", "LogSoftmax")
)

CASES = (*PRODUCTS, *GATES, *WRITTEN, *POWERS, *SOFTMAX, *SOFTMAX_OLD)
