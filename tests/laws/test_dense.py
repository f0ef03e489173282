"""Maps against the dense matrices of their operators, written down from the standard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.laws.formulas import FORMULAS, matrix
from tests.ops import cases_conv, cases_linear, cases_pool, cases_rearrange, cases_resize
from tests.ops.algebra import Algebra
from tests.ops.harness import Case, worst

TABLES = (cases_conv, cases_linear, cases_pool, cases_rearrange, cases_resize)

EXACT = 1e-12  # of two float64 computations of one number


def written_down(case: Case) -> bool:
    """Tell whether the formulas cover a case: one node, its first operand carries."""
    names = [n for n in case.names if n]
    alone = case.nodes is None and not case.refuses and names[0] == "x0"
    others = all(n[0] != "x" for n in names[1:]) and case.op in FORMULAS
    if not alone or not others:
        return False
    values = case.values()
    if case.op == "MatMul":
        return values[names[0]].ndim > 1 and values[names[1]].ndim > 1
    if case.op == "Resize":
        mode = case.attrs.get("coordinate_transformation_mode", "")
        plain = not {"antialias", "axes", "keep_aspect_ratio_policy"} & set(case.attrs)
        return plain and mode != "tf_crop_and_resize" and case.opset > 10
    if case.op == "ReduceMean":
        return "noop_with_empty_axes" not in case.attrs and bool(axes_of(case))
    return True


def axes_of(case: Case) -> list[int]:
    given = case.attrs.get("axes")
    values = [v for n, v in case.values().items() if n[0] == "w"]
    return list(given) if given is not None else [int(a) for v in values for a in v]


def arguments(case: Case, x: tuple[int, ...], y: tuple[int, ...]) -> list[Any]:
    """Return what a formula takes besides shapes and attributes."""
    values = case.values()
    rest = [values[n].astype(np.float64) for n in case.names[1:] if n]
    match case.op:
        case "Conv" | "ConvTranspose" | "Gemm" | "MatMul":
            return rest[:1]
        case "ReduceMean":
            return [axes_of(case)]
        case "CumSum":
            return [int(rest[0])]
        case "Resize":
            scales = (
                rest[-1] if len(case.names) == 3 else [b / a for a, b in zip(x, y, strict=True)]
            )
            return [list(scales)]
    return []


CASES = [c for table in TABLES for c in table.CASES if written_down(c)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_push_and_pull_are_the_matrix_and_its_transpose(case: Case) -> None:
    algebra = Algebra(case)
    (pair,) = (p for p in algebra.pairs if p.x == "x0")
    x, y = pair.shape_x, pair.shape_y
    exact = matrix(FORMULAS[case.op](x, y, case.attrs, *arguments(case, x, y)), x, y)
    rows, columns = exact.shape
    pushed = algebra.push(pair, np.eye(columns).reshape(columns, *x), stack=True)
    pulled = algebra.pull(pair, np.eye(rows).reshape(rows, *y), stack=True)
    assert worst(pushed.reshape(columns, rows).T, exact) <= EXACT
    assert worst(pulled.reshape(rows, columns), exact) <= EXACT


def test_most_formulas_have_cases() -> None:
    assert {c.op for c in CASES} == set(FORMULAS)
