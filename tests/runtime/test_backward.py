"""Backward files in a session: relevance by name, extra inputs, pieces, sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rfponnx.errors import InputError, ModelError
from rfponnx.runtime.account import accounts
from rfponnx.runtime.description import Description
from rfponnx.runtime.engine import Engine
from rfponnx.runtime.session import Results, Session
from tests.runtime import nets
from tests.runtime.backward import NETS, Linear, described, fed, metadata

Rng = np.random.Generator
named = pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())


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
    assert session.run(feeds).extras[name] is not None
    del feeds[name]
    with pytest.raises(InputError, match=words) as caught:
        session.run(feeds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [None, 2])
def test_several_targets_run_one_after_the_other(batch: int | None, rng: Rng) -> None:
    net = NETS["target"]
    feeds = fed(net, rng)
    feeds["target"] = rng.integers(0, 3, (4, 5))
    found = Session(net.model()).run(feeds, batch=batch)
    assert found.targets == ("target1", "target2", "target3", "target4")
    expected = feeds["x"] * net.weights["x"][feeds["target"]]
    np.testing.assert_allclose(found.relevance(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.bias, net.bias[feeds["target"]], rtol=1e-6)
    assert found["logits"].shape == (5, 3)
    for a in accounts(found):
        t = int(a.target.removeprefix("target")) - 1
        assert a.index == feeds["target"][t, a.sample]
        assert a.off is not None
        assert a.off < 1e-6
    with pytest.raises(InputError, match="expected 1 axes"):
        Session(net.model()).run(feeds | {"target": np.zeros((1, 1, 5), np.int64)})


def test_noise_is_drawn_from_the_seed(rng: Rng) -> None:
    net = Linear(noise=400, conserves=False)
    session = Session(net.model())
    feeds = fed(net, rng, 6)
    one, again = session.run(feeds), session.run(feeds)
    noise = one.extras["x_noise"]
    assert noise.shape == (400, 6, 4)
    assert noise.dtype == np.float32
    assert np.array_equal(one.relevance(), again.relevance())
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1, abs=4 / np.sqrt(2 * noise.size))
    assert len(np.unique(noise)) > 0.99 * noise.size
    fewer = session.run({"x": feeds["x"][:2]})
    assert np.array_equal(fewer.extras["x_noise"], noise[:, :2])
    given = rng.standard_normal((400, 6, 4)).astype(np.float32)
    assert np.array_equal(session.run(feeds | {"x_noise": given}).extras["x_noise"], given)
    model = net.model()
    data = metadata(model)
    data["extra_inputs"]["x_noise"]["seed"] = 8
    other = Session(described(model, **data)).run(feeds)
    assert not np.array_equal(other.extras["x_noise"], noise)


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
    assert whole.extras["x_noise"].shape == (3, 2, 4)
    assert session.run(fed(net, rng, 2), batch=1).relevance().shape == (2, 4)
    with pytest.raises(InputError, match=r"expected the shape \[2, 4\], got \[3, 4\]"):
        session.run(fed(net, rng, 3))
