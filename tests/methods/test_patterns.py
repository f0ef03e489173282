"""Patterns from data: laws of the estimators, and the dense reference for every kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import rfponnx
from rfponnx.errors import RfpError
from tests.ops.harness import worst
from tests.reference import nets
from tests.reference.export import export
from tests.reference.net import Net
from tests.reference.patterns import fitted, linear_pattern, positive_pattern

Rng = np.random.Generator
ESTIMATORS = ("linear", "positive")
#: float32 activations, summed in float64; an entry of a pattern is a quotient of differences.
SINGLE = 2e-4


def model(
    nodes: list[onnx.NodeProto], x: list[Any], weights: dict[str, np.ndarray[Any, Any]]
) -> ModelProto:
    """Return a model that reads ``x`` and makes ``y``."""
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(
        nodes, "patterns", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [onnx.ValueInfoProto(name="y")], tensors,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def on_its_own(make: Callable[[Rng], Net], rng: Rng) -> Net:
    """Return a network whose layers are gated by what `fitted` gates them by: their own sign."""
    net = make(rng)
    assert not any(s.kind in ("batchnorm", "add") for s in net.steps)
    return net


@pytest.mark.parametrize("make", [nets.layers, nets.vgg, nets.pools], ids=lambda f: f.__name__)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_formulas(make: Callable[[Rng], Net], estimator: str, rng: Rng) -> None:
    net = on_its_own(make, rng)
    x = rng.normal(size=(40, *net.shape)).astype(np.float32)
    found = rfponnx.fit_patterns(export(net), {"x": x}, estimator=estimator, batch=7)
    wanted = fitted(net, list(x.astype(np.float64)), estimator)
    assert list(found.arrays) == list(wanted)
    assert found.samples == 40
    for name, a in wanted.items():
        known = np.isfinite(a).all(axis=tuple(range(1, a.ndim)))
        assert worst(found.arrays[name][known].astype(np.float64), a[known]) < SINGLE, name


@pytest.mark.parametrize("make", nets.NETS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_weight_reads_its_pattern_as_one(
    make: Callable[[Rng], Net], estimator: str, rng: Rng
) -> None:
    net = make(rng)
    x = rng.normal(size=(30, *net.shape)).astype(np.float32)
    found = rfponnx.fit_patterns(export(net), {"x": x}, estimator=estimator)
    for one in found.layers:
        w = net.step(one.weight.removesuffix(".w")).p["w"]
        a = found.arrays[one.weight].astype(np.float64)
        assert a.shape == w.shape
        reads = (w * a).sum(axis=tuple(range(1, w.ndim)))
        assert np.count_nonzero(np.abs(reads) < 0.5) == one.undetermined
        np.testing.assert_allclose(reads[np.abs(reads) > 0.5], 1, rtol=1e-4)


def test_the_signal_is_found_behind_a_distractor(rng: Rng) -> None:
    """x = d s + v e with w.d = 1, w.v = 0: w sees s alone, and its pattern is d."""
    n = 20_000
    w, d, v = np.array([1.0, -1.0]), np.array([2.0, 1.0]), np.array([1.0, 1.0])
    s, e = rng.normal(size=(2, n))
    x = (np.outer(s, d) + np.outer(e, v)).astype(np.float32)
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], ["N", 2], {"w": w[:, None]})
    a = rfponnx.fit_patterns(made, {"x": x}, estimator="linear").arrays["w"][:, 0]
    np.testing.assert_allclose(a, d, atol=5 / np.sqrt(n))
    assert np.abs(a - w / (w @ w)).max() > 0.5  # the weight itself points elsewhere


def test_the_positive_regime_has_a_signal_of_its_own(rng: Rng) -> None:
    """The two-component estimator finds the direction that holds where the ReLU is on."""
    n = 20_000
    s = rng.normal(size=n)
    up, down, noise = np.array([1.0, 2.0]), np.array([1.0, -3.0]), np.array([0.0, 1.0])
    x = np.where(s[:, None] > 0, np.outer(s, up), np.outer(s, down))
    x = (x + np.outer(rng.normal(size=n), noise)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    made = model(nodes, ["N", 2], {"w": np.array([[1.0], [0.0]])})
    a = {k: rfponnx.fit_patterns(made, {"x": x}, estimator=k).arrays["w"][:, 0] for k in ESTIMATORS}
    np.testing.assert_allclose(a["positive"], up, atol=10 / np.sqrt(n))
    np.testing.assert_allclose(a["linear"], (up + down) / 2, atol=0.3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_do_not_matter(estimator: str, batch: int, rng: Rng) -> None:
    net = nets.vgg(rng)
    x = rng.normal(size=(10, *net.shape)).astype(np.float32)
    one = rfponnx.fit_patterns(export(net), {"x": x}, estimator=estimator)
    parts = ({"x": x[:4]}, {"x": x[4:]})
    for found in (
        rfponnx.fit_patterns(export(net), {"x": x}, estimator=estimator, batch=batch),
        rfponnx.fit_patterns(export(net), parts, estimator=estimator),
    ):
        for name, a in one.arrays.items():
            assert worst(found.arrays[name].astype(float), a.astype(float)) < SINGLE


def test_batches_are_made_one_after_the_other(rng: Rng) -> None:
    net, seen = nets.layers(rng), []

    def batches() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for i in range(3):
            seen.append(i)
            yield {"x": rng.normal(size=(4, 7)).astype(np.float32)}

    def progress(_: str) -> None:
        told.append(len(seen))

    told: list[int] = []
    assert rfponnx.fit_patterns(export(net), batches(), progress=progress).samples == 12
    assert told == [1, 2, 3]


def test_an_input_that_is_no_sample_stays_whole(rng: Rng) -> None:
    made = model([helper.make_node("MatMul", ["x", "w"], ["z"]),
                  helper.make_node("Add", ["z", "t"], ["y"])],
                 ["N", 2], {"w": rng.normal(size=(2, 3))})  # fmt: skip
    made.graph.input.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 3]))
    feeds = {"x": rng.normal(size=(70, 2)).astype(np.float32), "t": np.ones((1, 3), np.float32)}
    assert rfponnx.fit_patterns(made, feeds, batch=8).samples == 70


# ---- spellings of a layer ---------------------------------------------------------------


def dense_pattern(
    h: np.ndarray[Any, Any], w: np.ndarray[Any, Any], b: np.ndarray[Any, Any], estimator: str
) -> np.ndarray[Any, Any]:
    """Return the patterns of weights [O, I] for samples [N, I]."""
    if estimator == "linear":
        return np.stack([linear_pattern(h, row) for row in w])
    return np.stack([positive_pattern(h, row, c) for row, c in zip(w, b, strict=True)])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["Gemm", "Gemm, W transposed", "MatMul", "W x", "tokens"])
def test_spellings_of_a_dense_layer(kind: str, estimator: str, rng: Rng) -> None:
    w, b = nets.single(rng.normal(size=(3, 4))), nets.single(rng.normal(size=3))
    relu = helper.make_node("Relu", ["z"], ["y"])
    h = rng.normal(size=(60, 4)).astype(np.float32)
    x, stored, size, nodes = h, w.T, ["N", 4], [relu]
    if kind == "Gemm":
        nodes[:0] = [helper.make_node("Gemm", ["x", "w", "b"], ["z"], alpha=0.5, beta=0.25)]
        gate = b / 2  # of y / alpha
    elif kind == "Gemm, W transposed":
        nodes[:0] = [helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1)]
        stored, gate = w, b
    elif kind == "W x":
        nodes[:0] = [helper.make_node("MatMul", ["w", "x"], ["z"])]
        stored, gate, x, size = w, 0 * b, np.stack([h[:30].T, h[30:].T]), ["N", 4, 30]
    else:
        nodes[:0] = [helper.make_node("MatMul", ["x", "w"], ["v"]),
                     helper.make_node("Add", ["b", "v"], ["z"])]  # fmt: skip
        gate = b
    if kind == "tokens":
        x, size = h.reshape(6, 10, 4), ["N", 10, 4]
    made = model(nodes, size, {"w": stored, "b": b})
    found = rfponnx.fit_patterns(made, {"x": np.ascontiguousarray(x)}, estimator=estimator)
    wanted = dense_pattern(h.astype(np.float64), w, gate, estimator)
    a = found.arrays["w"].astype(np.float64)
    assert a.shape == stored.shape
    assert worst(a if stored is w else a.T, wanted) < SINGLE


@pytest.mark.parametrize("pads", ["SAME_UPPER", "SAME_LOWER", "VALID", [0, 1, 2, 0]])
def test_windows(pads: Any, rng: Rng) -> None:
    """Patches written out by hand for a strided, grouped convolution with uneven pads."""
    apart = 1 if str(pads).startswith("SAME") else 2  # ONNX Runtime has no SAME with dilations
    attrs = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    w = nets.single(rng.normal(size=(4, 2, 3, 2)))
    made = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 3], dilations=[apart, 1], group=2,
                          **attrs)],
        ["N", 4, 8, 7], {"w": w},
    )  # fmt: skip
    x = rng.normal(size=(12, 4, 8, 7)).astype(np.float32)
    a = rfponnx.fit_patterns(made, {"x": x}, estimator="linear").arrays["w"]
    # 4 x 3 windows under SAME: rows take (4-1)*2+3-8 = 1 more, columns (3-1)*3+2-7 = 1
    top, left, bottom, right = {"SAME_UPPER": (0, 0, 1, 1), "SAME_LOWER": (1, 1, 0, 0),
                                "VALID": (0, 0, 0, 0)}.get(str(pads), (0, 1, 2, 0))  # fmt: skip
    grown = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = (
        (grown.shape[i] - n) // s + 1 for i, n, s in ((2, 2 * apart + 1, 2), (3, 2, 3))
    )
    for o in range(4):
        own = grown[:, 2 * (o // 2) : 2 * (o // 2) + 2]
        h = np.concatenate([
            own[:, :, 2 * q : 2 * q + 2 * apart + 1 : apart, 3 * r : 3 * r + 2].reshape(12, -1)
            for q in range(rows) for r in range(columns)
        ])  # fmt: skip
        wanted = linear_pattern(h, w[o].ravel())
        assert worst(a[o].ravel().astype(np.float64), wanted) < SINGLE


def test_one_axis_and_a_channel_each(rng: Rng) -> None:
    w = nets.single(rng.normal(size=(3, 1, 2)))
    made = model([helper.make_node("Conv", ["x", "w"], ["y"], group=3)], ["N", 3, 7], {"w": w})
    x = rng.normal(size=(20, 3, 7)).astype(np.float32)
    a = rfponnx.fit_patterns(made, {"x": x}, estimator="linear").arrays["w"]
    for o in range(3):
        h = np.concatenate([x[:, o, q : q + 2] for q in range(6)]).astype(np.float64)
        assert worst(a[o, 0].astype(np.float64), linear_pattern(h, w[o, 0])) < SINGLE


@pytest.mark.parametrize(
    ("between", "gate"),
    [
        (["Relu z y"], lambda z: z),
        (["Add z c v", "Relu v y"], lambda z: z + 0.75),
        (["BatchNormalization z s c m t v", "Relu v y"], lambda z: -2 * (z - 0.5) / 2 + 0.75),
        (["Clip z zero y"], lambda z: z),
        (["Add z c y"], lambda z: z + 0.75),
        (["Add z z y"], lambda z: z),
        (["Tanh z y"], lambda z: z),
        (["Relu z v", "Add z v y"], lambda z: z),
    ],
    ids=lambda v: "-".join(w.split()[0] for w in v) if isinstance(v, list) else "",
)
def test_what_switches_a_unit_on(between: list[str], gate: Any, rng: Rng) -> None:
    w = nets.single(rng.normal(size=(1, 3)))
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1)]
    for text in between:
        op, *names = text.split()
        attrs = {"epsilon": 0.0} if op == "BatchNormalization" else {}
        nodes.append(helper.make_node(op, names[:-1], names[-1:], **attrs))
    one = {"s": [-2.0], "c": [0.75], "m": [0.5], "t": [4.0]}
    stored = {"w": w, **{n: np.array(v) for n, v in one.items()}, "zero": np.array(0.0)}
    used = {name for text in between for name in text.split()} | {"w"}
    made = model(nodes, ["N", 3], {n: a for n, a in stored.items() if n in used})
    h = rng.normal(size=(80, 3)).astype(np.float32)
    found = rfponnx.fit_patterns(made, {"x": h}).arrays["w"][0]
    z = h.astype(np.float64) @ w[0]
    on = gate(z) > 0
    mean = h[on].mean(axis=0)
    direction = (h[on] * z[on, None]).mean(axis=0) - mean * z.mean()
    assert worst(found.astype(np.float64), direction / (w[0] @ direction)) < SINGLE


# ---- what has no pattern ----------------------------------------------------------------


def test_units_that_are_never_on_have_none(rng: Rng) -> None:
    w, b = np.ones((2, 2)), np.array([0.0, -100.0])
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    found = rfponnx.fit_patterns(
        model(nodes, ["N", 2], {"w": w, "b": b}),
        {"x": rng.normal(size=(9, 2)).astype(np.float32)},
    )
    assert found.layers[0].undetermined == 1
    assert (found.arrays["w"][:, 1] == 0).all()
    assert found.arrays["w"][:, 0].sum() == pytest.approx(1, rel=1e-5)


def test_a_bias_that_is_computed(rng: Rng) -> None:
    w, b = nets.single(rng.normal(size=(2, 3, 1, 1))), nets.single(rng.normal(size=2))
    nodes = [
        helper.make_node("Shape", ["w"], ["sizes"], start=0, end=1),
        helper.make_node("Expand", ["b", "sizes"], ["c"]),
        helper.make_node("Conv", ["x", "w", "c"], ["z"]), helper.make_node("Relu", ["z"], ["y"]),
    ]  # fmt: skip
    made = model(nodes, ["N", 3, 2, 2], {"w": w, "b": b})
    x = rng.normal(size=(30, 3, 2, 2)).astype(np.float32)
    a = rfponnx.fit_patterns(made, {"x": x}).arrays["w"]
    h = np.moveaxis(x, 1, -1).reshape(-1, 3).astype(np.float64)
    for o in range(2):
        wanted = positive_pattern(h, w[o].ravel(), b[o])
        assert worst(a[o].ravel().astype(np.float64), wanted) < SINGLE


def test_a_pattern_that_no_number_holds(rng: Rng) -> None:
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], ["N", 2],
                 {"w": np.array([[1e-39, 1], [0, 1]])})  # fmt: skip
    x = rng.normal(size=(9, 2)).astype(np.float32)
    found = rfponnx.fit_patterns(made, {"x": x}, estimator="linear")
    assert np.isfinite(found.arrays["w"]).all()
    assert found.layers[0].undetermined == 1


def test_what_is_left_out_is_named(rng: Rng) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="one"),
        helper.make_node("MatMul", ["a", "w"], ["b"], name="two"),
        helper.make_node("MatMul", ["b", "stack"], ["y"], name="three"),
    ]
    made = model(nodes, ["N", 2, 2], {"w": np.eye(2), "stack": np.ones((1, 2, 2))})
    found = rfponnx.fit_patterns(made, {"x": rng.normal(size=(3, 2, 2)).astype(np.float32)})
    assert [one.weight for one in found.layers] == ["w"]
    assert len(found.left_out) == 2
    assert "`two` shares its weight with `one`" in found.left_out[0]
    assert "`three`" in found.left_out[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"estimator": "positiv"}, "no estimator `positiv`; did you mean `positive`"),
        ({"batch": 0}, "--batch: 0 at a time"),
        ({"provider": "tpu"}, "no provider `tpu`"),
        ({"data": {"z": np.zeros((1, 7), np.float32)}}, "no input `z`"),
        ({"data": {"x": np.zeros((1, 6), np.float32)}}, "expected the shape"),
        ({"data": {"x": np.zeros((1, 7))}}, "expected float32, got float64"),
        ({"data": {"x": np.full((1, 7), np.nan, np.float32)}}, "not a finite|holds nan"),
        ({"data": []}, "no samples"),
        ({"data": {"x": np.zeros((0, 7), np.float32)}}, "has no entries"),
        ({"data": "nowhere.npy"}, "no such file"),
    ],
)
def test_one_line_says_what_is_wrong(options: dict[str, Any], says: str, rng: Rng) -> None:
    given = {"data": {"x": np.zeros((2, 7), np.float32)}, **options}
    with pytest.raises(RfpError, match=says):
        rfponnx.fit_patterns(export(nets.layers(rng)), **given)


def test_a_model_without_layers() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], ["N", 2], {})
    with pytest.raises(RfpError, match="no linear layer with a constant weight"):
        rfponnx.fit_patterns(made, {"x": np.zeros((1, 2), np.float32)})


def test_weights_in_another_file(rng: Rng, tmp_path: Path) -> None:
    net = nets.layers(rng)
    x = rng.normal(size=(20, 7)).astype(np.float32)
    onnx.save(export(net), tmp_path / "one.onnx")
    onnx.save(export(net), tmp_path / "two.onnx", save_as_external_data=True, location="w.bin",
              size_threshold=0)  # fmt: skip
    one, two = (rfponnx.fit_patterns(tmp_path / f"{n}.onnx", {"x": x}) for n in ("one", "two"))
    for name, a in one.arrays.items():
        np.testing.assert_array_equal(a, two.arrays[name])
