"""A prepared model predicts the same to the last bit, under the same names."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from rfponnx.errors import ModelError
from rfponnx.graph.load import load
from rfponnx.graph.prepare import default_opset, prepare
from rfponnx.graph.walk import order

F = TensorProto.FLOAT
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)


def old_model(tools, ir=3, opset=9, big=True):
    """Opset 9 with operators that changed since: Upsample, Softmax on an inner axis, Squeeze."""
    stored = {
        "w": np.random.default_rng(1).standard_normal((8, 3, 9, 9)).astype(np.float32)
        if big
        else np.ones((8, 3, 1, 1), np.float32),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[4] * 4 if big else [0] * 4),
        helper.make_node("Upsample", ["c", "s"], ["u"], name="up", mode="nearest"),
        helper.make_node("Softmax", ["u"], ["p"], name="soft", axis=1),
        helper.make_node("ReduceMean", ["p"], ["r"], name="mean", axes=[2, 3]),
        helper.make_node("Squeeze", ["r"], ["y"], name="squeeze", axes=[2, 3]),
    ]
    nodes[3].doc_string = "the mean"
    inputs = [("x", F, [2, 3, 4, 4])]
    if ir < 4:
        inputs += [(name, F, list(a.shape)) for name, a in stored.items()]
    return tools.model(nodes, inputs, [("y", F, [2, 8])], stored=stored, opset=opset, ir=ir)


def names(model):
    nodes = {n.name for n in model.graph.node} - {""}
    return nodes | {t for n in model.graph.node for t in n.output}


@pytest.mark.parametrize("ir", [3, 4, 8])
@pytest.mark.parametrize("target", [10, 13, 16, 18])
def test_raising_the_opset_keeps_bits_names_and_weights(tools, ir, target):
    model = old_model(tools, ir)
    before = model.SerializeToString(deterministic=True)
    prepared = prepare(load(model), target)
    done = prepared.proto
    assert model.SerializeToString(deterministic=True) == before
    assert prepared.changes == (f"opset raised from 9 to {target}",)
    assert default_opset(done) == target
    assert done.ir_version == ir
    assert names(model) <= names(done)
    assert list(done.graph.initializer) == list(model.graph.initializer)
    assert list(done.graph.input) == list(model.graph.input)
    assert list(done.graph.output) == list(model.graph.output)
    named = {n.name: n for n in done.graph.node}
    assert named["mean"].doc_string == "the mean"
    assert {"soft": "Softmax", "conv": "Conv"}.items() <= {
        n: named[n].op_type for n in named
    }.items()
    assert tools.run(done, {"x": X})[0].tobytes() == tools.run(model, {"x": X})[0].tobytes()


def test_nodes_that_need_no_change_are_the_original_ones(tools):
    model = old_model(tools)
    done = prepare(load(model), 13).proto
    assert done.graph.node[0] == model.graph.node[0]


def test_nothing_to_do_returns_the_very_proto(tools):
    model = old_model(tools)
    prepared = prepare(load(model), 9)
    assert prepared.proto is model
    assert prepared.changes == ()


def test_unsorted_nodes_are_sorted_and_nothing_else(tools):
    model = old_model(tools)
    reference = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reference[::-1])
    prepared = prepare(load(model), 9)
    assert prepared.changes == ("nodes sorted",)
    assert list(prepared.proto.graph.node) == reference
    assert list(model.graph.node) == reference[::-1]


def test_a_model_without_an_opset_counts_as_the_first(tools):
    model = tools.model([helper.make_node("Neg", ["x"], ["y"])], [("x", F, [1])], [("y", F, [1])])
    del model.opset_import[:]
    assert default_opset(model) == 1


def test_subgraphs_are_raised_too(tools):
    def branch(name, axis):
        node = helper.make_node("Squeeze", ["h"], [f"o{name}"], axes=[axis])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(f"o{name}", F, None)]
        )

    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("a", 0), else_branch=branch("b", 2)
        ),
    ]
    inputs = [("x", F, [1, 3, 1]), ("c", TensorProto.BOOL, [])]
    model = tools.model(nodes, inputs, [("y", F, None)], opset=11)
    done = prepare(load(model), 13).proto
    for c in (True, False):
        feeds = {"x": X[:1, :, :1, 0], "c": np.array(c)}
        one, two = tools.run(model, feeds)[0], tools.run(done, feeds)[0]
        assert one.tobytes() == two.tobytes()
        assert one.shape == two.shape


def function_model(tools):
    body = [
        helper.make_node("Mul", ["a", "b"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
    ]
    opsets = [helper.make_opsetid("", 13)]
    function = helper.make_function("own", "Gate", ["a", "b"], ["r"], body, opsets)
    nodes = [
        helper.make_node("Gate", ["x", "w"], ["h"], name="g1", domain="own"),
        helper.make_node("Gate", ["h", "x"], ["y"], name="g2", domain="own"),
    ]
    stored = {"w": X[:1].repeat(12, axis=0)}
    model = tools.model(nodes, [("x", F, [12, 3, 4, 4])], [("y", F, None)], stored=stored)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    return model


def test_functions_are_inlined(tools):
    model = function_model(tools)
    prepared = prepare(load(model), 13)
    assert prepared.changes == ("1 local function inlined",)
    assert len(model.functions) == 1
    assert not prepared.proto.functions
    assert {"h", "y"} <= names(prepared.proto)
    assert list(prepared.proto.graph.initializer) == list(model.graph.initializer)
    x = {"x": X[:1].repeat(12, axis=0)}
    assert tools.run(prepared.proto, x)[0].tobytes() == tools.run(model, x)[0].tobytes()


def test_an_opset_that_is_too_new_is_refused(tools):
    model = tools.model([helper.make_node("Neg", ["x"], ["y"])], [("x", F, [1])], [("y", F, [1])])
    model.opset_import[0].version = 99
    with pytest.raises(ModelError, match=r"opset 99 is newer .* \(\d\d\); export"):
        prepare(load(model), 13)
    model.opset_import[0].version = 13
    model.ir_version = 99
    with pytest.raises(ModelError, match="IR version 99"):
        prepare(load(model), 13)


def test_a_failing_converter_says_what_to_do(tools):
    """A statistic of a training-mode BatchNormalization has no way from opset 13 to 14."""
    node = helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y", "m2", "v2", "m3", "v3"])
    stored = {name: np.ones(3, np.float32) for name in "sbmv"}
    ends = [("y", F, None), ("m3", F, None)]
    model = tools.model([node], [("x", F, [2, 3, 4, 4])], ends, stored=stored)
    with pytest.raises(ModelError, match=r"cannot be raised to 16: .*export the model"):
        prepare(load(model), 16)


def test_a_batch_normalised_by_itself_stays_so(tools):
    """Opset 13 said it by further outputs, which nobody has to read; opset 14 says it in words."""
    node = helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y", "m2", "v2", "m3", "v3"])
    stored = {name: np.full(3, 2, np.float32) for name in "sbmv"}
    model = tools.model([node], [("x", F, [2, 3, 4, 4])], [("y", F, None)], stored=stored)
    raised = prepare(load(model), 16).proto
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)}
    for a, b in zip(tools.run(model, feeds), tools.run(raised, feeds), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.slow
def test_the_corpus_predicts_the_same_bits(corpus, tools):
    """Every family below opset 13, and every model with local functions."""
    entries = corpus.index().values()
    chosen = {e["family"]: e["name"] for e in entries if e["opset"] < 13 and e["params"] < 3e6}
    chosen |= {e["name"]: e["name"] for e in entries if e["functions"]}
    for name in chosen.values():
        model = corpus.load(name)
        prepared = prepare(load(model), 13)
        feeds = corpus.feeds(name)
        assert order(prepared.proto.graph.node) == list(range(len(prepared.proto.graph.node)))
        for a, b in zip(tools.run(model, feeds), tools.run(prepared.proto, feeds), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), name


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("op", "factors"),
    [
        *(("Upsample", factors) for factors in ((2, 2), (1.5, 2.5), (3, 1))),
        *(("Resize", factors) for factors in ((2, 2), (1.5, 2.5), (0.5, 0.75))),
    ],
)
def test_interpolation_keeps_its_coordinates(tools, op, mode, factors):
    """Before opset 11 there were no coordinate modes, and the default is another since."""
    scales = {"s": np.array([1, 1, *factors], np.float32)}
    model = tools.model(
        [helper.make_node(op, ["x", "s"], ["y"], mode=mode)],
        [("x", F, [2, 3, 4, 4])],
        [("y", F, None)],
        stored=scales,
        opset=9 if op == "Upsample" else 10,
    )
    done = prepare(load(model), 13).proto
    one, two = tools.run(model, {"x": X})[0], tools.run(done, {"x": X})[0]
    assert one.shape == two.shape
    assert one.tobytes() == two.tobytes()
