"""Interpolation: all modes of Resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X, nodes_of

NONE = None
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
)  # fmt: skip


def scaled(about: str, shape: tuple[int, ...], scales: list[float], **attrs: Any) -> Case:
    """Return a Resize by factors."""
    opset = 19 if "symmetric" in str(attrs) else 18
    return Case("Resize", about, [X(shape), NONE, W(np.float32(scales))], attrs, opset=opset)


def sized(about: str, shape: tuple[int, ...], sizes: list[int], **attrs: Any) -> Case:
    """Return a Resize to sizes."""
    operands = [X(shape), NONE, NONE, W(np.asarray(sizes, np.int64))]
    return Case("Resize", about, operands, attrs)


CASES = (
    *(
        scaled(
            f"{mode} {how} by {factors}",
            (1, 2, 4, 5),
            [1, 1, *factors],
            mode=mode,
            coordinate_transformation_mode=how,
        )
        for mode in ("nearest", "linear", "cubic")
        for how in COORDINATES
        for factors in ((2.0, 1.5), (0.6, 2.3))
    ),
    *(
        scaled(
            f"nearest {rounding} {how}",
            (1, 2, 4, 5),
            [1, 1, 2.0, 0.7],
            mode="nearest",
            nearest_mode=rounding,
            coordinate_transformation_mode=how,
        )
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
        for how in ("half_pixel", "asymmetric")
    ),
    scaled(
        "nearest, repeated",
        (2, 3, 3, 2),
        [1, 1, 2, 3],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    ),
    scaled("nearest, repeated, centred", (2, 3, 3, 2), [1, 1, 3, 2], mode="nearest"),
    scaled(
        "cubic, outside excluded", (1, 1, 4, 5), [1, 1, 1.7, 0.8], mode="cubic", exclude_outside=1
    ),
    scaled(
        "cubic, another coefficient", (1, 1, 4, 5), [1, 1, 2, 2], mode="cubic", cubic_coeff_a=-0.5
    ),
    *(
        scaled(f"{mode}, antialias", (1, 2, 6, 8), [1, 1, 0.5, 0.6], mode=mode, antialias=1)
        for mode in ("linear", "cubic")
    ),
    scaled(
        "antialias, excluded",
        (1, 2, 6, 8),
        [1, 1, 0.5, 0.6],
        mode="linear",
        antialias=1,
        exclude_outside=1,
    ),
    sized("linear", (1, 2, 4, 5), [1, 2, 7, 3], mode="linear"),
    sized(
        "linear, aligned corners",
        (2, 2, 4, 5),
        [2, 2, 7, 9],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    sized("nearest", (1, 2, 4, 5), [1, 2, 7, 10], mode="nearest"),
    sized("nearest, repeated", (2, 2, 4, 5), [2, 2, 8, 10], mode="nearest"),
    sized("one axis", (2, 2, 5), [2, 2, 8], mode="linear"),
    sized("three axes", (1, 2, 2, 3, 2), [1, 2, 4, 4, 3], mode="linear"),
    sized("channels last", (1, 4, 5, 2), [1, 7, 3, 2], mode="linear"),
    sized("a matrix", (4, 5), [6, 3], mode="linear"),
    sized("a matrix, nearest", (4, 5), [6, 3], mode="nearest"),
    Case(
        "Resize",
        "sizes of two axes",
        [X((2, 3, 4, 5)), NONE, NONE, W(np.asarray([6, 3]))],
        {"mode": "linear", "axes": [2, 3]},
    ),
    Case(
        "Resize",
        "sizes of two axes, the last first",
        [X((2, 3, 4, 5)), NONE, NONE, W(np.asarray([6, 3]))],
        {"mode": "linear", "axes": [3, 2]},
    ),
    Case(
        "Resize",
        "scales of one axis",
        [X((2, 3, 4, 5)), NONE, W(np.float32([2.0]))],
        {"mode": "nearest", "axes": [-1]},
    ),
    *(
        Case(
            "Resize",
            f"keep the aspect, {policy}",
            [X((1, 2, 4, 6)), NONE, NONE, W(np.asarray([7, 5]))],
            {"mode": mode, "axes": [2, 3], "keep_aspect_ratio_policy": policy},
        )
        for policy, mode in (("not_larger", "linear"), ("not_smaller", "nearest"))
    ),
    *(
        Case(
            "Resize",
            f"crop, {mode}",
            [
                X((1, 2, 5, 6)),
                W(np.float32([0, 0, 0.2, -0.1, 1, 1, 0.9, 1.3])),
                NONE,
                W(np.asarray([1, 2, 4, 7])),
            ],
            {
                "mode": mode,
                "coordinate_transformation_mode": "tf_crop_and_resize",
                "extrapolation_value": 3.0,
            },
        )
        for mode in ("nearest", "linear", "cubic")
    ),
    Case(
        "Resize",
        "scales of a run",
        [X((1, 2, 4, 5)), NONE, N(np.float32([1, 1, 1.5, 2]))],
        {"mode": "linear"},
        free=(),
    ),
    Case(
        "Resize",
        "sizes of a run",
        [X((1, 2, 4, 5)), NONE, NONE, N(np.asarray([1, 2, 6, 3]))],
        {"mode": "cubic"},
        free=(),
    ),
    Case(
        "Resize",
        "the size of another tensor",
        [X((1, 2, 4, 5)), N((1, 3, 7, 8))],
        nodes=nodes_of(
            ("Shape", "n1", "s", {"start": 2}),
            ("Shape", "x0", "t", {"end": 2}),
            ("Concat", "t s", "sizes", {"axis": 0}),
            ("Resize", "x0 - - sizes", "y0", {"mode": "linear"}),
        ),
    ),
    Case(
        "Resize",
        "opset 10",
        [X((1, 2, 4, 5)), W(np.float32([1, 1, 1.5, 2]))],
        {"mode": "linear"},
        opset=10,
    ),
    Case("Resize", "opset 10, nearest", [X((1, 2, 4, 5)), W(np.float32([1, 1, 1.5, 2]))], opset=10),
    Case(
        "Resize",
        "opset 10, nearest, smaller",
        [X((1, 2, 4, 5)), W(np.float32([1, 1, 0.6, 0.7]))],
        opset=10,
    ),
    Case(
        "Resize",
        "opset 11",
        [X((1, 2, 4, 5)), W(np.float32([])), W(np.float32([1, 1, 2, 2]))],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        opset=11,
    ),
    Case(
        "Resize",
        "Upsample 7",
        [X((1, 2, 4, 5))],
        opset=7,
        nodes=nodes_of(
            ("Upsample", "x0", "y0", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 2.0]})
        ),
    ),
    Case(
        "Resize",
        "Upsample 9",
        [X((1, 2, 4, 5)), W(np.float32([1, 1, 2, 3]))],
        opset=9,
        nodes=nodes_of(("Upsample", "x0 w1", "y0", {"mode": "linear"})),
    ),
    Case(
        "Resize",
        "scales from a source, nothing released",
        [X((1, 2, 4, 5)), NONE, X(np.float32([1, 1, 1.5, 2]))],
        {"mode": "linear"},
        options={"linearisation": "taylor", "release": ["*=none"]},
        refuses="no derivative by `x2`",
    ),
    *(
        Case(
            "GridSample",
            f"{mode} {padding} {aligned}",
            [X((2, 3, 4, 5)), N((2, 3, 4, 2), low=-1.6, high=1.6)],
            {"mode": mode, "padding_mode": padding, "align_corners": aligned},
            opset=16,
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    *(
        Case(
            "GridSample",
            f"three axes, {mode}",
            [X((1, 2, 3, 4, 2)), N((1, 2, 3, 2, 3), low=-1.3, high=1.3)],
            {"mode": mode},
            opset=20,
        )
        for mode in ("linear", "nearest")
    ),
    Case(
        "GridSample",
        "cubic, opset 20",
        [X((1, 2, 4, 5)), W((1, 3, 2, 2), low=-1, high=1)],
        {"mode": "cubic"},
        opset=20,
    ),
    *(
        Case(
            "GridSample",
            f"a grid that carries relevance, {mode} {padding} {aligned}",
            [X((2, 3, 4, 5)), X((2, 3, 2, 2), low=-1.5, high=1.5)],
            {"mode": mode, "padding_mode": padding, "align_corners": aligned},
            opset=16,
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    Case(
        "GridSample",
        "only a grid that carries relevance",
        [N((1, 2, 3, 4, 2)), X((1, 2, 3, 2, 3), low=-1, high=1)],
        opset=20,
    ),
)
