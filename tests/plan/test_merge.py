"""A gain per channel becomes part of the weights before it, where nobody can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rfponnx.api import convert
from rfponnx.methods.convert import Converted
from tests.ops.harness import Case, Float64, W, X, nodes_of, relevances, worst

NET = Case(
    "BatchNormalization",
    "between a Conv and a Relu",
    [X((2, 4, 5, 5)), W((3, 4, 3, 3)), *(W((3,)) for _ in range(4)), W((3,), low=0.5, high=2)],
    nodes=nodes_of(
        ("Conv", "x0 w1 w2", "c"), ("BatchNormalization", "c w3 w4 w5 w6", "n"), ("Relu", "n", "y0")
    ),
)
TWICE = Case(
    "BatchNormalization",
    "beside another reader",
    NET.inputs,
    nodes=nodes_of(
        ("Conv", "x0 w1 w2", "c"),
        ("BatchNormalization", "c w3 w4 w5 w6", "n"),
        ("Add", "n c", "y0"),
    ),
)
SOURCES = {"a": "x0[:,0:1]", "b": "x0[:,1:]"}


def steps(case: Case, **options: Any) -> list[str]:
    given = {"sources": SOURCES, **options}
    return [s.y for s in convert(case.model(), **given).plan.steps]


def rows(case: Case, made: Converted) -> Any:
    return relevances(Float64(made.model).run(case.feeds()))


def test_the_layer_before_gives_its_step_up() -> None:
    assert steps(NET) == ["n", "y0"]


@pytest.mark.parametrize(
    "options",
    [
        {"bias": "split"},
        {"bias": "split_signed"},
        {"explain": ["c", "y0"]},
        {"sources": {"c": "c"}},
    ],
    ids=str,
)
def test_what_somebody_asks_for_stays(options: dict[str, Any]) -> None:
    assert ("c" in steps(NET, **options)) != ("sources" in options)
    assert "n" in steps(NET, **options)


def test_another_reader_keeps_the_layer() -> None:
    assert steps(TWICE) == ["c", "n", "y0"]


@pytest.mark.parametrize("bias", ["separate", "explicit"])
@pytest.mark.parametrize("layout", ["separate", "stacked"])
def test_the_streams_are_the_same(bias: str, layout: str) -> None:
    given = {"sources": SOURCES, "bias": bias, "layout": layout}
    short, long = convert(NET.model(), **given), convert(NET.model(), explain=["c", "y0"], **given)
    assert len(short.plan.steps) < len(long.plan.steps)
    assert worst(rows(NET, short)["y0"], rows(NET, long)["y0"]) <= 1e-12


# ---- under rules ------------------------------------------------------------------------

NORM = [*(W((4,)) for _ in range(3)), W((4,), low=0.5, high=2)]
BEHIND = [*(W((6,)) for _ in range(3)), W((6,), low=0.5, high=2)]
#: A layer of 4 channels to 6, with its attributes, and the shapes of x and of its weights.
LAYERS: dict[str, tuple[Any, ...]] = {
    "Conv": ("Conv", (2, 4, 6, 5), (6, 4, 3, 2), {"strides": [2, 1], "pads": [1, 0, 0, 2]}),
    "Conv in groups": ("Conv", (2, 4, 7), (6, 2, 3), {"group": 2, "pads": [1, 1]}),
    "Conv of the same size": ("Conv", (2, 4, 5), (6, 4, 4), {"auto_pad": "SAME_LOWER"}),
    "ConvTranspose": ("ConvTranspose", (2, 4, 3, 3), (4, 6, 3, 3), {"strides": [2, 2]}),
    "ConvTranspose in groups": ("ConvTranspose", (2, 4, 5), (4, 3, 2), {"group": 2}),
    "Gemm": ("Gemm", (3, 4), (4, 6), {"alpha": 0.5, "beta": 2.0}),
    "Gemm, transposed": ("Gemm", (3, 4), (6, 4), {"transB": 1}),
    "MatMul": ("MatMul", (3, 4), (4, 6), {}),
}


def layer(name: str, where: str) -> Case:
    """Return a layer, its bias, and a batch normalisation on one side of it."""
    op, x, w, attrs = LAYERS[name]
    norm = NORM if where == "before" else BEHIND
    before, after = ("n", "l") if where == "before" else ("x0", "n")
    rows: list[tuple[Any, ...]] = []
    if op == "MatMul":
        rows += [(op, f"{before} w1", "m"), ("Add", "m w2", "l")]
    else:
        rows += [(op, f"{before} w1 w2", "l", attrs)]
    read = "x0" if where == "before" else "l"
    rows.insert(
        0 if where == "before" else len(rows),
        ("BatchNormalization", f"{read} w3 w4 w5 w6", "n"),
    )
    return Case(
        "BatchNormalization", f"{where} {name}", [X(x), W(w), W((6,)), *norm],
        nodes=nodes_of(*rows, ("Relu", after, "y0")), explain=[0],
    )  # fmt: skip


def ruled(case: Case, rule: str, how: str, **more: Any) -> Converted:
    numbers = {"batchnorm": how, "eps": 0, "stabiliser": 0}
    given = {"composite": rule, "account": "explicit", "target": "seed", "explain": "y0"}
    return convert(case.model(), method="lrp", set=numbers, **{**given, **more})


def derivative(case: Case, seed: Any) -> Any:
    """Return ``x d(seed y) / dx`` by differences: exact as long as no Relu switches."""
    model, x = Float64(case.model()), case.feeds()["x0"].astype(np.float64)
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        up, down = (model.run({"x0": x + s})["y0"] for s in (step, -step))
        found[place] = ((up - down) * seed).sum() / 2e-6 * x[place]
    return found


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("name", LAYERS)
def test_without_eps_every_way_is_the_derivative(
    name: str, where: str, rng: np.random.Generator
) -> None:
    """Borders, groups, gains: of ``R = x dy/dx`` the multiplier is the derivative."""
    case = layer(name, where)
    y = Float64(case.model()).run(case.feeds())["y0"]
    seed = rng.normal(size=y.shape)
    wanted = derivative(case, seed)
    given = {**case.feeds(), "seed": y * seed}
    for how in ("merge", "linear"):
        made = ruled(case, "lrp_0", how)
        out = Float64(made.model).run(given)
        assert worst(out["x0_relevance"], wanted) <= 1e-7
        rest = (y * seed).sum() - wanted.sum()
        assert abs(out["bias_relevance"].sum() - rest) <= 1e-7 * np.abs(y * seed).sum()
        assert np.abs(out["leak_relevance"]).max() <= 1e-12 * np.abs(y * seed).sum()
        assert len(made.plan.steps) == (1 if how == "merge" else 2)


@pytest.mark.parametrize("rule", ["z_plus", "gamma", "alpha2_beta1", "w_square"])
@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_merged_layer_has_the_weights_of_both(name: str, where: str, rule: str) -> None:
    """The same layer as a dense one, its weights read off the model by unit vectors."""
    case = layer(name, where)
    model = Float64(case.model())
    x = case.feeds()["x0"].astype(np.float64)
    inner = "l" if where == "before" else "n"
    size = x[0].size
    probes = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *x.shape[1:])
    z = model.run({"x0": probes}, [inner])[inner].reshape(len(probes), -1)
    w, b = (z[1:] - z[0]).astype(np.float32), z[0].astype(np.float32)
    flat = Case(
        "Gemm", f"{where} {name}", [X(x.reshape(len(x), -1).astype(np.float32)), W(w), W(b)],
        nodes=nodes_of(("Gemm", "x0 w1 w2", "l"), ("Relu", "l", "y0")), explain=[0],
    )  # fmt: skip
    given = {"seed_value": None, "target": "seed"}
    y = model.run(case.feeds())["y0"]
    seed = np.random.default_rng(0).normal(size=y.shape) * (y > 0)
    one = Float64(ruled(case, rule, "merge", **given).model).run({**case.feeds(), "seed": seed})
    two = Float64(ruled(flat, rule, "merge", **given).model).run(
        {**flat.feeds(), "seed": seed.reshape(len(x), -1)}
    )
    assert worst(one["x0_relevance"].reshape(len(x), -1), two["x0_relevance"]) <= 1e-5
    for kind in ("bias", "leak"):
        gap = np.abs(one[f"{kind}_relevance"] - two[f"{kind}_relevance"]).max()
        assert gap <= 1e-5 * np.abs(seed).sum()
