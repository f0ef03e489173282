"""Operators that move entries, and those that stop them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of

U8 = np.array(128, np.uint8)
INF = np.float32(np.inf)


def i64(*values: Any) -> np.ndarray[Any, Any]:
    """Return int64 values: several as a vector, one as it is."""
    return np.array(values[0] if len(values) == 1 else values, np.int64)


def bools(*values: Any) -> np.ndarray[Any, Any]:
    """Return a mask."""
    return np.array(values, bool)


SHAPES = (
    Case("Reshape", "merged axes", [X((2, 3, 4)), W(i64(2, -1))]),
    Case("Reshape", "zero copies", [X((2, 3, 4)), W(i64(0, 4, 3))]),
    Case("Reshape", "allowzero", [X((0, 3, 4)), W(i64(3, 0, 2))], {"allowzero": 1}, free=()),
    Case("Reshape", "a scalar", [X((1, 1)), W(np.zeros(0, np.int64))]),
    Case("Reshape", "of a scalar", [X(()), W(i64([1, 1]))]),
    Case("Reshape", "shape at run time", [X((2, 6)), N(i64(3, 4))], free=(1,)),
    Case("Reshape", "the same shape", [X((2, 3)), W(i64(2, 3))]),
    Case("Reshape", "an empty batch", [X((0, 3, 2)), W(i64(0, 6))], free=(1,)),
    Case("Flatten", "default axis", [X((2, 3, 4))]),
    Case("Flatten", "axis 0", [X((2, 3))], {"axis": 0}),
    Case("Flatten", "negative axis", [X((2, 3, 4))], {"axis": -1}),
    Case("Squeeze", "axes as an input", [X((2, 1, 3, 1)), W(i64([1]))]),
    Case("Squeeze", "all", [X((1, 3, 1))], free=()),
    Case("Squeeze", "axes as an attribute", [X((2, 1, 3))], {"axes": [-2]}, opset=11),
    Case("Unsqueeze", "negative axes", [X((2, 3)), W(i64(0, -1))]),
    Case("Unsqueeze", "axes as an attribute", [X((2, 3))], {"axes": [1]}, opset=11),
    Case("Transpose", "reversed", [X((2, 3, 4))]),
    Case("Transpose", "given order", [X((2, 3, 4))], {"perm": [1, 2, 0]}),
    Case("Identity", "of anything", [X((2, 3))]),
    Case("Dropout", "inference", [X((2, 3))]),
    Case("Dropout", "a ratio", [X((2, 3)), W(np.float32(0.5)), W(np.array(False))]),
    Case("Dropout", "training, nothing dropped", [X((2, 3)), W(np.float32(0)), W(np.array(True))]),
    Case("Dropout", "training, nothing released",
         [X((2, 3)), W(np.float32(0.5)), W(np.array(True))], refuses="what it drops",
         options={"linearisation": "taylor", "release": ["*=none"]}),
    Case("Dropout", "old opset", [X((2, 3))], {"ratio": 0.3}, opset=7),
    Case("Cast", "to double", [X((2, 3))], {"to": 11}),
    Case("Cast", "to float", [X((2, 3), dtype=np.float64)], {"to": 11}),
    Case("Cast", "to the same", [X((2, 3))], {"to": 1}),
    Case("CastLike", "to double", [X((2, 3)), W((1,), dtype=np.float64)]),
    Case("DequantizeLinear", "of codes made here", [X((2, 3)), W(np.float32(0.05)), W(U8)],
         nodes=nodes_of(
             ("QuantizeLinear", "x0 w1 w2", "t"), ("DequantizeLinear", "t w1 w2", "y0"))),
    Case("QuantizeLinear", "between two layers", [X((2, 3)), W(np.float32(0.05)), W(U8)],
         nodes=nodes_of(
             ("Neg", "x0", "n"), ("QuantizeLinear", "n w1 w2", "t"),
             ("DequantizeLinear", "t w1 w2", "d"), ("Neg", "d", "y0"))),
    Case("Expand", "axes of length 1 and new ones", [X((2, 1)), W(i64(3, 2, 4))]),
    Case("Expand", "by one", [X((2, 3)), W(i64(1, 1))]),
    Case("Expand", "shape at run time", [X((3, 1, 2)), N(i64(3, 4, 2))], free=(1, 2)),
    Case("Expand", "more axes at run time", [X((3, 2)), N(i64(2, 3, 2))], free=(1,)),
    Case("Tile", "two axes", [X((2, 3)), W(i64(2, 3))]),
    Case("Tile", "once", [X((2, 3)), W(i64(1, 1))]),
    Case("Tile", "repeats at run time", [X((2, 3)), N(i64(2, 1))]),
    Case("DepthToSpace", "rows first", [X((1, 8, 2, 3))], {"blocksize": 2}, free=(0, 2, 3)),
    Case("DepthToSpace", "channels first", [X((2, 12, 2, 1))], {"blocksize": 2, "mode": "CRD"},
         free=(0, 2, 3)),
    Case("SpaceToDepth", "blocks of two", [X((2, 3, 4, 2))], {"blocksize": 2}),
)  # fmt: skip

PARTS = (
    Case("Concat", "of two", [X((2, 3)), X((2, 2))], {"axis": 1}),
    Case("Concat", "negative axis", [X((2, 3, 1)), X((2, 3, 2))], {"axis": -1}),
    Case("Concat", "one live operand", [X((2, 3)), W((2, 2))], {"axis": 1}),
    Case("Concat", "live operands side by side", [W((2, 1)), X((2, 3)), X((2, 2)), W((2, 1))],
         {"axis": 1}),
    Case("Concat", "a constant between", [X((2, 3)), W((2, 1)), X((2, 2))], {"axis": 1}),
    Case("Concat", "of one", [X((2, 3))], {"axis": 0}),
    Case("Concat", "the same twice", [X((2, 3))], nodes=nodes_of(
        ("Concat", "x0 x0", "y0", {"axis": 0}))),
    Case("Concat", "an empty operand", [X((2, 3)), X((0, 3))], {"axis": 0}),
    Case("Split", "equal parts", [X((2, 6))], {"axis": 1, "num_outputs": 2}, outputs=2),
    Case("Split", "a smaller last part", [X((2, 5))], {"axis": -1, "num_outputs": 2}, outputs=2),
    Case("Split", "given sizes", [X((2, 6)), W(i64(1, 2, 3))], {"axis": 1}, outputs=3),
    Case("Split", "equal parts by outputs", [X((2, 6))], {"axis": 1}, outputs=3, opset=13),
    Case("Split", "sizes as an attribute", [X((4, 2))], {"split": [1, 3]}, outputs=2, opset=11),
    Case("Split", "a part of no length", [X((2, 3)), W(i64(0, 3))], {"axis": 1}, outputs=2),
    Case("Slice", "one axis", [X((2, 5)), W(i64([1])), W(i64([4])), W(i64([1]))]),
    Case("Slice", "no axes given", [X((2, 5)), W(i64(0, 1)), W(i64(1, 3))]),
    Case("Slice", "from the end", [X((2, 5)), W(i64([-3])), W(i64([-1])), W(i64([-1]))]),
    Case("Slice", "beyond the end", [X((2, 5)), W(i64([2])), W(i64([2**62])), W(i64([1]))]),
    Case("Slice", "before the start", [X((2, 5)), W(i64([-9])), W(i64([2])), W(i64([1]))]),
    Case("Slice", "nothing", [X((2, 5)), W(i64([7])), W(i64([9])), W(i64([1]))]),
    Case("Slice", "all of it", [X((2, 5)), W(i64([0])), W(i64([2**62])), W(i64([1]))]),
    Case("Slice", "step 2", [X((2, 5)), W(i64([1])), W(i64([5])), W(i64([1])), W(i64([2]))]),
    Case("Slice", "backwards",
         [X((3, 5)), W(i64(-1, -1)), W(i64(-9, 0)), W(i64(0, 1)), W(i64(-1, -2))]),
    Case("Slice", "starts at run time", [X((2, 5)), N(i64([1])), N(i64([4])), W(i64([1]))]),
    Case("Slice", "everything at run time",
         [X((2, 5)), N(i64([-1])), N(i64([-9])), N(i64([1])), N(i64([-2]))]),
    Case("Slice", "attributes", [X((2, 5, 3))], {"starts": [1, 0], "ends": [3, -1], "axes": [1, 2]},
         opset=9),
    Case("Slice", "attributes without axes", [X((3, 5))], {"starts": [1], "ends": [1000]}, opset=1),
    Case("Slice", "opset 10", [X((2, 5)), W(i64([1])), W(i64([4])), W(i64([1]))], opset=10),
    Case("Pad", "zeros", [X((2, 3)), W(i64(0, 1, 2, 0))]),
    Case("Pad", "a constant", [X((2, 3)), W(i64(0, 1, 0, 2)), W(np.float32(1.5))]),
    Case("Pad", "minus infinity", [X((2, 3)), W(i64(0, 1, 0, 2)), W(np.float32(-3e38))]),
    Case("Pad", "negative", [X((2, 5)), W(i64(0, -1, 0, -2))]),
    Case("Pad", "one side cut, the other filled", [X((2, 5)), W(i64(1, -1, 0, 2))]),
    Case("Pad", "axes", [X((2, 3, 4)), W(i64(1, 2)), None, W(i64([-1]))]),
    Case("Pad", "axes and a constant at run time",
         [X((2, 3)), W(i64(1, 2)), N(np.float32(2)), W(i64([0]))]),
    Case("Pad", "a constant from a source", [X((2, 3)), W(i64(0, 1, -1, 2)), X(())]),
    Case("Pad", "a constant from a source and pads at run time",
         [X((2, 3)), N(i64(1, 0, 0, 2)), X((1,))]),
    Case("Pad", "pads at run time", [X((2, 3)), N(i64(1, 0, 0, 2))]),
    Case("Pad", "pads of some axes at run time", [X((2, 3)), N(i64(1, 2)), None, W(i64([1]))]),
    Case("Pad", "reflect", [X((2, 4)), W(i64(0, 2, 0, 3))], {"mode": "reflect"}),
    Case("Pad", "edge", [X((2, 3)), W(i64(1, 0, 0, 4))], {"mode": "edge"}),
    Case("Pad", "wrap", [X((2, 3)), W(i64(0, 2, 0, 1))], {"mode": "wrap"}, opset=19),
    Case("Pad", "edge at run time", [X((2, 3)), N(i64(1, 0, 0, 2))], {"mode": "edge"}),
    Case("Pad", "attributes", [X((2, 3))], {"pads": [0, 1, 1, 0], "value": 2.0}, opset=2),
    Case("Pad", "opset 11", [X((2, 3)), W(i64(0, 1, 1, 0))], opset=11),
    Case("CenterCropPad", "crop and pad", [X((5, 3, 4)), W(i64(2, 6, 4))], free=()),
    Case("CenterCropPad", "one axis", [X((2, 4)), W(i64([3]))], {"axes": [1]}, free=()),
    Case("Trilu", "upper", [X((2, 3, 3))]),
    Case("Trilu", "lower, shifted", [X((3, 4)), W(i64(1))], {"upper": 0}),
    Case("ReverseSequence", "rows", [X((3, 4)), W(i64(1, 4, 2))],
         {"batch_axis": 0, "time_axis": 1}),
    Case("ReverseSequence", "time first", [X((4, 2, 2)), N(i64(3, 2))]),
)  # fmt: skip

INDICES = (
    Case("Gather", "a scalar", [X((3, 4)), W(i64(1))]),
    Case("Gather", "a vector, negative", [X((3, 4)), W(i64(0, -1, 0))], {"axis": 1}),
    Case("Gather", "a matrix", [X((3, 4, 2)), W(i64([[0, 2], [3, 3]]))], {"axis": -2}),
    Case("Gather", "at run time", [X((3, 4)), N(i64(2, 0))]),
    Case("GatherElements", "last axis", [X((2, 3)), W(i64([[0, 0], [2, -1]]))], {"axis": 1}),
    Case("GatherElements", "first axis", [X((3, 2)), N(i64([[2, 0]]))]),
    Case("GatherND", "entries", [X((2, 3)), W(i64([[0, 1], [1, -1], [0, 1]]))]),
    Case("GatherND", "slices", [X((2, 3, 2)), W(i64([[[1]], [[0]]]))]),
    Case("GatherND", "batches", [X((2, 3, 2)), N(i64([[1], [0]]))], {"batch_dims": 1}),
    Case("ScatterElements", "data and updates",
         [X((3, 3)), W(i64([[1, 0, 2], [0, 2, 1]])), X((2, 3))]),
    Case("ScatterElements", "constant data",
         [W((2, 4)), N(i64([[3, 0], [1, -2]])), X((2, 2))], {"axis": 1}),
    Case("ScatterElements", "constant updates", [X((2, 4)), W(i64([[3], [1]])), W((2, 1))],
         {"axis": -1}),
    Case("ScatterElements", "added, twice to one", [X((2, 3)), W(i64([[1, 1], [0, 2]])), X((2, 2))],
         {"axis": 1, "reduction": "add"}),
    Case("ScatterElements", "added to a constant", [W((2, 3)), W(i64([[1, 1]])), X((1, 2))],
         {"axis": 1, "reduction": "add"}),
    Case("ScatterElements", "multiplied", [X((2, 3)), W(i64([[1, 1]])), W((1, 2))],
         {"axis": 1, "reduction": "mul"}),
    Case("ScatterElements", "the larger", [X((2, 3)), W(i64([[1, 2]])), W((1, 2))],
         {"axis": 1, "reduction": "max"}),
    Case("ScatterElements", "the larger of two sources", [X((2, 3)), N(i64([[1, 2]])), X((1, 2))],
         {"axis": 1, "reduction": "max"}),
    Case("ScatterElements", "equal ones", [X([1.0, 2.0, 3.0]), N(i64(2, 0)), X([3.0, 4.0])],
         {"reduction": "max"}, kinks=True),
    Case("ScatterElements", "the smaller",
         [W((2, 3)), W(i64([[1, 2]])), X((1, 2), low=-3, high=-2)],
         {"axis": 1, "reduction": "min"}),
    Case("ScatterElements", "two factors", [X((2, 3)), W(i64([[1, 2]])), X((1, 2))],
         {"axis": 1, "reduction": "mul"}),
    Case("ScatterElements", "a constant multiplied, twice",
         [W((2, 3)), W(i64([[1, 1], [0, 2]])), X((2, 2))], {"axis": 1, "reduction": "mul"}),
    Case("ScatterElements", "factors that are zero",
         [X([1.5, 2.0, 3.0, 4.0]), N(i64(0, 0, 1, 1, 2)), X([0.0, 2.0, 0.0, 0.0, 5.0])],
         {"reduction": "mul"}),
    Case("ScatterND", "rows multiplied", [X((3, 2)), N(i64([[0], [0], [2]])), X((3, 2))],
         {"reduction": "mul"}),
    Case("ScatterElements", "equal updates",
         [X([1.0, 2.0, 3.0]), N(i64(0, 0, 1)), X([5.0, 5.0, 7.0])],
         {"reduction": "max"}, kinks=True),
    Case("ScatterND", "the larger", [X((2, 3)), W(i64([[0], [1]])), X((2, 3))],
         {"reduction": "max"}),
    Case("Scatter", "deprecated", [X((3, 2)), W(i64([[2, 0]])), X((1, 2))], opset=9),
    Case("ScatterND", "entries", [X((2, 3)), W(i64([[0, 1], [1, 2]])), X((2,))]),
    Case("ScatterND", "slices", [X((3, 2)), N(i64([[2], [0]])), X((2, 2))]),
    Case("ScatterND", "constant data", [W((3, 2)), W(i64([[1]])), X((1, 2))]),
    Case("ScatterND", "added", [X((3,)), W(i64([[1], [1]])), X((2,))], {"reduction": "add"}),
    Case("Compress", "along an axis", [X((2, 3)), W(bools(True, False, True))], {"axis": 1}),
    Case("Compress", "entries", [X((2, 3)), N(bools(False, True, True, False, True))]),
    Case("Col2Im", "patches that overlap", [X((2, 8, 4)), W(i64(3, 3)), W(i64(2, 2))], free=(0,)),
    Case("Col2Im", "strides, pads, dilations", [X((1, 4, 6)), W(i64(6, 5)), W(i64(2, 2))],
         {"strides": [2, 1], "pads": [0, 0, 1, 0], "dilations": [1, 3]}, free=()),
    Case("Col2Im", "patches of a size known in a run", [X((2, 6, 3)), W(i64([7])), N(i64([3]))],
         {"strides": [2]}, refuses="size of its patches"),
    Case("Col2Im", "one axis", [X((2, 6, 3)), W(i64([7])), W(i64([3]))], {"strides": [2]}, free=()),
    Case("OneHot", "values from a source", [W(i64([[1, 0], [2, 1]])), W(i64(3)), X((2,))],
         {"axis": 1}),
    Case("OneHot", "values from a source, float indices",
         [N([1.0, 0.0, 2.0]), W(np.float32(3)), X((2,))]),
    Case("Where", "both", [W(bools([True, False, True])), X((2, 3)), X((2, 3))]),
    Case("Where", "broadcast", [N(bools([[True], [False]])), X((3,)), X((2, 1))]),
    Case("Where", "beside minus infinity", [N(bools(True, False)), X((2,)), W(np.float32(-3e38))]),
    Case("Where", "a constant first", [N(bools(True, False)), W((2,)), X((2,))]),
    Case("ArrayFeatureExtractor", "columns", [X((2, 4)), W(i64([2, 0]))], domain="ai.onnx.ml"),
)  # fmt: skip


def stopped(
    op: str, inputs: str = "x0", *before: tuple[Any, ...], noise: bool = False, **attrs: Any
) -> Case:
    """Return a case where the sum of what an operator yields is added to the source.

    Noise is taken from itself, so that two runs can be compared.
    """
    rows = [*before, (op, inputs, "t", attrs), ("Cast", "t", "float", {"to": 1})]
    rows.append(("Sub", "float float", "f") if noise else ("Identity", "float", "f"))
    rows += [("ReduceSum", "f", "sum", {"keepdims": 0}), ("Sum", "x0 sum", "y0")]
    operands = [X((2, 3)), W([0.5, -0.5, 0.0]), W(i64([2]))]
    domain = str(attrs.get("domain", ""))
    return Case(op, "beside a source", operands, domain=domain, nodes=nodes_of(*rows), kinks=True)


COUNTED = (
    Case("Range", "start and delta from sources",
         [X(()), W(np.array(9.0, np.float32)), X(np.array(1.75, np.float32))]),
)  # fmt: skip

POSITIVE = ("Greater", "x0 w1", "bools")
SIZE = ("Abs", "x0", "size")
WHOLE = ("Cast", "size", "whole", {"to": 13})
COUNT = ("Squeeze", "w2", "count")
ZERO = ("Sub", "count count", "zero")
STOPPED = (
    *(stopped(op) for op in ("Round", "Floor", "Ceil", "Sign", "IsNaN", "IsInf")),
    *(
        stopped(op, "x0 w1")
        for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *(stopped(op, "bools bools", POSITIVE) for op in ("And", "Or", "Xor")),
    stopped("Not", "bools", POSITIVE),
    *(stopped(op, "whole whole", SIZE, WHOLE) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    stopped("BitwiseNot", "whole", ("Cast", "x0", "whole", {"to": 6})),
    stopped("BitShift", "whole whole", SIZE, WHOLE, direction="LEFT"),
    *(stopped(op) for op in ("ArgMax", "ArgMin", "NonZero", "Shape", "Size", "EyeLike")),
    stopped("Constant", "", value_float=2.0),
    stopped("ConstantOfShape", "w2"),
    stopped("Range", "zero count one", COUNT, ZERO, ("Div", "count count", "one")),
    *(stopped(op, noise=True) for op in ("RandomNormalLike", "RandomUniformLike")),
    *(stopped(op, "", noise=True, shape=[2]) for op in ("RandomNormal", "RandomUniform")),
    stopped("Bernoulli", "half", ("HardSigmoid", "x0", "half"), noise=True),
    stopped("Binarizer", domain="ai.onnx.ml", threshold=0.25),
    Case("OneHot", "beside a source", [X((2, 3)), W(i64(1, 0)), W(i64(3)), W([0.0, 2.0])],
         nodes=nodes_of(("OneHot", "w1 w2 w3", "t"), ("Sum", "x0 t", "y0"))),
    Case("NonMaxSuppression", "beside a source",
         [X((1, 3, 4)), W((1, 1, 3)), W(i64([2])), W([0.5]), W([0.0])],
         nodes=nodes_of(
             ("NonMaxSuppression", "x0 w1 w2 w3 w4", "t"), ("Cast", "t", "f", {"to": 1}),
             ("ReduceSum", "f", "sum", {"keepdims": 0}), ("Sum", "x0 sum", "y0"),
         )),
)  # fmt: skip

CASES = (*SHAPES, *PARTS, *INDICES, *COUNTED, *STOPPED)
