"""Operators of the domain ai.onnx.ml."""

from __future__ import annotations

from tests.ops.harness import Case, X

ML = "ai.onnx.ml"
WEIGHTS = [0.5, -1.25, 2.0, 0.75, 1.5, -0.5]

CASES = (
    Case(
        "Scaler",
        "per feature",
        [X((4, 3))],
        {"offset": [1.0, -0.5, 2.0], "scale": [0.5, 2.0, -1.5]},
        domain=ML,
    ),
    Case("Scaler", "one for all", [X((4, 3))], {"offset": [1.5], "scale": [0.25]}, domain=ML),
    Case("Normalizer", "L2", [X((4, 3))], {"norm": "L2"}, domain=ML),
    Case("Normalizer", "L1", [X((4, 3))], {"norm": "L1"}, domain=ML),
    Case("Normalizer", "MAX", [X((4, 3))], {"norm": "MAX"}, domain=ML, refuses="MAX"),
    Case(
        "LinearRegressor",
        "two targets",
        [X((4, 3))],
        {"coefficients": WEIGHTS, "intercepts": [0.5, -2.0], "targets": 2},
        domain=ML,
    ),
    Case(
        "LinearClassifier",
        "scores",
        [X((4, 3))],
        {
            "coefficients": WEIGHTS,
            "intercepts": [0.5, -2.0],
            "classlabels_ints": [3, 7],
            "post_transform": "NONE",
        },
        outputs=2,
        explain=[1],
        domain=ML,
    ),
    Case(
        "LinearClassifier",
        "probabilities",
        [X((4, 3))],
        {
            "coefficients": WEIGHTS,
            "intercepts": [0.5, -2.0],
            "classlabels_ints": [3, 7],
            "post_transform": "SOFTMAX",
        },
        outputs=2,
        explain=[1],
        domain=ML,
    ),
    Case(
        "LinearClassifier",
        "logistic scores",
        [X((4, 3))],
        {
            "coefficients": WEIGHTS,
            "intercepts": [0.5, -2.0],
            "classlabels_ints": [3, 7],
            "post_transform": "LOGISTIC",
        },
        outputs=2,
        explain=[1],
        domain=ML,
    ),
    Case(
        "LinearClassifier",
        "one score for two labels",
        [X((4, 3))],
        {"coefficients": WEIGHTS[:3], "intercepts": [0.5], "classlabels_ints": [0, 1]},
        outputs=2,
        explain=[1],
        domain=ML,
        refuses="fewer scores",
    ),
)
