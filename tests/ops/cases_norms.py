"""Norms and other functions of many entries, as shares of their entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, W, X

NONE = {"release": ["*=none"]}
POSITIVE = ("ReduceLogSum",)
NAMES = (
    "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd",
)  # fmt: skip


def reduction(
    op: str, about: str, axes: list[int] | None, *, opset: int = 18, options: Any = (), **attrs: Any
) -> Case:
    """Return a reduction, of positive numbers where it takes a logarithm of a sum."""
    x = X((2, 3, 4), low=0.5, high=2.0) if op in POSITIVE else X((2, 3, 4))
    operands = [x]
    if axes is not None and opset >= 18:
        operands.append(W(np.asarray(axes)))
    elif axes is not None:
        attrs["axes"] = axes
    return Case(op, about, operands, attrs, opset=opset, options=dict(options))


def pool(
    about: str, shape: tuple[int, ...], kernel: list[int], *, opset: int = 18, **attrs: Any
) -> Case:
    """Return an LpPool of a tensor of some shape."""
    return Case("LpPool", about, [X(shape)], {"kernel_shape": kernel, **attrs}, opset=opset)


CASES = (
    *(
        case
        for op in NAMES
        for case in (
            reduction(op, "one axis", [1]),
            reduction(op, "dropped", [-1, 0], keepdims=0),
            reduction(op, "all", None, keepdims=0),
            reduction(op, "opset 11", [1], opset=11),
            reduction(op, "nothing released", [1], options=NONE),
        )
    ),
    Case(
        "ReduceL1",
        "zeros",
        [X([[0.0, 1.0, -2.0], [0.0, 0.0, 0.0]]), W(np.asarray([1]))],
        kinks=True,
    ),
    Case(
        "ReduceL2",
        "zeros",
        [X([[0.0, 1.0, -2.0], [0.0, 0.0, 0.0]]), W(np.asarray([1]))],
        kinks=True,
    ),
    Case("ReduceProd", "zeros", [X([[0.0, 1.0, -2.0], [0.0, 0.0, 3.0]]), W(np.asarray([1]))]),
    Case(
        "ReduceProd",
        "zeros, nothing released",
        [X([[0.0, 1.0, -2.0], [0.0, 0.0, 3.0]]), W(np.asarray([1]))],
        options=NONE,
    ),
    *(
        Case(
            op,
            "no axes, nothing released",
            [X((2, 3))],
            {"noop_with_empty_axes": 1},
            options={"linearisation": "taylor", **NONE},
            refuses="depends on the runtime",
        )
        for op in ("ReduceSumSquare", "ReduceProd")
    ),
    *(
        Case(op, "no axes", [X((2, 3))], {"noop_with_empty_axes": 1})
        for op in ("ReduceL1", "ReduceL2")
    ),
    Case("ReduceLogSumExp", "zeros", [X([[0.0, 1.0, -2.0], [0.0, 1e-9, 0.0]]), W(np.asarray([1]))]),
    Case("ReduceLogSum", "cancels to a little", [X([[1.0, -0.5], [3.0, 2.0]]), W(np.asarray([1]))]),
    *(pool(f"p = {p}", (1, 2, 5, 6), [2, 3], p=p, strides=[2, 1]) for p in (1, 2, 3)),
    pool("pads", (1, 2, 5, 6), [3, 3], pads=[1, 1, 2, 0], strides=[2, 2]),
    pool("ceil", (1, 2, 6, 6), [3, 3], strides=[2, 2], ceil_mode=1),
    pool("dilations", (1, 2, 6, 7), [3, 2], dilations=[2, 3]),
    pool("SAME_LOWER", (1, 2, 6, 7), [3, 2], auto_pad="SAME_LOWER", strides=[2, 2]),
    pool("one axis", (2, 3, 7), [3], p=3),
    pool("old", (1, 2, 5, 6), [2, 2], opset=7),
    Case(
        "LpPool",
        "zeros",
        [X(np.zeros((1, 1, 2, 2), np.float32))],
        {"kernel_shape": [2, 2]},
        kinks=True,
    ),
    *(Case("GlobalLpPool", f"p = {p}", [X((2, 3, 4, 2))], {"p": p}) for p in (1, 2, 3)),
)
