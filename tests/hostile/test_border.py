"""Whatever a model holds, the interface raises one kind of error, and never writes a bad file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import rfponnx
from rfponnx.emit.readout import Result
from rfponnx.errors import InternalError, ModelError, RfpError, Unsupported, guarded
from rfponnx.graph.accept import refusal
from rfponnx.graph.builder import Builder
from rfponnx.methods import convert, emitters
from rfponnx.ops.op import Op
from rfponnx.ops.registry import Registry
from rfponnx.runtime.inspect import inspect
from tests.hostile.models import FLOAT, WEIGHT, changed, good, model, nested, node
from tools.damage import damage


def test_a_mistake_of_ours_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(at: object) -> None:
        raise KeyError("axis")

    rows = Op("Relu", "select", broken, "")  # type: ignore[arg-type]
    monkeypatch.setattr(Registry, "find", lambda *_: rows)
    with pytest.raises(InternalError) as caught:
        rfponnx.convert(good())
    assert isinstance(caught.value.__cause__, KeyError)
    assert "KeyError: 'axis'" in caught.value.what
    assert caught.value.where.startswith("node `")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no\nline"), InternalError),
        (RecursionError(), ModelError),
        (MemoryError(), ModelError),
        (Unsupported("no", "node `a`"), Unsupported),
    ],
)
def test_the_innermost_place_wins(error: Exception, kind: type[RfpError]) -> None:
    with pytest.raises(kind) as caught, guarded("outside"), guarded("node `a`"):
        raise error
    assert caught.value.where == "node `a`"
    assert "\n" not in str(caught.value)


def write(kind: str, *inputs: str, **attrs: Any) -> Callable[..., Any]:
    """Return an emitter that adds a node which is not as it should be."""
    emit = emitters.emit

    def spoilt(plan: Any, b: Builder) -> Any:
        results = emit(plan, b)
        b.nodes.append(helper.make_node(kind, list(inputs), ["rfp/spoilt"], **attrs))
        return (*results, Result("rfp/spoilt", FLOAT, ("n",)))

    return spoilt


@pytest.mark.parametrize(
    "spoilt",
    [
        write("NoSuchOperator", "x"),
        write("Add", "x", "nowhere"),
        write("MatMul", "w", "w"),
        write("Relu", "x", alpha=1.0),
        write("Cast", "x"),
    ],
)
def test_a_broken_overlay_is_not_handed_out(spoilt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "emit", spoilt)
    with pytest.raises(InternalError, match="the result"):
        rfponnx.convert(good())


def test_what_the_checker_minds_before_may_stay() -> None:
    made = good()
    made.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(made)
    assert refusal(rfponnx.convert(made).model.SerializeToString()) == ""


def misdeclared(*nodes: onnx.NodeProto) -> ModelProto:
    """Return a model that ONNX Runtime runs, with a warning that it is not shaped as it says."""
    made = model(nodes, [("x", FLOAT, ["N", 2, 1, 1])], [("y", FLOAT, ["N", 77, 1, 1])])
    assert not refusal(made.SerializeToString())
    return made


def test_a_wrong_size_of_an_output_may_stay() -> None:
    made = misdeclared(node("Relu", "x"))
    assert refusal(rfponnx.convert(made).model.SerializeToString()) == ""


def test_a_wrong_size_that_nobody_can_tell_is_named() -> None:
    made = misdeclared(node("MeanVarianceNormalization", "x"))
    with pytest.raises(ModelError, match=r"`y` is declared as \[N, 77, 1, 1\] but is \[N, 2"):
        rfponnx.convert(made)


def test_names_are_shown_as_they_are() -> None:
    error = RfpError("a\x1b[31mb\u202ec\nd", "x" * 10_000)
    assert str(error).isprintable()
    assert len(str(error)) < 1200


def test_graphs_in_graphs() -> None:
    with pytest.raises(RfpError):
        rfponnx.convert(nested(30))


@pytest.mark.parametrize("shape", [[2**40], [2**62, 2], [2**20, 2**20], [1, 2**31]])
def test_sizes_that_no_machine_holds_cost_no_time(shape: list[int]) -> None:
    nodes = [node("Mul", "x", "x", to="h"), node("Softplus", "h")]
    made = model(nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    start = time.monotonic()
    rfponnx.convert(made)
    assert time.monotonic() - start < 5


def test_large_numbers_in_shape_arithmetic() -> None:
    """Sizes that are computed to be huge are nobody's arrays."""
    huge = helper.make_tensor("huge", TensorProto.INT64, [2], [2**40, 2**40])
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    made = model(nodes, outputs=[("y", FLOAT, None)])
    made.graph.initializer.append(huge)
    start = time.monotonic()
    with pytest.raises(RfpError):
        rfponnx.convert(made)
    assert time.monotonic() - start < 5


def every(path: Path, original: Path) -> list[Callable[[], Any]]:
    """Return what can be done with a converted file."""
    feeds = {"x": np.ones((1, 2), np.float32)}
    return [
        lambda: rfponnx.Session(path, threads=1).run(feeds).parts(),
        lambda: inspect(path),
        lambda: rfponnx.convert(path),
        lambda: rfponnx.verify(original, path, samples=1, float64=False),
    ]


def caught(act: Callable[[], Any]) -> RfpError | None:
    try:
        act()
    except RfpError as error:
        return error
    return None


@pytest.mark.slow
def test_damaged_conversions_give_errors_of_one_kind(tmp_path: Path) -> None:
    """Not the originals, as `make fuzz` does, but what was made of them; metadata too."""
    changed(lambda made: None)(tmp_path)
    original, path = tmp_path / "bad.onnx", tmp_path / "damaged.onnx"
    data = rfponnx.convert(original).model.SerializeToString()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        path.write_bytes(scratched(data, rng) if seed % 2 else damage(data, rng)[0])
        for act in every(path, original):
            problem = caught(act)
            assert problem is None or str(problem).isprintable(), f"seed {seed}"
            assert not isinstance(problem, InternalError), f"seed {seed}"


def scratched(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a converted model with other letters in its metadata."""
    made = ModelProto.FromString(data)
    text = bytearray(made.metadata_props[0].value.encode())
    for place in rng.integers(0, len(text), int(rng.integers(1, 3))):
        text[place] = int(rng.choice(list(b'0x"[]{},:-')))
    made.metadata_props[0].value = text.decode(errors="replace")
    return made.SerializeToString()


def test_the_weight_is_what_it_was() -> None:
    """The models here do run, so that what is refused is refused for one reason."""
    x = np.array([[1, -1]], np.float32)
    found = rfponnx.Session(good()).run({"x": x})
    assert np.array_equal(found["y"], np.maximum(x @ WEIGHT, 0))
