"""Files in, files out: an untouched primal, names, determinism, closure, metadata, old formats."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import rfponnx
from rfponnx.errors import ModelError, OptionError
from rfponnx.methods.convert import emit_model, plan_for, read
from rfponnx.methods.metadata import read_metadata
from rfponnx.plan.options import Options
from tests.emit.nets import BY_NAME, NETS, Net, converted, relevances, run

nets = pytest.mark.parametrize("net", NETS, ids=str)

#: Every option once, on a net where it means something.
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("fusion", {}),
    ("fusion", {"bias": "explicit", "layout": "stacked"}),
    ("fusion", {"bias": "split", "set": {"eps": 1e-3}}),
    ("smooth", {"bias": "split_signed", "linearisation": ("*=ratio", "Tanh*=taylor")}),
    ("smooth", {"linearisation": "ratio", "set": {"shift": 0.5, "eps": 1e-4}}),
    ("smooth", {"sources": ("a=x@mask", "b=x[:,0]")}),
    ("smooth", {"sources": None}),
    ("pixels", {"readout": "predicted", "class_axis": 1}),
    ("pixels", {"sources": None, "source_masks": "image"}),
    ("gates", {"release": ("Mul_2=none", "Mul_6=split")}),
    ("words", {"explain": ("e", "y")}),
    ("words", {"sources": None}),
    ("attention", {"explain": "mixed", "class_axis": -1}),
)
options_table = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)


def made(name: str, options: dict[str, Any]) -> ModelProto:
    return BY_NAME[name].convert(**options).model


# ---- the primal ------------------------------------------------------------------------------


@nets
def test_the_primal_is_in_the_file_byte_for_byte(net: Net) -> None:
    before, after = net.model(), converted(net.name).model
    for field in ("node", "initializer", "input", "output"):
        old, new = getattr(before.graph, field), getattr(after.graph, field)
        assert [p.SerializeToString() for p in old] == [
            p.SerializeToString() for p in new[: len(old)]
        ]


@nets
def test_the_model_that_is_given_is_not_changed(net: Net) -> None:
    model = net.model()
    before = model.SerializeToString()
    rfponnx.convert(model, sources=list(net.sources))
    assert model.SerializeToString() == before


def described_model() -> ModelProto:
    """Return a model with everything that a round trip likes to lose."""
    model = BY_NAME["mlp"].model()
    model.producer_name, model.producer_version, model.domain = "somebody", "1.2", "org.example"
    model.model_version, model.doc_string = 7, "a model"
    model.metadata_props.add(key="author", value="somebody")
    model.graph.doc_string = "a graph"
    model.graph.node[0].doc_string = "a node"
    model.graph.node[0].metadata_props.add(key="namespace", value="body")
    model.graph.input[0].doc_string = "an input"
    note = model.graph.quantization_annotation.add(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b1")
    unread = helper.make_tensor("unread", TensorProto.INT8, [2], [1, 2])
    model.graph.initializer.append(unread)
    return model


def test_nothing_that_the_file_says_is_lost() -> None:
    before = described_model()
    after = rfponnx.convert(before).model
    kept = ModelProto()
    kept.CopyFrom(after)
    for field in ("node", "initializer", "input", "output"):
        del getattr(kept.graph, field)[len(getattr(before.graph, field)) :]
    own = [p for p in kept.metadata_props if p.key != "rfponnx"]
    del kept.metadata_props[:]
    kept.metadata_props.extend(own)
    assert kept.SerializeToString() == before.SerializeToString()


# ---- names -----------------------------------------------------------------------------------


@options_table
def test_the_overlay_has_names_of_its_own(name: str, options: dict[str, Any]) -> None:
    primal, model = BY_NAME[name].model(), made(name, options)
    overlay = model.graph.node[len(primal.graph.node) :]
    results = {o.name for o in model.graph.output}
    for node in overlay:
        assert node.domain == ""
        assert node.name.startswith("rfp/")
        assert all(o.startswith("rfp/") or o in results for o in node.output)
    names = Counter(n.name for n in overlay)
    assert max(names.values()) == 1
    outputs = Counter(o for n in model.graph.node for o in n.output if o)
    outputs.update(t.name for t in model.graph.initializer)
    outputs.update(i.name for i in model.graph.input)
    assert max(outputs.values()) == 1
    onnx.checker.check_model(model, full_check=True)


@options_table
def test_every_node_that_is_written_is_read(name: str, options: dict[str, Any]) -> None:
    primal, model = BY_NAME[name].model(), made(name, options)
    read_ = {i for n in model.graph.node for i in n.input}
    read_ |= {o.name for o in model.graph.output}
    overlay = model.graph.node[len(primal.graph.node) :]
    idle = [n.name for n in overlay if read_.isdisjoint(n.output)]
    idle += [
        t.name
        for t in model.graph.initializer[len(primal.graph.initializer) :]
        if t.name not in read_
    ]
    assert not idle


def test_weights_are_stored_once() -> None:
    for net in NETS:
        primal, model = net.model(), converted(net.name).model
        added = model.graph.initializer[len(primal.graph.initializer) :]
        assert all(np.prod(t.dims) <= 16 for t in added), net


@pytest.mark.parametrize("taken", ["tensor", "node", "input"])
def test_a_prefix_that_is_taken_is_left_alone(taken: str) -> None:
    x = "rfp/x" if taken == "input" else "x"
    h = "rfp/constant" if taken == "tensor" else "h"
    nodes = [
        helper.make_node("Relu", [x], [h], name="rfp/Relu" if taken == "node" else "relu"),
        helper.make_node("Neg", [h], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in (x, "y")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    after = rfponnx.convert(model).model
    assert all(n.name.startswith("rfp2/") for n in after.graph.node[2:])
    found = read_metadata(after)
    assert found is not None
    assert found["prefix"] == "rfp2"


def test_outputs_that_are_taken_get_a_number() -> None:
    text = """ (float[N, 3] x)
      => (float[N, 3] y, float[N, 3] s_relevance, float[N, 3] y_explained) {
      s = Relu(x)
      y = Softmax(s)
      y_relevance = Neg(x)
      s_relevance = Neg(y_relevance)
      y_explained = Relu(y_relevance)
    }"""
    model = Net("taken", text, {}, ("x=x",)).convert()
    names = [o.name for o in model.model.graph.output[3:]]
    assert names == [
        "y_explained_2", "y_relevance_2", "s_relevance_relevance", "y_explained_relevance"
    ]  # fmt: skip
    described = read_metadata(model.model)
    assert described is not None
    assert described["explained"]["y_relevance_2"]["tensor"] == "s"
    values = run(model.model, {"x": np.ones((2, 3), np.float32)})
    assert np.array_equal(values["y_relevance_2"][0], values["y_explained_2"])


# ---- determinism -----------------------------------------------------------------------------


@options_table
def test_the_same_file_gives_the_same_bytes(name: str, options: dict[str, Any]) -> None:
    assert made(name, options).SerializeToString() == made(name, options).SerializeToString()


def digests() -> dict[str, str]:
    """Return a digest of a conversion for every row of the table."""
    found = {}
    for name, options in OPTIONS:
        data = made(name, options).SerializeToString(deterministic=True)
        found[f"{name} {sorted(options)}"] = hashlib.sha256(data).hexdigest()
    return found


@pytest.mark.parametrize("seed", ["1", "77"])
def test_another_process_gives_the_same_bytes(seed: str, root: Path) -> None:
    script = "import json; from tests.methods.test_convert import digests; "
    script += "print(json.dumps(digests()))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == digests()


def test_a_path_bytes_and_a_proto_give_the_same(tmp_path: Path) -> None:
    model = BY_NAME["mlp"].model()
    onnx.save(model, tmp_path / "m.onnx")
    ways = (model, model.SerializeToString(), tmp_path / "m.onnx", str(tmp_path / "m.onnx"))
    found = {rfponnx.convert(way).model.SerializeToString() for way in ways}
    assert len(found) == 1


def test_a_mapping_of_sources_is_the_same_as_their_texts() -> None:
    model = BY_NAME["mlp"].model()
    mapped = rfponnx.convert(model, sources={"a": "x[:,0]", "b": "x[:,1:]"})
    listed = rfponnx.convert(model, sources=["a=x[:,0]", "b=x[:,1:]"])
    assert mapped.model.SerializeToString() == listed.model.SerializeToString()


# ---- closure ---------------------------------------------------------------------------------


@nets
def test_a_converted_graph_can_be_converted(net: Net) -> None:
    first = converted(net.name).model
    second = rfponnx.convert(first, sources=list(net.sources)).model
    before, after = run(first, net.feeds()), run(second, net.feeds())
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes()
    added = [o.name for o in second.graph.output[len(first.graph.output) :]]
    old = [o.name for o in first.graph.output[len(net.model().graph.output) :]]
    assert added == [f"{name}_2" for name in old]
    for name in old:
        assert np.array_equal(after[name], after[f"{name}_2"])
    overlay = second.graph.node[len(first.graph.node) :]
    assert all(n.name.startswith("rfp2/") for n in overlay)
    third = rfponnx.convert(second, sources=list(net.sources)).model
    assert [o.name for o in third.graph.output[len(second.graph.output) :]] == [
        f"{name}_3" for name in old
    ]
    assert all(n.name.startswith("rfp3/") for n in third.graph.node[len(second.graph.node) :])


@nets
def test_the_sources_that_nobody_named_are_the_same_the_second_time(net: Net) -> None:
    first = rfponnx.convert(net.model())
    second = rfponnx.convert(first.model)
    assert first.plan.sources == second.plan.sources
    values = run(second.model, net.feeds())
    for name, rows in relevances(values).items():
        if f"{name}_2" in values:
            assert np.array_equal(rows, values[f"{name}_2"])


def test_a_graph_with_masks_can_be_converted() -> None:
    net = BY_NAME["residual"]
    first = net.convert(sources=None, source_masks="image").model
    second = rfponnx.convert(first, sources=list(net.sources)).model
    feeds = net.feeds()
    masks = np.zeros((2, *feeds["image"].shape), np.float32)
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    values = run(second, {**feeds, "image_masks": masks})
    rows, again = values["scores_relevance"], values["scores_relevance_2"]
    assert np.abs(rows - again).max() <= 1e-5 * np.abs(rows).max()
    with pytest.raises(OptionError, match="the model has a tensor `image_masks`"):
        rfponnx.convert(first, source_masks="image")


def test_other_options_the_second_time_stand_beside_the_first() -> None:
    net = BY_NAME["smooth"]
    first = net.convert(bias="split", linearisation="taylor").model
    second = rfponnx.convert(first, sources=["z=z"], readout="predicted").model
    values, alone = run(second, net.feeds()), run(first, net.feeds())
    plain = run(
        rfponnx.convert(net.model(), sources=["z=z"], readout="predicted").model, net.feeds()
    )
    assert np.array_equal(values["y_relevance"], alone["y_relevance"])
    assert np.array_equal(values["y_relevance_2"], plain["y_relevance"])


def test_a_stream_of_a_converted_graph_can_be_explained() -> None:
    """A relevance is an output like any other, if it is asked for."""
    net = BY_NAME["mlp"]
    first = net.convert(bias="explicit").model
    second = rfponnx.convert(first, sources=["x=x"], explain=["y_relevance"], bias="explicit").model
    values = run(second, net.feeds())
    rows, y = values["y_relevance_relevance"], values["y_relevance"]
    assert rows.shape == (2, *y.shape)
    assert np.abs(rows.sum(0) - y).max() <= 1e-5 * np.abs(y).max()
    # the streams of sources are linear in x at this point, so all of them is x
    assert np.abs(rows[0][:-1] - y[:-1]).max() <= 1e-5 * np.abs(y).max()


# ---- metadata --------------------------------------------------------------------------------


@options_table
def test_the_metadata_is_enough_to_convert_again(name: str, options: dict[str, Any]) -> None:
    model = made(name, options)
    found = read_metadata(model)
    assert found is not None
    assert (found["version"], found["method"]) == (rfponnx.__version__, "rfp")
    graph = read(BY_NAME[name].model())
    plan = plan_for(graph, Options.from_json(found["options"]), found["sources"], found["masks"])
    again = emit_model(plan).model
    assert again.graph.SerializeToString() == model.graph.SerializeToString()


@options_table
def test_the_metadata_describes_the_outputs(name: str, options: dict[str, Any]) -> None:
    primal, model = BY_NAME[name].model(), made(name, options)
    found = read_metadata(model)
    assert found is not None
    added = [o.name for o in model.graph.output[len(primal.graph.output) :]]
    assert set(found["explained"]) == {n for n in added if n.endswith("_relevance")}
    assert set(found["report"]["outputs"]) == set(added)
    assert found["inputs"] == [i.name for i in primal.graph.input]
    assert found["outputs"] == [o.name for o in primal.graph.output]
    assert len(found["source_names"]) == len(found["sources"])
    nodes = found["report"]["nodes"]
    assert nodes == {"before": len(primal.graph.node), "after": len(model.graph.node)}


REPORTED: tuple[tuple[str, dict[str, Any], str, Any], ...] = (
    ("fusion", {}, "looked_through", {"chances": ["Softmax_11"]}),
    ("pixels", {}, "looked_through", {"classes": ["ArgMax_14"]}),
    ("smooth", {}, "looked_through", {}),
    ("heads", {}, "unreached", ["w"]),
    ("heads", {"explain": ["h"]}, "unreached", []),
    (
        "words",
        {"sources": None},
        "notes",
        ["`tokens` holds integers: its source is `e`, made from it"],
    ),
    ("mlp", {}, "changes", []),
)


@pytest.mark.parametrize(("name", "options", "part", "expected"), REPORTED, ids=str)
def test_the_report_says_what_was_done(
    name: str, options: dict[str, Any], part: str, expected: Any
) -> None:
    assert BY_NAME[name].convert(**options).report[part] == expected


def test_the_report_names_every_release() -> None:
    decided = converted("attention").report["decided"]
    assert "p" in decided["MatMul_6"]
    assert "released" in decided["MatMul_6"]
    released = converted("gates", release=("Mul_6=none",)).report["decided"]["Mul_6"]
    assert released == "nothing is released"


def test_metadata_of_others_is_kept_and_ours_is_replaced() -> None:
    first = rfponnx.convert(described_model(), bias="split").model
    second = rfponnx.convert(first).model
    assert [p.key for p in second.metadata_props] == ["author", "rfponnx"]
    found = read_metadata(second)
    assert found is not None
    assert (found["options"]["bias"], found["prefix"]) == ("separate", "rfp2")


# ---- old formats -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "fusion", "residual", "pixels", "moves", "words"])
def test_in_ir_3_initializers_stay_inputs_and_ours_are_nodes(name: str) -> None:
    net = BY_NAME[name]
    model = net.model(ir=3)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    after = rfponnx.convert(model, sources=list(net.sources)).model
    assert after.ir_version == 3
    assert list(after.graph.initializer) == list(model.graph.initializer)
    assert list(after.graph.input) == list(model.graph.input)
    onnx.checker.check_model(after, full_check=True)
    values, newer = run(after, net.feeds()), run(converted(name).model, net.feeds())
    for key, value in newer.items():
        assert value.tobytes() == values[key].tobytes()
    assert [s.name for s in rfponnx.convert(model).plan.sources] == [
        s.name for s in rfponnx.convert(net.model()).plan.sources
    ]


OLD = """
  a = Conv<pads = [1, 1, 1, 1]>(x, wa, ba)
  r = Relu(a)
  m = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
  f = Flatten(m)
  g = Gemm<transB = 1>(f, wg, bg)
  s = Sigmoid(g)
  c = Concat<axis = 1>(s, g)
  y = Softmax<axis = 1>(c)
"""
OLD_WEIGHTS = {"wa": (3, 2, 3, 3), "ba": (3,), "wg": (4, 36), "bg": (4,)}


def old(opset: int) -> Net:
    text = f" (float[N, 2, 6, 8] x) => (float[N, 8] y) {{ {OLD} }}"
    return Net("old", text, OLD_WEIGHTS, ("a=x[:,0]", "b=x[:,1]"), opset=opset)


@pytest.mark.parametrize("opset", [*range(7, 24)])
def test_every_opset_gives_the_same_relevance(opset: int) -> None:
    net = old(opset)
    made_ = net.convert(bias="explicit")
    values, before = run(made_.model, net.feeds()), run(net.model(), net.feeds())
    assert values["y"].tobytes() == before["y"].tobytes()
    raised = f"opset raised from {opset} to 13"
    assert (raised in made_.report["changes"]) == (opset < 13)
    expected = run(old(17).convert(bias="explicit").model, net.feeds())
    rows, same = values["y_relevance"], expected["y_relevance"]
    assert np.abs(rows - same).max() <= 1e-5 * np.abs(same).max()


def test_an_opset_of_the_future_is_refused() -> None:
    model = old(17).model()
    model.opset_import[0].version = 99
    with pytest.raises(ModelError, match="99"):
        rfponnx.convert(model)


# ---- weights outside the file ----------------------------------------------------------------


def outside(folder: Path) -> Path:
    """Save a net with its weights in a file of their own."""
    path = folder / "net.onnx"
    onnx.save(
        BY_NAME["residual"].model(), path, save_as_external_data=True, location="weights.bin",
        size_threshold=0,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("place", ["", "elsewhere"])
def test_weights_outside_the_file_stay_outside(place: str, tmp_path: Path) -> None:
    import onnxruntime as ort

    path = outside(tmp_path)
    target = tmp_path / place / "converted.onnx"
    target.parent.mkdir(exist_ok=True)
    made_ = rfponnx.convert(path, sources=list(BY_NAME["residual"].sources))
    made_.save(target)
    after = onnx.load(target, load_external_data=False)
    primal = onnx.load(path, load_external_data=False)
    count = len(primal.graph.initializer)
    assert list(after.graph.initializer[:count]) == list(primal.graph.initializer)
    assert (target.parent / "weights.bin").read_bytes() == (tmp_path / "weights.bin").read_bytes()
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    found = session.run(["scores_relevance"], BY_NAME["residual"].feeds())[0]
    inside = run(converted("residual").model, BY_NAME["residual"].feeds())["scores_relevance"]
    assert np.abs(found - inside).max() <= 1e-5 * np.abs(inside).max()


# The peak that getrusage tells is inherited from the process that starts this one.
BIG = """
import re, sys
import rfponnx
rfponnx.convert(sys.argv[1], bias="explicit").save(sys.argv[2])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_weights_outside_the_file_are_never_in_memory(tmp_path: Path) -> None:
    """1 GB of weights (a file with a hole) takes no more memory than a small model does."""
    rows, columns = 4, 2**26
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[rows, columns],
        data_location=TensorProto.EXTERNAL,
    )  # fmt: skip
    weight.external_data.add(key="location", value="weights.bin")
    weight.external_data.add(key="length", value=str(rows * columns * 4))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    infos = [helper.make_tensor_value_info(n, 1, s) for n, s in
             (("x", ["N", rows]), ("y", ["N", columns]))]  # fmt: skip
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "big.onnx"
    path.write_bytes(model.SerializeToString())
    with open(tmp_path / "weights.bin", "wb") as file:
        file.truncate(rows * columns * 4)
    done = subprocess.run(
        [sys.executable, "-c", BIG, path, tmp_path / "out.onnx"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert int(done.stdout) < 512
    assert (tmp_path / "out.onnx").stat().st_size < 10_000


# ---- what is refused -------------------------------------------------------------------------


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^--method: no method `lrpp`"):
        rfponnx.convert(BY_NAME["mlp"].model(), method="lrpp")


def test_values_of_the_primal_are_what_the_relevance_is_made_of() -> None:
    """Weights as inputs of the overlay: the graph with other weights explains those."""
    net = BY_NAME["mlp"]
    model = ModelProto()
    model.CopyFrom(converted("mlp", bias="explicit").model)
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            value = 2 * numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(value, "w1"))
    values = run(model, net.feeds())
    rows, y = values["y_relevance"], values["y"]
    assert np.abs(rows.sum(0) - y).max() <= 1e-5 * np.abs(rows).max()
