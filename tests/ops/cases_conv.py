"""Convolutions and their transposes: every geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.ops.harness import Case, N, W, X


def conv(
    about: str, x: Sequence[int], w: Sequence[int], *, bias: bool = True, **attrs: Any
) -> Case:
    """Return a Conv of tensors of some shapes."""
    more = [W((w[0],))] if bias else []
    return Case("Conv", about, [X(tuple(x)), W(tuple(w)), *more], attrs)


def transposed(
    about: str, x: Sequence[int], w: Sequence[int], *, bias: bool = True, **attrs: Any
) -> Case:
    """Return a ConvTranspose of tensors of some shapes."""
    more = [W((w[1] * attrs.get("group", 1),))] if bias else []
    return Case("ConvTranspose", about, [X(tuple(x)), W(tuple(w)), *more], attrs)


def deformed(
    about: str, x: Sequence[int], w: Sequence[int], *, masked: bool = True, **attrs: Any
) -> Case:
    """Return a DeformConv of tensors of some shapes, moved by up to a little more than one."""
    strides, dilations = attrs.get("strides", (1, 1)), attrs.get("dilations", (1, 1))
    pads, parts = attrs.get("pads", (0, 0, 0, 0)), attrs.get("offset_group", 1)
    sizes = [
        (x[2 + i] + pads[i] + pads[2 + i] - dilations[i] * (w[2 + i] - 1) - 1) // strides[i] + 1
        for i in range(2)
    ]
    taps = parts * w[2] * w[3]
    operands = [
        X(tuple(x)),
        W(tuple(w)),
        N((x[0], 2 * taps, *sizes), low=-1.3, high=1.3),
        W((w[0],)),
    ]
    if masked:
        operands.append(N((x[0], taps, *sizes)))
    return Case("DeformConv", about, operands, attrs, opset=19, free=(0, 2, 3))


SAME = ("SAME_UPPER", "SAME_LOWER")

CASES = (
    Case(
        "DeformConv",
        "everything from sources",
        [
            X((1, 4, 5, 5)),
            X((6, 2, 2, 2)),
            X((1, 16, 4, 4), low=-1.3, high=1.3),
            X((6,)),
            X((1, 8, 4, 4)),
        ],
        {"group": 2, "offset_group": 2},
        opset=19,
        free=(),
    ),
    Case(
        "DeformConv",
        "only the offsets from a source, no mask",
        [N((2, 2, 5, 6)), W((3, 2, 3, 2)), X((2, 12, 3, 5), low=-1.3, high=1.3)],
        opset=19,
        free=(0, 2, 3),
    ),
    conv("a plain one", (2, 3, 5, 4), (4, 3, 3, 2)),
    conv("no bias", (2, 3, 5, 4), (4, 3, 3, 2), bias=False),
    conv("one axis", (2, 3, 9), (2, 3, 3), strides=[2], pads=[1, 0]),
    conv(
        "three axes", (1, 2, 4, 5, 3), (3, 2, 2, 3, 2), strides=[1, 2, 1], pads=[0, 1, 1, 1, 0, 0]
    ),
    conv("strides that leave a rest", (1, 2, 7, 8), (3, 2, 2, 3), strides=[3, 2]),
    conv("strides larger than the kernel", (1, 2, 8, 7), (3, 2, 2, 1), strides=[3, 3]),
    conv("dilations", (1, 2, 9, 8), (3, 2, 3, 2), dilations=[2, 3], pads=[2, 1, 0, 2]),
    conv("strides and dilations", (1, 2, 9, 9), (3, 2, 3, 2), dilations=[2, 3], strides=[2, 2]),
    conv("groups", (2, 6, 5, 5), (4, 3, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv("depthwise", (1, 4, 6, 5), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv("depthwise, two for one, strides", (1, 3, 6, 5), (6, 1, 3, 3), group=3, strides=[2, 2]),
    conv("pads of four kinds", (1, 2, 6, 6), (2, 2, 3, 3), pads=[0, 1, 2, 3], strides=[2, 1]),
    conv("pads beyond the kernel", (1, 2, 4, 4), (2, 2, 1, 2), pads=[1, 2, 1, 2]),
    *(
        conv(f"{same} {about}", (1, 2, *size), (3, 2, *kernel), auto_pad=same, **attrs)
        for same in SAME
        for about, size, kernel, attrs in (
            ("stride 1", (5, 6), (3, 2), {}),
            ("stride 2", (7, 6), (3, 4), {"strides": [2, 2]}),
            ("nothing to pad", (7, 9), (1, 2), {"strides": [2, 3]}),
        )
    ),
    conv("VALID", (1, 2, 6, 7), (3, 2, 3, 2), auto_pad="VALID", strides=[2, 3]),
    conv("16 channels in, stride 1", (1, 16, 5, 5), (3, 16, 3, 3), pads=[1, 1, 1, 1]),
    conv("16 channels in, pointwise", (1, 16, 3, 3), (2, 16, 1, 1)),
    conv("16 channels in, groups", (1, 16, 5, 4), (8, 4, 3, 1), group=4, pads=[1, 0, 0, 0]),
    conv("16 channels in, wide pads", (1, 16, 3, 4), (2, 16, 2, 2), pads=[3, 0, 0, 3]),
    conv("16 channels in, strides", (1, 16, 6, 6), (2, 16, 3, 3), strides=[2, 2]),
    Case(
        "Conv",
        "SAME in opset 11",
        [X((1, 2, 5, 5)), W((2, 2, 4, 4))],
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        opset=11,
    ),
    Case(
        "Conv",
        "weights of a run",
        [X((1, 2, 5, 5)), N((3, 2, 3, 3)), N((3,))],
        {"kernel_shape": [3, 3]},
    ),
    Case(
        "Conv",
        "weights that carry relevance",
        [X((1, 2, 5, 5)), X((3, 2, 3, 3))],
        free=(),
    ),
    transposed("a plain one", (2, 3, 4, 3), (3, 2, 3, 2)),
    transposed("no bias", (2, 3, 4, 3), (3, 2, 3, 2), bias=False),
    transposed("one axis", (2, 3, 5), (3, 2, 4), strides=[2], pads=[1, 1]),
    transposed(
        "three axes", (1, 2, 2, 3, 2), (2, 3, 2, 3, 2), strides=[2, 1, 2], pads=[0, 1, 0, 0, 1, 1]
    ),
    transposed("strides and pads", (1, 3, 4, 5), (3, 2, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    transposed(
        "output padding",
        (1, 3, 4, 5),
        (3, 2, 3, 3),
        strides=[2, 3],
        pads=[1, 0, 1, 1],
        output_padding=[1, 2],
    ),
    transposed("dilations", (1, 2, 4, 4), (2, 3, 3, 2), dilations=[2, 3], pads=[1, 2, 0, 1]),
    transposed("groups", (1, 4, 3, 4), (4, 3, 2, 3), group=2, strides=[2, 1]),
    transposed("depthwise", (1, 4, 3, 4), (4, 1, 2, 2), group=4, strides=[2, 2]),
    transposed("output shape", (1, 2, 4, 3), (2, 2, 3, 4), strides=[2, 3], output_shape=[8, 9]),
    transposed(
        "output shape, upper",
        (1, 2, 4, 3),
        (2, 2, 4, 4),
        strides=[2, 2],
        output_shape=[7, 6],
        auto_pad="SAME_UPPER",
    ),
    *(
        transposed(f"{same}, strides", (1, 2, 4, 3), (2, 3, 4, 3), strides=[3, 2], auto_pad=same)
        for same in SAME
    ),
    transposed("SAME_UPPER, stride 1", (1, 2, 4, 3), (2, 3, 4, 3), auto_pad="SAME_UPPER"),
    transposed("VALID", (1, 2, 3, 4), (2, 3, 2, 3), auto_pad="VALID", strides=[1, 2]),
    transposed("pads beyond the kernel", (1, 2, 6, 6), (2, 2, 2, 2), pads=[2, 1, 1, 2]),
    deformed("a plain one", (2, 2, 5, 6), (3, 2, 3, 2)),
    deformed("no mask", (1, 2, 5, 5), (3, 2, 2, 2), masked=False),
    deformed(
        "strides, pads, dilations",
        (1, 2, 6, 7),
        (3, 2, 3, 2),
        strides=[2, 1],
        pads=[1, 1, 2, 0],
        dilations=[1, 2],
    ),
    deformed("groups", (1, 4, 5, 5), (6, 2, 2, 2), group=2),
    deformed("offsets of two groups", (2, 4, 4, 4), (3, 4, 2, 2), offset_group=2),
)
