"""Sessions: strict about providers and inputs, the same numbers in any pieces."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import rfponnx
from rfponnx.errors import InputError, ModelError, OptionError
from rfponnx.runtime.engine import Engine, NoMemory, explained
from rfponnx.runtime.session import Session
from tests.runtime import nets

Rng = np.random.Generator


def normal(rng: Rng, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


# ---- results ----------------------------------------------------------------------------


def test_results_are_those_of_the_runtime(fixtures: Path, rng: Rng) -> None:
    path = fixtures / "ms_basic_relu_ts.onnx"
    feeds = {"left": normal(rng, 3, 1, 28, 14), "right": normal(rng, 3, 1, 28, 14)}
    plain = onnxruntime.InferenceSession(path).run(None, feeds)[0]
    session = Session(path)
    found = session.run(feeds)
    assert np.array_equal(found["logits"], plain)
    assert session.providers == ("cpu",)
    assert session.sources == ()
    with pytest.raises(InputError, match="is not converted"):
        found.relevance()


def test_results_of_a_converted_model_are_named(rng: Rng) -> None:
    session = Session(nets.converted(nets.DENSE, sources={"a": "x[:,0]", "b": "x[:,1]"}))
    x = normal(rng, 4, 2)
    found = session.run({"x": x})
    assert found.sources == ("a", "b", "bias")
    assert session.sources == ("a", "b")
    w = np.array([[1.0, -1.0, 0.5], [0.25, 2.0, -0.5]])
    b = np.array([0.1, -0.2, 0.3])
    scores = x @ w + b
    np.testing.assert_allclose(found.explained(), scores, rtol=1e-5)
    expected = [x[:, :1] * w[0], x[:, 1:] * w[1], np.broadcast_to(b, (4, 3))]
    np.testing.assert_allclose(found.relevance(), expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(found.prediction, scores.argmax(1))
    won = np.stack(expected)[:, np.arange(4), scores.argmax(1)]
    np.testing.assert_allclose(found.shares(), np.abs(won) / np.abs(won).sum(0), rtol=1e-4)
    for name in ("chances", "scores", "chances_relevance", "chances_explained"):
        assert np.array_equal(found.relevance(name), found.relevance())
    for part in found.parts():
        assert part.value == pytest.approx(scores[part.sample, part.index], rel=1e-5)
        assert sum(part.contributions) == pytest.approx(part.value, rel=1e-5)
        assert sum(part.shares) == pytest.approx(1)
        assert part.probability == pytest.approx(found["chances"][part.sample, part.index])
    with pytest.raises(InputError, match="`chance` is not explained; did you mean `chances`"):
        found.relevance("chance")


def test_the_predicted_readout_gives_the_same_numbers(rng: Rng) -> None:
    image = normal(rng, 2, 3, 4, 5)
    sources = {"a": "image[:,0]", "b": "image[:,1:3]"}
    every = Session(nets.converted(nets.PIXELS, sources=sources)).run({"image": image})
    won = Session(nets.converted(nets.PIXELS, sources=sources, readout="predicted"))
    found = won.run({"image": image})
    assert found.relevance().shape == (3, 2, 4, 5)
    assert np.array_equal(found.prediction, every.prediction)
    assert found.prediction.shape == (2, 4, 5)
    assert np.array_equal(found.view().streams, every.view().streams)
    assert found.parts() == every.parts()


def test_a_segmenter_is_summed_up_by_class(rng: Rng) -> None:
    image = normal(rng, 2, 3, 4, 5)
    session = Session(nets.converted(nets.PIXELS, sources={"a": "image[:,0]"}))
    found = session.run({"image": image})
    scores = np.maximum(image, 0) + 0.5
    for part in found.parts():
        here = scores[part.sample].argmax(0) == part.index
        assert part.positions == here.sum()
        assert part.fraction == pytest.approx(here.mean())
        assert part.value == pytest.approx(scores[part.sample, part.index][here].mean(), rel=1e-5)
    assert sum(p.positions for p in found.parts()) == 2 * 4 * 5
    assert found.view().overall[0] + found.view().overall[1] == pytest.approx(1)


def test_external_data_is_found_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    model = nets.model(nets.DENSE)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    save: Callable[..., None] = onnx.save
    save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = np.ones((1, 2), np.float32)
    assert Session(path).run({"x": x})["chances"].shape == (1, 3)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin` is missing"):
        Session(path)


def test_bfloat16_goes_in_and_out_as_float32() -> None:
    inside = helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["N", 3])
    outside = helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["N", 3])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [inside], [outside]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model)
    x = np.array([[1.0, -2.5, 1.00390625], [3e38, 1e-38, 0.0]], np.float32)
    found = session.run({"x": x})["y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x, rtol=2**-8)
    assert found[0].tolist() == [1.0, -2.5, 1.0]  # halfway goes to even


def test_text_goes_through() -> None:
    session = Session(nets.model(nets.WORDS))
    found = session.run({"word": np.array(["ab", "c"]), "x": np.array([-1, 1], np.float32)})
    assert found["same"].tolist() == ["ab", "c"]
    assert found["y"].tolist() == [0.0, 1.0]


# ---- pieces -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 100])
def test_a_run_in_pieces_of_samples_is_the_same(batch: int, rng: Rng) -> None:
    session = Session(nets.converted(nets.DENSE, sources={"a": "x[:,0]"}))
    x = normal(rng, 7, 2)
    whole, pieces = session.run({"x": x}), session.run({"x": x}, batch=batch)
    assert list(whole) == list(pieces)
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("bias", ["separate", "explicit"])
@pytest.mark.parametrize(("sources", "batch"), [(1, None), (2, 3), (4, 1), (5, None), (9, 2)])
def test_a_run_in_pieces_of_sources_is_the_same(
    bias: str, sources: int, batch: int | None, rng: Rng
) -> None:
    session = Session(nets.converted(nets.DENSE, source_masks="x", bias=bias))
    masks = rng.random((5, 1, 2)).astype(np.float32) / 5
    feeds = {"x": normal(rng, 4, 2), "x_masks": masks}
    whole, pieces = session.run(feeds), session.run(feeds, sources=sources, batch=batch)
    assert whole.sources == ("mask 0", "mask 1", "mask 2", "mask 3", "mask 4", "bias")
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_masks_of_samples_are_cut_with_them(rng: Rng) -> None:
    session = Session(nets.converted(nets.DENSE, source_masks="x"))
    feeds = {"x": normal(rng, 4, 2), "x_masks": rng.random((2, 4, 2)).astype(np.float32)}
    whole, pieces = session.run(feeds), session.run(feeds, batch=3)
    np.testing.assert_allclose(pieces.relevance(), whole.relevance(), rtol=1e-5, atol=1e-6)


def test_split_bias_keeps_the_sources_together(rng: Rng) -> None:
    session = Session(nets.converted(nets.DENSE, source_masks="x", bias="split"))
    feeds = {"x": normal(rng, 1, 2), "x_masks": np.ones((2, 1, 2), np.float32) / 2}
    with pytest.raises(OptionError, match="the bias is split among the sources"):
        session.run(feeds, sources=1)


def test_samples_that_cannot_be_told_apart(rng: Rng) -> None:
    text = """
    two (float[N, 2] x, float[M, 2] y) => (float[N, M] z) {
      t = Transpose<perm = [1, 0]>(y)
      z = MatMul(x, t)
    }
    """
    session = Session(nets.model(text))
    feeds = {"x": normal(rng, 4, 2), "y": normal(rng, 3, 2)}
    assert session.run(feeds)["z"].shape == (4, 3)
    with pytest.raises(OptionError, match="--batch 2: the inputs differ in axis 0"):
        session.run(feeds, batch=2)


def test_what_does_not_go_by_samples_is_refused(rng: Rng) -> None:
    session = Session(nets.model(nets.MIXED))
    assert session.run({"x": normal(rng, 4, 2)})["y"].shape == (2,)
    with pytest.raises(InputError, match="`y` does not go by samples; run all samples at once"):
        session.run({"x": normal(rng, 4, 2)}, batch=2)


@pytest.mark.parametrize("memory", [0.001, 1.0, 1e6])
def test_a_memory_budget_changes_no_number(memory: float, rng: Rng) -> None:
    model = nets.converted(nets.DENSE, source_masks="x")
    feeds = {"x": normal(rng, 5, 2), "x_masks": rng.random((3, 1, 2)).astype(np.float32) / 3}
    whole = Session(model).run(feeds)
    limited = Session(model, memory=memory)
    for _ in range(2):
        found = limited.run(feeds)
        np.testing.assert_allclose(found.relevance(), whole.relevance(), rtol=1e-5, atol=1e-6)


def test_a_memory_budget_cuts_the_samples(monkeypatch: pytest.MonkeyPatch, rng: Rng) -> None:
    seen: list[int] = []
    run = Engine.run

    def spy(self: Engine, feeds: Any) -> Any:
        seen.append(len(feeds["x"]))
        return run(self, feeds)

    sizes = iter([100.0, 110.0])  # one sample takes 10 MB
    monkeypatch.setattr(Engine, "run", spy)
    monkeypatch.setattr("rfponnx.runtime.session.resident", lambda: next(sizes))
    Session(nets.converted(nets.DENSE), memory=35).run({"x": normal(rng, 8, 2)})
    assert seen == [1, 3, 3, 2]


def test_too_little_memory_halves_the_pieces(monkeypatch: pytest.MonkeyPatch, rng: Rng) -> None:
    run = Engine.run

    def short(self: Engine, feeds: Any) -> Any:
        if len(feeds["x"]) * len(feeds["x_masks"]) > 2:
            raise NoMemory("too little memory")
        return run(self, feeds)

    session = Session(nets.converted(nets.DENSE, source_masks="x"))
    feeds = {"x": normal(rng, 5, 2), "x_masks": rng.random((3, 1, 2)).astype(np.float32) / 3}
    whole = session.run(feeds)
    monkeypatch.setattr(Engine, "run", short)
    found = session.run(feeds)
    np.testing.assert_allclose(found.relevance(), whole.relevance(), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(Engine, "run", lambda *_: short(session.engine, {"x": [1] * 9} | feeds))
    with pytest.raises(NoMemory):
        session.run(feeds)


# ---- errors -----------------------------------------------------------------------------


def test_a_provider_that_is_not_there_is_an_error() -> None:
    model = nets.model(nets.DENSE)
    with pytest.raises(OptionError, match=r"no provider `vulkan`; available: .*cpu"):
        Session(model, "vulkan")
    with pytest.raises(OptionError, match="did you mean `cpu`"):
        Session(model, ["cpi", "cpu"])
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(OptionError, match=r"no provider `cuda`; .*rfponnx\[gpu\]"):
            Session(model, "cuda")
    assert Session(model, ["CPUExecutionProvider"]).providers == ("cpu",)
    assert Session(model, [("cpu", {"use_arena": "0"})]).providers == ("cpu",)


def test_a_missing_runtime_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OptionError, match=r"ONNX Runtime cannot be imported.*rfponnx\[cpu\]"):
        Session(nets.model(nets.DENSE))


def test_a_provider_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself would go on without it."""
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    with pytest.raises(OptionError, match="--provider: `cuda` does not start here"):
        Session(nets.model(nets.DENSE), "cuda")


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(rng: Rng) -> None:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA provider")
    model, x = nets.converted(nets.DENSE), normal(rng, 4, 2)
    cpu, cuda = (Session(model, p).run({"x": x}) for p in ("cpu", "cuda"))
    for name in cpu:
        np.testing.assert_allclose(cuda[name], cpu[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": 0}, "--threads: 0 threads"),
        ({"optimisation": "most"}, "no level `most`; it can be all, extended, basic, none"),
        ({"memory": 0}, "--memory: a budget of 0 MB"),
    ],
)
def test_wrong_settings(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Session(nets.model(nets.DENSE), **options)


@pytest.mark.parametrize("optimisation", ["all", "extended", "basic", "none"])
def test_every_optimisation_runs(optimisation: str) -> None:
    session = Session(nets.model(nets.DENSE), threads=1, optimisation=optimisation)
    assert session.run({"x": np.ones((2, 2), np.float32)})["chances"].shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 0}, "--batch: 0 at a time"),
        ({"sources": 0}, "--sources: 0 at a time"),
        ({"sources": 1}, "the sources are not given at run time"),
    ],
)
def test_wrong_pieces(options: dict[str, Any], words: str) -> None:
    session = Session(nets.converted(nets.DENSE))
    with pytest.raises(OptionError, match=words):
        session.run({"x": np.ones((2, 2), np.float32)}, **options)


def test_sizes_that_do_not_agree_are_named() -> None:
    session = Session(nets.model(nets.PAIR))
    a, b = np.ones((2, 2), np.float32), np.ones((3, 2), np.float32)
    with pytest.raises(InputError, match="sizes do not agree: `N` is 2 in `a` and 3 in `b`"):
        session.run({"a": a, "b": b})


def test_a_failure_inside_the_runtime_names_the_node() -> None:
    text = """
    f (float[N, 4] x, int64[2] shape) => (float[M, K] y) { y = Reshape(x, shape) }
    """
    session = Session(nets.model(text))
    feeds = {"x": np.ones((1, 4), np.float32), "shape": np.array([3, 5])}
    with pytest.raises(InputError, match="does not run on these inputs") as caught:
        session.run(feeds)
    assert "Reshape" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "is a directory"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_text("no model"), "not an ONNX model"),
    ],
    ids=["missing", "folder", "empty", "text"],
)
def test_what_is_no_model(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    make(path)
    with pytest.raises(ModelError, match=words):
        Session(path)
    with pytest.raises(ModelError, match="no such file"):
        Session("a\0b")


def test_what_the_runtime_refuses_is_one_line() -> None:
    model = nets.model(nets.FIXED)
    model.graph.node[0].op_type = "NoSuchOp"
    with pytest.raises(ModelError, match=r"ONNX Runtime \(cpu\) does not load it: .*NoSuchOp") as c:
        Session(model)
    assert "\n" not in str(c.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"options": {}}', '{"options": 3}'])
def test_a_damaged_description_is_said(text: str) -> None:
    model = nets.converted(nets.DENSE)
    model.metadata_props[0].value = text
    with pytest.raises(ModelError, match="its description by rfponnx is damaged"):
        Session(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["explained"].clear(),
        lambda d: d["explained"].update(other=d["explained"].pop("chances_relevance")),
        lambda d: d["explained"]["chances_relevance"].update(class_axis=2),
        lambda d: d["explained"]["chances_relevance"].update(class_axis=-1),
        lambda d: d["explained"]["chances_relevance"].update(class_axis="x"),
        lambda d: d["source_names"].append("more"),
        lambda d: d.pop("method"),
        lambda d: d.update(options=None),
    ],
)
def test_a_description_of_something_else_is_said(change: Callable[[Any], Any]) -> None:
    model = nets.converted(nets.DENSE)
    data = json.loads(model.metadata_props[0].value)
    change(data)
    model.metadata_props[0].value = json.dumps(data)
    with pytest.raises(ModelError, match="its description by rfponnx is damaged"):
        Session(model)


def test_messages_of_the_runtime_are_cleaned() -> None:
    raw = (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. "
        "Name:'/a/Add' Status Message: /src/core/x.cc:12 sizes differ.\n"
    )
    assert explained(raw) == ("sizes differ", "node `/a/Add` (Add)")
    assert explained("") == ("it gives no reason", "")


def test_the_session_is_there_by_name() -> None:
    assert rfponnx.Session is Session


def test_functions_and_packages_of_one_name_stay_apart() -> None:
    """`rfponnx.verify` is a function, also after something was imported from its package."""
    import rfponnx.verify.report

    with pytest.raises(ModelError, match="no such file"):
        rfponnx.verify("no.onnx", "no.onnx")
    assert callable(rfponnx.inspect)
