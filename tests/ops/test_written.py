"""Functions written out in several nodes, and which factor of a product is released."""

from __future__ import annotations

import numpy as np
import pytest

import rfponnx
from rfponnx.verify.float64 import Float64
from tests.ops.cases_product import GATES, PRODUCTS, WRITTEN
from tests.ops.harness import Array, Case

EXACT = 1e-12
FITTED = 3e-5  # near 0 the secant of a function without a gate is the mean of two slopes

PLAIN = [c for c in WRITTEN if not c.options]
#: What each row of GATES releases, and why.
RELEASED = {
    "with a sigmoid": "released `s`, a Sigmoid",
    "of tanh and sigmoid": "released `s`, a Sigmoid",
    "with a softmax before a sigmoid": "released `p`, a Softmax",
    "with one minus a sigmoid, moved": "released `t`, a Sigmoid",
    "with a hard sigmoid written out": "released `h`, a HardSigmoid",
    "with a written softmax": "released `p`, a Softmax",
    "with a written sigmoid": "released `p`, a Sigmoid",
    "with the inverse of a signal": "released `r`, a Reciprocal",
    "with a negative power of a signal": "released `r`, a Reciprocal",
    "of a function and its softmax": "released `p`, a Softmax",
    "with attention": "released `p`, a Softmax",
}


def at_zero(case: Case, kind: str) -> tuple[Array, Array, Array]:
    """Return y, y where x0 is 0, and the relevance of x0."""
    model = case.convert(case.model(), linearisation=kind).model
    run, feeds = Float64(model), case.feeds()
    found = run.run(feeds)
    zero = run.run({**feeds, "x0": np.zeros_like(feeds["x0"])}, ["y0"])["y0"]
    return found["y0"], zero, found["y0_relevance"][0]


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_what_is_written_out_is_one_function(case: Case) -> None:
    y, zero, relevance = at_zero(case, "weighted")
    expected = y - zero if np.isfinite(zero).all() else y
    scale = np.abs(expected).max()
    assert np.abs(relevance - expected).max() / scale <= FITTED


@pytest.mark.parametrize("case", [c for c in PLAIN if c.op == "Mul"], ids=str)
def test_a_gate_is_used_as_it_is(case: Case) -> None:
    y, zero, relevance = at_zero(case, "weighted")
    if np.abs(zero).max() == 0:
        assert np.abs(relevance - y).max() / np.abs(y).max() <= EXACT


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_a_written_function_has_one_term(case: Case) -> None:
    steps = case.convert(case.model()).plan.steps
    assert any("one function of `" in s.linearisation.note for s in steps)
    assert all(len({t.x for t in s.linearisation.terms if t.x[0] != "w"}) == 1 for s in steps)


@pytest.mark.parametrize("case", GATES, ids=str)
def test_the_gate_is_released(case: Case) -> None:
    notes = [s.linearisation.note for s in case.convert(case.model()).plan.steps]
    assert RELEASED[case.about] in notes


def test_a_source_between_is_not_looked_through() -> None:
    model = next(c for c in WRITTEN if c.about == "SiLU").model()
    plan = rfponnx.convert(model, sources=["x0=x0", "gate=s"], explain="y0").plan
    assert [s.linearisation.note for s in plan.steps if s.y == "y0"] == ["released `s`, a Sigmoid"]


def test_half_goes_to_each_of_two_alike() -> None:
    case = next(c for c in PRODUCTS if c.about == "of two alike is split")
    found = Float64(case.convert(case.model()).model).run(case.feeds())
    for rows in found["y0_relevance"][:2]:
        assert np.abs(rows - found["y0"] / 2).max() <= EXACT
