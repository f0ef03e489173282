"""What the relevance of a backward run sums to, by sample and target."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from rfponnx.errors import InputError
from rfponnx.runtime.account import accounts, classes, seeds
from rfponnx.runtime.plot import plot_results
from rfponnx.runtime.session import Session
from tests.runtime import nets
from tests.runtime.backward import NETS, Linear, described, fed, metadata

Rng = np.random.Generator

LAWFUL = {k: n for k, n in NETS.items() if n.conserves}


@pytest.mark.parametrize("net", LAWFUL.values(), ids=LAWFUL.keys())
def test_parts_add_up_to_what_was_seeded(net: Linear, rng: Rng) -> None:
    feeds = fed(net, rng)
    found = accounts(Session(net.model()).run(feeds))
    judged = [a for a in found if a.off is not None]
    assert len(judged) == len(net.targets) * (1 if net.bias_total else 5)
    assert max(a.off or 0.0 for a in judged) < 1e-6
    logits, chosen = net.logits(feeds), net.chosen(feeds) if net.targets != ("seed",) else None
    for a in found:
        if a.sample is None or chosen is None:
            continue
        k = int(chosen[net.targets.index(a.target), a.sample])
        assert (a.index, a.predicted) == (k, logits[a.sample].argmax())
        assert a.value == pytest.approx(logits[a.sample, k], rel=1e-4, abs=1e-6)
        if net.readout == "all":
            for name in net.inputs:
                r = net.relevance(feeds, name)[net.targets.index(a.target), a.sample]
                assert a.inputs[name] == pytest.approx(r.sum(), rel=1e-4, abs=1e-5)


def test_what_does_not_add_up_is_seen(rng: Rng) -> None:
    net = NETS["one target"]
    model = net.model()
    share = next(t for t in model.graph.initializer if t.name == "bias_share")
    share.CopyFrom(onnx.numpy_helper.from_array(np.array(0.9, np.float32), "bias_share"))
    feeds = fed(net, rng)
    for a in accounts(Session(model).run(feeds)):
        lost = 0.1 * abs(net.bias[net.chosen(feeds)[0][a.sample or 0]])
        assert a.off == pytest.approx(lost / a.scale, rel=1e-3)


def test_probabilities_are_those_of_the_output(rng: Rng) -> None:
    net = NETS["two inputs"]
    feeds = fed(net, rng)
    found = Session(net.model()).run(feeds)
    for a in accounts(found):
        assert a.probability == pytest.approx(found["chances"][a.sample, a.predicted])


@pytest.mark.parametrize(
    ("method", "seed_value", "expected"),
    [
        ("lrp", None, lambda z: z.max(1)),
        ("lrp", "logit", lambda z: z.max(1)),
        ("lrp", "one", lambda z: np.ones(len(z))),
        ("lrp", "probability", lambda z: (np.exp(z) / np.exp(z).sum(1, keepdims=True)).max(1)),
        ("lrp", "contrastive", None),
        ("excitation_backprop", None, lambda z: np.ones(len(z))),
        ("some_other_method", None, None),
        ("gradient_x_input", "one", lambda z: z.max(1)),
        ("deeplift", "logit", None),
        ("integrated_gradients", None, None),
    ],
)
def test_what_is_seeded(method: str, seed_value: str | None, expected: Any, rng: Rng) -> None:
    net = NETS["one target"]
    model = net.model()
    data = metadata(model) | {"method": method, "options": {"seed_value": seed_value}}
    feeds = fed(net, rng)
    found = [a.seed for a in accounts(Session(described(model, **data)).run(feeds))]
    if expected is None:
        assert found == [None] * 5
        return
    np.testing.assert_allclose(np.array(found), expected(net.logits(feeds)), rtol=1e-5)


def test_a_composite_says_what_is_seeded(rng: Rng) -> None:
    model, feeds = NETS["one target"].model(), fed(NETS["one target"], rng)
    data = metadata(model) | {"options": {"flavor": "lrp_resnet"}}
    found = [a.seed for a in accounts(Session(described(model, **data)).run(feeds))]
    power = np.exp(NETS["one target"].logits(feeds))
    expected = (power / power.sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-5)


def test_a_gradient_seed_counts_times_the_value(rng: Rng) -> None:
    net = NETS["seed"]
    model = net.model()
    data = metadata(model) | {"method": "gradient_x_input"}
    feeds = fed(net, rng)
    found = [a.seed for a in accounts(Session(described(model, **data)).run(feeds))]
    expected = (feeds["seed"] * net.logits(feeds)).sum(1)
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-4)


def test_a_segmenter_seeds_every_position(rng: Rng) -> None:
    """Labels name one class everywhere, or only where it wins; argmax each position's own."""
    text = """
    pixels (float[N, 3, H, W] image) => (float[N, 3, H, W] scores, float[N, 3, H, W] r) {
      scores = Relu(image)
      r = Identity(scores)
    }
    """
    image = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    scores = np.maximum(image, 0).astype(np.float64)
    first = scores.argmax(1) == 1
    expected = {
        "argmax": scores.max(1).sum((1, 2)),
        "1": scores[:, 1].sum((1, 2)),
        "1@predicted": (scores[:, 1] * first).sum((1, 2)),
        "2-0": (scores[:, 2] - scores[:, 0]).sum((1, 2)),
    }
    for label, whole in expected.items():
        one = {"tensor": "image", "kind": "input", "several": False, "targets": [label],
               "readout": "all"}  # fmt: skip
        model = described(
            nets.model(text), relevances={"r": one}, inputs=["image"], outputs=["scores"],
            explained={"scores": {"tensor": "scores", "class_axis": 1, "output": "scores"}},
        )  # fmt: skip
        results = Session(model).run({"image": image})
        view = results.values_view()
        seed = seeds(results, view, label, classes(label, view, results))
        np.testing.assert_allclose(np.asarray(seed), whole, rtol=1e-6)
        found = accounts(results)
        assert {a.seed for a in found} == {None}  # no bias in the file: nothing to compare
        counts = [np.bincount(s.argmax(0).ravel()) for s in scores]
        assert [a.predicted for a in found] == [c.argmax() for c in counts]
        assert [a.fraction for a in found] == [c.max() / 20 for c in counts]


# ---- samples that are not where they are looked for ---------------------------------------

ODD = {
    # one sample, no axis for it: [3, C, 5] to [C]
    "lone": """
    lone (float[3, 4, 5] x) => (float[4] z, float[3, 4, 5] r, float[1] b) {
      z = ReduceSum <keepdims = 0> (x, axes)
      top = ArgMax <axis = 0> (z)
      hot = OneHot <axis = 0> (top, depth, values)
      shape = Constant <value = int64[3] {1, 4, 1}> ()
      own = Reshape (hot, shape)
      r = Mul (x, own)
      b = Constant <value = float[1] {0.0}> ()
    }
    """,
    # two outputs for each sample, as samples of their own: [N, 4] to [2N, 2]
    "split": """
    split (float[N, 4] x) => (float[M, 2] z, float[N, 4] r, float[1] b) {
      rows = Constant <value = int64[2] {-1, 2}> ()
      z = Reshape (x, rows)
      best = ReduceMax <axes = [1], keepdims = 1> (z)
      same = Equal (z, best)
      hit = Cast <to = 1> (same)
      mine = Mul (z, hit)
      back = Constant <value = int64[2] {-1, 4}> ()
      r = Reshape (mine, back)
      b = Constant <value = float[1] {0.0}> ()
    }
    """,
    # an input beside the data that has no samples
    "constant": """
    constant (float[N, 3] x, float[3] w) => (float[N, 3] z, float[N, 3] r, float[1] b) {
      z = Add (x, w)
      best = ReduceMax <axes = [1], keepdims = 1> (z)
      same = Equal (z, best)
      hit = Cast <to = 1> (same)
      r = Mul (x, hit)
      left = Sub (z, x)
      gone = Mul (left, hit)
      total = ReduceSum <keepdims = 0> (gone)
      one = Constant <value = int64[1] {1}> ()
      b = Reshape (total, one)
    }
    """,
}
CONSTANTS = """
<int64[2] axes = {0, 2}, int64 depth = {4}, float[2] values = {0.0, 1.0}>"""


@pytest.mark.parametrize("name", ODD)
def test_samples_that_cannot_be_followed_add_up_together(
    name: str, rng: Rng, tmp_path: Any
) -> None:
    text = ODD[name].replace(") {", ")" + CONSTANTS + " {", 1) if name == "lone" else ODD[name]
    model = nets.model(text)
    own = {"x": {"lone": (3, 4, 5), "split": (3, 4), "constant": (4, 3)}[name]}
    own |= {"w": (3,)} if name == "constant" else {}
    relevance = {"targets": ["argmax"], "several": False, "readout": "all"}
    axis = 0 if name == "lone" else 1
    described(
        model, inputs=list(own), outputs=["z"],
        relevances={"r": relevance | {"tensor": "x", "kind": "input"},
                    "b": relevance | {"tensor": "", "kind": "bias"}},
        explained={"z": {"tensor": "z", "class_axis": axis, "output": "z"}},
    )  # fmt: skip
    feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in own.items()}
    results = Session(model).run(feeds)
    found = accounts(results)
    expected = results["z"].astype(np.float64).max(axis).sum()
    last = found[-1]
    assert last.sample == (0 if name == "lone" else None)
    assert last.total == pytest.approx(expected, rel=1e-5)
    assert last.seed == pytest.approx(expected, rel=1e-5)
    assert len(found) == {"lone": 1, "split": 3 + 1, "constant": 4 + 1}[name]
    whole = sum(a.inputs["x"] for a in found if a.sample is not None)
    assert whole == pytest.approx(results["r"].sum(dtype=np.float64), rel=1e-5)
    plot_results(tmp_path / "p.png", results, feeds)


def test_an_explained_tensor_that_is_no_output_is_said(rng: Rng) -> None:
    model = NETS["one target"].model()
    data = metadata(model)
    data["explained"] = {"": data["explained"]["logits"]}
    found = Session(described(model, **data)).run(fed(NETS["one target"], rng))
    with pytest.raises(InputError, match="`logits` is not among the outputs"):
        found.explained()
    one = accounts(found)[0]
    assert (one.predicted, one.value, one.seed) == (None, None, None)
    assert one.total == pytest.approx(found.relevance()[0].sum() + found.bias[0], rel=1e-5)


@pytest.mark.parametrize("readout", ["channels", "heat"])
def test_quantised_maps_do_not_add_up(readout: str, rng: Rng) -> None:
    model = NETS["channels"].model()
    data = metadata(model)
    data["relevances"]["image_relevance"]["readout"] = readout
    found = accounts(Session(described(model, **data)).run(fed(NETS["channels"], rng)))
    assert all((a.total is None) == (readout == "heat") for a in found)


def test_without_a_bias_nothing_is_judged(rng: Rng) -> None:
    model = NETS["one target"].model()
    data = metadata(model)
    del data["relevances"]["bias_relevance"]
    found = accounts(Session(described(model, **data)).run(fed(NETS["one target"], rng)))
    assert {(a.total, a.seed, a.off) for a in found} == {(None, None, None)}
