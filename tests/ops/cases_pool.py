"""Means and sums: over windows, over axes, along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of


def pool(
    about: str, shape: tuple[int, ...], kernel: list[int], *, opset: int = 18, **attrs: Any
) -> Case:
    """Return an AveragePool of a tensor of some shape."""
    return Case("AveragePool", about, [X(shape)], {"kernel_shape": kernel, **attrs}, opset=opset)


def ints(*values: int) -> W:
    """Return an int64 operand."""
    return W(np.asarray(values, np.int64))


REDUCE = ("ReduceSum", "ReduceMean")

CASES = (
    pool("tiles", (2, 3, 4, 6), [2, 3], strides=[2, 3]),
    pool("overlaps", (1, 2, 5, 5), [3, 3], strides=[1, 1]),
    pool("a rest at the end", (1, 2, 7, 6), [2, 2], strides=[3, 4]),
    pool("one axis", (2, 3, 7), [3], strides=[2], pads=[1, 1]),
    pool("three axes", (1, 2, 4, 4, 3), [2, 3, 2], strides=[2, 1, 1], pads=[0, 1, 0, 0, 1, 1]),
    pool("pads do not count", (1, 2, 6, 5), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    pool(
        "pads count", (1, 2, 6, 5), [3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=1
    ),
    pool("ceil", (1, 2, 6, 7), [3, 2], strides=[2, 2], ceil_mode=1),
    pool(
        "ceil, pads do not count",
        (1, 2, 6, 5),
        [3, 3],
        strides=[2, 2],
        pads=[1, 1, 0, 0],
        ceil_mode=1,
    ),
    pool(
        "ceil, pads count",
        (1, 2, 6, 5),
        [3, 3],
        strides=[2, 2],
        pads=[1, 1, 0, 0],
        ceil_mode=1,
        count_include_pad=1,
    ),
    pool("dilations", (1, 2, 8, 7), [3, 2], opset=19, dilations=[2, 3], pads=[1, 1, 2, 0]),
    pool("dilations, no pads", (1, 2, 8, 7), [3, 2], opset=19, dilations=[2, 3], strides=[2, 1]),
    *(
        pool(f"{same}", (1, 2, 6, 7), [3, 2], auto_pad=same, strides=[2, 3])
        for same in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    pool("SAME, pads count", (1, 2, 6, 7), [3, 2], auto_pad="SAME_UPPER", count_include_pad=1),
    pool("old", (1, 2, 6, 7), [3, 2], opset=7, pads=[1, 0, 1, 1], strides=[2, 2]),
    Case("GlobalAveragePool", "two axes", [X((2, 3, 4, 5))]),
    Case("GlobalAveragePool", "one axis", [X((2, 3, 4))]),
    Case("GlobalAveragePool", "three axes", [X((1, 2, 2, 3, 2))]),
    *(
        Case(op, about, [X((2, 3, 4)), *axes], attrs)
        for op in REDUCE
        for about, axes, attrs in (
            ("one axis", [ints(1)], {}),
            ("dropped", [ints(-1, 0)], {"keepdims": 0}),
            ("all axes", [], {}),
            ("all axes, dropped", [], {"keepdims": 0}),
            ("an empty list means all", [ints()], {}),
            ("an empty list means none", [ints()], {"noop_with_empty_axes": 1}),
        )
    ),
    Case(
        "ReduceSum", "axes as an attribute", [X((2, 3, 4))], {"axes": [1], "keepdims": 0}, opset=11
    ),
    Case("ReduceMean", "axes as an attribute", [X((2, 3, 4))], {"axes": [-1, 1]}, opset=11),
    Case("ReduceMean", "axes as an attribute, later", [X((2, 3, 4))], {"axes": [-2]}, opset=13),
    Case(
        "ReduceSum", "axes of a run", [X((2, 3)), N(np.asarray([1]))], refuses="run time", free=()
    ),
    *(
        Case(
            "CumSum",
            f"exclusive {e}, reverse {r}",
            [X((2, 3, 4)), W(np.asarray(a))],
            {"exclusive": e, "reverse": r},
        )
        for e, r, a in ((0, 0, 1), (1, 0, -1), (0, 1, 0), (1, 1, 2))
    ),
    Case(
        "MaxUnpool",
        "two axes",
        [X((1, 2, 2, 2)), W(np.asarray([[[[0, 3], [10, 13]], [[21, 18], [24, 31]]]]))],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    Case(
        "MaxUnpool",
        "an entry that is written twice",
        [X((1, 1, 2, 2)), W(np.asarray([[[[4, 4], [6, 8]]]]))],
        {"kernel_shape": [2, 2], "strides": [1, 1]},
        free=(0, 1),
    ),
    Case(
        "MaxUnpool",
        "indices of a run",
        [X((1, 1, 4, 4))],
        nodes=nodes_of(
            ("MaxPool", "x0", "m i", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("MaxUnpool", "m i", "y0", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ),
    ),
)
