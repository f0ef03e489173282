"""Operators that are linear in their relevance-bearing operand."""

from __future__ import annotations

from tests.ops.harness import Case, W, X

CASES = (
    Case("Conv", "a plain one", [X((2, 3, 5, 4)), W((4, 3, 3, 2)), W((4,))]),
    Case("Gemm", "with a bias", [X((2, 3)), W((3, 4)), W((4,))]),
    Case("Neg", "of anything", [X((2, 3))]),
)
