"""Who owns which entry: the streams at a source tensor, and what cannot be a source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfponnx
from rfponnx.errors import OptionError
from rfponnx.plan.sources import default_sources
from tests.plan.small import graph_of, model_of, plan_of, summed
from tests.plan.starts import SIZES, rows_at

# ---- [RFP] Def. 1: x on the entries of a source, 0 elsewhere ---------------------------------

#: Per source the slices of its pieces, disjoint.
OWNERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((":",),),
    ((":,0:2",), (":,2:6",)),
    ((":,0:2",), (":,2:5",)),
    ((":,0",), (":,-1",)),
    ((":,-3:",), (":,:-3",)),
    ((":,::2",), (":,1::2",)),
    ((":,::-1",),),
    ((":,4:0:-2",), (":,5",)),
    (("0",), ("1:",)),
    (("-1",),),
    ((":,:,0:3",), (":,:,3:",)),
    ((":,0:2,0:3",), (":,0:2,3:",), (":,2:,1:",)),
    (("0,:,0:3",), ("1:,2",)),
    ((":,0", ":,2"), (":,1", ":,3:5")),
    ((":,0:2", ":,2:,0:1"), (":,2:,1:",)),
    ((":,1:2,1:2",),),
)


@pytest.mark.parametrize("free", [(), (0,), (0, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("layout", ["separate", "stacked"])
@pytest.mark.parametrize("owners", OWNERS, ids=str)
def test_a_stream_is_x_on_its_entries(
    owners: Sequence[Sequence[str]], layout: str, free: tuple[int, ...], rng: np.random.Generator
) -> None:
    shape = [f"D{a}" if a in free else d for a, d in enumerate(SIZES)]
    x = rng.normal(size=SIZES)
    specs = [f"s{i}={'+'.join(f'x[{p}]' for p in ps)}" for i, ps in enumerate(owners)]
    rows = rows_at(summed(["x"], shape), {"x": x}, "x", *specs, layout=layout)
    expected = [np.zeros_like(x) for _ in owners]
    for row, pieces in zip(expected, owners, strict=True):
        for piece in pieces:
            row[at(piece)] = x[at(piece)]
    assert np.array_equal(rows, [*expected, x - np.sum(expected, axis=0)])


def at(piece: str) -> tuple[slice | int, ...]:
    """Return what NumPy takes for a piece; an index keeps its axis."""
    found = eval(f"np.s_[{piece}]", {"np": np})
    several = found if isinstance(found, tuple) else (found,)
    return tuple(i if isinstance(i, slice) else slice(i, i + 1 or None) for i in several)


@given(
    st.integers(0, 2), st.booleans(), st.none() | st.integers(-7, 7),
    st.none() | st.integers(-7, 7), st.sampled_from([None, 1, 2, 3, -1, -2, -3]),
)  # fmt: skip
def test_any_slice_of_any_axis_means_what_it_means_in_numpy(
    axis: int, free: bool, start: int | None, stop: int | None, step: int | None
) -> None:
    cut = slice(start, stop, step)
    size = SIZES[axis]
    fits = all(-size <= v <= size for v in (start, stop) if v is not None)
    shape = [f"D{a}" if free and a == axis else d for a, d in enumerate(SIZES)]
    text = ":".join("" if v is None else str(v) for v in (start, stop, step))
    spec = f"s=x[{':,' * axis}{text}]"
    x = np.arange(1.0, 1 + np.prod(SIZES)).reshape(SIZES)
    if not free and (not fits or not range(*cut.indices(size))):
        with pytest.raises(OptionError, match=r"out of range|is empty"):
            plan_of(summed(["x"], shape), spec)
        return
    if free and not any(range(*cut.indices(n)) for n in range(40)):
        with pytest.raises(OptionError, match="is empty"):
            plan_of(summed(["x"], shape), spec)
        return
    place = (*(slice(None),) * axis, cut)
    expected = np.zeros_like(x)
    expected[place] = x[place]
    assert np.array_equal(rows_at(summed(["x"], shape), {"x": x}, "x", spec)[0], expected)


def test_a_source_may_lie_in_several_tensors(rng: np.random.Generator) -> None:
    x, z = rng.normal(size=(2, *SIZES))
    model = summed(["x", "z"], SIZES)
    rows = rows_at(model, {"x": x, "z": z}, "total", "a=x[:,0:2]+z[:,2:]", "b=x[:,2:]")
    a, b = np.zeros_like(x), np.zeros_like(x)
    a[:, :2] += x[:, :2]
    a[:, 2:] += z[:, 2:]
    b[:, 2:] = x[:, 2:]
    assert np.allclose(rows, [a, b, x + z - a - b], rtol=0, atol=1e-15)


def test_what_the_size_at_run_time_leaves_is_taken(rng: np.random.Generator) -> None:
    """A slice that was written for a longer axis takes what there is."""
    x = rng.normal(size=(2, 3, 4))
    model = summed(["x"], ["N", "C", 4])
    rows = rows_at(model, {"x": x}, "x", "a=x[:,1:9]", "b=x[:,20:]")
    a = x.copy()
    a[:, 0] = 0
    assert np.array_equal(rows, [a, np.zeros_like(x), x - a])


# ---- what cannot be a source ------------------------------------------------------------------

NET = """
net (float[N, 6, 8] image, int64[N, 5] tokens, float[N, 6, 8] other, float[N, 6, 8] far_mask)
  => (float[N, 6, 8] y, float[N, 5, 3] e)
{
  h = Mul(image, w)
  g = Relu(h)
  s = Add(g, other)
  y = Add(s, far_mask)
  big = Greater(image, other)
  table = Gather(rows, tokens)
  e = Relu(table)
}
"""
WEIGHTS = {"w": (6, 8), "rows": (7, 3)}

#: Sources that are refused, and how.
REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("a=imgae",), "^--source a=imgae: no tensor `imgae` in model; did you mean `image`"),
    (("a=image[:,6:]",), r"^--source a=image\[:,6:\]: the slice 6: of axis 1 \(size 6\) is empty"),
    (("a=image[:,3:3]",), "is empty"),
    (("a=image[:,4:2]",), "is empty"),
    (("a=image[:,2:4:-1]",), "is empty"),
    (("a=image[2:2]",), "the slice 2:2 of axis 0 is empty"),
    (("a=image[:,0:7]",), "the slice 0:7 is out of range: axis 1 has size 6"),
    (("a=image[:,6]",), "out of range"),
    (("a=image[:,-7]",), "out of range"),
    (("a=image[:,-7:]",), "out of range"),
    (("a=image[:,0:4:0]",), "the slice 0:4:0 has step 0"),
    (("a=image[:,:,:,0]",), "`image` has 3 axes; give fewer slices"),
    (("a=w",), "`w` is a weight, not data; name an input"),
    (("a=tokens",), "`tokens` does not hold floats .*; use `table`, the float tensor made"),
    (("a=tokens[:,0]",), "use `table`"),
    (("a=big",), "`big` does not hold floats .*; use a float tensor"),
    (("bias=image",), "the source name `bias` is the name of the last row; choose another"),
    (("a=image", "a=other"), "the source name `a` is given twice; choose another"),
    (("a=image", "b=image"), "`image` of `a` and `image` of `b` overlap; give every entry to one"),
    (("a=image[:,0:3]", "b=image[:,2:]"), r"`image\[:,0:3\]` of `a` and `image\[:,2:\]` of `b`"),
    (("a=image[:,0:3]", "b=image"), "overlap"),
    (("a=image[:,0:3]+image[:,2]",), "of `a` and .* of `a` overlap"),
    (("a=image+image",), "overlap"),
    (("a=image[0]", "b=image[:,2]"), "overlap"),
    (("a=image[:,::2]", "b=image[:,1:3]"), "overlap"),
    (("a=image[:,-1]", "b=image[:,5]"), "overlap"),
    (("a=image[0:60000]", "b=image[59000:]"), "overlap"),
    (("a=image@mask", "b=image"), "overlap"),
    (("a=image", "b=image@mask"), "overlap"),
    (("a=image@mask+other@mask",), "2 pieces have a mask; give each a source of its own"),
    (("far=image@mask",), "the model has a tensor `far_mask`; choose another source name"),
)


@pytest.mark.parametrize(("sources", "says"), REFUSED, ids=lambda v: str(v)[:50])
def test_what_cannot_be_a_source_is_refused(sources: tuple[str, ...], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        plan_of(model_of(NET, WEIGHTS), *sources)
    assert "--source" in caught.value.where


ALLOWED: tuple[tuple[str, ...], ...] = (
    ("a=image[:,0:3]", "b=image[:,3:]"),
    ("a=image[:,:,0]", "b=image[:,0:3,1:]"),
    ("a=image[0]", "b=image[1:]"),
    ("a=image[0:3]", "b=image[-3:]"),  # meet in short batches only, which nobody knows
    ("a=image@mask", "b=image@mask"),
    ("a=image@mask", "b=image[:,0]"),
    ("a=image@mask+other", "b=image[:,0]"),
    ("a=g", "b=image"),
    ("a=h", "b=g[:,0]"),
    ("a=y",),
    ("a=table", "b=e"),
)


@pytest.mark.parametrize("sources", ALLOWED, ids=str)
def test_entries_that_nobody_shares_are_sources(sources: tuple[str, ...]) -> None:
    assert [str(s).split("=")[0] for s in plan_of(model_of(NET, WEIGHTS), *sources).sources] == [
        s.split("=")[0] for s in sources
    ]


MASKS_REFUSED = (
    ("imgae", "^--source-masks: no tensor `imgae` in model; did you mean `image`"),
    ("w", "^--source-masks: `w` is a weight"),
    ("tokens", "^--source-masks: `tokens` does not hold floats .*; use `table`"),
)


@pytest.mark.parametrize(("tensor", "says"), MASKS_REFUSED)
def test_what_cannot_have_masks_is_refused(tensor: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        plan_of(model_of(NET, WEIGHTS), masks=tensor)


def test_masks_and_sources_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="exclude each other"):
        plan_of(model_of(NET, WEIGHTS), "a=image", masks="other")


def test_a_name_that_the_masks_would_have_is_refused() -> None:
    model = summed(["x", "x_masks"])
    with pytest.raises(OptionError, match=r"^--source-masks: the model has a tensor `x_masks`"):
        plan_of(model, masks="x")


def test_slices_and_masks_of_a_tensor_of_unknown_rank_are_refused() -> None:
    text = "net (float x, int64[R] s) => (float y) { r = Reshape(x, s)\n y = Relu(r) }"
    for spec in ("a=r[0]", "a=r@mask"):
        with pytest.raises(OptionError, match="the rank of `r` is not known"):
            plan_of(text, spec, explain=("r",))


# ---- sources that nobody named ---------------------------------------------------------------

DEFAULTS: tuple[tuple[str, str, dict[str, tuple[int, ...]], dict[str, str]], ...] = (
    (
        "every float input",
        "net (float[N, 2] a, float[N, 2] b) => (float[N, 2] y) { y = Add(a, b) }",
        {}, {"a": "a", "b": "b"},
    ),
    (
        "an input with an initializer is a weight",
        "net (float[N, 2] a, float[2] w) => (float[N, 2] y) { y = Add(a, w) }",
        {"w": (2,)}, {"a": "a"},
    ),
    (
        "rows of a table",
        "net (int64[N, 4] ids) => (float[N, 4, 3] y) { e = Gather(table, ids)\n y = Relu(e) }",
        {"table": (9, 3)}, {"ids": "e"},
    ),
    (
        "bytes of a picture, scaled",
        """net (uint8[N, 3] image) => (float[N, 3] y)
        { f = Cast<to = 1>(image)\n s = Mul(f, c)\n y = Relu(s) }""",
        {"c": ()}, {"image": "f"},
    ),
    (
        "through integers",
        """net (int64[N, 4] ids) => (float[N, 4, 3] y)
        { u = Unsqueeze(ids, ax)\n s = Squeeze(u, ax)\n e = Gather(table, s)\n y = Relu(e) }
        """.replace("{ u", "{ ax = Constant<value_ints = [2]>()\n u"),
        {"table": (9, 3)}, {"ids": "e"},
    ),
    (
        "integers that only steer are none",
        """net (float[N, 4] x, int64[N, 4] on) => (float[N, 4] y)
        { c = Cast<to = 9>(on)\n y = Where(c, x, z) }""",
        {"z": (4,)}, {"x": "x"},
    ),
    (
        "integers that pick entries of data are none",
        """net (float[N, 4] x, int64[M] which) => (float[M, 4] y)
        { g = Gather(x, which)\n y = Relu(g) }""",
        {}, {"x": "x"},
    ),
    (
        "two integers that meet in one row: the first",
        """net (int64[N] a, int64[N] b) => (float[N, 3] y)
        { i = Add(a, b)\n e = Gather(table, i)\n y = Relu(e) }""",
        {"table": (9, 3)}, {"a": "e"},
    ),
    (
        "two tables",
        """net (int64[N] a, int64[N] b) => (float[N, 3] y)
        { e = Gather(ta, a)\n f = Gather(tb, b)\n y = Add(e, f) }""",
        {"ta": (9, 3), "tb": (9, 3)}, {"a": "e", "b": "f"},
    ),
    (
        "an input of shapes is none",
        """net (float[N, 4] x, int64[2] target) => (float[A, B] y)
        { y = Reshape(x, target) }""",
        {}, {"x": "x"},
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("about", "text", "weights", "expected"), DEFAULTS, ids=lambda v: str(v)[:30]
)
def test_the_sources_that_nobody_named(
    about: str, text: str, weights: dict[str, tuple[int, ...]], expected: dict[str, str]
) -> None:
    graph = graph_of(model_of(text, weights))
    found, notes = default_sources(graph, graph.inputs)
    assert {s.name: s.pieces[0].tensor for s in found} == expected
    for name in graph.inputs:
        if expected.get(name) != name:
            assert any(f"`{name}`" in note for note in notes)
    rfponnx.convert(model_of(text, weights))


def test_a_model_of_integers_only_has_no_sources() -> None:
    text = "net (int64[N] a) => (int64[N] y) { y = Add(a, a) }"
    with pytest.raises(OptionError, match="no input of the model can be a source"):
        plan_of(text)


def test_an_input_called_like_the_last_row_gets_another_name() -> None:
    assert [s.name for s in plan_of(summed(["bias", "x"])).sources] == ["bias_2", "x"]
