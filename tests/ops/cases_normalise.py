"""Normalisations: fused and written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of


def batch(about: str, shape: tuple[int, ...], *, opset: int = 18, **attrs: Any) -> Case:
    """Return a BatchNormalization of a tensor of some shape."""
    c = (shape[1],)
    operands = [X(shape), W(c), W(c), W(c), W(c, low=0.5, high=2)]
    return Case("BatchNormalization", about, operands, attrs, opset=opset)


def layer(about: str, shape: tuple[int, ...], scale: tuple[int, ...], **attrs: Any) -> Case:
    """Return a LayerNormalization of a tensor of some shape."""
    operands = [X(shape), W(scale), W(scale)]
    return Case("LayerNormalization", about, operands, attrs)


def behind(
    about: str, *rows: tuple[Any, ...], weights: tuple[int, ...], out: int, x: tuple[int, ...]
) -> Case:
    """Return a layer ``c`` of ``x0``, ``w1``, ``w2`` with a BatchNormalization behind it."""
    c = (out,)
    operands = [X(x), W(weights), W(c), W(c), W(c), W(c), W(c, low=0.5, high=2)]
    nodes = nodes_of(*rows, ("BatchNormalization", "c w3 w4 w5 w6", "y0"))
    return Case("BatchNormalization", about, operands, nodes=nodes)


CASES = (
    behind("behind a Conv", ("Conv", "x0 w1 w2", "c"), weights=(3, 2, 3, 2), out=3, x=(2, 2, 4, 5)),
    behind(
        "behind a Conv without bias", ("Conv", "x0 w1", "c"), weights=(3, 2, 3), out=3, x=(2, 2, 4)
    ),
    behind(
        "behind a Conv in groups",
        ("Conv", "x0 w1 w2", "c", {"group": 2, "strides": [2]}),
        weights=(4, 2, 3),
        out=4,
        x=(2, 4, 5),
    ),
    behind("behind a Gemm", ("Gemm", "x0 w1 w2", "c"), weights=(3, 4), out=4, x=(2, 3)),
    behind(
        "behind a turned Gemm",
        ("Gemm", "x0 w1 w2", "c", {"transB": 1, "alpha": 0.5}),
        weights=(4, 3),
        out=4,
        x=(2, 3),
    ),
    behind(
        "behind a Conv read twice",
        ("Conv", "x0 w1 w2", "t"),
        ("Relu", "t", "r"),
        ("Add", "t r", "c"),
        weights=(3, 2, 3),
        out=3,
        x=(2, 2, 4),
    ),
    batch("two axes", (2, 3, 4, 5)),
    batch("no axes", (2, 3)),
    batch("one axis", (2, 3, 4), epsilon=0.1),
    batch("old", (2, 3, 4, 2), opset=7, epsilon=1e-3, momentum=0.8),
    batch("old, with a flag", (2, 3, 4, 2), opset=8, momentum=0.8),
    batch("opset 9", (2, 3, 4, 2), opset=9),
    batch("opset 14", (2, 3, 4, 2), opset=14, training_mode=0),
    Case(
        "BatchNormalization",
        "training",
        [X((2, 3, 4)), W((3,)), W((3,)), W((3,)), W((3,), low=1, high=2)],
        {"training_mode": 1},
        outputs=3,
        explain=[0],
        refuses="training",
    ),
    Case("InstanceNormalization", "two axes", [X((2, 3, 4, 5)), W((3,)), W((3,))]),
    Case("InstanceNormalization", "one axis", [X((2, 3, 4)), W((3,)), W((3,))], {"epsilon": 1e-2}),
    Case("InstanceNormalization", "old", [X((2, 3, 4, 2)), W((3,)), W((3,))], opset=6),
    Case(
        "InstanceNormalization",
        "a constant channel",
        [X(np.ones((1, 2, 3), np.float32)), W((2,)), W((2,))],
        {"epsilon": 1e-3},
    ),
    layer("the last axis", (2, 3, 4), (4,)),
    layer("two axes", (2, 3, 4), (3, 4), axis=1, epsilon=1e-3),
    layer("all axes", (3, 4), (3, 4), axis=0),
    Case("LayerNormalization", "no bias", [X((2, 3, 4)), W((4,))]),
    Case("LayerNormalization", "a scalar scale", [X((2, 3, 4)), W(np.float32([1.5]))]),
    Case(
        "LayerNormalization",
        "all three outputs",
        [X((2, 3, 4)), W((4,)), W((4,))],
        outputs=3,
        explain=[0, 1],
    ),
    Case(
        "GroupNormalization",
        "a scale per group",
        [X((2, 6, 3, 2)), W((2,)), W((2,))],
        {"num_groups": 2},
        free=(0, 2, 3),
    ),
    Case(
        "GroupNormalization",
        "a scale per channel",
        [X((2, 6, 3, 2)), W((6,)), W((6,))],
        {"num_groups": 3},
        opset=21,
        free=(0, 2, 3),
    ),
    Case(
        "GroupNormalization",
        "one axis",
        [X((2, 4, 3)), W((4,)), W((4,))],
        {"num_groups": 4, "epsilon": 1e-2},
        opset=21,
        free=(0, 2),
    ),
    Case("RMSNormalization", "the last axis", [X((2, 3, 4)), W((4,))], opset=23),
    Case(
        "RMSNormalization",
        "two axes",
        [X((2, 3, 4)), W((3, 4))],
        {"axis": 1, "epsilon": 1e-3},
        opset=23,
    ),
    Case("LpNormalization", "p = 2", [X((2, 3, 4))]),
    Case("LpNormalization", "p = 1, axis 1", [X((2, 3, 4))], {"p": 1, "axis": 1}),
    Case("LpNormalization", "a row of zeros", [X([[0.0, 0.0], [3.0, 4.0]])], kinks=True),
    Case("MeanVarianceNormalization", "its usual axes", [X((2, 3, 4, 2))], opset=13),
    Case("MeanVarianceNormalization", "other axes", [X((2, 3, 4, 2))], {"axes": [2, -1]}, opset=13),
    Case(
        "BatchNormalization",
        "everything from sources",
        [X((2, 3, 4)), X((3,)), X((3,)), X((3,)), X((3,), low=0.5, high=2)],
    ),
    Case(
        "BatchNormalization",
        "only the statistics from sources",
        [N((2, 3)), W((3,)), W((3,)), X((3,)), X((3,), low=0.5, high=2)],
    ),
    *(
        Case(op, f"{about} from sources", [x, X((3,)), X((3,))])
        for op in ("InstanceNormalization",)
        for about, x in (
            ("everything", X((2, 3, 4, 2))),
            ("scale and shift", N((2, 3, 5))),
        )
    ),
    Case("LayerNormalization", "everything from sources", [X((2, 3, 4)), X((4,)), X((4,))]),
    Case(
        "LayerNormalization",
        "scale and shift of two axes from sources",
        [X((2, 3, 4)), X((3, 1)), X((1, 4))],
        {"axis": 1},
    ),
    Case("LayerNormalization", "a scale from a source, no shift", [N((2, 4)), X((4,))]),
    Case(
        "LayerNormalization",
        "the inverse deviation",
        [X((2, 3, 4)), W((4,))],
        {"epsilon": 1e-2},
        outputs=3,
    ),
    Case(
        "LayerNormalization",
        "statistics of half precision",
        [X((2, 3, 4), dtype=np.float16), W((4,), dtype=np.float16)],
        {"epsilon": 0.125},
        outputs=3,
        explain=[1, 2],
    ),
    Case(
        "GroupNormalization",
        "a scale per group from a source",
        [X((2, 6, 3)), X((2,)), X((2,))],
        {"num_groups": 2},
        free=(0, 2),
    ),
    Case(
        "GroupNormalization",
        "a scale per channel from a source",
        [X((2, 6, 3, 2)), X((6,)), X((6,))],
        {"num_groups": 2},
        opset=21,
        free=(0, 2, 3),
    ),
    Case(
        "RMSNormalization",
        "a scale from a source",
        [X((2, 3, 4)), X((3, 4))],
        {"axis": 1},
        opset=23,
    ),
    Case(
        "LRN", "an odd size", [X((2, 5, 3, 2))], {"size": 3, "alpha": 0.5, "beta": 0.7, "bias": 2.0}
    ),
    Case("LRN", "wider than the channels", [X((1, 3, 4, 2))], {"size": 7}),
)
