"""Nothing to share out: dead neurons, inputs of zeros, weights of zeros, no eps, half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import rfponnx
from rfponnx.rules.composite import COMPOSITES
from rfponnx.verify.float64 import Float64
from tests.backward.nets import BLOCKS, GATES, PIXELS, TOKENS
from tests.backward.seeds import ACCOUNTS, imbalance
from tests.emit.nets import Net, run

NETS = (BLOCKS, PIXELS, GATES, TOKENS)
NO_EPS: dict[str, Any] = {"eps": 0, "stabiliser": 0}
#: Ways in which relevance is carried, and each policy.
WAYS: tuple[dict[str, Any], ...] = tuple(
    {"composite": name, "residual": residual, "set": {**NO_EPS, "batchnorm": norm}}
    for (name, residual), norm in zip(
        [
            ("epsilon", "proportional"), ("z_plus", "ratio"), ("gamma", "symmetric"),
            ("alpha2_beta1", "ratio"), ("w_square", "proportional"), ("flat", "ratio"),
            ("z_box", "proportional"), ("lrp_resnet", "ratio"), ("lrp_resnet_code", "symmetric"),
        ],
        ["merge", "linear", "pass"] * 3, strict=True,
    )
)  # fmt: skip


def without(net: Net, what: str) -> ModelProto:
    """Return a net with a part of its weights (or all of them) 0."""
    model = net.model()
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        if value.ndim < 1 or tensor.name.startswith("var"):
            continue
        if what == "weights" and value.ndim > 1:
            value[...] = 0
        elif what == "neurons":  # of every second output there is nothing, whatever comes in
            value[1::2] = 0
        elif what == "biases" and value.ndim == 1:
            value[...] = 0
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w["composite"])
@pytest.mark.parametrize("what", ["weights", "neurons", "zeros"])
@pytest.mark.parametrize("net", NETS, ids=str)
def test_no_number_is_lost(net: Net, what: str, way: dict[str, Any]) -> None:
    feeds, model = net.feeds(), without(net, "biases" if what == "zeros" else what)
    if what == "zeros":
        feeds = {n: np.zeros_like(v) for n, v in feeds.items()}
    given = {**way, "method": "lrp", "target": "argmax,1", "seed_value": "one"}
    made = rfponnx.convert(model, sources=list(net.sources), account="explicit", **given)
    assert imbalance(made, run(made.model, feeds), feeds) <= 1e-4
    assert imbalance(made, Float64(made.model).run(feeds), feeds) <= 1e-10


@pytest.mark.parametrize("name", [n for n in COMPOSITES if n not in ("w_square", "flat")])
def test_an_input_of_zeros_without_biases_leaks_it_all(name: str) -> None:
    """No contribution, no bias: there is nobody to give relevance to."""
    net = Net(
        "bare", """ (float[N, 3, H, W] x) => (float[N, 2] y) {
          c = Conv<pads = [1, 1, 1, 1]>(x, w1)\n r = Relu(c)
          p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
          f = Flatten(p)\n y = MatMul(f, w2) }""",
        {"w1": (4, 3, 3, 3), "w2": (48, 2)}, ("x=x",),
    )  # fmt: skip
    feeds = {"x": np.zeros((2, 3, 6, 8), np.float32)}
    if name in ("epsilon_plus_flat", "epsilon_alpha2_beta1_flat", "lrp_resnet_code"):
        return  # these give it to the input, or to ones, if it came so far
    made = net.convert(
        method="lrp", composite=name, account="explicit", seed_value="one", set=NO_EPS
    )
    out = run(made.model, feeds)
    assert not out["x_relevance"].any()
    assert not out["bias_relevance"].any()
    assert np.array_equal(out["leak_relevance"], np.ones(2, np.float32))


@pytest.mark.parametrize("name", ["w_square", "flat"])
def test_an_input_of_zeros_gets_what_is_due_to_its_weights(name: str) -> None:
    net = Net(
        "weighed",
        "(float[N, 3] x) => (float[N, 2] y) { y = MatMul(x, w) }",
        {"w": (3, 2)},
        ("x=x",),
    )
    w = numpy_helper.to_array(net.model().graph.initializer[0]).astype(np.float64)
    made = net.convert(method="lrp", composite=name, target=1, seed_value="one", set=NO_EPS)
    out = run(made.model, {"x": np.zeros((1, 3), np.float32)})
    share = w[:, 1] ** 2 if name == "w_square" else np.ones(3)
    assert np.allclose(out["x_relevance"][0], share / share.sum(), rtol=1e-6)


def half(net: Net) -> ModelProto:
    """Return a net in half precision."""
    model = net.model()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in model.graph.node:
        assert not any(a.name == "to" for a in node.attribute)
    return model


@pytest.mark.parametrize("way", [*WAYS, {"composite": "epsilon_plus_flat"}, {}],
                         ids=lambda w: str(w.get("composite")) + "-no" * ("set" in w))  # fmt: skip
@pytest.mark.parametrize("zero", [False, True])
def test_half_precision(way: dict[str, Any], zero: bool) -> None:
    """Numbers of 11 bits: the sum is right to some of them, and nothing overflows."""
    feeds = {n: v.astype(np.float16) * (not zero) for n, v in BLOCKS.feeds().items()}
    made = rfponnx.convert(half(BLOCKS), method="lrp", account="explicit", **way)
    kinds = {o.name: o.type.tensor_type.elem_type for o in made.model.graph.output}
    assert {kinds[n] for n in ("x_relevance", *ACCOUNTS)} == {TensorProto.FLOAT16}
    assert imbalance(made, run(made.model, feeds), feeds) <= 0.03
    assert helper.tensor_dtype_to_np_dtype(kinds["x_relevance"]) == np.float16
