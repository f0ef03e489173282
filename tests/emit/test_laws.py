"""What holds for every net, whatever its operators: laws of the streams and their read-out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rfponnx
from rfponnx.verify.float64 import Float64
from tests.emit.nets import NETS, Net, converted, exact, explained, relevances, run

EXACT = 1e-12  # of two float64 computations of one number
CLOSE = 1e-5  # of a float32 result

nets = pytest.mark.parametrize("net", NETS, ids=str)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference relative to the largest entry."""
    assert a.shape == b.shape
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0), 1e-30)
    return float(np.abs(a - b).max(initial=0) / scale)


def rows(net: Net, **options: Any) -> dict[str, np.ndarray]:
    return relevances(exact(net.name, **options))


#: Options that change how streams are written, or what is in the bias row.
WAYS: tuple[dict[str, Any], ...] = tuple(
    {"bias": bias, "layout": layout, "linearisation": kind}
    for bias in ("separate", "explicit", "split")
    for layout in ("separate", "stacked")
    for kind in ("weighted", "ratio", "taylor")
)


@pytest.mark.parametrize(
    ("net", "way"),
    [(n, w) for n in NETS for w in WAYS if n.smooth or w["linearisation"] == "weighted"],
    ids=lambda v: "-".join(v.values()) if isinstance(v, dict) else str(v),
)
def test_streams_and_bias_sum_to_what_is_explained(net: Net, way: dict[str, Any]) -> None:
    outputs = exact(net.name, **way)
    found = relevances(outputs)
    assert found
    for name, relevance in found.items():
        y = explained(converted(net.name, **way), outputs, name)
        assert np.isfinite(relevance).all()
        assert relevance.shape == (len(net.sources) + 1, *y.shape)
        scale = max(np.abs(y).max(), np.abs(relevance).sum(0).max(), 1e-30)
        assert np.abs(relevance.sum(0) - y).max() / scale <= EXACT


@pytest.mark.parametrize("bias", ["separate", "explicit", "split", "split_signed"])
@nets
def test_layouts_differ_in_spelling_only(net: Net, bias: str) -> None:
    separate, stacked = (rows(net, bias=bias, layout=way) for way in ("separate", "stacked"))
    assert separate.keys() == stacked.keys()
    for name, relevance in separate.items():
        assert distance(relevance, stacked[name]) <= EXACT


@nets
def test_the_bias_that_travels_is_what_is_left_over(net: Net) -> None:
    left, carried = rows(net, bias="separate"), rows(net, bias="explicit")
    for name, relevance in left.items():
        assert np.array_equal(relevance[:-1], carried[name][:-1])
        assert np.abs(relevance[-1] - carried[name][-1]).max() <= EXACT * np.abs(relevance).max()


@nets
def test_the_order_of_sources_is_the_order_of_rows(net: Net) -> None:
    turned = tuple(reversed(net.sources))
    for name, relevance in rows(net).items():
        other = rows(net, sources=turned)[name]
        assert np.array_equal(relevance[:-1][::-1], other[:-1])
        assert distance(relevance[-1], other[-1]) <= EXACT


@nets
def test_a_row_is_that_of_the_source_alone(net: Net) -> None:
    if not net.apart:
        return
    together = rows(net)
    for place, source in enumerate(net.sources):
        alone = Float64(net.convert(sources=[source]).model).run(net.feeds())
        for name, relevance in relevances(alone).items():
            assert distance(relevance[0], together[name][place]) <= EXACT
            rest = together[name].sum(0) - together[name][place]
            assert np.abs(relevance[1] - rest).max() <= EXACT * np.abs(together[name]).max()


@nets
def test_a_source_of_two_parts_is_their_sum(net: Net) -> None:
    first, second, *others = net.sources
    union = (f"{first}+{second.partition('=')[2]}", *others)
    for name, relevance in rows(net).items():
        joined = rows(net, sources=union)[name]
        expected = np.stack([relevance[0] + relevance[1], *relevance[2:]])
        assert np.abs(joined - expected).max() <= EXACT * np.abs(relevance).max()


@nets
def test_renamed_sources_have_the_same_rows(net: Net) -> None:
    named = tuple(f"other{i}={s.partition('=')[2]}" for i, s in enumerate(net.sources))
    for name, relevance in rows(net).items():
        assert np.array_equal(relevance, rows(net, sources=named)[name])


@pytest.mark.parametrize("bias", ["separate", "explicit", "split"])
@pytest.mark.parametrize(("name", "source"), [("doubles", "all=x"), ("heads", "all=x+z")])
def test_a_source_of_everything_without_offsets_is_the_output(
    name: str, source: str, bias: str
) -> None:
    outputs = exact(name, sources=(source,), bias=bias)
    relevance = "p_relevance" if name == "heads" else "y_relevance"
    y = explained(converted(name, sources=(source,), bias=bias), outputs, relevance)
    assert distance(outputs[relevance][0], y) <= EXACT
    assert np.abs(outputs[relevance][1]).max() <= EXACT * np.abs(y).max()


@nets
def test_the_winning_class_is_one_of_all(net: Net) -> None:
    all_, made = exact(net.name), converted(net.name)
    for name, relevance in rows(net, readout="predicted").items():
        one = next(e for e in made.plan.explained if f"{e.output}_relevance" == name)
        y = explained(made, all_, name)
        winner = np.expand_dims(np.argmax(y, one.class_axis), one.class_axis)
        full = relevances(all_)[name]
        taken = np.stack([np.take_along_axis(row, winner, one.class_axis) for row in full])
        assert np.array_equal(relevance, taken.squeeze(one.class_axis + 1))


@pytest.mark.parametrize("readout", ["all", "predicted"])
@nets
def test_outputs_have_the_shapes_that_are_declared(net: Net, readout: str) -> None:
    made = converted(net.name, readout=readout)
    values = run(made.model, net.feeds())
    for output in made.model.graph.output:
        declared = output.type.tensor_type.shape.dim
        found = values[output.name].shape
        assert len(found) == len(declared)
        fixed = [(d.dim_value, n) for d, n in zip(declared, found, strict=True) if d.dim_value]
        assert all(d == n for d, n in fixed)
        if "_relevance" in output.name:
            assert declared[0].dim_value == len(net.sources) + 1


@pytest.mark.parametrize("level", ["DISABLE_ALL", "ENABLE_ALL"])
@pytest.mark.parametrize("layout", ["separate", "stacked"])
@nets
def test_onnx_runtime_computes_the_same(net: Net, layout: str, level: str) -> None:
    for bias in ("separate", "explicit", "split"):
        values = run(converted(net.name, layout=layout, bias=bias).model, net.feeds(), level)
        for name, relevance in rows(net, layout=layout, bias=bias).items():
            assert np.isfinite(values[name]).all()
            assert distance(values[name].astype(np.float64), relevance) <= CLOSE


@pytest.mark.parametrize("bias", ["separate", "explicit", "split", "split_signed"])
@nets
def test_the_prediction_keeps_its_bits(net: Net, bias: str) -> None:
    before = run(net.model(), net.feeds())
    after = run(converted(net.name, bias=bias).model, net.feeds())
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes()


@nets
def test_a_number_of_the_method_reaches_the_nodes(net: Net) -> None:
    """eps of the split moves the shares; all of them still sum up (the law above)."""
    coarse = rfponnx.convert(net.model(), sources=list(net.sources), bias="split", set={"eps": 0.5})
    found = relevances(Float64(coarse.model).run(net.feeds()))
    fine = rows(net, bias="split")
    for name, relevance in found.items():
        y = explained(coarse, Float64(coarse.model).run(net.feeds()), name)
        assert distance(relevance.sum(0), y) <= EXACT
    affine = any(s.linearisation.affine and s.linearisation.offset for s in coarse.plan.steps)
    if affine:
        assert any(distance(v, fine[n]) > 1e-4 for n, v in found.items())
