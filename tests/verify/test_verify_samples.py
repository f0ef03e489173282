"""Inputs that `verify` chooses: they run, fit the model's range, and do not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rfponnx.errors import InputError
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.verify.engine import Engine
from rfponnx.verify.inputs import index_limit, law_of, scaling
from rfponnx.verify.samples import Sample, Samples, finite, owners, shape_at
from tests.verify import nets


def model(text: str, **weights: np.ndarray[Any, Any]) -> onnx.ModelProto:
    made = nets.net((text, {}))
    for name, value in weights.items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return made


def graph_of(proto: onnx.ModelProto) -> Graph:
    return Graph(prepare(load(proto), 13))


def drawn(proto: onnx.ModelProto, batch: int = 2, index: int = 0) -> Sample:
    return Samples(graph_of(proto), Engine()).draw(index, batch)


@dataclass(frozen=True)
class Case:
    what: str
    text: str
    weights: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        return self.what


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


SHAPES = (
    Case(
        "a free batch is two", "n (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }", {},
        {"x": (2, 3)},
    ),
    Case(
        "a batch that has to be one", "n (float[N, 3] x) => (float[1, 3] y) { y = Reshape(x, s) }",
        {"s": ints(1, 3)}, {"x": (1, 3)},
    ),
    Case(
        "channels are those of the weights",
        "n (float[N, C, H, W] x) => (float[N, 4, H, W] y) { y = Conv(x, w) }",
        {"w": floats(4, 5, 1, 1)}, {"x": (2, 5, 32, 32)},
    ),
    Case(
        "features are those of the weights",
        "n (float[N, F] x) => (float[N, 4] y) { r = Relu(x)\n y = MatMul(r, w) }",
        {"w": floats(7, 4)}, {"x": (2, 7)},
    ),
    Case(
        "features that a bias fixes",
        "n (float[N, F] x) => (float[N, F] y) { y = Add(x, b) }", {"b": floats(6)}, {"x": (2, 6)},
    ),
    Case(
        "a size that only the end of the net fixes",
        "n (float[N, 2, H, H] x) => (float[N, 3] y) { f = Flatten(x)\n y = MatMul(f, w) }",
        {"w": floats(128, 3)}, {"x": (2, 2, 8, 8)},
    ),
    Case(
        "two sizes that differ",
        "n (float[N, A] x, float[N, B] z) => (float[N, 3] y) "
        "{ c = Concat<axis = 1>(x, z)\n y = MatMul(c, w) }",
        {"w": floats(72, 3)}, {"x": (2, 64), "z": (2, 8)},
    ),
    Case(
        "equal symbols are equal sizes",
        "n (float[N, L] x, float[N, L] z) => (float[N, L] y) { y = Add(x, z) }", {},
        {"x": (2, 32), "z": (2, 32)},
    ),
    Case("a scalar", "n (float x) => (float y) { y = Relu(x) }", {}, {"x": ()}),
    Case(
        "fixed sizes", "n (float[3, 1, 5] x) => (float[3, 1, 5] y) { y = Relu(x) }", {},
        {"x": (3, 1, 5)},
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_sizes_are_found_at_which_the_model_runs(case: Case) -> None:
    sample = drawn(model(case.text, **case.weights))
    assert {n: v.shape for n, v in sample.feeds.items()} == case.shapes


def test_sizes_at_which_an_inner_tensor_is_empty_are_passed_over() -> None:
    """ONNX Runtime averages over no pixels without a word."""
    made = model(
        "n (float[N, 1, H, H] x) => (float[N, 1, 1, 1] y) { "
        "a = MaxPool<kernel_shape = [16, 16], strides = [16, 16]>(x)\n "
        "b = MaxPool<kernel_shape = [4, 4], strides = [2, 2]>(a)\n y = GlobalAveragePool(b) }"
    )
    assert drawn(made).feeds["x"].shape[2:] == (64, 64)


def test_a_free_size_without_a_name_is_tried_too() -> None:
    made = model("n (float[N, 2, A, B] x) => (float[N, 2, A, B] y) { y = Relu(x) }")
    for dim in made.graph.input[0].type.tensor_type.shape.dim:
        dim.ClearField("dim_param")
    assert drawn(made).feeds["x"].ndim == 4


LIMITS = (
    ("straight", "g = Gather(t, x)", 11),
    ("cast", "c = Cast<to = 7>(x)\n g = Gather(t, c)", 11),
    ("reshaped and sliced", "r = Reshape(x, s)\n g = Gather(t, r)", 11),
    ("shifted", "a = Add(x, five)\n g = Gather(t, a)", 6),
    ("the smaller of two tables", "g = Gather(t, x)\n h = Gather(u, x)", 4),
    ("another axis", "g = Gather<axis = 1>(t, x)", 3),
    ("one-hot", "h = OneHot(x, d, v)\n g = Identity(h)", 9),
    ("no table", "g = Cast<to = 1>(x)", None),
)


@pytest.mark.parametrize(("what", "body", "limit"), LIMITS)
def test_an_index_stays_inside_its_table(what: str, body: str, limit: int | None) -> None:
    made = model(
        f"n (int64[N, 2] x) => (g) {{ {body} }}",
        t=floats(11, 3), u=floats(4, 3), s=ints(-1), five=ints(5), d=np.array(9), v=floats(2),
    )  # fmt: skip
    graph = graph_of(made)
    assert index_limit(graph, "x") == limit
    values = law_of(graph, "x").draw(np.random.default_rng(0), (500,), "normal")
    assert (int(values.min()), int(values.max())) == (0, (limit or 2) - 1)


def test_other_types() -> None:
    made = model(
        "n (uint8[N] a, bool[N] b, float16[N] c, double[N] d, int32[N] e) => "
        "(uint8[N] f, bool[N] g, float16[N] h, double[N] i, int32[N] j) "
        "{ f = Identity(a)\n g = Identity(b)\n h = Identity(c)\n "
        "i = Identity(d)\n j = Identity(e) }"
    )
    graph, rng = graph_of(made), np.random.default_rng(0)
    values = {n: law_of(graph, n).draw(rng, (4000,), "normal") for n in graph.inputs}
    kinds = {n: v.dtype.name for n, v in values.items()}
    assert kinds == {"a": "uint8", "b": "bool", "c": "float16", "d": "float64", "e": "int32"}
    assert (values["a"].min(), values["a"].max()) == (0, 255)
    assert values["b"].any()
    assert not values["b"].all()
    assert set(values["e"].tolist()) == {0, 1}
    assert abs(values["d"].std() - 1) < 0.1


SCALES = (
    ("nothing", "y = Relu(x)", 0.0, 1.0),
    ("mean and deviation", "a = Sub(x, m)\n y = Div(a, s)", 120.0, 60.0),
    ("the other way round", "a = Mul(x, f)\n y = Add(a, o)", 128.0, 128.0),
    ("behind a transpose", "t = Transpose(x)\n a = Sub(t, m)\n y = Div(a, s)", 120.0, 60.0),
    ("not if it is read twice", "a = Sub(x, m)\n b = Div(a, s)\n y = Add(b, x)", 0.0, 1.0),
)


@pytest.mark.parametrize(("what", "body", "loc", "scale"), SCALES)
def test_a_model_that_normalises_gets_its_own_range(
    what: str, body: str, loc: float, scale: float
) -> None:
    made = model(
        f"n (float[2, 3] x) => (y) {{ {body} }}",
        m=np.float32([110, 120, 130]), s=np.float32(60), f=np.float32(1 / 128), o=np.float32([-1]),
    )  # fmt: skip
    if "Transpose" in body:
        made.graph.initializer[0].dims[:] = [3, 1]
    assert scaling(graph_of(made), "x") == pytest.approx((loc, scale), rel=1e-5)


def test_values_that_give_no_numbers_are_drawn_another_way() -> None:
    for body in ("y = Log(x)", "s = Sqrt(x)\n y = Log(s)", "b = Mul(x, k)\n y = Exp(b)"):
        made = model(f"n (float[N, 4] x) => (float[N, 4] y) {{ {body} }}", k=np.float32(500))
        sample = drawn(made)
        assert finite(sample), body


def test_samples_are_the_same_for_the_same_seed_and_differ_by_index() -> None:
    made = model("n (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    first, again, other = drawn(made), drawn(made), drawn(made, index=1)
    assert np.array_equal(first.feeds["x"], again.feeds["x"])
    assert not np.array_equal(first.feeds["x"], other.feeds["x"])


def test_a_model_that_runs_on_nothing_says_so() -> None:
    made = model(
        "n (float[N, 4] x) => (float[N, 4] y) { c = Concat<axis = 0>(x, x)\n y = Add(c, b) }",
        b=floats(5, 4),
    )
    with pytest.raises(InputError, match="no input was found that the model runs on"):
        drawn(made)
    words = model("n (string[N] x) => (string[N] y) { y = Identity(x) }")
    with pytest.raises(InputError, match="no random value fits the input `x`"):
        drawn(words)


def test_masks_never_overlap_and_leave_something_free() -> None:
    masks = owners(np.random.default_rng(0), (40, 5), 3)
    assert masks.shape == (3, 40, 5)
    total = masks.sum(0)
    assert total.max() == 1
    assert total.min() == 0
    assert shape_at(("N", 3, "?"), {"N": 2}) == (2, 3, 1)
