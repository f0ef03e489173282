"""Backward files in a session: relevance by name, extra inputs, pieces, sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from rfponnx.errors import InputError, ModelError
from rfponnx.runtime.account import accounts, classes, seeds
from rfponnx.runtime.description import Description
from rfponnx.runtime.engine import Engine
from rfponnx.runtime.plot import plot_results
from rfponnx.runtime.session import Results, Session
from tests.runtime import nets
from tests.runtime.backward import Linear, described, metadata

Rng = np.random.Generator
HALVES = {"a": np.array([1, 1, 0, 0]), "b": np.array([0, 0, 1, 0])}
SPECS = ("a=x[:,0:2]", "b=x[:,2:3]")

NETS: dict[str, Linear] = {
    "one target": Linear(),
    "leak": Linear(leak=0.25),
    "one class": Linear(targets=("2",)),
    "top": Linear(targets=("top1", "top2")),
    "classes": Linear(targets=("0", "2"), leak=0.5),
    "two inputs": Linear({"image": (2, 3, 4), "table": (5,)}, softmax=True),
    "several targets, two inputs": Linear({"a": (2, 3), "b": (5,)}, targets=("top1", "top2")),
    "channels": Linear({"image": (2, 3, 4)}, readout="channels"),
    "sources": Linear(sources=HALVES, specs=SPECS, readout="sources"),
    "sources, top": Linear(
        sources=HALVES, specs=SPECS, readout="sources", targets=("top1", "top2")
    ),
    "target": Linear(targets=("input",)),
    "seed": Linear(targets=("seed",)),
    "noise": Linear(noise=3, conserves=False, method="smoothgrad"),
    "reference": Linear(reference=True, conserves=False, method="gradient"),
    "bias of all": Linear(bias_total=True, leak=0.5),
    "bias of all, top": Linear(bias_total=True, targets=("top1", "top2")),
}
named = pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())


def fed(net: Linear, rng: Rng, samples: int = 5) -> dict[str, Any]:
    """Random inputs, and a random target, seed or reference."""
    found: dict[str, Any] = {
        n: rng.standard_normal((samples, *shape)).astype(np.float32)
        for n, shape in net.inputs.items()
    }
    if net.targets == ("input",):
        found["target"] = rng.integers(0, net.classes, samples)
    if net.targets == ("seed",):
        found["seed"] = rng.standard_normal((samples, net.classes)).astype(np.float32)
    if net.reference:
        found["x_reference"] = rng.standard_normal((samples, 4)).astype(np.float32)
    return found


def d_of(session: Session) -> Description:
    assert session.description is not None
    return session.description


# ---- what a file says -------------------------------------------------------------------


def test_a_backward_file_is_described() -> None:
    d = d_of(Session(NETS["classes"].model()))
    assert d.backward
    assert d.conserves
    assert d.method == "lrp"
    assert d.targets == ("0", "2")
    assert [r.output for r in d.of_kind("input")] == ["x_relevance"]
    assert [r.output for r in d.relevances] == ["x_relevance", "bias_relevance", "leak_relevance"]
    assert d.readouts[0].values == "logits"
    noise = d_of(Session(NETS["noise"].model())).extras
    assert [(e.name, e.kind, e.of, e.seed) for e in noise] == [("x_noise", "noise", "x", 7)]


def test_a_file_without_a_direction_is_a_forward_one() -> None:
    d = d_of(Session(nets.converted(nets.DENSE)))
    assert (d.direction, d.backward, d.relevances, d.extras) == ("forward", False, (), ())


def _moved(key: str, name: str) -> Callable[[Any], Any]:
    return lambda d: d[key].update({name: d[key].pop(next(iter(d[key])))})


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["relevances"].clear(),
        lambda d: d["explained"].clear(),
        lambda d: d["explained"]["logits"].update(class_axis=2),
        lambda d: d["relevances"]["x_relevance"].update(kind="output"),
        lambda d: d["relevances"]["x_relevance"].update(readout="some"),
        lambda d: d["relevances"]["x_relevance"].update(several="yes"),
        lambda d: d["relevances"]["x_relevance"].update(targets=[]),
        lambda d: d["relevances"]["x_relevance"].update(targets="top"),
        lambda d: d["relevances"]["x_relevance"].update(targets=["top1", "top2", "top3"]),
        lambda d: d["relevances"]["x_relevance"].update(several=False),
        lambda d: d["relevances"]["bias_relevance"].update(targets=["1", "2"]),
        lambda d: d["relevances"]["bias_relevance"].update(kind="sources"),
        lambda d: d.pop("relevances"),
        lambda d: d["extra_inputs"].update(more={"kind": "target", "of": "logits"}),
        lambda d: d["extra_inputs"].update(x={"kind": "other", "of": "logits"}),
        _moved("relevances", "other"),
        _moved("explained", "other"),
    ],
)
def test_a_description_of_something_else_is_said(change: Callable[[Any], Any]) -> None:
    model = NETS["top"].model()
    data = metadata(model)
    change(data)
    with pytest.raises(ModelError, match="its description by rfponnx is damaged"):
        Session(described(model, **data))


# ---- results ----------------------------------------------------------------------------


@named
def test_relevance_is_that_of_the_closed_form(net: Linear, rng: Rng) -> None:
    feeds = fed(net, rng)
    found = Session(net.model()).run(feeds)
    np.testing.assert_array_equal(found.prediction, net.logits(feeds).argmax(1))
    if net.targets == ("seed",) or net.noise or net.reference or net.readout == "sources":
        return
    for name in net.inputs:
        expected = net.relevance(feeds, name)
        expected = expected if net.several else expected[0]
        if net.readout == "channels":
            expected = expected.sum(axis=1)
        np.testing.assert_allclose(found.relevance(name), expected, rtol=1e-4, atol=1e-6)
        assert found.relevance(f"{name}_relevance") is found.relevance(name)


def test_ends_and_sources_have_names(rng: Rng) -> None:
    net = NETS["leak"]
    feeds = fed(net, rng)
    found = Session(net.model()).run(feeds)
    bias = net.bias[net.chosen(feeds)[0]]
    np.testing.assert_allclose(found.bias, 0.75 * bias, rtol=1e-6)
    np.testing.assert_allclose(found.leak, 0.25 * bias, rtol=1e-6)
    assert found.targets == ("argmax",)
    net = NETS["sources"]
    found = Session(net.model()).run(feeds)
    assert found.sources == ("a", "b", "bias")
    r = net.relevance(feeds, "x")[0]
    expected = [r[:, :2].sum(1), r[:, 2], r[:, 3] + net.bias[net.chosen(feeds)[0]]]
    np.testing.assert_allclose(found.source_relevance, expected, rtol=1e-4, atol=1e-6)


Get = Callable[[Results], Any]
MISSING: tuple[tuple[str, Get, str], ...] = (
    ("one target", lambda r: r.leak, "holds no leak; convert with --account explicit"),
    ("one target", lambda r: r.source_relevance, "no source relevance; convert with --readout so"),
    ("one target", lambda r: r.sources, "no source relevance; convert with --readout sources"),
    ("noise", lambda r: r.bias, "holds no bias; smoothgrad gives none"),
    ("one target", lambda r: r.relevance("y"), "no relevance of `y`; there is: x"),
    ("two inputs", lambda r: r.relevance("imag"), "no relevance of `imag`; did you mean `image`"),
    ("two inputs", lambda r: r.relevance(), "not say of which input; name one of image, table"),
    ("sources", lambda r: r.relevance(), "no relevance of an input; it holds: source_relevance"),
    ("one target", lambda r: r.parts(), "only files of the forward direction hold that; this on"),
    ("one target", lambda r: r.explained("q"), "`q` is not explained"),
)


@pytest.mark.parametrize(("net", "get", "words"), MISSING, ids=[m[2][:30] for m in MISSING])
def test_what_is_not_there_is_said(net: str, get: Get, words: str, rng: Rng) -> None:
    found = Session(NETS[net].model()).run(fed(NETS[net], rng))
    with pytest.raises(InputError, match=words) as caught:
        get(found)
    assert "\n" not in str(caught.value)


def test_forward_results_have_no_ends(rng: Rng) -> None:
    x = rng.standard_normal((2, 2)).astype(np.float32)
    found = Session(nets.converted(nets.DENSE)).run({"x": x})
    for get in (lambda r: r.bias, lambda r: r.targets, lambda r: r.source_relevance):
        with pytest.raises(InputError, match="only files of the backward direction hold that"):
            get(found)


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


# ---- extra inputs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "name", "words"),
    [
        ("target", "target", r"the class to explain is not given, int64 \[N\]; .*input `target`"),
        ("seed", "seed", r"the relevance to start from is not given, float32 \[N, 3\]"),
        ("reference", "x_reference", r"the reference is not given, float32 \[N, 4\]"),
    ],
)
def test_what_only_the_user_knows_is_demanded(net: str, name: str, words: str, rng: Rng) -> None:
    feeds = fed(NETS[net], rng)
    session = Session(NETS[net].model())
    assert session.run(feeds).extras[name.removeprefix("x_")] is not None
    del feeds[name]
    with pytest.raises(InputError, match=words) as caught:
        session.run(feeds)
    assert "\n" not in str(caught.value)


def test_noise_is_drawn_from_the_seed(rng: Rng) -> None:
    net = Linear(noise=400, conserves=False)
    session = Session(net.model())
    feeds = fed(net, rng, 6)
    one, again = session.run(feeds), session.run(feeds)
    noise = one.extras["noise"]
    assert noise.shape == (400, 6, 4)
    assert noise.dtype == np.float32
    assert np.array_equal(one.relevance(), again.relevance())
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1, abs=4 / np.sqrt(2 * noise.size))
    assert len(np.unique(noise)) > 0.99 * noise.size
    fewer = session.run({"x": feeds["x"][:2]})
    assert np.array_equal(fewer.extras["noise"], noise[:, :2])
    given = rng.standard_normal((400, 6, 4)).astype(np.float32)
    assert np.array_equal(session.run(feeds | {"x_noise": given}).extras["noise"], given)
    model = net.model()
    data = metadata(model)
    data["extra_inputs"]["x_noise"]["seed"] = 8
    other = Session(described(model, **data)).run(feeds)
    assert not np.array_equal(other.extras["noise"], noise)


def test_the_metadata_may_say_how_many_draws(rng: Rng) -> None:
    model = NETS["noise"].model()
    data = metadata(model)
    data["extra_inputs"]["x_noise"]["samples"] = 5
    dims = next(v for v in model.graph.input if v.name == "x_noise").type.tensor_type.shape.dim
    dims[0].dim_param = "draws"
    found = Session(described(model, **data)).checked(fed(NETS["noise"], rng))
    assert found["x_noise"].shape == (5, 5, 4)


def test_two_inputs_get_noise_of_their_own(rng: Rng) -> None:
    net = Linear({"a": (4,), "b": (4,)}, noise=3, conserves=False)
    session = Session(net.model())
    found = session.checked(fed(net, rng))
    assert not np.array_equal(found["a_noise"], found["b_noise"])


def test_a_free_number_of_draws_has_to_be_given(rng: Rng) -> None:
    net = NETS["noise"]
    model = net.model()
    dims = next(v for v in model.graph.input if v.name == "x_noise").type.tensor_type.shape.dim
    dims[0].dim_param = "draws"
    with pytest.raises(InputError, match=r"how many draws `x_noise` .* takes is not known"):
        Session(model).run(fed(net, rng))


# ---- pieces -----------------------------------------------------------------------------


@named
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_run_in_pieces_is_the_same(net: Linear, batch: int, rng: Rng) -> None:
    session, feeds = Session(net.model()), fed(net, rng)
    whole, pieces = session.run(feeds), session.run(feeds, batch=batch)
    assert list(whole) == list(pieces)
    for name in whole:
        have = pieces[name]
        if net.bias_total and name in ("bias_relevance", "leak_relevance"):
            assert have.shape == whole[name].shape
        np.testing.assert_allclose(have, whole[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_pieces_hold_as_many_samples_as_was_asked(monkeypatch: Any, rng: Rng) -> None:
    seen: list[dict[str, tuple[int, ...]]] = []
    run = Engine.run

    def spy(self: Engine, feeds: Any) -> Any:
        seen.append({n: a.shape for n, a in feeds.items()})
        return run(self, feeds)

    monkeypatch.setattr(Engine, "run", spy)
    Session(NETS["noise"].model()).run(fed(NETS["noise"], rng), batch=2)
    assert [s["x_noise"] for s in seen] == [(3, 2, 4), (3, 2, 4), (3, 1, 4)]
    assert [s["x"] for s in seen] == [(2, 4), (2, 4), (1, 4)]


def test_a_baked_batch_is_kept(rng: Rng) -> None:
    net = Linear(batch=2, noise=3, conserves=False)
    session = Session(net.model())
    whole = session.run(fed(net, rng, 2))
    assert whole.extras["noise"].shape == (3, 2, 4)
    assert session.run(fed(net, rng, 2), batch=1).relevance().shape == (2, 4)
    with pytest.raises(InputError, match=r"expected the shape \[2, 4\], got \[3, 4\]"):
        session.run(fed(net, rng, 3))


# ---- sums -------------------------------------------------------------------------------

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
