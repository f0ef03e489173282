"""Normalisations that an exporter wrote out in several nodes, beside the fused ones."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Case, W, X, nodes_of


def ints(*values: int) -> W:
    """Return an int64 operand."""
    return W(np.asarray(values, np.int64))


def row(x: np.ndarray) -> W:
    """Return a constant operand with these values."""
    return W(x.astype(np.float32))


SCALE, SHIFT = row(np.linspace(0.5, 1.5, 4)), row(np.linspace(-1, 1, 4))
EPS, TWO = row(np.asarray(1e-5)), row(np.asarray(2.0))
LAST = {"axes": [-1]}
X3 = X(np.random.default_rng(3).normal(size=(2, 3, 4)).astype(np.float32))
X4 = X(np.random.default_rng(4).normal(size=(2, 4, 3, 2)).astype(np.float32))

#: The fused node, and ways to write it out, of one operand x0.
PAIRS = (
    (
        Case("LayerNormalization", "fused", [X3, SCALE, SHIFT], opset=17),
        Case(
            "LayerNormalization",
            "with Pow and Div",
            [X3, SCALE, SHIFT, EPS, TWO],
            opset=17,
            nodes=nodes_of(
                ("ReduceMean", "x0", "m", LAST),
                ("Sub", "x0 m", "d"),
                ("Pow", "d w4", "q"),
                ("ReduceMean", "q", "v", LAST),
                ("Add", "v w3", "e"),
                ("Sqrt", "e", "s"),
                ("Div", "d s", "n"),
                ("Mul", "n w1", "g"),
                ("Add", "g w2", "y0"),
            ),
        ),
    ),
    (
        Case("LayerNormalization", "fused", [X3, SCALE, SHIFT], opset=17),
        Case(
            "LayerNormalization",
            "with Mul and Reciprocal",
            [X3, SCALE, SHIFT, EPS],
            opset=17,
            nodes=nodes_of(
                ("ReduceMean", "x0", "m", LAST),
                ("Sub", "x0 m", "d"),
                ("Mul", "d d", "q"),
                ("ReduceMean", "q", "v", LAST),
                ("Add", "v w3", "e"),
                ("Sqrt", "e", "s"),
                ("Reciprocal", "s", "i"),
                ("Mul", "i w1", "f"),
                ("Mul", "d f", "g"),
                ("Add", "g w2", "y0"),
            ),
        ),
    ),
    (
        Case("RMSNormalization", "fused", [X3, SCALE], opset=23),
        Case(
            "RMSNormalization",
            "with Pow and Div",
            [X3, SCALE, EPS, TWO],
            opset=17,
            nodes=nodes_of(
                ("Pow", "x0 w3", "q"),
                ("ReduceMean", "q", "v", LAST),
                ("Add", "v w2", "e"),
                ("Sqrt", "e", "s"),
                ("Div", "x0 s", "n"),
                ("Mul", "w1 n", "y0"),
            ),
        ),
    ),
    (
        Case("RMSNormalization", "fused", [X3, SCALE], opset=23),
        Case(
            "RMSNormalization",
            "with Mul",
            [X3, SCALE, EPS],
            opset=17,
            nodes=nodes_of(
                ("Mul", "x0 x0", "q"),
                ("ReduceMean", "q", "v", LAST),
                ("Add", "v w2", "e"),
                ("Sqrt", "e", "s"),
                ("Reciprocal", "s", "i"),
                ("Mul", "x0 i", "n"),
                ("Mul", "n w1", "y0"),
            ),
        ),
    ),
    (
        Case("LpNormalization", "fused", [X3]),
        Case(
            "LpNormalization",
            "with ReduceL2",
            [X3, ints(-1), row(np.asarray(1e-12))],
            nodes=nodes_of(
                ("ReduceL2", "x0 w1", "l"),
                ("Clip", "l w2", "c"),
                ("Shape", "x0", "k"),
                ("Expand", "c k", "f"),
                ("Div", "x0 f", "y0"),
            ),
        ),
    ),
    (
        Case("InstanceNormalization", "fused", [X4, SCALE, SHIFT]),
        Case(
            "InstanceNormalization",
            "written out",
            [
                X4,
                row(np.linspace(0.5, 1.5, 4).reshape(4, 1, 1)),
                row(np.linspace(-1, 1, 4).reshape(4, 1, 1)),
                EPS,
                ints(2, 3),
            ],
            nodes=nodes_of(
                ("ReduceMean", "x0 w4", "m"),
                ("Sub", "x0 m", "d"),
                ("Mul", "d d", "q"),
                ("ReduceMean", "q w4", "v"),
                ("Add", "v w3", "e"),
                ("Sqrt", "e", "s"),
                ("Div", "d s", "n"),
                ("Mul", "n w1", "g"),
                ("Add", "g w2", "y0"),
            ),
        ),
    ),
    (
        Case("GroupNormalization", "fused", [X4, SCALE, SHIFT], {"num_groups": 2}, opset=21),
        Case(
            "GroupNormalization",
            "by InstanceNormalization",
            [
                X4,
                row(np.ones(2)),
                row(np.zeros(2)),
                ints(0, 2, -1),
                ints(2, 4, 3, 2),
                row(np.linspace(0.5, 1.5, 4).reshape(4, 1, 1)),
                row(np.linspace(-1, 1, 4).reshape(4, 1, 1)),
            ],
            nodes=nodes_of(
                ("Reshape", "x0 w3", "p"),
                ("InstanceNormalization", "p w1 w2", "i"),
                ("Reshape", "i w4", "n"),
                ("Mul", "n w5", "g"),
                ("Add", "g w6", "y0"),
            ),
        ),
    ),
    (
        Case("MeanVarianceNormalization", "fused", [X4], {"axes": [2, 3]}, opset=13),
        Case(
            "MeanVarianceNormalization",
            "written out",
            [X4, row(np.asarray(1e-9)), TWO],
            opset=13,
            nodes=nodes_of(
                ("ReduceMean", "x0", "m", {"axes": [2, 3]}),
                ("Sub", "x0 m", "d"),
                ("Pow", "d w2", "q"),
                ("ReduceMean", "q", "v", {"axes": [2, 3]}),
                ("Sqrt", "v", "s"),
                ("Add", "s w1", "t"),
                ("Div", "d t", "y0"),
            ),
        ),
    ),
    (
        Case("BatchNormalization", "fused", [X4, SCALE, SHIFT, SHIFT, SCALE]),
        Case(
            "BatchNormalization",
            "written out",
            [
                X4,
                *(row(np.linspace(*ends, 4).reshape(4, 1, 1)) for ends in ((0.5, 1.5), (-1, 1))),
                EPS,
            ],
            nodes=nodes_of(
                ("Sub", "x0 w2", "d"),
                ("Add", "w1 w3", "e"),
                ("Sqrt", "e", "s"),
                ("Div", "d s", "n"),
                ("Mul", "n w1", "g"),
                ("Add", "g w2", "y0"),
            ),
        ),
    ),
)

CASES = tuple(written for _, written in PAIRS)
