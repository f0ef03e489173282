"""A written-out normalisation gives the streams of the fused one."""

from __future__ import annotations

import pytest

from tests.ops.cases_written import PAIRS
from tests.ops.harness import Case, Float64, relevances, worst


@pytest.mark.parametrize("kind", ["weighted", "ratio", "taylor"])
@pytest.mark.parametrize(("fused", "written"), PAIRS, ids=str)
def test_written_out_is_fused(fused: Case, written: Case, kind: str) -> None:
    one, other = (
        relevances(Float64(c.convert(c.model(), linearisation=kind).model).run(c.feeds()))["y0"]
        for c in (fused, written)
    )
    # an epsilon stored as a float32 number differs from the same one as an attribute
    assert worst(one, other) <= 1e-9
