"""Ties pay the first of equal entries, never two of them: their sum alone would not tell."""

from __future__ import annotations

import numpy as np

from tests.ops.cases_rearrange import CASES
from tests.ops.harness import in_float64, relevances


def test_of_equal_updates_one_wins() -> None:
    case = next(c for c in CASES if c.about == "equal updates")
    rows = relevances(in_float64(case, False, False, False, ""))["y0"]
    np.testing.assert_array_equal(rows, [[0, 0, 3], [5, 7, 0], [0, 0, 0]])
