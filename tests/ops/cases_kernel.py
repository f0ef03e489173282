"""Convolutions whose weights, or whose weights and data, come from sources."""

from __future__ import annotations

from typing import Any

from tests.ops.harness import Case, N, W, X, nodes_of


def conv(
    about: str, x: tuple[int, ...], w: tuple[int, ...], *, op: str = "Conv", **attrs: Any
) -> Case:
    """A case in which only the weights carry relevance."""
    return Case(op, about, [N(x), X(w)], attrs, free=())


def both(op: str, release: str, **attrs: Any) -> Case:
    """A case in which data, weights and bias carry relevance."""
    return Case(
        op, f"everything from sources, {release}", [X((2, 4, 5, 5)), X((4, 2, 3, 3)), X((4,))],
        {"group": 2, **attrs}, options={"release": [f"*={release}"]}, free=(),
    )  # fmt: skip


CASES = (
    conv("weights from a source", (2, 3, 6, 5), (4, 3, 3, 2), pads=[1, 0, 1, 1]),
    conv("weights, strides that leave entries", (2, 3, 8), (4, 3, 3), strides=[2]),
    conv("weights, dilated", (1, 2, 9, 7), (3, 2, 3, 2), dilations=[2, 3], pads=[2, 1, 0, 1]),
    conv("weights, strides and dilations", (2, 2, 11), (3, 2, 3), strides=[3], dilations=[2]),
    conv("weights in groups", (2, 6, 6), (4, 3, 3), group=2),
    conv("weights, one per channel", (2, 4, 5, 5), (4, 1, 3, 3), group=4),
    conv("weights, pads from the sizes", (2, 3, 7), (2, 3, 4), auto_pad="SAME_UPPER", strides=[2]),
    conv("weights in 3d", (1, 2, 4, 4, 4), (2, 2, 2, 3, 2)),
    conv("weights from a source", (2, 3, 4, 5), (3, 2, 3, 2), op="ConvTranspose"),
    conv("weights, strided", (2, 4, 3), (4, 2, 3), op="ConvTranspose", strides=[2], group=2,
         pads=[1, 0], output_padding=[1]),
    conv("weights, a size asked for", (1, 3, 4), (3, 2, 3), op="ConvTranspose", strides=[3],
         output_shape=[11]),
    Case(
        "Conv", "weights that a network makes, any size of the data",
        [N((2, 3, 5, 6)), X((1, 72)), W([4, 3, 3, 2])],
        nodes=nodes_of(("Reshape", "x1 w2", "k"), ("Conv", "n0 k", "y0", {"strides": [2, 1]})),
    ),
    Case("Conv", "a bias from a source", [X((2, 3, 5)), W((4, 3, 2)), X((4,))]),
    Case("Conv", "only the bias from a source", [N((2, 3, 5)), W((4, 3, 2)), X((4,))]),
    *(both(op, how) for op in ("Conv", "ConvTranspose") for how in ("left", "split", "none")),
)  # fmt: skip
