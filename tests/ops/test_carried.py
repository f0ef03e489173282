"""What moves or picks entries of a source carries it: completeness alone would let it drop."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops import cases_rearrange, cases_select
from tests.ops.harness import Case, in_float64, relevances

#: Cases in which nothing of some source arrives.
SILENT = (
    *("Reshape-18-allowzero", "Reshape-18-an_empty_batch", "Slice-18-nothing"),
    *("Concat-18-an_empty_operand", "Abs-18-no_entries", "Clip-18-an_empty_range"),
    "Pad-18-a_constant_from_a_source",
    "Pad-18-a_constant_from_a_source_and_pads_at_run_time",
    *("Clip-18-tiny_bounds", "ScatterElements-18-two_factors"),
    *("ScatterElements-18-factors_that_are_zero", "ScatterND-18-rows_multiplied"),
    *("PRelu-18-only_a_slope_that_carries_relevance", "Clip-18-bounds_that_carry_relevance"),
    "Clip-18-crossed_bounds_that_carry_relevance",
    *("PRelu-18-a_slope_that_carries_relevance", "Clip-18-a_bound_that_carries_relevance"),
)
MOVING = (*cases_rearrange.SHAPES, *cases_rearrange.PARTS, *cases_rearrange.INDICES)
CASES = [
    c for c in (*MOVING, *cases_select.CASES) if not c.refuses and str(c) not in SILENT
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_source_arrives(case: Case) -> None:
    found = relevances(in_float64(case, False, False, False, ""))
    for place, name in enumerate(n for n in case.names if n.startswith("x")):
        assert any(np.any(rows[place]) for rows in found.values()), f"{name} does not arrive"


@pytest.mark.parametrize("case", cases_rearrange.STOPPED, ids=str)
def test_a_step_passes_nothing_on(case: Case) -> None:
    """The source is added to what the step yields, so its row is the source itself."""
    rows = relevances(in_float64(case, False, False, False, ""))["y0"]
    np.testing.assert_array_equal(rows[0], np.broadcast_to(case.values()["x0"], rows[0].shape))
