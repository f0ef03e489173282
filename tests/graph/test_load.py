"""What is no model is refused in one line; what ONNX Runtime runs is accepted."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rfponnx.errors import ModelError
from rfponnx.graph.load import load
from rfponnx.graph.walk import order

F = TensorProto.FLOAT


def chain(tools, nodes=None, **more):
    nodes = nodes or [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    return tools.model(nodes, [("x", F, [2, 3])], [("y", F, [2, 3])], **more)


def external(tools, folder: Path, location="w.bin", offset=0, length=24, size=24):
    """Write a model whose weight lies in another file."""
    model = chain(tools, [helper.make_node("Add", ["x", "w"], ["y"])])
    weight = TensorProto(name="w", data_type=F, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        weight.external_data.add(key=key, value=str(value))
    model.graph.initializer.append(weight)
    if "/" not in location and "\\" not in location:
        (folder / location).write_bytes(bytes(size))
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_path_text_bytes_and_proto_are_one_model(tools, tmp_path):
    model = chain(tools)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    for given in (path, str(path), path.read_bytes(), model):
        assert load(given).proto == model
    assert load(path).folder == tmp_path
    assert (load(path).name, load(model).name) == ("m.onnx", "model")
    assert load(model).proto is model


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "directory"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_text("hello, I am text\n" * 9), "not an ONNX model"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "LFS"),
        (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)), "not an ONNX model"),
        (os.mkfifo, "regular file"),
        (lambda p: p.symlink_to(p.parent / "nowhere"), "no such file"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, make, what):
    path = tmp_path / "m.onnx"
    make(path)
    with pytest.raises(ModelError, match=what) as caught:
        load(path)
    assert "m.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "\0", "a" * 5000])
def test_odd_paths_are_refused(name):
    with pytest.raises(ModelError):
        load(name)


def test_damage_gives_an_error_or_a_model(tools):
    """Cut or scrambled bytes never crash, hang or raise anything else."""
    data = chain(tools, stored={"w": np.ones(9, np.float32)}).SerializeToString()
    rng = random.Random(0)
    for trial in range(400):
        broken = bytearray(data[: rng.randrange(1, len(data))] if trial % 2 else data)
        for _ in range(rng.randrange(4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        with suppress(ModelError):
            load(bytes(broken))


@pytest.mark.parametrize(
    ("nodes", "what"),
    [
        ([("Add", ["x", "gone"], ["y"])], "gone.*nothing defines"),
        ([("Relu", ["x"], ["y"]), ("Neg", ["x"], ["y"])], "also produced"),
        ([("Relu", ["x"], ["x"]), ("Neg", ["x"], ["y"])], "also produced"),
        ([("Relu", ["x"], ["h"])], "nothing produces the output"),
        ([("Add", ["x", "b"], ["a"]), ("Neg", ["a"], ["b"]), ("Neg", ["b"], ["y"])], "cycle"),
        ([("Add", ["x", "y"], ["y"])], "cycle"),
    ],
)
def test_broken_wiring_is_refused(tools, nodes, what):
    with pytest.raises(ModelError, match=what):
        load(chain(tools, [helper.make_node(*node) for node in nodes]))


def test_a_graph_without_nodes_or_outputs_is_refused(tools):
    model = chain(tools)
    del model.graph.output[:]
    with pytest.raises(ModelError, match="no outputs"):
        load(model)
    with pytest.raises(ModelError, match="no nodes"):
        load(tools.model([], [("x", F, [1])], [("x", F, [1])]))
    with pytest.raises(ModelError, match="no graph"):
        load(onnx.ModelProto(ir_version=8))


def test_what_only_the_checker_minds_is_accepted(tools):
    """Unsorted nodes and unknown domains run, or are for others to refuse."""
    unsorted = [helper.make_node("Neg", ["h"], ["y"]), helper.make_node("Relu", ["x"], ["h"])]
    load(chain(tools, unsorted))
    load(chain(tools, [helper.make_node("Magic", ["x"], ["y"], domain="else.where")]))


def branch(name, *nodes):
    out = helper.make_tensor_value_info(nodes[-1].output[0], F, None)
    return helper.make_graph(list(nodes), name, [], [out])


def conditional(inner: str):
    one = branch("a", helper.make_node("Relu", [inner], ["p"]))
    two = branch("b", helper.make_node("Neg", [inner], ["q"]))
    return helper.make_node("If", ["c"], ["y"], then_branch=one, else_branch=two)


def test_names_from_outside_a_subgraph_count(tools):
    inputs, outputs = [("x", F, [2]), ("c", TensorProto.BOOL, [])], [("y", F, [2])]
    relu = helper.make_node("Relu", ["x"], ["h"])
    load(tools.model([relu, conditional("h")], inputs, outputs))
    with pytest.raises(ModelError, match="nothing defines"):
        load(tools.model([relu, conditional("gone")], inputs, outputs))
    with pytest.raises(ModelError, match="cycle"):
        load(tools.model([relu, conditional("y")], inputs, outputs))
    assert order([conditional("h"), relu]) == [1, 0]


def test_order_is_stable_and_valid():
    """Shuffled chains: every node after what it reads, untouched where already in order."""
    nodes = [helper.make_node("Neg", [f"t{i // 2}"], [f"t{i + 1}"]) for i in range(40)]
    assert order(nodes) == list(range(40))
    random.Random(1).shuffle(nodes)
    ready = {"t0"}
    for i in order(nodes):
        assert set(nodes[i].input) <= ready
        ready.update(nodes[i].output)
    assert len(ready) == 41


def test_external_data_stays_outside(tools, tmp_path):
    loaded = load(external(tools, tmp_path))
    weight = loaded.proto.graph.initializer[0]
    assert not weight.raw_data
    assert weight.data_location == TensorProto.EXTERNAL


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"location": "../w.bin"}, "outside"),
        ({"location": "a/../../w.bin"}, "outside"),
        ({"location": "..\\w.bin"}, "outside"),
        ({"location": "/etc/passwd"}, "outside"),
        ({"location": "C:\\w.bin"}, "outside"),
        ({"location": "a/missing.bin"}, "missing"),
        ({"location": ""}, "no file"),
        ({"size": 23}, "too short"),
        ({"offset": 8}, "too short"),
        ({"length": 20}, "needs 24"),
        ({"offset": -1}, "needs"),
        ({"offset": "many"}, "no number"),
        ({"length": 10**30}, "too short"),
    ],
)
def test_bad_external_data_is_refused(tools, tmp_path, options, what):
    if options.get("location") == "":
        path = external(tools, tmp_path)
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[0].external_data[0].value = ""
        path.write_bytes(model.SerializeToString())
    else:
        path = external(tools, tmp_path, **options)
    with pytest.raises(ModelError, match=what) as caught:
        load(path)
    assert "m.onnx" in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tools, tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    path = external(tools, inside)
    (inside / "w.bin").rename(outside / "w.bin")
    (inside / "w.bin").symlink_to(outside / "w.bin")
    with pytest.raises(ModelError, match="leads outside"):
        load(path)


def test_external_data_needs_a_folder(tools, tmp_path):
    with pytest.raises(ModelError, match="path of the model"):
        load(external(tools, tmp_path).read_bytes())


def test_loading_does_not_read_the_weights(tools, tmp_path):
    """A sparse file of 4 GB loads at once."""
    path = external(tools, tmp_path, length=24)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 32)
    model = onnx.load(path, load_external_data=False)
    weight = model.graph.initializer[0]
    weight.dims[:] = [1 << 15, 1 << 15]
    weight.external_data[2].value = str(1 << 32)
    path.write_bytes(model.SerializeToString())
    assert load(path).proto.ByteSize() < 1000


def test_a_name_that_is_no_text_is_refused(tools):
    data = chain(tools).SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    with pytest.raises(ModelError):
        load(data)


def test_the_shared_models_load(shared):
    paths = sorted((shared / "models").rglob("*.onnx"))
    assert paths
    for path in paths:
        loaded = load(path)
        assert loaded.path == path
