"""Sources inside a model, and sources whose entries are known at run time only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from rfponnx.verify.float64 import Float64
from tests.emit.nets import BY_NAME, Array, Net, relevances, run

Values = dict[str, Array]

EXACT = 1e-12
CLOSE = 1e-5

#: Two inputs that meet in h, where a source may begin, and what is made of it.
NET = Net(
    "inner",
    """ (float[N, 4] x, float[N, 4] z) => (float[N, 3] y) {
      a = Gemm(x, wa, ba)
      b = MatMul(z, wb)
      s = Add(a, b)
      h = Relu(s)
      m = MatMul(h, wm)
      y = Add(m, bm)
    }""",
    {"wa": (4, 6), "ba": (6,), "wb": (4, 6), "wm": (6, 3), "bm": (3,)},
    (),
)
layouts = pytest.mark.parametrize("layout", ["separate", "stacked"])


WEIGHTS = {
    t.name: numpy_helper.to_array(t).astype(np.float64) for t in NET.model().graph.initializer
}


def found(sources: Sequence[str], explain: Sequence[str] = ("h", "y"), **options: Any) -> Values:
    """Return the outputs of a conversion in float64."""
    made = NET.convert(sources=list(sources), explain=list(explain), **options)
    return Float64(made.model).run(NET.feeds())


def primal(*names: str) -> Values:
    """Return tensors of the net in float64."""
    return Float64(NET.model()).run(NET.feeds(), names)


def part(columns: slice) -> Array:
    mask = np.zeros(6)
    mask[columns] = 1
    return mask


@layouts
@pytest.mark.parametrize("bias", ["separate", "explicit"])
@pytest.mark.parametrize("piece", ["h", "h[:,:]", "h[:,0:4]", "h[:,1::2]", "h[0]"])
def test_a_source_inside_takes_its_entries_from_those_above(
    piece: str, bias: str, layout: str
) -> None:
    """Def. 1 at h: h on the entries of the source; streams from above keep the others."""
    values = found((f"inner={piece}", "x=x"), bias=bias, layout=layout)
    x = NET.feeds()["x"].astype(np.float64)
    h, gate = primal("h")["h"], primal("s")["s"] > 0
    mine = np.zeros_like(h)
    places = {"h": np.s_[:], "h[:,:]": np.s_[:], "h[:,0:4]": np.s_[:, 0:4],
              "h[:,1::2]": np.s_[:, 1::2], "h[0]": np.s_[0:1]}  # fmt: skip
    mine[places[piece]] = 1
    rows = [h * mine, (x @ WEIGHTS["wa"]) * gate * (1 - mine)]
    rows = np.stack([*rows, h - sum(rows)])
    assert np.abs(values["h_relevance"] - rows).max() <= EXACT
    below = rows @ WEIGHTS["wm"]
    below[-1] += WEIGHTS["bm"]
    assert np.abs(values["y_relevance"] - below).max() <= EXACT


@layouts
@pytest.mark.parametrize("bias", ["separate", "explicit", "split"])
def test_a_source_inside_that_no_other_reaches(bias: str, layout: str) -> None:
    values = found(("inner=b[:,0:2]", "x=x"), ("b", "y"), bias=bias, layout=layout)
    b = primal("b")["b"]
    assert np.array_equal(values["b_relevance"], [b * part(np.s_[0:2]), b * 0, b * part(np.s_[2:])])
    assert np.abs(values["y_relevance"].sum(0) - values["y"]).max() <= EXACT


@layouts
@pytest.mark.parametrize("bias", ["separate", "explicit", "split"])
@pytest.mark.parametrize(
    "sources",
    [
        ("all=h",), ("all=h", "x=x"), ("a=h[:,0:2]", "b=h[:,3:]", "z=z"),
        ("a=s[:,0]", "h=h[:,1:]"),
        ("a=x[:,0]+h[:,0:2]", "b=x[:,1:]+h[:,2:4]"), ("a=y[:,0]", "b=h[:,0:2]", "x=x"),
        ("y=y", "h=h"),
        ("y=y[:,0:2]", "z=z"), ("a=b", "x=x[0]", "h=h[0]"),
    ],
    ids=str,
)  # fmt: skip
def test_sources_anywhere_sum_to_what_is_explained(
    sources: tuple[str, ...], bias: str, layout: str
) -> None:
    values = found(sources, bias=bias, layout=layout)
    for name, rows in relevances(values).items():
        y = values["h_explained" if name == "h_relevance" else "y"]
        assert rows.shape == (len(sources) + 1, *y.shape)
        assert np.abs(rows.sum(0) - y).max() <= EXACT * np.abs(rows).sum(0).max()


def test_the_explained_tensor_may_be_a_source() -> None:
    values = found(("a=y[:,0:2]", "x=x"), ("y",), bias="explicit")
    y, rows = values["y"], values["y_relevance"]
    assert np.array_equal(rows[0], y * [1, 1, 0])
    assert np.array_equal(rows[1] * [1, 1, 0], y * 0)
    assert np.array_equal(rows[2] * [1, 1, 0], y * 0)


# ---- masks at run time ------------------------------------------------------------------------

MASKED = ("mlp", "fusion", "residual", "smooth", "pixels", "attention", "gates", "moves", "vector")


def masked_input(net: Net) -> str:
    return net.model().graph.input[0].name


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", MASKED)
def test_masks_of_any_number_are_the_sources_that_they_describe(name: str, count: int) -> None:
    """Masks of slices give the rows of the same slices, in float64."""
    net = BY_NAME[name]
    tensor = masked_input(net)
    feeds = net.feeds()
    shape = feeds[tensor].shape
    axis = len(shape) - 1
    cuts = [(i, i + 1) for i in range(count - 1)] + [(count - 1, shape[axis] - 1)]
    masks = np.zeros((count, *shape))
    for mask, (first, last) in zip(masks, cuts, strict=True):
        mask[..., first:last] = 1
    specs = [f"s{i}={tensor}[{':,' * axis}{a}:{b}]" for i, (a, b) in enumerate(cuts)]
    for bias in ("separate", "explicit", "split"):
        static = Float64(net.convert(sources=specs, bias=bias).model).run(feeds)
        made = net.convert(sources=None, source_masks=tensor, bias=bias)
        given = {**feeds, f"{tensor}_masks": masks}
        free = Float64(made.model).run(given)
        for relevance, rows in relevances(static).items():
            assert free[relevance].shape == rows.shape
            assert np.abs(free[relevance] - rows).max() <= EXACT * np.abs(rows).max()
    values = run(made.model, {**feeds, f"{tensor}_masks": masks.astype(np.float32)})
    for relevance, rows in relevances(free).items():
        assert np.abs(values[relevance] - rows).max() <= CLOSE * np.abs(rows).max()


@layouts
def test_a_mask_of_one_source_is_the_slice_that_it_describes(layout: str) -> None:
    net = BY_NAME["smooth"]
    feeds = net.feeds()
    mask = np.zeros((1, 6), np.float32)
    mask[:, ::2] = 1
    static = net.convert(sources=["a=x[:,::2]", "b=x[:,1]", "z=z"], bias="explicit")
    free = net.convert(sources=["a=x@mask", "b=x[:,1]", "z=z"], bias="explicit", layout=layout)
    rows = Float64(static.model).run(feeds)["y_relevance"]
    other = Float64(free.model).run({**feeds, "a_mask": mask})["y_relevance"]
    assert np.abs(rows - other).max() <= EXACT


def test_masks_need_not_be_zeros_and_ones(rng: np.random.Generator) -> None:
    """A stream is linear in its mask; what is left of 1 goes to bias."""
    net = BY_NAME["residual"]
    made = net.convert(sources=None, source_masks="image", bias="explicit")
    feeds = net.feeds()
    first = rng.uniform(0, 1, (3, *feeds["image"].shape))
    masks = first / (first.sum(0) + 0.1)
    one = Float64(made.model).run({**feeds, "image_masks": masks})["scores_relevance"]
    half = Float64(made.model).run({**feeds, "image_masks": masks / 2})["scores_relevance"]
    assert np.abs(one[:-1] / 2 - half[:-1]).max() <= EXACT
    assert np.abs(one.sum(0) - half.sum(0)).max() <= EXACT


def test_a_mask_broadcasts_to_its_tensor() -> None:
    net = BY_NAME["residual"]
    feeds = net.feeds()
    masks = np.zeros((2, 1, 4, 1, 1), np.float32)
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    made = net.convert(sources=None, source_masks="image")
    rows = run(made.model, {**feeds, "image_masks": masks})["scores_relevance"]
    static = run(net.convert().model, feeds)["scores_relevance"]
    assert np.abs(rows - static).max() <= CLOSE * np.abs(static).max()


@pytest.mark.parametrize("readout", ["all", "predicted"])
def test_masks_on_a_tensor_inside(readout: str, rng: np.random.Generator) -> None:
    feeds = NET.feeds()
    mask = rng.integers(0, 2, (1, 2, 6))
    masks = np.concatenate([mask, 1 - mask]).astype(np.float32)
    made = NET.convert(sources=None, source_masks="h", bias="explicit", readout=readout)
    values = Float64(made.model).run({**feeds, "h_masks": masks})
    rows = (primal("h")["h"] * masks) @ WEIGHTS["wm"]
    if readout == "predicted":
        winner = np.argmax(values["y"], 1)
        rows = rows[:, [0, 1], winner]
    assert np.abs(values["y_relevance"][:-1] - rows).max() <= EXACT


@pytest.mark.parametrize("bias", ["separate", "explicit", "split"])
def test_an_output_that_masks_reach_through_steps_only(bias: str) -> None:
    """All of it is bias, in as many rows as there are masks."""
    net = BY_NAME["heads"]
    feeds = {**net.feeds(), "x_masks": np.ones((3, 2, 6), np.float32)}
    made = net.convert(sources=None, source_masks="x", bias=bias)
    values = run(made.model, feeds)
    assert values["h_relevance"].shape == (4, 2, 6)
    assert np.array_equal(values["r_relevance"], [*np.zeros((3, 2, 6)), values["r"]])


@pytest.mark.parametrize("readout", ["all", "predicted"])
def test_masks_that_reach_an_output_through_integers_only(readout: str) -> None:
    text = """ (float[N, 3] x) => (float[N, 3] y, float[N, 3] u) {
      y = Relu(x)
      i = Cast<to = 7>(x)
      f = Cast<to = 1>(i)
      u = Relu(f)
    }"""
    net = Net("ints", text, {}, ())
    made = net.convert(sources=None, source_masks="x", readout=readout)
    feeds = {**net.feeds(), "x_masks": np.ones((2, 2, 3), np.float32) / 2}
    values = run(made.model, feeds)
    u = values["u"] if readout == "all" else values["u"].max(1)
    assert np.array_equal(values["u_relevance"], [u * 0, u * 0, u])


def test_masks_are_declared_as_inputs() -> None:
    made = BY_NAME["residual"].convert(sources=None, source_masks="image")
    info = made.model.graph.input[-1]
    assert info.name == "image_masks"
    assert len(info.type.tensor_type.shape.dim) == 5
    assert not any(d.dim_value for d in info.type.tensor_type.shape.dim)
    first = made.model.graph.output[-1].type.tensor_type.shape.dim[0]
    assert first.dim_param
    both = BY_NAME["smooth"].convert(sources=["a=x@mask", "b=z@mask", "c=x[:,0]"])
    assert [i.name for i in both.model.graph.input] == ["x", "z", "a_mask", "b_mask"]
