"""Operators as old opsets spell them: attributes that became inputs, rules that changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, W, X

IMAGE = (2, 3, 6, 5)


def old(
    op: str, opset: int, *operands: Any, outputs: int = 1, about: str = "", **attrs: Any
) -> Case:
    """Return a case of one node; its attributes are its description."""
    text = about or " ".join(f"{k} {v}" for k, v in attrs.items()) or "plain"
    explain = [0] if outputs > 1 else None
    return Case(op, text, operands, attrs, outputs=outputs, opset=opset, explain=explain)


def i64(*values: int) -> W:
    return W(np.array(values, np.int64))


def f32(*values: float) -> W:
    return W(np.array(values, np.float32))


def norm(opset: int, **attrs: Any) -> Case:
    """A BatchNormalization."""
    low = {"low": 0.5, "high": 2}
    operands = X(IMAGE), W((3,)), W((3,)), W((3,)), W((3,), **low)
    return old("BatchNormalization", opset, *operands, epsilon=1e-3, **attrs)


MOVES = (
    old("Slice", 7, X(IMAGE), starts=[1, -3], ends=[3, 100], axes=[1, 3]),
    old("Slice", 9, X((4, 3)), starts=[0, 1], ends=[-1, 3]),
    old("Slice", 10, X(IMAGE), i64(-1), i64(0), i64(2), i64(-2), about="with steps"),
    old("Pad", 7, X(IMAGE), pads=[0, 0, 1, 2, 0, 0, 0, 1]),
    old("Pad", 10, X(IMAGE), pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"),
    old("Pad", 9, X(IMAGE), pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="edge"),
    old("Pad", 8, X(IMAGE), pads=[0, 0, 0, 2, 0, 0, 0, 0], mode="constant", value=-1.5),
    old("Pad", 7, X(IMAGE), pads=[0, 0, -1, 0, 0, 0, 0, -2]),
    old("Squeeze", 7, X((2, 1, 3, 1)), axes=[1, 3]),
    old("Squeeze", 11, X((2, 1, 3)), axes=[-2]),
    old("Squeeze", 8, X((2, 1, 3))),
    old("Unsqueeze", 7, X((2, 3)), axes=[0, 3]),
    old("Unsqueeze", 11, X((2, 3)), axes=[-1]),
    old("Split", 7, X(IMAGE), split=[1, 2], axis=1, outputs=2),
    old("Split", 11, X(IMAGE), axis=-2, outputs=3),
    old("Concat", 7, X((2, 3)), W((2, 1)), axis=1),
    old("Flatten", 7, X(IMAGE), axis=2),
    old("Flatten", 11, X(IMAGE), axis=-1),
    old("Reshape", 7, X(IMAGE), i64(0, -1, 5)),
    old("Tile", 7, X((2, 3)), i64(1, 2)),
    old("Expand", 8, X((2, 1)), i64(2, 4)),
    old("Gather", 7, X(IMAGE), i64(2, 0), axis=1),
    old("Scatter", 9, X((3, 3)), W(np.array([[1, 0, 2]], np.int64)), X((1, 3)), axis=0),
    old("DepthToSpace", 7, X((2, 8, 2, 3)), blocksize=2),
    old("DepthToSpace", 11, X((2, 8, 2, 3)), blocksize=2, mode="CRD"),
    old("SpaceToDepth", 7, X((2, 2, 4, 6)), blocksize=2),
    old("Dropout", 7, X((2, 3)), ratio=0.3),
    old("Dropout", 7, X((2, 3)), outputs=2, about="with its mask"),
    old("Dropout", 10, X((2, 3)), outputs=2, about="with its mask"),
    old("Dropout", 12, X((2, 3)), W(np.float32(0.4)), about="ratio as an input"),
    old("Cast", 7, X((2, 3)), to=11),
    old("Identity", 7, X((2, 3))),
    old("Upsample", 7, X((1, 2, 3, 3)), scales=[1.0, 1.0, 2.0, 3.0]),
    old("Upsample", 8, X((1, 2, 3, 3)), scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    old("Upsample", 9, X((1, 2, 3, 3)), f32(1, 1, 2, 2), mode="nearest"),
    old("Upsample", 9, X((1, 2, 3, 3)), f32(1, 1, 1.5, 2), mode="linear"),
    old("Resize", 10, X((1, 2, 4, 4)), f32(1, 1, 2, 1.5), mode="nearest"),
    old("Resize", 10, X((1, 2, 4, 4)), f32(1, 1, 0.5, 0.5), mode="nearest", about="smaller"),
    old("Resize", 10, X((1, 2, 4, 4)), f32(1, 1, 2, 0.75), mode="linear"),
    old("Resize", 11, X((1, 2, 4, 4)), f32(), f32(1, 1, 2, 1.5), mode="nearest"),
    old("Resize", 11, X((1, 2, 4, 4)), f32(), f32(), i64(1, 2, 7, 3), mode="linear",
        coordinate_transformation_mode="align_corners"),
    old("Resize", 11, X((1, 2, 4, 4)), f32(), f32(1, 1, 1.5, 2), mode="cubic", cubic_coeff_a=-0.5),
    old("Resize", 11, X((1, 2, 4, 4)), f32(0, 0, .1, .2, 1, 1, .9, 1.1), f32(), i64(1, 2, 3, 5),
        mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=2.0),
)  # fmt: skip

NUMBERS = (
    old("Clip", 7, X((2, 3)), min=-0.5, max=0.5),
    old("Clip", 7, X((2, 3)), min=0.0),
    old("Clip", 10, X((2, 3))),
    old("Clip", 11, X((2, 3)), None, W(np.float32(0.25)), about="max as an input"),
    *(old(f"Reduce{kind}", 7, X(IMAGE, low=0.2, high=2), axes=[1, 3], keepdims=keep)
      for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum",
                   "LogSumExp") for keep in (0, 1)),
    *(old(f"Reduce{kind}", 11, X(IMAGE), axes=[-1]) for kind in ("Sum", "Mean", "Max", "L2")),
    old("ReduceSum", 7, X((2, 3))),
    old("ReduceMax", 12, X((2, 3)), keepdims=0),
    old("TopK", 7, X((2, 5)), k=2, outputs=2),
    old("TopK", 10, X((2, 5)), i64(3), outputs=2),
    old("TopK", 11, X((5, 2)), i64(3), largest=0, axis=0, outputs=2),
    old("Sum", 7, X((2, 3)), X((2, 3))),
    old("Sum", 8, X((2, 3)), X((3,)), W((2, 1))),
    old("Mean", 8, X((2, 3)), X((1, 3))),
    old("Max", 8, X((2, 3)), X((3,))),
    old("Min", 12, X((2, 3)), X((2, 1))),
    *(old(op, 7, X((2, 3)), W((3,), low=0.5, high=2)) for op in ("Add", "Sub", "Mul", "Div")),
    old("Pow", 7, X((2, 3), low=0.1, high=2), W(np.float32(1.5))),
    old("Gemm", 7, X((2, 3)), W((4, 3)), W((4,)), transB=1),
    old("Gemm", 9, X((2, 3)), W((3, 4)), W((1, 4)), alpha=0.5, beta=2.0),
    old("Gemm", 11, X((2, 3)), W((3, 4))),
    old("MatMul", 7, X((2, 3)), W((3, 4))),
    old("PRelu", 7, X(IMAGE), W((3, 1, 1))),
    old("PRelu", 9, X(IMAGE), W((1,))),
    *(old(op, 7, X(IMAGE)) for op in ("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Softsign",
                                     "Softplus", "Sigmoid", "Tanh", "Relu", "Abs", "Exp")),
    old("ThresholdedRelu", 10, X((2, 3)), alpha=0.4),
    *(old(op, opset, X((2, 3, 4, 2)), axis=axis) for op in ("Softmax", "LogSoftmax", "Hardmax")
      for opset, axis in ((7, 1), (11, 2), (12, -1))),
    old("Softmax", 9, X((2, 3, 4))),
)  # fmt: skip

LAYERS = (
    norm(7),
    norm(9),
    norm(14),
    old("MaxPool", 7, X(IMAGE), kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
    old("MaxPool", 7, X(IMAGE), kernel_shape=[3, 3], auto_pad="SAME_LOWER"),
    old("MaxPool", 8, X(IMAGE), kernel_shape=[2, 2], outputs=2),
    old("MaxPool", 10, X(IMAGE), kernel_shape=[2, 2], dilations=[2, 1], ceil_mode=1),
    old("AveragePool", 7, X(IMAGE), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    old("AveragePool", 7, X(IMAGE), kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 2]),
    old("AveragePool", 10, X(IMAGE), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    old("GlobalAveragePool", 7, X(IMAGE)),
    old("GlobalMaxPool", 7, X(IMAGE)),
    old("LpPool", 7, X(IMAGE), kernel_shape=[2, 2], p=3),
    old("GlobalLpPool", 7, X(IMAGE), p=2),
    old("LRN", 7, X((2, 6, 3, 3)), size=3, alpha=0.3, beta=0.6, bias=1.5),
    old("InstanceNormalization", 7, X(IMAGE), W((3,)), W((3,))),
    old("LpNormalization", 7, X((2, 5)), p=1, axis=1),
    old("MeanVarianceNormalization", 9, X(IMAGE)),
    old("Conv", 7, X(IMAGE), W((4, 3, 3, 3)), W((4,)), auto_pad="SAME_UPPER", strides=[2, 2]),
    old("ConvTranspose", 7, X((1, 3, 4, 4)), W((3, 2, 3, 3)), strides=[2, 2], output_shape=[8, 8]),
    old("ConvTranspose", 10, X((1, 3, 4, 4)), W((3, 2, 2, 2)), W((2,)), strides=[2, 2]),
)  # fmt: skip

CASES = (*MOVES, *NUMBERS, *LAYERS)
