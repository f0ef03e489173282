"""The laws that hold for every operator, over all tables of cases."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from rfponnx.errors import Unsupported
from rfponnx.ops.registry import table
from tests.ops.algebra import (
    Algebra,
    Local,
    Pair,
    central_difference,
    check_adjoint,
    smooth_entries,
)
from tests.ops.harness import (
    Case,
    converted,
    in_float64,
    relevances,
    run_float32,
    variants,
    worst,
)

TABLES = sorted(p.stem for p in Path(__file__).parent.glob("cases_*.py"))
CASES: tuple[Case, ...] = tuple(
    case for name in TABLES for case in importlib.import_module(f"tests.ops.{name}").CASES
)
ALLOWED = tuple(c for c in CASES if not c.refuses)
FREE = tuple(pytest.param(c, f, id=f"{c}{'-free' * f}") for c, f in variants(CASES))

EXACT = 1e-12  # of two float64 computations of one number
CLOSE = 1e-5  # of a float32 result
TANGENT = 1e-8  # of a difference of fourth order
STEP = 1e-4

cases = pytest.mark.parametrize("case", ALLOWED, ids=str)
both = pytest.mark.parametrize(("case", "free"), FREE)
kinds = pytest.mark.parametrize("kind", ["weighted", "taylor", "ratio"])


def differs(case: Case, kind: str) -> bool:
    """Tell whether a linearisation changes anything; what it does not change is tested once."""
    if kind == "weighted":
        return True
    if "linearisation" in case.options:
        return False
    plain, other = (
        converted(case, False, False, False, ""),
        converted(case, False, False, False, kind),
    )
    return [s.linearisation for s in plain.plan.steps] != [
        s.linearisation for s in other.plan.steps
    ]


def test_the_names_of_cases_differ() -> None:
    names = [str(c) for c in CASES]
    assert sorted(set(names)) == sorted(names)


def test_every_op_has_a_case() -> None:
    rows = {(op.domain, op.name) for op in table()}
    made = {(c.domain, c.op) for c in CASES}
    assert not rows - made


@kinds
@cases
def test_streams_and_bias_sum_to_the_tensor(case: Case, kind: str) -> None:
    if not differs(case, kind):
        return
    outputs = in_float64(case, False, False, False, "" if kind == "weighted" else kind)
    for name, rows in relevances(outputs).items():
        assert np.isfinite(rows).all()
        scale = max(np.abs(outputs[name]).max(initial=0), np.abs(rows).sum(0).max(initial=0), 1e-30)
        assert np.abs(rows.sum(0) - outputs[name]).max(initial=0) / scale <= EXACT


@both
def test_both_layouts_give_the_same(case: Case, free: bool) -> None:
    for windows in (False, True) if case.sliced() else (False,):
        separate = relevances(in_float64(case, free, windows, False, ""))
        stacked = relevances(in_float64(case, free, windows, True, ""))
        assert separate.keys() == stacked.keys()
        for name, rows in separate.items():
            assert worst(rows, stacked[name]) <= EXACT


@both
def test_windows_sum_to_the_whole(case: Case, free: bool) -> None:
    cut = case.sliced()
    if cut is None:
        return
    order = [n for n in case.names if n.startswith("x") and n != cut]
    whole = relevances(in_float64(case, free, False, False, ""))
    parts = relevances(in_float64(case, free, True, False, ""))
    place = [n for n in case.names if n.startswith("x")].index(cut)
    for name, rows in whole.items():
        halves = parts[name][len(order)] + parts[name][len(order) + 1]
        scale = max(float(np.abs(parts[name]).max(initial=0)), 1e-30)
        assert np.abs(rows[place] - halves).max(initial=0) / scale <= EXACT


@cases
def test_free_sizes_change_nothing(case: Case) -> None:
    if case.free is not None and not case.free:
        return
    known = in_float64(case, False, False, False, "")
    free = in_float64(case, True, False, False, "")
    for name, value in known.items():
        assert worst(value, free[name]) <= EXACT


@both
def test_pull_is_the_transpose_of_push(case: Case, free: bool, rng: np.random.Generator) -> None:
    algebra = Algebra(case, free=free)
    for pair in algebra.pairs:
        check_adjoint(algebra, pair, rng, EXACT)


@kinds
@cases
def test_tangents_are_derivatives(case: Case, kind: str, rng: np.random.Generator) -> None:
    if not differs(case, kind):
        return
    algebra = Algebra(case, kind="" if kind == "weighted" else kind)
    for step in algebra.steps:
        made = step.linearisation
        if not made.tangent or made.frozen or not made.terms:
            continue
        local = Local(algebra, step)
        for x in dict.fromkeys(p.x for p in algebra.pairs if p.step is step):
            v = rng.normal(size=algebra.values[x].shape)
            pairs = [p for p in algebra.pairs if p.step is step and p.x == x]
            check_tangent(case, algebra, local, pairs, v)


def check_tangent(
    case: Case, algebra: Algebra, local: Local, pairs: list[Pair], v: np.ndarray
) -> None:
    """Compare the summed maps of one operand with the difference quotient of the node."""
    x = pairs[0].x
    tangent = np.sum([algebra.push(p, v) for p in pairs], axis=0)
    difference = central_difference(lambda at: local(x, at), algebra.values[x], v, STEP)
    if case.kinks:
        smooth = smooth_entries(lambda at: local(x, at), algebra.values[x], v, STEP)
        tangent, difference = tangent * smooth, difference * smooth
    scale = max(float(np.abs(difference).max(initial=0)), float(np.abs(tangent).max(initial=0)), 1)
    assert np.abs(tangent - difference).max(initial=0) / scale <= TANGENT


def passes_checker(model: onnx.ModelProto) -> bool:
    """Tell whether the checker likes a model that ONNX Runtime runs."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


@pytest.mark.parametrize("stacked", [False, True], ids=["separate", "stacked"])
@both
def test_onnx_runtime_agrees(case: Case, free: bool, stacked: bool) -> None:
    model = converted(case, free, False, stacked, "").model
    if passes_checker(case.model(free=free)):
        onnx.checker.check_model(model, full_check=True)
    exact, found = in_float64(case, free, False, stacked, ""), run_float32(model, case.feeds())
    assert exact.keys() == found.keys()
    for name, value in found.items():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all()
        if name.endswith("_relevance"):
            assert value.dtype == found[name.removesuffix("_relevance")].dtype
            assert worst(value.astype(np.float64), exact[name]) <= CLOSE


@both
def test_the_prediction_is_untouched(case: Case, free: bool) -> None:
    before = run_float32(case.model(free=free), case.feeds())
    after = run_float32(converted(case, free, False, False, "").model, case.feeds())
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes()


@pytest.mark.parametrize("case", [c for c in CASES if c.refuses], ids=str)
def test_what_cannot_be_linearised_is_refused(case: Case) -> None:
    with pytest.raises(Unsupported, match=case.refuses):
        case.convert(case.model())
