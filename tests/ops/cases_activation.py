"""Smooth elementwise functions, one fact a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, X

ZEROS = X([[0.0, -0.0, 1e-38, -1e-38], [1e-44, 1e-7, -1e-7, 2.0]])
FAR = X([[30.0, -30.0, 1e3, -1e3], [1e30, -1e30, 88.0, -87.0]])
FEW = X([[-3.5, -1.0, -0.25, 0.5], [0.75, 1.5, 3.25, 6.5]])
UNIT = X((2, 3), low=-0.9, high=0.9)
ABOVE = X([[0.5, 1.0, 2.5], [0.25, 40.0, 7.0]])
#: For points where a function has no derivative, or a difference cannot show it.
SECANT = {"linearisation": "weighted"}

#: Functions that are smooth and finite on the whole line, with attributes that matter.
EVERYWHERE: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("Sigmoid", 13, {}),
    ("Tanh", 13, {}),
    ("Elu", 13, {}),
    ("Elu", 13, {"alpha": 2.5}),
    ("Selu", 13, {}),
    ("Celu", 13, {"alpha": 1.5}),
    ("Gelu", 20, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("Swish", 24, {}),
    ("Swish", 24, {"alpha": 1.5}),
    ("Mish", 18, {}),
    ("HardSwish", 14, {}),
    ("Softplus", 13, {}),
    ("Softsign", 13, {}),
    ("Erf", 13, {}),
    ("Sin", 13, {}),
    ("Cos", 13, {}),
    ("Atan", 13, {}),
    ("Asinh", 13, {}),
)
#: The second derivative jumps at 0, so that differences of fourth order cannot be taken there.
BENT = ("Elu", "Selu", "Celu", "Softsign")


def named(attrs: dict[str, Any]) -> str:
    return "".join(f" {k} {v}" for k, v in attrs.items())


def rows(op: str, opset: int, attrs: dict[str, Any]) -> tuple[Case, ...]:
    """Return the rows of a function that is defined everywhere."""
    more: dict[str, Any] = {"attrs": attrs, "opset": opset}
    with_, at_zero = named(attrs), SECANT if op in BENT else {}
    return (
        Case(op, f"of few values{with_}", [FEW], **more),
        Case(op, f"at exact, negative and almost zero{with_}", [ZEROS], options=at_zero, **more),
        Case(op, f"saturated and far out{with_}", [FAR], options=SECANT, **more),
    )


CASES = (
    Case("Relu", "exact and negative zero", [X([-1.0, -0.0, 0.0, 1e-38, 2.0])], kinks=True),
    Case("Relu", "of a feature map", [X((2, 3, 2, 2))]),
    *(case for row in EVERYWHERE for case in rows(*row)),
    Case("Sigmoid", "of a scalar", [X(np.array(0.7, np.float32))], free=()),
    Case("Sigmoid", "of nothing", [X((0, 3))], free=()),
    Case("Sigmoid", "in double", [X((2, 3), dtype=np.float64)]),
    Case("Softplus", "in double", [X((2, 3), dtype=np.float64)]),
    Case("Sigmoid", "of an old opset", [FEW], opset=8),
    Case("Sigmoid", "shifted", [FEW], options={"linearisation": "ratio", "set": {"shift": 0.25}}),
    Case("Sigmoid", "below eps", [ZEROS], options={"linearisation": "ratio"}),
    Case("Exp", "of few values", [FEW]),
    Case("Exp", "at exact, negative and almost zero", [ZEROS]),
    Case("Exp", "almost overflowing", [X([88.0, -80.0, 40.0])]),
    Case("Log", "of positive values", [ABOVE]),
    Case("Log", "of subnormal and large values", [X([1e-40, 1e-30, 1e30, 1.0])], options=SECANT),
    Case("Sqrt", "of positive values", [ABOVE]),
    Case(
        "Sqrt", "of zero and subnormal values", [X([0.0, -0.0, 1e-40, 1e30, 4.0])], options=SECANT
    ),
    Case("Reciprocal", "of both signs", [FEW]),
    Case("Reciprocal", "of small values", [X([1e-30, -1e-12, 1e12])], options=SECANT),
    Case("Tan", "of both signs", [X([[-1.2, -0.3, 0.4], [1.1, 2.5, -2.9]])]),
    Case("Tan", "at exact and negative zero", [X([0.0, -0.0, 1e-38])]),
    Case("Sinh", "of few values", [FEW]),
    Case("Sinh", "at exact and negative zero, and large", [X([0.0, -0.0, 1e-38, 8.0, -8.0])]),
    Case("Cosh", "of few values", [FEW]),
    Case("Cosh", "at exact and negative zero, and large", [X([0.0, -0.0, 1e-38, 8.0, -8.0])]),
    Case("Asin", "inside", [UNIT]),
    Case("Asin", "at its ends and zero", [X([1.0, -1.0, 0.0, -0.0])], options=SECANT),
    Case("Acos", "inside", [UNIT]),
    Case("Acos", "at its ends and zero", [X([1.0, -1.0, 0.0, -0.0])], options=SECANT),
    Case("Atanh", "inside", [UNIT]),
    Case("Atanh", "at exact and negative zero", [X([0.0, -0.0, 1e-38])]),
    Case("Acosh", "above one", [X([1.25, 2.0, 30.0])]),
    Case("Acosh", "at one", [X([1.0, 1.0])], options=SECANT),
)
