"""The plan as a whole: what is carried, who is alive where, what is needed, what is refused."""

from __future__ import annotations

import dataclasses

import onnx
import pytest
from onnx import helper

import rfponnx
from rfponnx.errors import Unsupported
from rfponnx.methods.convert import plan_for, read
from rfponnx.plan.options import Options
from rfponnx.plan.plan import Plan, uncovered
from tests.plan.small import model_of, plan_of, summed

LATE = """
late (float[N, 4] a, float[N, 4] b, float[N, 4] c) => (float[N, 6] y) {
  a1 = MatMul(a, wa)
  a2 = Relu(a1)
  b1 = MatMul(b, wb)
  b2 = Relu(b1)
  c1 = MatMul(c, wc)
  c2 = Relu(c1)
  ab = Concat<axis = 1>(a2, b2)
  abc = Concat<axis = 1>(ab, c2)
  y = MatMul(abc, wy)
}
"""
WEIGHTS = {"wa": (4, 5), "wb": (4, 5), "wc": (4, 5), "wy": (15, 6)}


def alive(plan: Plan) -> dict[str, set[str]]:
    """Return the names of the sources alive at each tensor of a step."""
    return {s.y: {plan.sources[m].name for g in s.groups for m in g.members} for s in plan.steps}


@pytest.mark.parametrize("layout", ["separate", "stacked"])
def test_a_source_is_carried_where_it_can_reach_only(layout: str) -> None:
    plan = plan_of(LATE, weights=WEIGHTS, layout=layout)
    expected = {f"{s}{i}": {s} for s in "abc" for i in (1, 2)}
    assert alive(plan) == {**expected, "ab": {"a", "b"}, "abc": {"a", "b", "c"}, "y": set("abc")}


@pytest.mark.parametrize("layout", ["separate", "stacked"])
def test_no_zeros_are_pushed_through_the_branches_of_others(layout: str) -> None:
    """Each branch multiplies once in the primal and once for its only source."""
    made = rfponnx.convert(model_of(LATE, WEIGHTS), layout=layout)
    overlay = made.model.graph.node[len(made.plan.graph.nodes) :]
    for weight in ("wa", "wb", "wc"):
        assert sum(weight in n.input for n in overlay if n.op_type == "MatMul") == 1


def test_layouts_part_the_sources_into_groups() -> None:
    sources = ("a=a", "b0=b[:,0:2]", "b1=b[:,2:]", "ac=c[:,0]", "b2c=c[:,1:]")
    names = {
        layout: [
            (tuple(p.sources[m].name for m in g.members), sorted(g.tensors), g.stacked)
            for g in p.groups
        ]
        for layout in ("auto", "separate", "stacked")
        if (p := plan_of(LATE, *sources, weights=WEIGHTS, layout=layout))
    }
    one_by_one = [
        (("a",), ["a"], False), (("b0",), ["b"], False), (("b1",), ["b"], False),
        (("ac",), ["c"], False), (("b2c",), ["c"], False),
    ]  # fmt: skip
    assert names["auto"] == names["separate"] == one_by_one
    assert names["stacked"] == [
        (("a",), ["a"], True), (("b0", "b1"), ["b"], True), (("ac", "b2c"), ["c"], True)
    ]  # fmt: skip


def test_the_order_of_steps_is_the_order_of_the_file() -> None:
    plan = plan_of(LATE, weights=WEIGHTS)
    indices = [s.node.index for s in plan.steps]
    assert indices == sorted(indices)
    made: set[str] = {"a", "b", "c"}
    for step in plan.steps:
        assert {t.x for t in step.linearisation.terms} <= made
        made.add(step.y)


def test_what_leads_to_nothing_explained_is_no_step() -> None:
    text = """net (float[N, 3] x) => (float[N, 3] y) {
      side = NonZero(x)\n dead = Sigmoid(x)\n deader = Exp(dead)\n h = Relu(x)\n y = Neg(h) }"""
    assert [s.y for s in plan_of(text).steps] == ["h", "y"]
    assert [s.y for s in plan_of(text, explain=("h",)).steps] == ["h"]
    assert [s.y for s in plan_of(text, explain=("x",)).steps] == []


def test_behind_a_tensor_that_one_source_owns_nothing_is_carried() -> None:
    plan = plan_of(LATE, "all=abc", "a=a", weights=WEIGHTS)
    assert [s.y for s in plan.steps] == ["y"]
    assert alive(plan) == {"y": {"all"}}


def test_behind_a_tensor_that_is_owned_in_part_the_others_are_carried() -> None:
    plan = plan_of(LATE, "part=ab[:,0:7]", "a=a", "c=c", weights=WEIGHTS)
    assert alive(plan) == {
        "a1": {"a"}, "a2": {"a"}, "ab": {"part", "a"}, "c1": {"c"}, "c2": {"c"},
        "abc": {"part", "a", "c"}, "y": {"part", "a", "c"},
    }  # fmt: skip


COVERED: tuple[tuple[tuple[str, ...], tuple[int | str, ...], bool], ...] = (
    (("a=x",), (2, 6, 5), False),
    (("a=x[:,:,:]",), (2, 6, 5), False),
    (("a=x[:,0:3]", "b=x[:,3:]"), (2, 6, 5), False),
    (("a=x[:,0:3]+x[:,3:]",), (2, 6, 5), False),
    (("a=x[:,0:3]", "b=x[:,4:]"), (2, 6, 5), True),
    (("a=x[:,0:3]",), (2, 6, 5), True),
    (("a=x[:,::2]", "b=x[:,1::2]"), (2, 6, 5), False),
    (("a=x[0]", "b=x[1:]"), (2, 6, 5), False),
    (("a=x[0]", "b=x[1:]"), ("N", 6, 5), True),  # N may be anything
    (("a=x[:,:,0]", "b=x[:,0,1:]", "c=x[:,1:,1:]"), (2, 6, 5), True),  # not seen to be all
    (("a=x@mask",), (2, 6, 5), True),
    (("a=x@mask", "b=x@mask"), (2, 6, 5), True),
)


@pytest.mark.parametrize(("sources", "shape", "expected"), COVERED, ids=str)
def test_entries_that_nobody_owns(
    sources: tuple[str, ...], shape: tuple[int | str, ...], expected: bool
) -> None:
    plan = plan_of(summed(["x", "z"], shape), *sources)
    assert uncovered(plan, "x") == expected
    assert uncovered(plan, "z")


def test_a_node_on_the_way_without_a_linearisation_is_refused_by_name() -> None:
    text = "net (float[N, 3, 3] x) => (float[N] y) { h = Relu(x)\n y = Det(h) }"
    says = r"node `Det_1`: .*Det.*; --release 'Det_1=left' counts its result as bias"
    with pytest.raises(Unsupported, match=says):
        plan_of(text)
    plan = plan_of(text, release=(("Det_1", "left"),))
    assert [s.y for s in plan.steps] == []
    assert plan.explained[0].tensor == "y"


def foreign(reads: str, used: bool) -> onnx.ModelProto:
    """Return a model with a node of an unknown domain that reads a tensor."""
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Magic", [reads], ["m"], name="magic", domain="com.example"),
        helper.make_node("Add", ["h", "m" if used else "h"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in ("x", "z")]
    m = helper.make_tensor_value_info("m", 1, ["N", 3])
    outputs = [helper.make_tensor_value_info("y", 1, ["N", 3])]
    graph = helper.make_graph(nodes, "g", infos, outputs, value_info=[m])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def test_a_node_of_another_domain_is_refused_on_the_way_only() -> None:
    with pytest.raises(Unsupported, match=r"node `magic`: com.example:Magic has no linearisation"):
        plan_of(foreign("h", used=True), "x=x")
    assert [s.y for s in plan_of(foreign("h", used=False), "x=x").steps] == ["h", "y"]
    beside = plan_of(foreign("z", used=True), "x=x")
    assert [s.y for s in beside.steps] == ["h", "y"]
    assert beside.carried == {"x", "h", "y"}


def test_an_op_of_another_domain_with_a_known_name_is_not_taken_for_the_standard_one() -> None:
    model = foreign("h", used=True)
    model.graph.node[1].op_type = "Relu"
    with pytest.raises(Unsupported, match=r"com.example:Relu has no linearisation"):
        plan_of(model, "x=x")


def test_integers_carry_nothing() -> None:
    text = """net (float[N, 3] x) => (float[N, 3] y) {
      i = Cast<to = 7>(x)\n f = Cast<to = 1>(i)\n h = Relu(x)\n y = Add(h, f) }"""
    plan = plan_of(text)
    assert "i" not in plan.carried
    assert [s.y for s in plan.steps] == ["h", "y"]


def test_a_plan_cannot_be_changed() -> None:
    plan = plan_of(LATE, weights=WEIGHTS)
    for record in (
        plan,
        plan.options,
        plan.groups[0],
        plan.steps[0],
        plan.sources[0],
        plan.sources[0].pieces[0],
        plan.explained[0],
        plan.steps[0].linearisation,
    ):
        name = dataclasses.fields(record)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)


def test_the_same_options_give_the_same_plan() -> None:
    def told(plan: Plan) -> str:
        return repr([(s.y, s.linearisation, s.groups) for s in plan.steps])

    model = model_of(LATE, WEIGHTS)
    plans = [plan_for(read(model), Options(layout="stacked"), None, None) for _ in range(2)]
    assert told(plans[0]) == told(plans[1])
