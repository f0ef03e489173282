"""Operators that pick by value, and piece-wise linear functions."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of

INF = np.float32(np.inf)
#: Exact zeros, tiny numbers, and kinks of the functions below.
POINTS = [[-3.0, -1.0, -0.0, 0.0], [1e-30, 1.0, 2.5, 4.0], [-9.0, -1e-30, 0.5, -0.5]]

POOLS = (
    Case("MaxPool", "one axis", [X((2, 3, 7))], {"kernel_shape": [3]}),
    Case(
        "MaxPool", "stride and pads", [X((2, 3, 7, 6))],
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    ),
    Case("MaxPool", "three axes", [X((1, 2, 4, 3, 4))], {"kernel_shape": [2, 2, 2]}),
    Case("MaxPool", "dilations", [X((1, 2, 7, 7))], {"kernel_shape": [2, 3], "dilations": [2, 3]}),
    Case(
        "MaxPool", "ceil mode", [X((1, 2, 6, 5))],
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    ),
    Case(
        "MaxPool", "same upper", [X((1, 2, 6, 5))],
        {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    Case(
        "MaxPool", "same lower", [X((1, 2, 6, 5))],
        {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    Case("MaxPool", "valid", [X((1, 2, 6))], {"kernel_shape": [4], "auto_pad": "VALID"}),
    Case(
        "MaxPool", "padding never wins over negative numbers", [X((1, 2, 4, 4), low=-9, high=-1)],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [3, 3]},
    ),
    Case(
        "MaxPool", "a tie pays the first position once", [X([[[3.0, 3.0, 1.0, 3.0]]])],
        {"kernel_shape": [2], "strides": [2]}, kinks=True,
    ),
    Case("MaxPool", "indices asked for", [X((2, 2, 4, 4))], {"kernel_shape": [2, 2]}, outputs=2),
    Case(
        "MaxPool", "indices in column order", [X((2, 2, 4, 5))],
        {"kernel_shape": [2, 2], "storage_order": 1}, outputs=2,
    ),
    Case("MaxPool", "old opset", [X((1, 2, 6))], {"kernel_shape": [2]}, opset=8),
    Case("MaxPool", "two sources", [X((1, 2, 4)), X((1, 2, 4))], nodes=nodes_of(
        ("Concat", "x0 x1", "t", {"axis": 1}), ("MaxPool", "t", "y0", {"kernel_shape": [2]}),
    )),
    Case("GlobalMaxPool", "two axes", [X((2, 3, 4, 5))]),
    Case("GlobalMaxPool", "one axis", [X((2, 3, 4))]),
    Case("GlobalMaxPool", "ties", [X([[[[1.0, 2.0], [2.0, 2.0]]]])], kinks=True),
)  # fmt: skip

REDUCTIONS = (
    Case("ReduceMax", "axes as an input", [X((2, 3, 4)), W(np.array([1]))]),
    Case("ReduceMax", "axes as an attribute", [X((2, 3, 4))], {"axes": [-1]}, opset=13),
    Case("ReduceMax", "dropped axis", [X((2, 3, 4)), W(np.array([1]))], {"keepdims": 0}),
    Case("ReduceMax", "two axes apart", [X((2, 3, 4)), W(np.array([0, 2]))]),
    Case("ReduceMax", "first axes", [X((2, 3, 4)), W(np.array([0, 1]))], {"keepdims": 0}),
    Case("ReduceMax", "all axes", [X((2, 3, 4))]),
    Case("ReduceMax", "all axes to a scalar", [X((2, 3))], {"keepdims": 0}),
    Case("ReduceMax", "no axes, no reduction", [X((2, 3))], {"noop_with_empty_axes": 1}),
    Case(
        "ReduceMax", "ties", [X([[5.0, 5.0, 1.0], [5.0, 2.0, 2.0]]), W(np.array([0, 1]))],
        kinks=True,
    ),
    Case("ReduceMin", "one axis", [X((2, 3, 4)), W(np.array([-2]))]),
    Case("ReduceMin", "ties", [X([[-2.0, -2.0, 1.0]]), W(np.array([1]))], kinks=True),
    Case("ReduceMin", "two axes", [X((2, 3, 4, 2))], {"axes": [1, -1], "keepdims": 0}, opset=13),
    Case("TopK", "the two largest", [X((2, 5)), W(np.array([2]))], outputs=2, explain=[0]),
    Case(
        "TopK", "the smallest along the first axis", [X((4, 3)), W(np.array([3]))],
        {"axis": 0, "largest": 0}, outputs=2, explain=[0],
    ),
    Case(
        "TopK", "k at run time", [X((2, 4)), N(np.array([3]))],
        {"axis": -1}, outputs=2, explain=[0],
    ),
)  # fmt: skip

UNIQUE = (
    Case("Unique", "sorted", [X([[3.0, 1.0], [4.0, 2.0]])]),
    Case("Unique", "in order, with indices", [X([3.0, 1.0, 2.0])], {"sorted": 0},
         outputs=4, explain=[0]),
    Case("Unique", "rows", [X([[2.0, 1.0], [0.0, 1.0]])], {"axis": 0}),
    Case("Unique", "columns", [X([[2.0, 1.0, 3.0], [0.0, 1.0, 0.0]])], {"axis": -1}),
)  # fmt: skip

OPERANDS = (
    Case("Max", "of two", [X((2, 3)), X((2, 3))]),
    Case("Max", "of three that broadcast", [X((4, 5)), X((5,)), X((4, 1))]),
    Case("Max", "with a constant", [X((2, 3)), W((3,))]),
    Case("Max", "a constant first", [W((2, 1)), X((2, 3))]),
    Case("Max", "a constant in the middle", [X((2, 3)), W((3,)), X((2, 3))]),
    Case(
        "Max",
        "equal operands: the first",
        [X([1.0, 2.0, 0.0, 1.0]), X([1.0, 1.0, -0.0, 3.0])],
        kinks=True,
    ),
    Case("Max", "of one", [X((2, 3))]),
    Case("Max", "twice the same", [X((2, 3))], nodes=nodes_of(("Max", "x0 x0", "y0"))),
    Case("Max", "with minus infinity", [X((3,)), W(np.array([-INF, 0, -INF], np.float32))]),
    Case("Max", "no sizes in common", [X((2, 1)), X((1, 3))]),
    Case("Min", "of two", [X((2, 3)), X((2, 3))]),
    Case("Min", "of three", [X((2, 3)), X((2, 3)), X((1,))]),
    Case("Min", "with a scalar", [X((2, 3)), W(np.float32(0.3))]),
    Case("Min", "equal operands: the first", [W([1.0, 2.0, 5.0]), X([1.0, 3.0, 4.0])], kinks=True),
)

FUNCTIONS = (
    Case("Abs", "points", [X(POINTS)], kinks=True),
    Case("LeakyRelu", "points", [X(POINTS)], kinks=True),
    Case("LeakyRelu", "slope", [X((2, 3, 2, 2))], {"alpha": 0.3}),
    Case("LeakyRelu", "steeper below", [X((2, 3))], {"alpha": 1.5}),
    Case("LeakyRelu", "negative slope", [X((2, 3))], {"alpha": -0.5}),
    Case("LeakyRelu", "no slope", [X((2, 3))], {"alpha": 0.0}),
    Case("PRelu", "one slope a channel", [X((2, 3, 2, 2)), W((3, 1, 1))]),
    Case("PRelu", "one slope", [X((2, 3)), W((1,))]),
    Case("PRelu", "slope at run time", [X((2, 3)), N((2, 3))]),
    Case("PRelu", "a slope that carries relevance", [X((2, 3)), X((3,))]),
    Case("PRelu", "only a slope that carries relevance", [N((2, 3)), X((2, 1))]),
    Case("PRelu", "points", [X(POINTS), W([0.25])], kinks=True),
    Case("PRelu", "old opset", [X((2, 3, 2)), W((3, 1))], opset=7),
    Case("ThresholdedRelu", "points", [X(POINTS)], kinks=True),
    Case("ThresholdedRelu", "half", [X((2, 3))], {"alpha": 0.5}),
    Case("ThresholdedRelu", "negative threshold", [X((3, 3))], {"alpha": -0.7}),
    Case("Clip", "both bounds", [X((3, 4)), W(np.float32(-0.5)), W(np.float32(0.75))]),
    Case("Clip", "six", [X((3, 4), low=-3, high=9), W(np.float32(0)), W(np.float32(6))]),
    Case("Clip", "lower bound", [X((3, 4)), W(np.float32(0))]),
    Case("Clip", "upper bound", [X((3, 4)), None, W(np.float32(0.1))]),
    Case("Clip", "upper bound zero", [X((3, 4)), None, W(np.float32(0))]),
    Case("Clip", "no bounds", [X((3, 4))]),
    Case("Clip", "attributes", [X((3, 4))], {"min": -0.3, "max": 0.4}, opset=6),
    Case("Clip", "attributes by default", [X((3, 4))], {"min": 0.0}, opset=6),
    Case("Clip", "bounds at run time", [X((3, 4)), N(np.float32(-0.4)), N(np.float32(0.6))]),
    Case(
        "Clip", "at the bounds", [X(POINTS), W(np.float32(-1)), W(np.float32(0.5))], kinks=True,
    ),
    Case("Clip", "a bound that carries relevance", [X((3, 4)), X(np.float32(-0.2))]),
    Case("Clip", "bounds that carry relevance",
         [X((3, 4)), X(np.float32(-0.2)), X(np.float32(0.3))]),
    Case("Clip", "crossed bounds that carry relevance",
         [X((3, 4)), X(np.float32(0.4)), X(np.float32(0.1))]),
    Case("Clip", "tiny bounds", [X((3, 4)), W(np.float32(-1e-30)), W(np.float32(1e-30))]),
    Case("Clip", "large bounds", [X(POINTS), W(np.float32(-1e30)), W(np.float32(2e8))], kinks=True),
    Case("Clip", "an infinite bound", [X((3, 4)), W(-INF), W(np.float32(0.2))]),
    Case("Clip", "an empty range", [X((3, 4)), W(np.float32(1)), W(np.float32(-1))]),
    Case("HardSigmoid", "points", [X(POINTS)], kinks=True),
    Case("HardSigmoid", "slope and shift", [X((3, 4))], {"alpha": 0.5, "beta": 0.4}),
    Case("Shrink", "points", [X(POINTS)], kinks=True),
    Case("Shrink", "with a bias", [X((3, 4))], {"bias": 0.2, "lambd": 0.4}),
    Case("Shrink", "negative width", [X((3, 4))], {"lambd": -0.4}),
    Case("Abs", "no entries", [X((0, 3))]),
    Case(
        "Clip", "double",
        [X((2, 3), dtype=np.float64), W(0.0, dtype=np.float64), W(0.5, dtype=np.float64)],
    ),
    Case("LeakyRelu", "half precision", [X((2, 3), dtype=np.float16)], {"alpha": 0.5}),
    Case("Abs", "half precision", [X((2, 3), dtype=np.float16)]),
    Case("Abs", "double", [X((2, 3), dtype=np.float64)]),
)  # fmt: skip


CASES = (*POOLS, *REDUCTIONS, *UNIQUE, *OPERANDS, *FUNCTIONS)
