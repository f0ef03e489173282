"""Resize and GridSample in NumPy.

Resize is separable: one matrix `[out, in]` per axis.  Which neighbour `nearest` takes is decided
in float32, as ONNX Runtime does; weights are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rfponnx.errors import Unsupported
from rfponnx.verify.kernels_conv import Array


@dataclass(frozen=True, slots=True)
class _Axis:
    """One resized axis: sizes, scale and the region of interest."""

    axis: int
    size: int
    out: int
    scale: float
    roi: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Style:
    mode: str
    transformation: str
    nearest: str
    cubic: float
    exclude: bool
    antialias: bool


def upsample(
    x: Array,
    scales: Array | None = None,
    *,
    mode: str = "nearest",
    since: int = 9,
    **attributes: Any,
) -> Array:
    """Resize as before opset 11: asymmetric coordinates, rounded down (up when shrinking)."""
    factors = attributes.get("scales") if scales is None else scales
    if factors is None:
        factors = [1.0, 1.0, attributes["height_scale"], attributes["width_scale"]]
    style = _Style(mode.removeprefix("bi"), "asymmetric", "simple", -0.75, False, False)
    return _resize(x, _scaled(x, factors, range(x.ndim), None), style, 0.0)


def resize(  # noqa: PLR0913 (the standard's inputs and attributes)
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
    since: int = 19,
    **_: Any,
) -> Array:
    """Resize by scales or to sizes."""
    if since < 11:
        return upsample(x, roi, mode=mode)
    style = _Style(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias) and mode != "nearest",
    )
    resized = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
    if scales is not None and scales.size:
        plan = _scaled(x, scales, resized, roi)
    elif sizes is not None and sizes.size:
        plan = _sized(x, sizes, resized, roi, keep_aspect_ratio_policy)
    else:
        raise Unsupported("neither scales nor sizes")
    return _resize(x, plan, style, extrapolation_value)


def _regions(count: int, roi: Array | None) -> list[tuple[float, float]]:
    if roi is None or roi.size == 0:
        return [(0.0, 1.0)] * count
    begin, end = np.asarray(roi, np.float64).reshape(2, -1)
    return list(zip(begin.tolist(), end.tolist(), strict=True))


def _scaled(x: Array, scales: Any, axes: Sequence[int], roi: Array | None) -> list[_Axis]:
    # the output size is computed in float32, as ONNX Runtime does
    factors = np.asarray(scales, np.float32)
    return [
        _Axis(a, x.shape[a], int(np.floor(f * np.float32(x.shape[a]))), float(f), region)
        for a, f, region in zip(axes, factors, _regions(len(factors), roi), strict=True)
    ]


def _sized(
    x: Array, sizes: Array, axes: Sequence[int], roi: Array | None, policy: str
) -> list[_Axis]:
    wanted = [int(s) for s in sizes]
    scales = [s / x.shape[a] for s, a in zip(wanted, axes, strict=True)]
    if policy != "stretch":
        scale = min(scales) if policy == "not_larger" else max(scales)
        scales = [scale] * len(scales)
        wanted = [int(np.floor(scale * x.shape[a] + 0.5)) for a in axes]
    return [
        _Axis(a, x.shape[a], out, scale, region)
        for a, out, scale, region in zip(
            axes, wanted, scales, _regions(len(wanted), roi), strict=True
        )
    ]


def _resize(x: Array, plan: Sequence[_Axis], style: _Style, outside: float) -> Array:
    crop = style.transformation == "tf_crop_and_resize"
    y = x
    for item in plan:
        if item.out == item.size and item.scale == 1.0 and not crop:
            continue
        y = _take(y, item, style) if style.mode == "nearest" else _blend(y, item, style)
    if crop:
        y = np.array(y)
        for item in plan:
            where = _coordinates(item, style.transformation, np.float64)
            beyond = [slice(None)] * y.ndim
            mask: Any = (where < 0) | (where > item.size - 1)
            beyond[item.axis] = mask
            y[tuple(beyond)] = outside
    return y


def _take(x: Array, item: _Axis, style: _Style) -> Array:
    where = _coordinates(item, style.transformation, np.float32)
    index = _NEAREST[style.nearest](where, item.scale)
    return np.take(x, np.clip(index, 0, item.size - 1).astype(np.int64), axis=item.axis)


def _half_down(x: Array, _scale: float) -> Array:
    return np.asarray(np.ceil(x - x.dtype.type(0.5)))


def _half_up(x: Array, _scale: float) -> Array:
    return np.asarray(np.floor(x + x.dtype.type(0.5)))


_NEAREST: dict[str, Callable[[Array, float], Array]] = {
    "round_prefer_floor": _half_down,
    "round_prefer_ceil": _half_up,
    "floor": lambda x, _: np.floor(x),
    "ceil": lambda x, _: np.ceil(x),
    "simple": lambda x, scale: np.ceil(x) if scale < 1 else np.floor(x),
}


def _coordinates(item: _Axis, transformation: str, kind: Any) -> Array:
    """Return where in the input every output position lies `[out]`."""
    i, scale = np.arange(item.out, dtype=kind), kind(item.scale)
    half, last = kind(0.5), kind(item.size - 1)
    if transformation == "asymmetric":
        return np.asarray(i / scale)
    if transformation == "tf_half_pixel_for_nn":
        return np.asarray((i + half) / scale)
    if transformation == "align_corners":
        return np.asarray(i * last / kind(item.out - 1)) if item.out > 1 else 0 * i
    if transformation == "pytorch_half_pixel" and item.out <= 1:
        return 0 * i
    if transformation == "tf_crop_and_resize":
        begin, end = kind(item.roi[0]), kind(item.roi[1])
        if item.out > 1:
            return np.asarray(begin * last + i * (end - begin) * last / kind(item.out - 1))
        return np.asarray(0 * i + half * (begin + end) * last)
    centred = (i + half) / scale - half
    if transformation == "half_pixel_symmetric":
        adjustment = kind(item.out) / (scale * kind(item.size))
        centred = centred + kind(item.size) / kind(2) * (kind(1) - adjustment)
    return np.asarray(centred)


def _blend(x: Array, item: _Axis, style: _Style) -> Array:
    matrix = _weights(item, style)
    return np.moveaxis(np.tensordot(matrix, x, (1, item.axis)), 0, item.axis)


def _weights(item: _Axis, style: _Style) -> Array:
    """Return the matrix `[out, in]` of one axis; every row sums to one."""
    where = _coordinates(item, style.transformation, np.float64)
    stretch = min(item.scale, 1.0) if style.antialias else 1.0
    support = (1.0 if style.mode == "linear" else 2.0) / stretch
    reach = int(np.ceil(support))
    first = np.floor(where).astype(np.int64) - reach
    index = first[:, None] + np.arange(2 * reach + 2)
    weight = _filter((index - where[:, None]) * stretch, style)
    inside = (index >= 0) & (index < item.size)
    if style.exclude:
        weight = np.where(inside, weight, 0.0)
    weight /= weight.sum(axis=1, keepdims=True)
    matrix = np.zeros((item.out, item.size))
    rows = np.broadcast_to(np.arange(item.out)[:, None], index.shape)
    np.add.at(matrix, (rows, np.clip(index, 0, item.size - 1)), weight)
    return matrix


def _filter(x: Array, style: _Style) -> Array:
    return np.maximum(0.0, 1.0 - np.abs(x)) if style.mode == "linear" else cubic(x, style.cubic)


def cubic(x: Array, a: float) -> Array:
    """Return the cubic convolution kernel of Keys at `x`."""
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def grid_sample(
    x: Array,
    grid: Array,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
    **_: Any,
) -> Array:
    """Sample `x [N, C, *D]` at `grid [N, *O, rank]`, which names the last axis first."""
    size = x.shape[2:]
    kind = mode.removeprefix("bi")
    where = []
    for axis, n in enumerate(size):
        g = grid[..., len(size) - 1 - axis]
        scaled = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
        position = np.rint(scaled) if kind == "nearest" else scaled
        if kind != "cubic":  # whose neighbours are bounded one by one
            position = _bounded(position, n, padding_mode, bool(align_corners))
        where.append(position)
    y = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[1]), x.dtype)
    last = np.moveaxis(x, 1, -1)
    batch = np.arange(len(x)).reshape(-1, *(1,) * len(size))
    taps = [
        _grid_taps(p, n, kind, padding_mode, bool(align_corners))
        for p, n in zip(where, size, strict=True)
    ]
    for combination in np.ndindex(*(len(t) for t in taps)):
        chosen = [t[i] for t, i in zip(taps, combination, strict=True)]
        weight = np.prod([w for _, w in chosen], axis=0)
        y += last[(batch, *(i for i, _ in chosen))] * weight[..., None]
    return np.moveaxis(y, -1, 1)


def _bounded(x: Array, n: int, padding: str, align: bool) -> Array:
    if padding == "border":
        return np.clip(x, 0, n - 1)
    return _reflect(x, n, align) if padding == "reflection" else x


def _reflect(x: Array, n: int, align: bool) -> Array:
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    phase = np.mod(x - low, 2 * span)
    return np.asarray(low + np.where(phase > span, 2 * span - phase, phase))


def _grid_taps(x: Array, n: int, kind: str, padding: str, align: bool) -> list[tuple[Array, Array]]:
    """Return the neighbours along one axis with their weights; outside ones weigh nothing."""
    floor = np.floor(x)
    offsets = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[kind]
    taps = []
    for offset in offsets:
        index = floor + offset
        distance = x - index
        if kind == "cubic":
            weight = cubic(distance, -0.75)
        else:
            weight = np.maximum(0.0, 1.0 - np.abs(distance))
        index = _bounded(index, n, padding, align)
        weight = np.where((index >= 0) & (index <= n - 1), weight, 0.0)
        taps.append((np.clip(index, 0, n - 1).astype(np.int64), weight))
    return taps


def affine_grid(theta: Array, size: Array, *, align_corners: int = 0, **_: Any) -> Array:
    """Return the sampling grid `[N, *D, rank]` of affine maps `theta [N, rank, rank + 1]`."""
    lengths = [int(n) for n in size[2:]]
    ticks = []
    for n in reversed(lengths):
        centres = (2 * np.arange(n) + 1) / n - 1
        ticks.append(np.linspace(-1.0, 1.0, n) if align_corners else centres)
    last_first = np.meshgrid(*ticks[::-1], indexing="ij")[::-1]
    points = np.stack([*last_first, np.ones(lengths)], axis=-1)
    return np.asarray(np.einsum("...k,nik->n...i", points, theta))
