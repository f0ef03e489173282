"""With `taylor` and nothing released every node is its exact derivative by all it reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import pytest

from rfponnx.graph.graph import Node
from rfponnx.ops.op import Linearisation
from rfponnx.plan.plan import Step
from rfponnx.verify.float64 import Float64
from tests.ops.algebra import Algebra, Local, central_difference, check_adjoint, smooth_entries
from tests.ops.cases_written import PAIRS
from tests.ops.harness import Array, Case, relevances, run_float32, worst
from tests.ops.test_laws import ALLOWED, CLOSE, EXACT, STEP, TANGENT

FULL = {"linearisation": "taylor", "release": ["*=none"]}
#: Rounding is read as the identity between the two on purpose: its derivative is 0 everywhere.
STRAIGHT_THROUGH = ("QuantizeLinear", "DequantizeLinear")
#: Two runs cannot be compared, and no draw follows an input.
DRAWN = ("RandomNormalLike", "RandomUniformLike", "Bernoulli")

#: A tangent that is finite but, times x, is not.
BEYOND = ("Exp-18-almost_overflowing",)
#: Sizes of x at which a difference shows a derivative, where a case has others, too.
SHOWN = (1e-3, 1e3)

EXEMPT = (*STRAIGHT_THROUGH, *DRAWN)
SHOWING = tuple(c for c in ALLOWED if c.op not in EXEMPT and "linearisation" not in c.options)
cases = pytest.mark.parametrize("case", ALLOWED, ids=str)


@cache
def changed(case: Case) -> frozenset[str]:
    """Return the tensors with a new linearisation; the others are under the other laws."""
    plain, full = (case.convert(case.model(), **how).plan for how in ({}, FULL))
    known = {s.y: s.linearisation for s in plain.steps}
    return frozenset(s.y for s in full.steps if s.linearisation != known.get(s.y))


def read(algebra: Algebra, node: Node) -> tuple[str, ...]:
    """Return the float tensors that a node reads and a source reaches."""
    carried = algebra.carried
    return tuple(
        dict.fromkeys(i for i in node.inputs if i in carried and algebra.graph.is_float(i))
    )


def nodes(algebra: Algebra) -> Iterator[Step]:
    """Yield every step, and what is no step, since nothing of its inputs passes."""
    steps = {s.y: s for s in algebra.steps}
    inside = {t for s in algebra.steps for t in s.linearisation.through}
    for node in algebra.graph.nodes:
        for y in filter(algebra.graph.is_float, node.outputs):
            if y in steps:
                yield steps[y]
            elif read(algebra, node) and y not in inside and y not in algebra.carried:
                yield Step(node, y, Linearisation(), ())


@cases
def test_a_full_tangent_is_the_derivative(case: Case, rng: np.random.Generator) -> None:
    algebra = Algebra(case, **FULL)
    for step in nodes(algebra):
        if step.node.op in EXEMPT:
            continue
        local = Local(algebra, step)
        assert set(read(algebra, step.node)) <= {*local.feeds, *step.linearisation.through}
        for x in local.feeds:
            if x in algebra.carried and algebra.graph.is_float(x):
                check(case, algebra, step, local, x, rng)


def check(
    case: Case, algebra: Algebra, step: Step, local: Local, x: str, rng: np.random.Generator
) -> None:
    """Compare the summed maps of one operand, none if it has none, with a difference."""
    at = local.feeds[x]
    v = rng.normal(size=at.shape)
    difference = central_difference(lambda z: local(x, z), at, v, STEP)
    pairs = [p for p in algebra.pairs if p.step is step and p.x == x]
    tangent = np.sum([algebra.push(p, v) for p in pairs], axis=0) if pairs else 0 * difference
    assert step.linearisation.tangent
    assert not step.linearisation.frozen
    assert np.isfinite(tangent).all()
    counts = np.ones(difference.shape, bool)
    if case.kinks:
        counts = smooth_entries(lambda z: local(x, z), at, v, STEP)
    if "linearisation" in case.options and at.shape == counts.shape:
        counts = (np.abs(at) > SHOWN[0]) & (np.abs(at) < SHOWN[1]) & np.isfinite(difference)
    tangent, difference = tangent[counts], difference[counts]
    scale = max(float(np.abs(difference).max(initial=0)), float(np.abs(tangent).max(initial=0)), 1)
    error = np.abs(tangent - difference).max(initial=0) / scale
    assert error <= TANGENT, f"{step.node.op} by `{x}`: {error:.2g}"


@pytest.mark.parametrize("case", SHOWING, ids=str)
def test_the_chain_rule_holds(case: Case) -> None:
    """Each stream is the derivative of the whole model along its source."""
    model = case.convert(case.model(), **FULL).model
    run, feeds = Float64(model), {k: wide(v) for k, v in case.feeds().items()}
    for y, rows in relevances(run.run(feeds)).items():
        for row, x in zip(rows, (n for n in case.names if n.startswith("x")), strict=False):
            whole = partial(replaced, run, feeds, x, y)
            difference = central_difference(whole, feeds[x], feeds[x], STEP)
            smooth = smooth_entries(whole, feeds[x], feeds[x], STEP) | (not case.kinks)
            scale = max(np.abs(difference[smooth]).max(initial=0), 1)
            assert np.abs(row - difference)[smooth].max(initial=0) / scale <= TANGENT


@pytest.mark.parametrize(("fused", "written"), PAIRS, ids=str)
def test_a_written_normalisation_is_the_fused_one(fused: Case, written: Case) -> None:
    one, other = (
        relevances(Float64(c.convert(c.model(), **FULL).model).run(c.feeds()))["y0"]
        for c in (fused, written)
    )
    # an epsilon stored as a float32 number differs from the same one as an attribute
    assert worst(one, other) <= 1e-9


def replaced(run: Float64, feeds: dict[str, Array], x: str, y: str, values: Array) -> Array:
    """Return y with one input replaced."""
    return run.run({**feeds, x: values}, [y])[y]


def wide(value: Array) -> Array:
    """Return floats in double."""
    return value.astype(np.float64) if value.dtype.kind == "f" else value


@cases
def test_pull_is_the_transpose_of_push(case: Case, rng: np.random.Generator) -> None:
    if changed(case):
        algebra = Algebra(case, free=case.free is None or bool(case.free), **FULL)
        for pair in algebra.pairs:
            if pair.step.y in changed(case):
                check_adjoint(algebra, pair, rng, EXACT)


@cases
def test_onnx_runtime_agrees(case: Case) -> None:
    if not changed(case) or str(case) in BEYOND:
        return
    free = case.free is None or bool(case.free)
    found = {}
    for layout in ("separate", "stacked"):
        model = case.convert(case.model(free=free), layout=layout, **FULL).model
        exact, single = Float64(model).run(case.feeds()), run_float32(model, case.feeds())
        found[layout] = relevances(exact)
        for name, rows in found[layout].items():
            scale = max(np.abs(exact[name]).max(initial=0), np.abs(rows).max(initial=0), 1e-30)
            assert np.abs(rows.sum(0) - exact[name]).max(initial=0) / scale <= EXACT
            assert worst(single[f"{name}_relevance"].astype(np.float64), rows) <= CLOSE
    for name, rows in found["separate"].items():
        assert worst(rows, found["stacked"][name]) <= EXACT
