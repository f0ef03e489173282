"""Interpolation: to another size, and at the places of a grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rfponnx.maps.places import ByGrid
from rfponnx.maps.resize import Resize
from rfponnx.maps.sample import GridSample, Reading
from rfponnx.ops.conv import attributes
from rfponnx.ops.op import At, Linearisation, Op


def resize(at: At) -> Linearisation:
    """``y`` = x interpolated; what lies outside of x under tf_crop_and_resize is the offset."""
    crop = at.attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    outside = crop and float(at.attr("extrapolation_value", 0.0)) != 0
    sizes = at.input(3)
    scales = "" if sizes else at.input(2)
    operand = tuple(int(a) % at.rank(at.x) for a in at.attr("axes") or range(at.rank(at.x)))
    axes = tuple(a for a in sorted(operand) if _changes(at, a, operand, scales, crop))
    form = Resize(
        at.x, at.y, at.input(1) if crop else "", scales, sizes,
        attributes(at, extrapolation_value=0.0) if crop else attributes(at),
        operand, axes, _repeats(at, axes, operand, scales),
    )  # fmt: skip
    made = at.linear(form, offset="rest" if outside else None)
    held = [f"`{i}`" for i in at.node.inputs[1:3] if at.carries(i)]
    if held and at.full and at.attr("mode", "nearest") != "nearest":
        raise at.refuse(f"it has no derivative by {' and '.join(held)}")
    return replace(made, note=f"released {' and '.join(held)}") if held else made


def _changes(at: At, axis: int, operand: tuple[int, ...], scales: str, crop: bool) -> bool:
    """Tell whether the entries along an axis may change; batches do not, unless it is known."""
    before, after = at.shape(at.x)[axis], at.shape(at.y)[axis]
    if crop:
        return axis > 1 or at.rank(at.x) < 3
    scale = _scale(at, operand.index(axis), scales)
    if scale is not None:
        return scale != 1
    known = isinstance(before, int) and isinstance(after, int)
    if axis == 0 and at.rank(at.x) > 2 and not known:
        return False
    return before is None or before != after


def _scale(at: At, place: int, scales: str) -> float | None:
    values = at.graph.constant(scales) if scales and at.graph.is_constant(scales) else None
    return None if values is None else float(values[place])


def _repeats(
    at: At, axes: tuple[int, ...], operand: tuple[int, ...], scales: str
) -> tuple[int, ...]:
    """Return how often each spatial entry is repeated, if nothing else happens to x."""
    if at.attr("mode", "nearest") != "nearest" or min(axes, default=0) < 2:
        return ()
    how = at.attr("coordinate_transformation_mode", "half_pixel")
    rounding = at.attr("nearest_mode", "round_prefer_floor")
    if not (how == "asymmetric" and rounding == "floor") and not (
        how == "half_pixel" and rounding.startswith("round")
    ):
        return ()
    found = []
    for axis in range(2, at.rank(at.x)):
        before, after = at.shape(at.x)[axis], at.shape(at.y)[axis]
        scale = _scale(at, operand.index(axis), scales) if axis in operand else 1.0
        if scale is None and isinstance(before, int) and isinstance(after, int):
            scale = after / before
        if scale is None or scale < 1 or scale != np.floor(scale):
            return ()
        found.append(int(scale))
    return tuple(found)


def grid_sample(at: At) -> Linearisation:
    """``y`` = x at the places of a grid, which is released."""
    grid, spelled = (
        at.input(1),
        str(at.attr("mode", "linear" if at.graph.opset > 19 else "bilinear")),
    )
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(spelled, spelled)
    aligned = bool(at.attr("align_corners", 0))
    reading = Reading(at.x, mode, at.attr("padding_mode", "zeros"), aligned)
    form = GridSample(at.x, at.y, grid, reading, attributes(at))
    by_grid = {} if at.full and mode == "nearest" else {1: ByGrid(form)}
    return at.with_operands(at.linear(form), by_grid)


OPS = (
    Op("GridSample", "linear", grid_sample, "y = x at the places of a grid, which is released"),
    Op("Resize", "linear", resize, "y = x interpolated"),
)
