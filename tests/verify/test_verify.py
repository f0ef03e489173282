"""`verify` passes what is right and fails what is broken, with the check that should notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto

import rfponnx
from rfponnx.errors import InputError, ModelError, OptionError
from rfponnx.verify.report import Check, Report
from rfponnx.verify.verify import verify
from tests.verify import mutants, nets

NETS = {
    "fusion": (nets.FUSION, {}),
    "residual": (nets.RESIDUAL, {"optical": "image[:,0:3]", "radar": "image[:,3]"}),
    "dense": (nets.DENSE, {"a": "x[:,0:4]", "b": "x[:,4:]"}),
    "pixels": (nets.PIXELS, {"first": "image[:,0]", "rest": "image[:,1:]"}),
}
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": "explicit"},
    {"bias": "split"},
    {"bias": "split_signed"},
    {"layout": "stacked"},
    {"readout": "predicted"},
    {"readout": "predicted", "bias": "split", "layout": "stacked"},
    {"linearisation": "taylor"},
)


def made(name: str, **options: Any) -> tuple[ModelProto, ModelProto]:
    """Return a net and what it is converted to."""
    described, sources = NETS[name]
    original = nets.net(described)
    return original, rfponnx.convert(original, sources=sources or None, **options).model


def failed(report: Report) -> set[str]:
    return {c.name for c in report.checks if not c.passed}


def told(report: Report) -> str:
    return "\n".join(f"{c.name}: {c.value} ({c.bound}) {c.note}" for c in report.checks)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_what_is_right_passes(name: str, options: dict[str, Any]) -> None:
    report = verify(*made(name, **options))
    assert report.passed, told(report)


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=str)
def test_what_is_broken_fails(mutant: mutants.Mutant) -> None:
    tried = 0
    for name in NETS:
        original, converted = made(name)
        model = mutants.broken(converted, original, mutant)
        if model is None:
            continue
        tried += 1
        report = verify(original, model, samples=1, float64=False)
        assert failed(report) >= set(mutant.notices), f"{name}\n{told(report)}"
    assert tried, "the mutant applies to no net"


@pytest.mark.parametrize("options", [{}, {"bias": "explicit", "layout": "stacked"}], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_whatever_moves_a_relevance_is_noticed(name: str, options: dict[str, Any]) -> None:
    """Scale every float tensor of the overlay in turn; only those that do nothing may pass."""
    original, converted = made(name, **options)
    count, noticed = len(original.graph.node), 0
    for tensor in mutants.floats_of(converted, count):
        model = ModelProto()
        model.CopyFrom(converted)
        node = next(n for n in model.graph.node if n.output[0] == tensor)
        mutants.scale_behind(model, node, 1.01)
        report = verify(original, model, samples=1, float64=False)
        noticed += bool(failed(report))
        if not failed(report):
            assert moved(converted, model) < 1e-4, f"{tensor} scaled\n{told(report)}"
    assert noticed > 5


def moved(one: ModelProto, two: ModelProto) -> float:
    """Return the largest relative difference of the outputs of two models on random inputs."""
    rng, worst = np.random.default_rng(0), 0.0
    sizes = [[d.dim_value or 16 for d in i.type.tensor_type.shape.dim] for i in one.graph.input]
    feeds = {
        i.name: rng.normal(size=shape).astype(np.float32)
        for i, shape in zip(one.graph.input, sizes, strict=True)
    }
    sessions = [onnxruntime.InferenceSession(m.SerializeToString()) for m in (one, two)]
    for a, b in zip(*(s.run(None, feeds) for s in sessions), strict=True):
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-9)))
    return worst


def test_explicit_bias_that_is_wrong_does_not_sum_up() -> None:
    original, converted = made("fusion", bias="explicit")
    mutant = mutants.Mutant("offset", (), mutants.scaled(1.001, "Expand"))
    model = mutants.broken(converted, original, mutant)
    assert model is not None
    assert failed(verify(original, model)) == {mutants.SUMS, mutants.FRESH}


@pytest.mark.parametrize("readout", ["all", "predicted"])
def test_offsets_divided_wrongly(readout: str) -> None:
    """`split`: the streams themselves have to add up, in double precision to rounding."""
    double = mutants.SUMS + ", float64"
    original, converted = made("residual", bias="split", readout=readout)
    assert double in {c.name for c in verify(original, converted).checks}
    mutant = mutants.Mutant("share", (), mutants.scaled(1.001, "Div"))
    model = mutants.broken(converted, original, mutant)
    assert model is not None
    assert failed(verify(original, model)) >= {mutants.SUMS, mutants.FRESH, double}


def test_a_broken_overlay_is_found_at_its_node() -> None:
    original, converted = made("fusion")
    mutant = mutants.Mutant("sign", (), mutants.behind("Neg", "Gemm"))
    model = mutants.broken(converted, original, mutant)
    assert model is not None
    notes = [c.note for c in verify(original, model).checks if c.name == mutants.FRESH]
    assert "Gemm" in notes[0]


def test_another_original_fails_without_a_traceback() -> None:
    _, converted = made("fusion")
    for name in ("dense", "residual"):
        report = verify(nets.net(NETS[name][0]), converted)
        assert mutants.PRIMAL in failed(report)
        assert mutants.SAME in failed(report)


def test_the_same_net_with_other_weights_fails() -> None:
    _, converted = made("fusion")
    report = verify(nets.net(nets.FUSION, seed=1), converted)
    assert failed(report) >= {mutants.PRIMAL, mutants.SAME, mutants.FRESH}


def test_an_original_in_place_of_a_conversion_is_refused() -> None:
    original, _ = made("dense")
    with pytest.raises(OptionError, match="not a converted model"):
        verify(original, original)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"samples": 0}, "0 samples"),
        ({"provider": "tpu"}, "no provider `tpu`"),
        ({"inputs": {}}, "no value for the input `x`"),
        ({"inputs": {"y": np.zeros(1)}}, "no input `y`"),
        ({"inputs": {"x": np.zeros((1, 7), np.float32)}}, "ONNX Runtime cannot run it"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises((OptionError, InputError), match=what):
        verify(*made("dense"), **options)


@pytest.mark.parametrize("value", ["{", "[]", '{"version": "1"}', ""], ids=str)
def test_damaged_metadata_is_refused(value: str) -> None:
    original, converted = made("dense")
    converted.metadata_props[0].value = value
    with pytest.raises(ModelError, match="metadata"):
        verify(original, converted)


def test_a_batch_of_nothing() -> None:
    report = verify(*made("dense"), inputs={"x": np.zeros((0, 6), np.float32)})
    assert report.passed, told(report)


def test_explicit_inputs_are_used() -> None:
    x = np.full((3, 6), np.float32(0.5))
    report = verify(*made("dense"), inputs={"x": x})
    assert report.passed
    assert "3x6" in next(c.note for c in report.checks if c.name == mutants.SAME)


def test_nan_of_the_original_itself_is_no_failure() -> None:
    x = np.full((2, 6), np.float32(0.5))
    x[0] = np.nan
    report = verify(*made("dense"), inputs={"x": x}, float64=False)
    assert report.passed, told(report)


def test_masks_come_at_run_time() -> None:
    original = nets.net(nets.RESIDUAL)
    dynamic = rfponnx.convert(original, source_masks="image")
    named = rfponnx.convert(original, sources={"near": "image@mask", "far": "ar@mask+image[:,0]"})
    for converted in (dynamic, named):
        report = verify(original, converted)
        assert report.passed, told(report)


def test_a_source_inside_the_net() -> None:
    original = nets.net(nets.FUSION)
    sources = {"a": "left", "b": "br[:,0]", "c": "cr[:,1:3]"}
    for bias in ("separate", "explicit"):
        report = verify(original, rfponnx.convert(original, sources=sources, bias=bias))
        assert report.passed, told(report)


def test_outputs_that_sources_reach_by_steps_only() -> None:
    """All of them is bias, and does not move with the input."""
    text = "net (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) { y = Sign(x)\n z = Relu(x) }"
    original = nets.net((text, {}))
    report = verify(original, rfponnx.convert(original))
    assert report.passed, told(report)


@pytest.mark.parametrize("described", [nets.FUSION, nets.RESIDUAL], ids=["fusion", "residual"])
def test_half_precision_is_exact_in_double(described: Any) -> None:
    """Its small numbers and the slopes of its steps are not, so a double of it is converted."""
    original = nets.net(described, dtype="float16")
    for bias in ("separate", "split"):
        report = verify(original, rfponnx.convert(original, bias=bias))
        assert report.passed, told(report)
        bounds = {c.name: c.bound for c in report.checks}
        assert bounds["completeness, float64"] == 1e-12
        assert bounds["streams are derivatives"] == 1e-6


def test_an_image_a_little_smaller_than_its_pool() -> None:
    """ONNX Runtime takes what there is; so has the evaluation in float64."""
    text = (
        "net (float[N, 1, 2, 4] x) => (float[N, 1, 1, 2] y) "
        "{ a = MaxPool<kernel_shape = [3, 3], strides = [3, 1]>(x)\n y = Relu(a) }"
    )
    original = nets.net((text, {}))
    report = verify(original, rfponnx.convert(original))
    assert report.passed, told(report)
    assert "completeness, float64" in {c.name for c in report.checks if c.bound != "reported"}


def test_a_raised_opset_and_an_old_ir() -> None:
    original = nets.net(nets.FUSION, opset=9, ir=3)
    for tensor in original.graph.initializer:  # IR 3: a weight is an input too
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        original.graph.input.append(info)
    report = verify(original, rfponnx.convert(original))
    assert report.passed, told(report)


def test_a_node_of_another_domain_off_the_path() -> None:
    """ONNX Runtime computes it for the checks in float64 too: no stream passes it."""
    text = (
        "net (float[N, 4] x, float[N, 4] other) => (float[N, 3] y) "
        "{ g = com.microsoft.QuickGelu(other)\n s = Add(x, g)\n r = Relu(s)\n y = MatMul(r, w) }"
    )
    original = nets.net((text, {"w": (4, 3)}))
    original.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    info = onnx.helper.make_tensor_value_info("g", onnx.TensorProto.FLOAT, ["N", 4])
    original.graph.value_info.append(info)
    checks = verify(original, rfponnx.convert(original, sources={"x": "x"})).checks
    assert all(c.passed for c in checks)
    judged = {c.name for c in checks if c.bound != "reported"}
    assert {"completeness, float64", "streams are derivatives"} <= judged


def test_a_second_conversion() -> None:
    original, converted = made("fusion")
    again = rfponnx.convert(converted, sources={"left": "left"})
    report = verify(converted, again)
    assert report.passed, told(report)
    assert verify(original, converted).passed


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A net whose weights lie in a file beside it."""
    model, path = nets.net(nets.FUSION), tmp_path / "one" / "net.onnx"
    path.parent.mkdir()
    onnx.save(
        model, path, save_as_external_data=True, location="net.data", size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    return path


def test_external_data_where_it_lies_and_copied(outside: Path, tmp_path: Path) -> None:
    converted = rfponnx.convert(outside)
    beside, elsewhere = outside.parent / "rfp.onnx", tmp_path / "two" / "rfp.onnx"
    elsewhere.parent.mkdir()
    for target in (beside, elsewhere):
        converted.save(target)
        report = verify(outside, target)
        assert report.passed, told(report)
    assert verify(outside, converted).passed


def test_a_flipped_bit_of_external_data(outside: Path, tmp_path: Path) -> None:
    target = tmp_path / "rfp.onnx"
    rfponnx.convert(outside).save(target)
    data = next(p for p in tmp_path.iterdir() if p != target and p.is_file())
    content = bytearray(data.read_bytes())
    content[1] ^= 1
    data.write_bytes(content)
    assert mutants.PRIMAL in failed(verify(outside, target))


def test_paths_and_a_missing_file(tmp_path: Path, fixtures: Path) -> None:
    original = fixtures / "ms_basic_relu_ts.onnx"
    target = tmp_path / "rfp.onnx"
    rfponnx.convert(original).save(target)
    said: list[str] = []
    assert verify(original, target, progress=said.append, threads=1).passed
    assert "completeness, float64" in said
    with pytest.raises(ModelError, match="no such file"):
        verify(original, tmp_path / "none.onnx")


def test_report_orders_the_worst_first_and_is_json() -> None:
    def check(name: str, value: Any, bound: Any, passed: bool) -> Check:
        return Check(name, value, bound, passed)

    report = Report((
        check("fine", 1e-7, 1e-5, True),
        check("close", 9e-6, 1e-5, True),
        check("nan", float("nan"), 1e-5, False),
        check("bad", 1e-3, 1e-5, False),
        check("shown", "text", "reported", True),
    ))  # fmt: skip
    assert [c.name for c in report.worst_first()] == ["nan", "bad", "close", "fine", "shown"]
    data = report.to_json()
    assert not data["passed"]
    assert data["checks"][2]["value"] == "nan"


def test_float64_can_be_left_out() -> None:
    names = {c.name for c in verify(*made("dense"), float64=False).checks}
    assert not [n for n in names if "64" in n or "derivative" in n]
