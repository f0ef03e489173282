"""The view of a model: wiring, attributes, constants."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from rfponnx.errors import ModelError
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from tests.graph.truth import graph_of

F = TensorProto.FLOAT
BOOL = TensorProto.BOOL


def test_producers_and_consumers_mirror_the_nodes(tools):
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="relu"),
        helper.make_node("Add", ["h", "h"], ["a"]),
        helper.make_node("Clip", ["a", "", "w"], ["c"]),
        helper.make_node("Mul", ["c", "h"], ["y"]),
    ]
    stored = {"w": np.array(6, np.float32)}
    graph = graph_of(tools.model(nodes, [("x", F, [2])], [("y", F, [2])], stored=stored))
    assert [n.index for n in graph.nodes] == [0, 1, 2, 3]
    for node in graph.nodes:
        for name in node.outputs:
            assert graph.producer(name) is node
        for name in filter(None, node.inputs):
            assert node in graph.consumers(name)
    assert [n.index for n in graph.consumers("h")] == [1, 3]
    assert graph.consumers("y") == ()
    assert graph.producer("x") is graph.producer("w") is None
    assert graph.nodes[2].inputs == ("a", "", "w")
    assert [n.label for n in graph.nodes] == ["relu", "Add_1", "Clip_2", "Mul_3"]
    assert graph.inputs == ("x",)
    assert graph.tensors() == ("x", "w", "h", "a", "c", "y")


def test_a_subgraph_reads_for_its_node(tools):
    def branch(op, inner):
        node = helper.make_node(op, ["h"], [inner])
        return helper.make_graph([node], inner, [], [helper.make_tensor_value_info(inner, F, [2])])

    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("Neg", "p"), else_branch=branch("Abs", "q")
        ),
        helper.make_node("Neg", ["h"], ["z"]),
    ]
    outputs = [("y", F, [2]), ("z", F, [2])]
    graph = graph_of(tools.model(nodes, [("x", F, [2]), ("c", BOOL, [])], outputs))
    assert [n.index for n in graph.consumers("h")] == [1, 2]
    assert graph.producer("p") is None
    assert "p" not in graph.tensors()
    assert graph.nodes[1].attr("then_branch").node[0].op_type == "Neg"


def test_attributes_are_decoded(tools):
    values = {"f": 0.5, "i": 3, "s": "text", "fs": [0.5, 1.5], "is": [1, 2], "ss": ["a", "b"]}
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    node = helper.make_node(
        "Odd",
        ["x"],
        ["y"],
        domain="own",
        t=numpy_helper.from_array(array),
        blob=b"\xff\xfe",
        **values,
    )
    graph = graph_of(tools.model([node], [("x", F, [2])], [("y", F, [2])]))
    assert {key: graph.nodes[0].attr(key) for key in values} == values
    assert np.array_equal(graph.nodes[0].attr("t"), array)
    assert isinstance(graph.nodes[0].attr("blob"), str)
    assert graph.nodes[0].attr("absent", 7) == 7
    with pytest.raises(TypeError):
        graph.nodes[0].attrs["f"] = 1


def test_analysis_is_silent(tools, capfd):
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="n")]
    model = tools.model(nodes, [("x", F, [2])], [("y", F, [2])])
    del model.opset_import[:]
    graph_of(model)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("value", np.array([[1, 2]], np.int32)),
        ("value", np.array(1.5, np.float16)),
        ("value_float", np.array(1.5, np.float32)),
        ("value_floats", np.array([1.5, 2], np.float32)),
        ("value_int", np.array(3, np.int64)),
        ("value_ints", np.array([3, 4], np.int64)),
        ("value", np.zeros((40, 40), np.float32)),
    ],
)
def test_every_spelling_of_a_constant_is_read(tools, attribute, value):
    given = numpy_helper.from_array(value) if attribute == "value" else value.tolist()
    node = helper.make_node("Constant", [], ["y"], **{attribute: given})
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    graph = graph_of(tools.model([node], [], [("y", kind, None)]))
    assert graph.is_constant("y")
    assert graph.constant("y").dtype == value.dtype
    assert np.array_equal(graph.constant("y"), value)
    assert graph.shape("y") == value.shape
    assert graph.dtype("y") == kind


def test_an_input_with_an_initializer_is_a_weight(tools):
    node = helper.make_node("Add", ["x", "w"], ["y"])
    stored = {"w": np.ones(2, np.float32)}
    inputs = [("x", F, [2]), ("w", F, [2])]
    for ir in (3, 8):
        graph = graph_of(tools.model([node], inputs, [("y", F, [2])], stored=stored, ir=ir))
        assert graph.inputs == ("x",)
        assert graph.is_constant("w")
        assert np.array_equal(graph.constant("w"), stored["w"])
        assert not graph.is_constant("x")
        assert graph.constant("x") is None


def test_external_weights_are_read_one_at_a_time(tools, tmp_path):
    """Beside a hole of 4 GB the wanted tensor is read and nothing else."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = tools.model([node], [("x", F, [2])], [("y", F, [2])])
    for name, dims, offset in (("w", [2], 0), ("big", [1 << 30], 4096)):
        weight = TensorProto(name=name, data_type=F, dims=dims, data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value="w.bin")
        weight.external_data.add(key="offset", value=str(offset))
        model.graph.initializer.append(weight)
    with (tmp_path / "w.bin").open("wb") as file:
        file.write(np.array([5, 7], np.float32).tobytes())
        file.truncate((1 << 32) + 4096)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    graph = Graph(prepare(load(tmp_path / "m.onnx"), 13))
    assert np.array_equal(graph.constant("w"), np.array([5, 7], np.float32))
    assert graph.shape("big") == (1 << 30,)
    assert not graph.proto.graph.initializer[0].raw_data


def test_damaged_values_give_an_error(tools):
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = tools.model(
        [node], [("x", F, [2])], [("y", F, [2])], stored={"w": np.ones(2, np.float32)}
    )
    model.graph.initializer[0].dims[:] = [5]
    with pytest.raises(ModelError, match="holds 8 bytes"):
        graph_of(model)


def test_damage_gives_an_error_or_a_graph(tools):
    """Scrambled models never crash, hang or raise anything but the one error."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "i"], ["n"], axis=0),
        helper.make_node("Concat", ["n", "m"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["f"], name="flat"),
        helper.make_node("Squeeze", ["f"], ["y"], axes=[0]),
    ]
    stored = {"i": np.array([0]), "m": np.array([-1])}
    model = tools.model(nodes, [("x", F, [1, 3, "H"])], [("y", F, None)], stored=stored, opset=11)
    model.producer_name = "someone"
    data = model.SerializeToString()
    rng = random.Random(0)
    for _ in range(600):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        with suppress(ModelError):
            graph_of(bytes(broken), 13)


def test_float_types(tools):
    kinds = {F: True, TensorProto.DOUBLE: True, TensorProto.FLOAT16: True, TensorProto.INT64: False}
    for kind, is_float in kinds.items():
        node = helper.make_node("Neg", ["x"], ["y"])
        graph = graph_of(tools.model([node], [("x", kind, [2])], [("y", kind, [2])]))
        assert graph.is_float("y") is is_float
        assert graph.dtype("y") == kind
        assert graph.dtype("nowhere") is None
        assert not graph.is_float("nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["foundation", "attention", "recurrent", "special"])
def test_the_corpus_is_understood(corpus, stage):
    """Every float tensor of the foundation stage has a type and a rank; all stages load."""
    for name in corpus.list_models(stage):
        graph = graph_of(corpus.load(name), 13)
        if stage != "foundation":
            continue
        for tensor in graph.tensors():
            assert graph.dtype(tensor) is not None, (name, tensor)
            if graph.is_float(tensor):
                assert graph.rank(tensor) is not None, (name, tensor)


def test_the_trained_models_are_understood(shared):
    for path in sorted((shared / "models").rglob("*.onnx")):
        graph = graph_of(path, 13)
        for tensor in graph.tensors():
            assert graph.dtype(tensor) is not None, (path.name, tensor)
            assert graph.rank(tensor) is not None, (path.name, tensor)
