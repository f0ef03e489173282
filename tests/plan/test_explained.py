"""What is explained: outputs, what their last nodes decide over, or what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from rfponnx.errors import OptionError
from rfponnx.plan.explained import ENDINGS, MOVES
from rfponnx.plan.flow import downstream
from rfponnx.plan.plan import Plan
from tests.plan.small import plan_of

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    """A model, and what is explained: tensor, output, class axis, own output, per target."""

    about: str
    text: str
    expected: tuple[tuple[str, str, int, bool], ...]
    unreached: tuple[str, ...] = ()
    weights: Shapes = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.about.replace(" ", "_")

    def plan(self) -> Plan:
        return plan_of(self.text, weights=self.weights, **self.options)


PIXELS = "net (float[N, 3, H, W] x) => (int64[N, H, W] y)"
SCORES = "net (float[N, 3] x) => (float[N, 3] y)"

ROWS = (
    Row("an output", f"{SCORES} {{ y = Relu(x) }}", (("y", "y", 1, True),)),
    Row("softmax", f"{SCORES} {{ s = Relu(x)\n y = Softmax(s) }}", (("s", "y", 1, False),)),
    Row(
        "softmax over another axis",
        "net (float[N, 3, 4] x) => (float[N, 3, 4] y) { s = Relu(x)\n y = Softmax<axis = 1>(s) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "softmax of channels last",
        "net (float[N, 8, 8, 3] x) => (float[N, 8, 8, 3] y) { s = Relu(x)\n y = Softmax(s) }",
        (("s", "y", 3, False),),
    ),
    *(
        Row(kind, f"{SCORES} {{ s = Relu(x)\n y = {kind}(s) }}", (("s", "y", 1, False),))
        for kind in ("LogSoftmax", "Hardmax", "Sigmoid")
    ),
    Row(
        "arg max",
        f"{PIXELS} {{ s = Relu(x)\n y = ArgMax<axis = 1, keepdims = 0>(s) }}",
        (("s", "y", 1, False),),
    ),
    Row(
        "arg max of its default axis",
        "net (float[N, 3] x) => (int64[1, 3] y) { s = Relu(x)\n y = ArgMax(s) }",
        (("s", "y", 0, False),),
    ),
    Row(
        "arg max of a softmax",
        f"{PIXELS} {{ s = Relu(x)\n p = Softmax<axis = 1>(s)\n"
        " y = ArgMax<axis = 1, keepdims = 0>(p) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "a cast arg max",
        "net (float[N, 3, H, W] x) => (float[N, H, W] y) { s = Relu(x)\n"
        " c = ArgMax<axis = 1, keepdims = 0>(s)\n y = Cast<to = 1>(c) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "moves between two decisions",
        "net (float[N, 3, H, W] x) => (int64[N, H, W] y) { s = Relu(x)\n p = Sigmoid(s)\n"
        " t = Transpose<perm = [0, 2, 3, 1]>(p)\n y = ArgMax<axis = -1, keepdims = 0>(t) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "a turn whose axes are left to the default",
        "net (float[3, N] x) => (int64[N] y) { s = Relu(x)\n p = Sigmoid(s)\n t = Transpose(p)\n"
        " y = ArgMax<axis = 1, keepdims = 0>(t) }",
        (("s", "y", 0, False),),
    ),
    Row(
        "the softmax behind a turn knows its own axis",
        "net (float[N, 8, 8, 3] x) => (int64[N, 8, 8] y) { s = Relu(x)\n p = Softmax(s)\n"
        " t = Transpose<perm = [0, 3, 1, 2]>(p)\n y = ArgMax<axis = 1, keepdims = 0>(t) }",
        (("s", "y", 3, False),),
    ),
    Row(
        "a flattened decision has the usual class axis",
        "net (float[N, 2, 3] x) => (int64[N, 1] y) { s = Relu(x)\n p = Sigmoid(s)\n"
        " f = Flatten(p)\n y = ArgMax<axis = 1>(f) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "moves behind the last decision stay",
        "net (float[N, 3, 1, 1] x) => (float[N, 3] y) { s = Relu(x)\n f = Flatten(s)\n"
        " y = Softmax(f) }",
        (("f", "y", 1, False),),
    ),
    Row(
        "moves without a decision are explained as they are",
        "net (float[N, 3, 2] x) => (float[N, 6] y) { s = Relu(x)\n y = Flatten(s) }",
        (("y", "y", 1, True),),
    ),
    Row(
        "a turn behind a decision",
        "net (float[N, 3, H, W] x) => (float[N, H, W, 3] y) { s = Relu(x)\n"
        " p = Softmax<axis = 1>(s)\n y = Transpose<perm = [0, 2, 3, 1]>(p) }",
        (("s", "y", 1, False),),
    ),
    Row(
        "a decision in the middle is none",
        "net (float[N, 3] x) => (float[N, 3] y) { p = Softmax(x)\n y = Relu(p) }",
        (("y", "y", 1, True),),
    ),
    Row(
        "a decision of another domain is none",
        "net (float[N, 3] x) => (float[N, 3] y) { s = Relu(x)\n y = Identity(s) }",
        (("y", "y", 1, True),),
    ),
    Row(
        "a softmax of the input itself",
        f"{SCORES} {{ y = Softmax(x) }}",
        (("x", "y", 1, False),),
    ),
    Row(
        "a quantised output",
        f"{SCORES} {{ s = Relu(x)\n q = QuantizeLinear(s, k, z)\n"
        " y = DequantizeLinear(q, k, z) }".replace(
            "{ s", "{ k = Constant<value = float {0.1}>()\n z = Constant<value = uint8 {9}>()\n s"
        ),
        (("s", "y", 1, False),),
    ),
    Row(
        "scores and probabilities: once, under the own name",
        "net (float[N, 3] x) => (float[N, 3] p, float[N, 3] s) { s = Relu(x)\n p = Softmax(s) }",
        (("s", "s", 1, True),),
    ),
    Row(
        "classes of probabilities know the axis of the scores",
        "net (float[N, 8, 3] x) => (float[N, 8, 3] s, float[N, 8, 3] p) { s = Relu(x)\n"
        " p = Softmax(s) }",
        (("s", "s", 2, True),),
    ),
    Row(
        "probabilities and classes: once, under the first name",
        "net (float[N, 3] x) => (float[N, 3] p, float[N, 3] l) { s = Relu(x)\n p = Softmax(s)\n"
        " l = LogSoftmax(s) }",
        (("s", "p", 1, False),),
    ),
    Row(
        "an integer output beside a float one is left alone",
        "net (float[N, 3] x) => (int64[N, 1] c, float[N, 3] s) { s = Relu(x)\n"
        " c = ArgMax<axis = 1>(s) }",
        (("s", "s", 1, True),),
    ),
    Row(
        "an integer output alone",
        "net (float[N, 3] x) => (int64[N, 1] c) { s = Relu(x)\n c = ArgMax<axis = 1>(s) }",
        (("s", "c", 1, False),),
    ),
    Row(
        "two heads",
        "net (float[N, 3] x) => (float[N, 3] a, float[N, 3] b) { a = Relu(x)\n t = Neg(x)\n"
        " b = Softmax(t) }",
        (("a", "a", 1, True), ("t", "b", 1, False)),
    ),
    Row(
        "an output that is an inner tensor too",
        "net (float[N, 3] x) => (float[N, 3] h, float[N, 3] y) { h = Relu(x)\n y = Neg(h) }",
        (("h", "h", 1, True), ("y", "y", 1, True)),
    ),
    Row(
        "an output that is an input",
        "net (float[N, 3] x) => (float[N, 3] x, float[N, 3] y) { y = Neg(x) }",
        (("x", "x", 1, True), ("y", "y", 1, True)),
    ),
    Row(
        "an output that no source reaches",
        "net (float[N, 3] x) => (float[3] u, float[N, 3] y) { u = Relu(w)\n y = Neg(x) }",
        (("y", "y", 1, True),),
        unreached=("u",),
        weights={"w": (3,)},
    ),
    Row(
        "an output that only steps lead to",
        "net (float[N, 3] x) => (float[N, 3] u, float[N, 3] y) { u = Round(x)\n y = Neg(x) }",
        (("u", "u", 1, True), ("y", "y", 1, True)),
    ),
    Row("rank 1", "net (float[3] x) => (float[3] y) { y = Relu(x) }", (("y", "y", 0, True),)),
    Row(
        "rank 1, looked through",
        "net (float[3] x) => (float[3] y) { s = Relu(x)\n y = Softmax(s) }",
        (("s", "y", 0, False),),
    ),
    Row(
        "rank 0",
        "net (float[3] x) => (float y) { y = ReduceSum<keepdims = 0>(x) }",
        (("y", "y", 0, True),),
    ),
    Row(
        "the class axis as asked",
        "net (float[N, 8, 3] x) => (float[N, 8, 3] y) { y = Relu(x) }",
        (("y", "y", 2, True),),
        options={"class_axis": -1},
    ),
    Row(
        "the class axis as asked, against what was looked through",
        "net (float[N, 8, 3] x) => (float[N, 8, 3] y) { s = Relu(x)\n y = Softmax<axis = 2>(s) }",
        (("s", "y", 1, False),),
        options={"class_axis": 1},
    ),
    Row(
        "an inner tensor asked for",
        f"{SCORES} {{ h = Relu(x)\n y = Neg(h) }}",
        (("h", "h", 1, False),),
        options={"explain": ("h",)},
    ),
    Row(
        "an output asked for is not looked through",
        f"{SCORES} {{ s = Relu(x)\n y = Sigmoid(s) }}",
        (("y", "y", 1, True),),
        options={"explain": ("y",)},
    ),
    Row(
        "an input asked for",
        f"{SCORES} {{ y = Relu(x) }}",
        (("x", "x", 1, False),),
        options={"explain": ("x",)},
    ),
    Row(
        "several asked for, one twice",
        f"{SCORES} {{ h = Relu(x)\n y = Neg(h) }}",
        (("y", "y", 1, True), ("h", "h", 1, False)),
        options={"explain": ("y", "h", "y")},
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_explained(row: Row) -> None:
    plan = row.plan()
    found = tuple((e.tensor, e.output, e.class_axis, e.own_output) for e in plan.explained)
    assert found == row.expected
    assert plan.unreached == row.unreached


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_looked_through_lies_between(row: Row) -> None:
    plan = row.plan()
    for one in plan.explained:
        behind = downstream(plan.graph, [one.tensor])
        assert one.own_output or bool(one.through) == (one.tensor != one.output)
        for node in (n for n in plan.graph.nodes if n.label in one.through):
            assert node.op in ENDINGS | MOVES
            assert set(node.outputs) <= behind


def test_the_nodes_looked_through_are_named_from_the_output_back() -> None:
    text = """net (float[N, 3, H, W] x) => (int64[N, H, W] y) { s = Relu(x)
    p = Softmax<axis = 1>(s)\n i = Identity(p)\n y = ArgMax<axis = 1, keepdims = 0>(i) }"""
    assert plan_of(text).explained[0].through == ("ArgMax_3", "Identity_2", "Softmax_1")


WRONG = (
    ({"explain": ("z",)}, "--explain: no tensor `z`"),
    ({"explain": ("hh",)}, "--explain: no tensor `hh`; did you mean `h`"),
    ({"explain": ("c",)}, "--explain: `c` does not hold floats; explain a float tensor"),
    ({"explain": ("w",)}, "no source reaches w; name other sources with --source"),
    ({"class_axis": 2}, "--class-axis: `y` has 2 axes, not axis 2"),
    ({"class_axis": -3}, "--class-axis: `y` has 2 axes, not axis -3"),
    ({"explain": ("h",), "class_axis": 5}, "--class-axis: `h` has 2 axes, not axis 5"),
)


@pytest.mark.parametrize(("options", "says"), WRONG, ids=str)
def test_what_cannot_be_explained_is_refused(options: dict[str, Any], says: str) -> None:
    text = f"{SCORES} {{ h = Mul(x, w)\n c = Greater(h, w)\n d = Not(c)\n y = Relu(h) }}"
    with pytest.raises(OptionError, match=says):
        plan_of(text, weights={"w": (3,)}, **options)


def test_without_a_way_from_a_source_to_an_output_there_is_nothing_to_do() -> None:
    text = "net (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) { d = Relu(z)\n y = Neg(x) }"
    with pytest.raises(OptionError, match="no source reaches y; name other sources"):
        plan_of(text, "s=z")
