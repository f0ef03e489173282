"""Seeds and read-outs against NumPy on the explained tensor: which class, how much of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rfponnx.errors import OptionError
from rfponnx.graph.walk import reads
from rfponnx.verify.float64 import Float64
from tests.backward.nets import BLOCKS, GATES, PIXELS, TOKENS
from tests.backward.seeds import explained, mask, probability, seed
from tests.emit.nets import BY_NAME, Net, run

Array = np.ndarray[Any, Any]

#: The tensor that is explained: what Softmax and Sigmoid are looked through to.
LOGITS = {"blocks": "y", "segments": "c5", "gates": "y", "single": "s", "vector": "s"}
SINGLE, VECTOR = BY_NAME["single"], BY_NAME["vector"]
TARGETS = ("argmax", "0", "2", "-1", "-3", "0-2", "2-1", "top1", "top3", "1@predicted", "0,argmax")
FEW = ("argmax", "0", "-1", "top1", "0@predicted", "0,-1")
CASES = [
    *((net, t) for net in (BLOCKS, PIXELS, GATES, VECTOR) for t in TARGETS),
    *((SINGLE, t) for t in FEW),
]


def at_the_start(net: Net, feeds: dict[str, Array], **options: Any) -> tuple[Array, Array]:
    """Return what the walk carries at the explained tensor, and what it has to."""
    tap = LOGITS[net.name]
    made = net.convert(tap=tap, **options)
    out = run(made.model, feeds)
    assert made.plan.explained[0].tensor == tap
    return out[f"{tap}_relevance"], seed(made, out, feeds)


@pytest.mark.parametrize("value", ["logit", "one", "probability"])
@pytest.mark.parametrize(("net", "target"), CASES, ids=str)
def test_a_seed_is_that_of_numpy(net: Net, target: str, value: str) -> None:
    found, wanted = at_the_start(net, net.feeds(), method="lrp", target=target, seed_value=value)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max(initial=1e-30)


@pytest.mark.parametrize(("net", "target"), CASES, ids=str)
def test_a_gradient_starts_from_one(net: Net, target: str) -> None:
    tap = LOGITS[net.name]
    made = net.convert(method="gradient", target=target, tap=tap)
    out = run(made.model, net.feeds())
    wanted = mask(target, explained(made, out), made.plan.explained[0].class_axis)
    assert np.array_equal(out[f"{tap}_relevance"], wanted)


@pytest.mark.parametrize("net", [BLOCKS, PIXELS], ids=str)
def test_a_class_for_each_sample_and_position(net: Net, rng: np.random.Generator) -> None:
    feeds = net.feeds()
    shape = (2,) if net is BLOCKS else (2, 6, 8)
    feeds["target"] = rng.integers(0, 3, shape)
    found, wanted = at_the_start(net, feeds, method="lrp", target="input")
    assert np.array_equal(found, wanted.astype(np.float32))
    assert len(np.unique(feeds["target"])) > 1


@pytest.mark.parametrize("net", [BLOCKS, PIXELS, VECTOR], ids=str)
def test_targets_side_by_side_are_those_alone(net: Net) -> None:
    words = ["argmax", "1", "0-2"]
    feeds = net.feeds()
    given = {"method": "lrp", "composite": "epsilon_plus_flat", "account": "explicit"}
    together = Float64(net.convert(target=",".join(words), **given).model).run(feeds)
    for place, word in enumerate(words):
        alone = Float64(net.convert(target=word, **given).model).run(feeds)
        for name in (n for n in alone if n.endswith("_relevance")):
            assert together[name][place].shape == alone[name].shape
            scale = max(np.abs(alone[name]).max(), 1.0)
            assert np.abs(together[name][place] - alone[name]).max() <= 1e-12 * scale


@pytest.mark.parametrize("method", ["lrp", "gradient_x_input", "deeplift", "guided_backprop"])
def test_a_seed_that_is_given_is_the_seed_that_is_drawn(method: str) -> None:
    feeds = BLOCKS.feeds()
    drawn = BLOCKS.convert(method=method, target="2-1", tap="y" if method == "lrp" else ())
    out = Float64(drawn.model).run(feeds)
    start = out["y_relevance"] if method == "lrp" else mask("2-1", out["y"], 1)
    given = BLOCKS.convert(method=method, target="seed")
    other = Float64(given.model).run({**feeds, "seed": start})
    scale = np.abs(out["x_relevance"]).max()
    assert np.abs(out["x_relevance"] - other["x_relevance"]).max() <= 1e-9 * scale
    assert scale > 0


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("3", "has 3 classes, no class 3"),
        ("-4", "no class -4"),
        ("0-3", "no class 3"),
        ("top4", "no class 3"),
        ("top0", "no target `top0`"),
        ("agmax", "argmax"),
        ("1,seed", "alone"),
        ("", "no target"),
        ("1@", "no target"),
    ],
)
def test_a_target_that_does_not_exist_is_refused(target: str, says: str) -> None:
    with pytest.raises(OptionError, match=r"--target") as caught:
        BLOCKS.convert(method="lrp", target=target)
    assert says in str(caught.value)


def test_classes_whose_number_is_not_known() -> None:
    net = Net(
        "free", "(float[N, C] x) => (float[N, C] y) { h = Relu(x)\n y = Neg(h) }", {}, ("x=x",)
    )
    x = np.array([[1.0, 2, 3], [3, 1, -2]], np.float32)
    for target in ("argmax", "1", "0-2", "top2", "2@predicted"):
        made = net.convert(method="lrp", target=target, tap="y")
        out = run(made.model, {"x": x})
        assert np.array_equal(out["y_relevance"], seed(made, out, {}))
    with pytest.raises(OptionError, match="not known"):
        net.convert(method="lrp", target="-1")


# ---- read-outs ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["argmax", "top2"])
@pytest.mark.parametrize("net", [BLOCKS, PIXELS, GATES, TOKENS, BY_NAME["mlp"]], ids=str)
def test_sources_are_sums_of_the_map(net: Net, target: str) -> None:
    feeds, given = net.feeds(), {"method": "lrp", "target": target, "composite": "z_plus"}
    maps = Float64(net.convert(**given).model).run(feeds)
    made = net.convert(readout="sources", **given)
    sums = Float64(made.model).run(feeds)["source_relevance"]
    lead = 1 if target == "top2" else 0
    wanted = []
    for source in made.plan.sources:
        total = 0
        for piece in source.pieces:
            value = maps[f"{piece.tensor}_relevance"]
            part = value[(*[slice(None)] * lead, *(slice(*c) for c in piece.slices))]
            total = total + part.reshape(*part.shape[: lead + 1], -1).sum(-1)
        wanted.append(total)
    wanted.append(maps["bias_relevance"])
    assert np.abs(sums - np.stack(wanted, axis=lead)).max() <= 1e-9 * np.abs(sums).max()


def test_a_source_of_a_mask_is_the_sum_under_it(rng: np.random.Generator) -> None:
    feeds = BLOCKS.feeds()
    own = rng.integers(0, 2, feeds["x"].shape[1:]).astype(np.float32)
    maps = Float64(BLOCKS.convert(method="lrp").model).run(feeds)
    made = BLOCKS.convert(method="lrp", sources=["own=x@mask"], readout="sources")
    found = Float64(made.model).run({**feeds, "own_mask": own})["source_relevance"]
    wanted = (maps["x_relevance"] * own).reshape(2, -1).sum(1)
    assert np.abs(found[0] - wanted).max() <= 1e-9 * np.abs(wanted).max()
    assert np.abs(found.sum(0) - maps["y"].max(1)).max() <= 1e-9 * np.abs(maps["y"]).max()


@pytest.mark.parametrize("account", ["none", "rest", "explicit"])
def test_accounts_are_consistent(account: str) -> None:
    feeds, given = BLOCKS.feeds(), {"method": "lrp", "composite": "epsilon_plus"}
    whole = Float64(BLOCKS.convert(account="explicit", **given).model).run(feeds)
    out = Float64(BLOCKS.convert(account=account, **given).model).run(feeds)
    assert np.abs(out["x_relevance"] - whole["x_relevance"]).max() <= 1e-12
    names = {n for n in out if n in ("bias_relevance", "leak_relevance")}
    wanted = {"none": 0, "rest": 1, "explicit": 2}[account]
    assert len(names) == wanted
    if account != "none":
        both = sum(out[n] for n in names)
        total = whole["bias_relevance"] + whole["leak_relevance"]
        assert np.abs(both - total).max() <= 1e-10 * np.abs(whole["y"]).max()


@pytest.mark.parametrize("positive", [False, True])
def test_contrast_of_a_class_with_all_others(positive: bool) -> None:
    feeds, given = BLOCKS.feeds(), {"method": "lrp", "composite": "z_plus"}
    contrast = BLOCKS.convert(seed_value="contrastive", set={"positive": positive}, **given)
    found = Float64(contrast.model).run(feeds)["x_relevance"]
    given["target"] = "0,1,2"
    each = Float64(BLOCKS.convert(**given).model).run(feeds)
    maps, winner = each["x_relevance"], each["y"].argmax(1)
    own = np.stack([maps[w, n] for n, w in enumerate(winner)])
    rest = maps.sum(0) - own
    shares = [m / m.sum((1, 2, 3), keepdims=True) for m in (own, rest)]
    wanted = shares[0] - shares[1]
    wanted = np.maximum(wanted, 0) if positive else wanted
    assert np.abs(found - wanted).max() <= 1e-9 * np.abs(wanted).max()


def test_contrast_by_sources_is_the_sum_of_the_map() -> None:
    feeds, given = BLOCKS.feeds(), {"method": "lrp", "seed_value": "contrastive"}
    maps = Float64(BLOCKS.convert(**given).model).run(feeds)["x_relevance"]
    found = Float64(BLOCKS.convert(readout="sources", **given).model).run(feeds)
    wanted = np.stack([*maps.sum((2, 3)).T, np.zeros(2)])
    assert np.abs(found["source_relevance"] - wanted).max() <= 1e-12 * np.abs(maps).sum()


@pytest.mark.parametrize("more", [{"target": "top2"}, {"target": "seed"}, {"tap": "r3"}])
def test_contrast_of_what_has_none_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="contrastive"):
        BLOCKS.convert(method="lrp", seed_value="contrastive", **more)


@pytest.mark.parametrize("quantize", ["scaled", "printed", "code"])
def test_a_constant_map_stays_as_it_is(quantize: str) -> None:
    net = Net(
        "even", "(float[N, 2, H, W] x) => (float[N, 2] y) {\n p = GlobalAveragePool(x)\n"
        " y = Flatten(p) }", {}, ("x=x",),
    )  # fmt: skip
    x = np.ones((1, 2, 4, 4), np.float32) * np.array([1, 3], np.float32)[None, :, None, None]
    numbers = {"quantize": quantize, "bins": 5}
    out = run(net.convert(method="lrp", readout="heat", set=numbers).model, {"x": x})
    assert np.allclose(out["x_relevance"], 3 / 16, rtol=1e-5)
    assert np.ptp(out["x_relevance"]) == 0


def test_a_class_alone_has_the_probability_of_a_sigmoid() -> None:
    feeds = SINGLE.feeds()
    made = SINGLE.convert(method="lrp", seed_value="probability", tap="s")
    out = run(made.model, feeds)
    assert np.allclose(out["s_relevance"], out["y"], rtol=1e-6)
    assert np.allclose(probability(out["y_explained"], 1), out["y"], rtol=1e-6)


WRITTEN: tuple[dict[str, Any], ...] = (
    {"method": "lrp", "composite": "w_square", "account": "explicit"},
    {"method": "gradient"},
    {"method": "deeplift", "set": {"variant": "reveal_cancel"}},
    {"method": "smoothgrad"},
    {"method": "grad_cam"},
    {"method": "lrp", "readout": "sources", "seed_value": "contrastive"},
)


@pytest.mark.parametrize("options", WRITTEN, ids=lambda o: o["method"])
@pytest.mark.parametrize("net", [BLOCKS, PIXELS, GATES], ids=str)
def test_nothing_is_written_that_no_output_needs(net: Net, options: dict[str, Any]) -> None:
    model = net.convert(**options).model
    needed = {o.name for o in model.graph.output}
    for node in reversed(model.graph.node[len(net.model().graph.node) :]):
        assert needed & set(node.output), node.name
        needed |= reads(node)
    stored = {t.name for t in model.graph.initializer if t.name.startswith("rfp/")}
    assert stored <= needed
