"""The matrices of linear operators, entry by entry, from the formulas of the ONNX standard.

Nothing here is shared with the package: loops over indices, and no linear algebra.  Each
function returns triples ``(index in y, index in x, coefficient)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import ceil, floor
from typing import Any

import numpy as np

Index = tuple[int, ...]
Entry = tuple[Index, Index, float]
Values = Mapping[str, np.ndarray]
Attrs = Mapping[str, Any]


def grid(*sizes: int) -> Iterator[Index]:
    """Return all indices of a tensor."""
    return product(*(range(n) for n in sizes))


def same_pads(auto: str, n: int, q: int, stride: int, extent: int) -> tuple[int, int]:
    """Return the pads of SAME: as many as q windows need; the odd one at the end in UPPER."""
    total = max((q - 1) * stride + extent - n, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def axis_pads(attrs: Attrs, i: int, n: int, q: int, stride: int, extent: int) -> tuple[int, int]:
    """Return begin and end pad of one spatial axis."""
    auto = attrs.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        return same_pads(auto, n, q, stride, extent)
    pads = attrs.get("pads")
    if auto == "VALID" or pads is None:
        return 0, 0
    return pads[i], pads[len(pads) // 2 + i]


def conv(x: Sequence[int], y: Sequence[int], attrs: Attrs, w: np.ndarray) -> Iterator[Entry]:
    """``y[n, o, q] = sum over c, k of W[o, c, k] x[n, c', s q - pad + d k]``."""
    kernel, rank = w.shape[2:], w.ndim - 2
    s, d = (attrs.get(k) or [1] * rank for k in ("strides", "dilations"))
    group = attrs.get("group", 1)
    begin = [
        axis_pads(attrs, i, x[2 + i], y[2 + i], s[i], (kernel[i] - 1) * d[i] + 1)[0]
        for i in range(rank)
    ]
    for n, o, *q in grid(*y):
        first = (o // (w.shape[0] // group)) * w.shape[1]
        for c, *k in grid(*w.shape[1:]):
            at = [s[i] * q[i] - begin[i] + d[i] * k[i] for i in range(rank)]
            if all(0 <= a < m for a, m in zip(at, x[2:], strict=True)):
                yield (n, o, *q), (n, first + c, *at), w[(o, c, *k)]


def conv_transpose(
    x: Sequence[int], y: Sequence[int], attrs: Attrs, w: np.ndarray
) -> Iterator[Entry]:
    """``y[n, o, s q - pad + d k] += W[c, o, k] x[n, c, q]``."""
    kernel, rank = w.shape[2:], w.ndim - 2
    s, d = (attrs.get(k) or [1] * rank for k in ("strides", "dilations"))
    group = attrs.get("group", 1)
    extra = attrs.get("output_padding") or [0] * rank
    auto, pads = attrs.get("auto_pad", "NOTSET"), attrs.get("pads") or [0] * rank
    begin = list(pads[:rank])
    if auto.startswith("SAME") or "output_shape" in attrs:
        for i in range(rank):
            full = s[i] * (x[2 + i] - 1) + extra[i] + (kernel[i] - 1) * d[i] + 1
            total = max(full - y[2 + i], 0)
            begin[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
    for n, c, *q in grid(*x):
        first = (c // (w.shape[0] // group)) * w.shape[1]
        for o, *k in grid(*w.shape[1:]):
            at = [s[i] * q[i] - begin[i] + d[i] * k[i] for i in range(rank)]
            if all(0 <= a < m for a, m in zip(at, y[2:], strict=True)):
                yield (n, first + o, *at), (n, c, *q), w[(c, o, *k)]


def average_pool(x: Sequence[int], y: Sequence[int], attrs: Attrs) -> Iterator[Entry]:
    """The mean of what a window holds; pads count if asked for, what ceil adds never."""
    kernel = attrs["kernel_shape"]
    rank = len(kernel)
    s, d = (attrs.get(k) or [1] * rank for k in ("strides", "dilations"))
    pads = [
        axis_pads(attrs, i, x[2 + i], y[2 + i], s[i], (kernel[i] - 1) * d[i] + 1)
        for i in range(rank)
    ]
    for n, c, *q in grid(*y):
        inside, counted = [], 0
        for k in grid(*kernel):
            at = [s[i] * q[i] - pads[i][0] + d[i] * k[i] for i in range(rank)]
            real = all(0 <= a < m for a, m in zip(at, x[2:], strict=True))
            padded = all(-p[0] <= a < m + p[1] for a, m, p in zip(at, x[2:], pads, strict=True))
            counted += padded if attrs.get("count_include_pad") else real
            if real:
                inside.append(at)
        for at in inside:
            yield (n, c, *q), (n, c, *at), 1 / counted


def gemm(x: Sequence[int], y: Sequence[int], attrs: Attrs, b: np.ndarray) -> Iterator[Entry]:
    """``y[i, j] = alpha sum over k of A'[i, k] B'[k, j]``."""
    depth = x[0] if attrs.get("transA") else x[1]
    for i, j in grid(*y):
        for k in range(depth):
            weight = b[j, k] if attrs.get("transB") else b[k, j]
            yield (i, j), (k, i) if attrs.get("transA") else (i, k), attrs.get("alpha", 1) * weight


def matmul(x: Sequence[int], y: Sequence[int], attrs: Attrs, b: np.ndarray) -> Iterator[Entry]:
    """``y[..., i, j] = sum over k of x[..., i, k] b[..., k, j]``, batches broadcast."""
    for *batch, i, j in grid(*y):
        for k in range(x[-1]):
            here = aligned(batch, x[:-2])
            yield (*batch, i, j), (*here, i, k), b[(*aligned(batch, b.shape[:-2]), k, j)]


def aligned(index: Sequence[int], shape: Sequence[int]) -> Index:
    """Return an index of a broadcast tensor."""
    tail = index[len(index) - len(shape) :]
    return tuple(0 if n == 1 else i for i, n in zip(tail, shape, strict=True))


def transpose(x: Sequence[int], y: Sequence[int], attrs: Attrs) -> Iterator[Entry]:
    """``y[i[perm]] = x[i]``."""
    perm = attrs.get("perm") or list(range(len(x)))[::-1]
    for i in grid(*x):
        yield tuple(i[p] for p in perm), i, 1.0


def reduce_mean(
    x: Sequence[int], y: Sequence[int], attrs: Attrs, axes: Sequence[int]
) -> Iterator[Entry]:
    """The mean over some axes."""
    gone = {a % len(x) for a in axes}
    count = int(np.prod([x[a] for a in gone]))
    for i in grid(*x):
        kept = [0 if a in gone else n for a, n in enumerate(i)]
        short = tuple(n for a, n in enumerate(kept) if a not in gone or attrs.get("keepdims", 1))
        yield short, i, 1 / count


def cum_sum(x: Sequence[int], y: Sequence[int], attrs: Attrs, axis: int) -> Iterator[Entry]:
    """``y[i] = sum over j <= i of x[j]``; j < i if exclusive, the other way in reverse."""
    a = axis % len(x)
    for i in grid(*x):
        for j in range(x[a]):
            before = j > i[a] if attrs.get("reverse") else j < i[a]
            if before or (j == i[a] and not attrs.get("exclusive")):
                yield i, (*i[:a], j, *i[a + 1 :]), 1.0


# ---- Resize: one row of weights for each entry of y along each axis ------------------------


def coordinate(how: str, j: int, scale: float, n: int, q: int) -> float:
    """Return where an entry of y lies along x."""
    match how:
        case "asymmetric":
            return j / scale
        case "align_corners":
            return j * (n - 1) / (q - 1) if q > 1 else 0.0
        case "pytorch_half_pixel":
            return (j + 0.5) / scale - 0.5 if q > 1 else 0.0
        case "half_pixel_symmetric":
            adjustment = q / (scale * n)
            return n / 2 * (1 - adjustment) + (j + 0.5) / scale - 0.5
    return (j + 0.5) / scale - 0.5


def nearest(at: float, rounding: str) -> int:
    """Return the entry taken."""
    match rounding:
        case "floor":
            return floor(at)
        case "ceil":
            return ceil(at)
        case "round_prefer_ceil":
            return floor(at + 0.5)
    return ceil(at - 0.5)


def cubic(t: float, a: float) -> float:
    """The cubic convolution kernel."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def row(attrs: Attrs, j: int, scale: float, n: int, q: int) -> dict[int, float]:
    """Return the weights of one entry of y along one axis."""
    at = coordinate(attrs.get("coordinate_transformation_mode", "half_pixel"), j, scale, n, q)
    mode = attrs.get("mode", "nearest")
    if mode == "nearest":
        taken = nearest(at, attrs.get("nearest_mode", "round_prefer_floor"))
        return {min(max(taken, 0), n - 1): 1.0}
    if mode == "linear":
        at = min(max(at, 0), n - 1)
        taps = {floor(at): 1 - (at - floor(at)), floor(at) + 1: at - floor(at)}
    else:
        a = attrs.get("cubic_coeff_a", -0.75)
        taps = {floor(at) + k: cubic(at - floor(at) - k, a) for k in (-1, 0, 1, 2)}
    if attrs.get("exclude_outside"):
        inside = {k: v for k, v in taps.items() if 0 <= k < n}
        return {k: v / sum(inside.values()) for k, v in inside.items()}
    found: dict[int, float] = {}
    for k, v in taps.items():
        edge = min(max(k, 0), n - 1)
        found[edge] = found.get(edge, 0.0) + v
    return found


def resize(
    x: Sequence[int], y: Sequence[int], attrs: Attrs, scales: Sequence[float]
) -> Iterator[Entry]:
    """The product of one row of weights per axis."""
    for j in grid(*y):
        rows = [row(attrs, j[i], scales[i], x[i], y[i]) for i in range(len(x))]
        for taps in product(*(r.items() for r in rows)):
            yield j, tuple(k for k, _ in taps), float(np.prod([v for _, v in taps]))


FORMULAS: Mapping[str, Callable[..., Iterator[Entry]]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "AveragePool": average_pool,
    "Gemm": gemm,
    "MatMul": matmul,
    "Transpose": transpose,
    "ReduceMean": reduce_mean,
    "CumSum": cum_sum,
    "Resize": resize,
}


def matrix(entries: Iterator[Entry], x: Sequence[int], y: Sequence[int]) -> np.ndarray:
    """Return A with its rows over the entries of y, its columns over those of x."""
    dense = np.zeros((int(np.prod(y)), int(np.prod(x))))
    for j, i, value in entries:
        dense[np.ravel_multi_index(j, y) if y else 0, np.ravel_multi_index(i, x)] += value
    return dense
