"""Transforms between a signal and its spectrum."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Case, W, X


def scalar(value: int) -> W:
    """Return an int64 scalar."""
    return W(np.asarray(value, np.int64))


BACK = {"inverse": 1, "onesided": 1}

CASES = (
    Case("DFT", "real", [X((2, 6, 1))], {"axis": 1}, opset=17),
    Case("DFT", "complex", [X((2, 5, 3, 2))], {"axis": 2}, opset=17),
    Case("DFT", "inverse", [X((2, 5, 2))], {"inverse": 1}, opset=17),
    Case("DFT", "onesided", [X((2, 6, 1))], {"onesided": 1}, opset=17),
    Case("DFT", "onesided, odd", [X((2, 7, 1))], {"onesided": 1}, opset=17),
    Case("DFT", "longer", [X((2, 5, 1)), scalar(8)], opset=17),
    Case("DFT", "shorter", [X((2, 5, 2)), scalar(3)], opset=17),
    Case("DFT", "onesided, longer", [X((2, 5, 1)), scalar(8)], {"onesided": 1}, opset=17),
    Case("DFT", "opset 20", [X((2, 5, 3, 2)), None, scalar(1)], opset=20),
    Case("DFT", "opset 20, its usual axis", [X((2, 5, 1))], {"onesided": 1}, opset=20),
    Case("DFT", "half a spectrum, odd", [X((2, 4, 2)), scalar(7)], BACK, opset=17),
    Case("DFT", "half a spectrum, even", [X((2, 4, 3, 2)), scalar(6), scalar(1)], BACK, opset=20),
    Case("DFT", "half a spectrum, its own length", [X((2, 4, 2))], BACK, opset=17),
    Case(
        "DFT",
        "opset 20, inverse, longer",
        [X((2, 4, 2)), scalar(6), scalar(-2)],
        {"inverse": 1},
        opset=20,
    ),
)
