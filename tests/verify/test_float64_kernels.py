"""The float64 kernels agree with ONNX Runtime in float32, over a table of cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from rfponnx.verify.float64 import Float64
from rfponnx.verify.kernels_conv import conv, conv_transpose
from rfponnx.verify.kernels_math import erf

# float32 sums of some hundred terms of order one
TOLERANCE = 1e-5


def single(
    op: str, inputs: Sequence[Any], attributes: dict[str, Any], opset: int, outputs: int
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return a model of one node, and its feeds."""
    arrays = {f"x{i}": np.asarray(v) for i, v in enumerate(inputs) if v is not None}
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(inputs)]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, **attributes)
    graph = helper.make_graph(
        [node],
        "single",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
        ],
        [onnx.ValueInfoProto(name=n) for n in made],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return model, arrays


def runtime(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    """Run in float32 without optimisation."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def draw(*shape: int, seed: int = 0) -> Any:
    """Return standard normal values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(op: str, inputs: Sequence[Any], opset: int, outputs: int, **attributes: Any) -> None:
    """Compare one case."""
    model, feeds = single(op, inputs, attributes, opset, outputs)
    expected = runtime(model, feeds)
    found = list(Float64(model).run(feeds).values())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        if theirs.dtype.kind != "f":
            np.testing.assert_array_equal(ours, theirs)
            continue
        assert ours.dtype == np.float64
        scale = np.abs(theirs).max(initial=1.0, where=np.isfinite(theirs))
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * float(scale))


CONV: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8, 9), (4, 3, 3, 3), {}),
    ((1, 3, 8, 9), (4, 3, 1, 1), {}),
    ((1, 3, 8, 9), (4, 3, 1, 1), {"strides": [2, 3]}),
    ((1, 4, 8, 9), (6, 2, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ((2, 4, 8, 9), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((2, 4, 8, 9), (8, 1, 3, 3), {"group": 4, "dilations": [2, 1], "strides": [1, 2]}),
    ((1, 2, 7, 8), (3, 2, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 2, 7, 8), (3, 2, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ((1, 2, 7, 8), (3, 2, 3, 4), {"auto_pad": "VALID"}),
    ((1, 2, 17), (3, 2, 5), {"dilations": [3], "pads": [2, 4]}),
    ((1, 2, 5, 6, 7), (4, 1, 2, 3, 2), {"group": 2, "pads": [1, 0, 1, 0, 2, 0]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONV)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(
    x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], bias: bool
) -> None:
    b = draw(w[0], seed=2) if bias else None
    check("Conv", [draw(*x), draw(*w, seed=1), b], 11, 1, **attributes)


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5, 6), (3, 4, 3, 3), {}),
    ((1, 4, 5, 6), (4, 3, 3, 2), {"group": 2, "strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ((1, 4, 5, 6), (4, 1, 3, 3), {"group": 4, "strides": [2, 2], "output_padding": [1, 1]}),
    ((1, 2, 5, 6), (2, 3, 3, 3), {"dilations": [2, 1], "strides": [1, 2]}),
    ((1, 2, 5, 6), (2, 3, 3, 3), {"strides": [3, 2], "output_shape": [16, 12]}),
    ((1, 2, 5, 6), (2, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 5, 6), (2, 3, 4, 4), {"strides": [3, 3], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 9), (2, 3, 4), {"strides": [2], "pads": [1, 1]}),
    ((1, 2, 3, 4, 5), (2, 2, 2, 3, 2), {"strides": [2, 1, 2]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), TRANSPOSED)
@pytest.mark.parametrize("bias", [False, True])
def test_conv_transpose(
    x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], bias: bool
) -> None:
    outputs = w[1] * attributes.get("group", 1)
    b = draw(outputs, seed=2) if bias else None
    check("ConvTranspose", [draw(*x), draw(*w, seed=1), b], 11, 1, **attributes)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_conv_transpose_is_the_adjoint_of_conv(group: int) -> None:
    sliding: dict[str, Any] = {
        "strides": [2, 1],
        "pads": [1, 0, 2, 1],
        "dilations": [1, 2],
        "group": group,
    }
    v, w = draw(2, 4, 8, 9).astype(np.float64), draw(8, 4 // group, 3, 2).astype(np.float64)
    pushed = conv(v, w, **sliding)
    u = draw(*pushed.shape, seed=1).astype(np.float64)
    pulled = conv_transpose(u, w, **sliding)
    assert pulled.shape == v.shape
    left, right = float((u * pushed).sum()), float((pulled * v).sum())
    # float64 rounding of some thousand terms
    assert abs(left - right) <= 1e-12 * float(np.abs(u * pushed).sum())


POOLED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8, 9), {"kernel_shape": [3, 3]}),
    ((1, 3, 8, 9), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ((1, 3, 8, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    (
        (1, 3, 7, 7),
        {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    ),
    ((1, 3, 8, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 8, 9), {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 15), {"kernel_shape": [4], "strides": [3], "pads": [2, 1]}),
    ((1, 2, 5, 6, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2]}),
]
DILATED = {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [1, 2], "pads": [1, 1, 2, 1]}


@pytest.mark.parametrize(("x", "attributes"), [*POOLED, ((1, 2, 9, 10), DILATED)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_max_pool(x: tuple[int, ...], attributes: dict[str, Any], outputs: int) -> None:
    # rounded values make ties: the first maximum must win
    check("MaxPool", [np.rint(draw(*x))], 12, outputs, **attributes)


@pytest.mark.parametrize("order", [0, 1])
def test_max_pool_storage_order(order: int) -> None:
    sliding = {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": order}
    check("MaxPool", [draw(2, 2, 4, 6)], 12, 2, **sliding)


def test_max_pool_padding_never_wins() -> None:
    x = np.full((1, 1, 3, 3), -5.0, np.float32)
    check("MaxPool", [x], 12, 2, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@pytest.mark.parametrize(("x", "attributes"), [*POOLED, ((1, 2, 9, 10), DILATED)])
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(x: tuple[int, ...], attributes: dict[str, Any], include: int) -> None:
    check("AveragePool", [draw(*x)], 19, 1, count_include_pad=include, **attributes)


@pytest.mark.parametrize(("x", "attributes"), [*POOLED, ((1, 2, 9, 10), DILATED)])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(x: tuple[int, ...], attributes: dict[str, Any], p: int) -> None:
    check("LpPool", [draw(*x)], 18, 1, p=p, **attributes)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pool(op: str) -> None:
    check(op, [draw(2, 3, 4, 5)], 13, 1)


@pytest.mark.parametrize("larger", [False, True])
def test_max_unpool(larger: bool) -> None:
    x, index = draw(1, 1, 2, 2), np.array([[[[0, 3], [9, 14]]]], np.int64)
    shape = [np.array([1, 1, 5, 5], np.int64)] if larger else []
    check("MaxUnpool", [x, index, *shape], 11, 1, kernel_shape=[2, 2], strides=[2, 2])


NORMS: list[tuple[str, list[Any], dict[str, Any], int, int]] = [
    ("BatchNormalization", [draw(2, 3, 4), *(abs(draw(3, seed=i)) for i in range(4))], {}, 9, 1),
    ("BatchNormalization", [draw(2, 3), *(abs(draw(3, seed=i)) for i in range(4))], {}, 15, 1),
    ("InstanceNormalization", [draw(2, 3, 4, 5), draw(3, seed=1), draw(3, seed=2)], {}, 6, 1),
    ("GroupNormalization", [draw(2, 6, 4), draw(2), draw(2, seed=1)], {"num_groups": 2}, 18, 1),
    ("GroupNormalization", [draw(2, 6, 4), draw(6), draw(6, seed=1)], {"num_groups": 2}, 21, 1),
    ("LayerNormalization", [draw(2, 3, 4), draw(4, seed=1), draw(4, seed=2)], {}, 17, 3),
    ("LayerNormalization", [draw(2, 3, 4), draw(3, 4, seed=1)], {"axis": 1}, 17, 1),
    ("LRN", [draw(2, 5, 3, 4)], {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}, 13, 1),
    ("MeanVarianceNormalization", [draw(2, 3, 4, 5)], {}, 13, 1),
    ("MeanVarianceNormalization", [draw(2, 3, 4, 5)], {"axes": [0, 1, 2, 3]}, 13, 1),
    ("LpNormalization", [draw(3, 4)], {"p": 1, "axis": 0}, 1, 1),
    ("LpNormalization", [draw(3, 4)], {"p": 2}, 1, 1),
    ("Softmax", [100 * draw(2, 3, 4)], {}, 13, 1),
    ("Softmax", [draw(2, 3, 4)], {"axis": 1}, 11, 1),
    ("Softmax", [draw(2, 3, 4)], {}, 11, 1),
    ("LogSoftmax", [100 * draw(2, 3, 4)], {"axis": 1}, 13, 1),
    ("Hardmax", [np.rint(draw(4, 5))], {}, 13, 1),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "opset", "outputs"), NORMS)
def test_normalisations(
    op: str, inputs: list[Any], attributes: dict[str, Any], opset: int, outputs: int
) -> None:
    check(op, inputs, opset, outputs, **attributes)


SPREAD = np.concatenate([draw(50), 30 * draw(50), [0.0, -0.0, 500.0, -500.0, 1e-30]])
SMOOTH: list[tuple[str, dict[str, Any], int]] = [
    ("Erf", {}, 13),
    ("Sigmoid", {}, 13),
    ("Softplus", {}, 1),
    ("Softsign", {}, 1),
    ("Tanh", {}, 13),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("Mish", {}, 18),
    ("HardSwish", {}, 14),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 6),
    ("HardSigmoid", {"alpha": 2.0**126, "beta": 0.0}, 6),
    ("Elu", {"alpha": 1.5}, 6),
    ("Selu", {}, 6),
    ("Celu", {"alpha": 0.7}, 12),
    ("LeakyRelu", {"alpha": 0.0}, 6),
    ("ThresholdedRelu", {"alpha": 0.5}, 10),
    ("Shrink", {"lambd": 0.5, "bias": 0.1}, 9),
]


@pytest.mark.parametrize(("op", "attributes", "opset"), SMOOTH)
def test_activations(op: str, attributes: dict[str, Any], opset: int) -> None:
    check(op, [SPREAD.astype(np.float32)], opset, 1, **attributes)


SHARED = [op for op, _, _ in SMOOTH if op not in ("Shrink", "ThresholdedRelu", "HardSigmoid")]


@pytest.mark.parametrize("op", sorted(set(SHARED)))
def test_activations_see_what_float32_does_not(op: str) -> None:
    model, feeds = single(op, [draw(100)], {}, 20, 1)
    evaluator = Float64(model)
    near = {"x0": feeds["x0"].astype(np.float64) * (1 + 1e-12)}
    moved = evaluator.run(near)["y0"] != evaluator.run(feeds)["y0"]
    # a saturated value may stay; a kernel with a float32 inside keeps nearly all
    assert moved.mean() > 0.5 or op == "LeakyRelu"


def test_erf_matches_the_standard_library() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), 10.0 ** np.linspace(-300, 1, 500), [np.inf]])
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), expected, rtol=1e-15, atol=3e-16)


INDEX: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("GatherElements", [draw(3, 4), np.array([[0, -1, 2], [1, 1, 0]])], {"axis": 1}, 13),
    ("ScatterElements", [draw(3, 4), np.array([[0, -1], [1, 2]]), draw(2, 2)], {"axis": 1}, 13),
    ("ScatterND", [draw(3, 4), np.array([[0], [2]]), draw(2, 4)], {}, 13),
    ("ScatterND", [draw(3, 4), np.array([[[0, 1]], [[2, -1]]]), draw(2, 1)], {}, 13),
    ("CumSum", [draw(3, 4), np.array(1)], {"exclusive": 1}, 14),
    ("CumSum", [draw(3, 4), np.array([-2])], {"exclusive": 1, "reverse": 1}, 14),
    ("CumSum", [draw(3, 4), np.array(0)], {"reverse": 1}, 14),
    ("Pad", [draw(3, 4), np.array([1, -1, 2, 3])], {}, 13),
    ("Pad", [draw(3, 4), np.array([1, -1, 2, 3]), np.float32(2.5)], {}, 13),
    ("Pad", [draw(3, 4), np.array([2, 1]), None, np.array([-1])], {"mode": "reflect"}, 18),
    ("Pad", [draw(3, 4), np.array([1, 2, 2, 3])], {"mode": "edge"}, 13),
    ("Pad", [draw(3, 4), np.array([1, 2, 2, 3])], {"mode": "wrap"}, 19),
    ("Pad", [draw(3, 4)], {"pads": [1, 0, 2, 1], "value": 1.5}, 2),
    ("Div", [np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])], {}, 13),
    ("Pow", [draw(3, 1), np.array([[2.0]], np.float32)], {}, 13),
    ("Pow", [abs(draw(3, 4)), draw(4)], {}, 13),
    ("PRelu", [draw(2, 3, 4), draw(3, 1)], {}, 9),
    ("TopK", [np.rint(draw(3, 6)), np.array([4])], {"axis": 1}, 11),
    ("DepthToSpace", [draw(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, 13),
    ("SpaceToDepth", [draw(1, 2, 4, 6)], {"blocksize": 2}, 13),
    ("Einsum", [draw(2, 3, 4), draw(2, 4, 5, seed=1)], {"equation": "bij,bjk->bki"}, 12),
    ("Dropout", [draw(2, 3)], {}, 13),
    ("DynamicQuantizeLinear", [draw(5, 7)], {}, 11),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "opset"), INDEX)
def test_moves_and_arithmetic(
    op: str, inputs: list[Any], attributes: dict[str, Any], opset: int
) -> None:
    outputs = {"TopK": 2, "Dropout": 2, "DynamicQuantizeLinear": 3}.get(op, 1)
    check(op, inputs, opset, outputs, **attributes)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_scatter_reductions(op: str, reduction: str) -> None:
    # a target that is hit twice must see both updates
    index = np.array([[1, 1, 0]]).T if op == "ScatterND" else np.array([[1, 1, 1], [0, 1, 1]])
    updates = draw(3, 3, seed=1) if op == "ScatterND" else draw(2, 3, seed=1)
    check(op, [draw(4, 3), index, updates], 18, 1, reduction=reduction)


TRANSFORMATIONS = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
SCALES = [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.6, 0.7], [1.0, 1.0, 0.4, 3.3]]


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_scales(mode: str, transformation: str, scales: list[float]) -> None:
    inputs = [draw(1, 2, 5, 7), None, np.array(scales, np.float32)]
    check("Resize", inputs, 13, 1, mode=mode, coordinate_transformation_mode=transformation)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("transformation", [*TRANSFORMATIONS, "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest(rounding: str, transformation: str, scales: list[float]) -> None:
    style = {"coordinate_transformation_mode": transformation, "nearest_mode": rounding}
    inputs = [draw(1, 2, 5, 7), np.zeros(0, np.float32), np.array(scales, np.float32)]
    check("Resize", inputs, 11, 1, mode="nearest", **style)


RESIZED: list[tuple[dict[str, Any], list[int]]] = [
    ({"mode": "linear"}, [1, 2, 9, 3]),
    ({"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}, [1, 2, 9, 3]),
    ({"mode": "linear", "antialias": 1}, [1, 2, 2, 3]),
    ({"mode": "linear", "antialias": 1}, [1, 2, 9, 3]),
    ({"mode": "cubic", "antialias": 1}, [1, 2, 2, 3]),
    ({"mode": "cubic", "antialias": 1, "exclude_outside": 1}, [1, 2, 2, 3]),
    ({"mode": "cubic", "exclude_outside": 1}, [1, 2, 9, 3]),
    ({"mode": "cubic", "cubic_coeff_a": -0.5}, [1, 2, 9, 3]),
    ({"mode": "nearest"}, [1, 2, 11, 4]),
    ({"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, [10, 10]),
    ({"mode": "nearest", "axes": [3, 2], "keep_aspect_ratio_policy": "not_smaller"}, [10, 9]),
]


@pytest.mark.parametrize(("attributes", "sizes"), RESIZED)
def test_resize_sizes(attributes: dict[str, Any], sizes: list[int]) -> None:
    inputs = [draw(1, 2, 5, 7), None, None, np.array(sizes, np.int64)]
    check("Resize", inputs, 19, 1, **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_crops(mode: str) -> None:
    roi = np.array([0.0, 0.0, 0.2, -0.3, 1.0, 1.0, 0.9, 1.2], np.float32)
    inputs = [draw(1, 2, 5, 7), roi, None, np.array([1, 2, 4, 9], np.int64)]
    style = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 3.0}
    check("Resize", inputs, 13, 1, mode=mode, **style)


@pytest.mark.parametrize("scales", [[1, 1, 2, 3], [1, 1, 1.7, 1], [1, 1, 2.5, 2.5]])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9, 10])
def test_upsample(mode: str, scales: list[float], opset: int) -> None:
    x = draw(1, 2, 4, 5)
    if opset == 7:
        check("Upsample", [x], opset, 1, mode=mode, scales=[float(s) for s in scales])
    else:
        op = "Upsample" if opset == 9 else "Resize"
        check(op, [x, np.array(scales, np.float32)], opset, 1, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_10_shrinks(mode: str) -> None:
    x, scales = draw(1, 2, 8, 9), np.array([1, 1, 0.5, 0.4], np.float32)
    check("Resize", [x, scales], 10, 1, mode=mode)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(mode: str, padding: str, align: int) -> None:
    x, grid = draw(2, 3, 5, 6), 0.9 * draw(2, 4, 3, 2, seed=1)
    check("GridSample", [x, grid], 20, 1, mode=mode, padding_mode=padding, align_corners=align)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(mode: str) -> None:
    x, grid = draw(2, 3, 4, 5, 6), 0.7 * draw(2, 4, 3, 2, 3, seed=1)
    check("GridSample", [x, grid], 20, 1, mode=mode)


@pytest.mark.parametrize("align", [0, 1])
def test_affine_grid(align: int) -> None:
    check("AffineGrid", [draw(2, 2, 3), np.array([2, 1, 4, 5])], 20, 1, align_corners=align)
    check("AffineGrid", [draw(2, 3, 4), np.array([2, 1, 4, 5, 3])], 20, 1, align_corners=align)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_dequantize(axis: int, kind: Any) -> None:
    rng = np.random.default_rng(0)
    x, zero = rng.integers(0, 100, (3, 4)).astype(kind), rng.integers(0, 9, 4 - (1 - axis))
    scale = np.abs(draw(zero.size))
    check("DequantizeLinear", [x, scale, zero.astype(kind)], 13, 1, axis=axis)


RECURRENT: list[tuple[str, int, dict[str, Any]]] = [
    ("LSTM", 4, {}),
    ("LSTM", 4, {"direction": "reverse", "clip": 0.5}),
    ("LSTM", 4, {"direction": "bidirectional", "input_forget": 1}),
    ("LSTM", 4, {"activations": ["HardSigmoid", "Elu", "Softsign"], "activation_alpha": [0.3]}),
    ("GRU", 3, {}),
    ("GRU", 3, {"direction": "bidirectional", "linear_before_reset": 1}),
    ("GRU", 3, {"direction": "reverse", "activations": ["Sigmoid", "Relu"]}),
    ("RNN", 1, {}),
    ("RNN", 1, {"direction": "bidirectional", "activations": ["Relu", "Tanh"]}),
    ("RNN", 1, {"direction": "reverse", "activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("op", "gates", "attributes"), RECURRENT)
def test_recurrent(op: str, gates: int, attributes: dict[str, Any], ragged: bool) -> None:
    d, size = (2 if attributes.get("direction") == "bidirectional" else 1), 5
    shapes = [(d, gates * size, 4), (d, gates * size, size), (d, 2 * gates * size)]
    weights = [0.5 * draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    lengths = np.array([6, 2, 4], np.int32) if ragged else None
    states = [draw(d, 3, size, seed=i) for i in range(2 if op == "LSTM" else 1)]
    peepholes = [draw(d, 3 * size)] if op == "LSTM" and not attributes.get("input_forget") else []
    inputs = [draw(6, 3, 4), *weights, lengths, *states, *peepholes]
    outputs = 3 if op == "LSTM" else 2
    check(op, inputs, 14, outputs, hidden_size=size, **attributes)
