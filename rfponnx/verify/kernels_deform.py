"""Deformable convolution in NumPy: the entries around every moved place, then a product."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from rfponnx.verify.kernels_conv import Array


def deform_conv(  # noqa: PLR0913 (the standard's attributes)
    x: Array,
    w: Array,
    offset: Array,
    b: Array | None = None,
    mask: Array | None = None,
    *,
    group: int = 1,
    offset_group: int = 1,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    """Correlate `x [N, C, *D]` with `w`, every tap at its place plus its offset, linearly read."""
    n, c, *size = x.shape
    kernel, rank = w.shape[2:], len(size)
    taps, out = int(np.prod(kernel)), offset.shape[2:]
    moved = offset.reshape(n, offset_group, taps, rank, *out)
    parts = x.reshape(n, offset_group, c // offset_group, *size)
    seen = np.zeros((n, offset_group, c // offset_group, taps, *out), x.dtype)
    for k, tap in enumerate(np.ndindex(*kernel)):
        at = []
        for axis in range(rank):
            step, wide = (strides or (1,) * rank)[axis], (dilations or (1,) * rank)[axis]
            start = wide * tap[axis] - (pads or (0,) * rank)[axis]
            lie = np.arange(out[axis]) * step + start
            at.append(moved[:, :, k, axis] + lie.reshape(-1, *(1,) * (rank - 1 - axis)))
        seen[:, :, :, k] = _read(parts, at)
    if mask is not None:
        seen *= mask.reshape(n, offset_group, 1, taps, *out)
    columns = seen.reshape(n, group, c // group * taps, -1)
    rows = w.reshape(group, w.shape[0] // group, -1)
    y = np.matmul(rows, columns).reshape(n, -1, *out)
    return np.asarray(y if b is None else y + b.reshape(-1, *(1,) * rank))


def _read(x: Array, at: Sequence[Array]) -> Array:
    """Interpolate `x [N, G, C, *D]` at places `[N, G, *O]`, zero outside."""
    size = x.shape[3:]
    batch, part = np.ogrid[: x.shape[0], : x.shape[1]]
    lead = [i.reshape(*i.shape, *(1,) * (at[0].ndim - 2)) for i in (batch, part)]
    channels_last = np.moveaxis(x, 2, -1)
    y = np.zeros((*at[0].shape, x.shape[2]), x.dtype)
    for corner in product((0, 1), repeat=len(at)):
        low = [np.floor(a).astype(np.int64) for a in at]
        index = [i + d for i, d in zip(low, corner, strict=True)]
        shares = [a - i if d else 1 - (a - i) for a, i, d in zip(at, low, corner, strict=True)]
        inside = [(i >= 0) & (i < s) for i, s in zip(index, size, strict=True)]
        weight = np.prod(shares, axis=0) * np.all(inside, axis=0)
        clipped = [np.clip(i, 0, s - 1) for i, s in zip(index, size, strict=True)]
        y += channels_last[(*lead, *clipped)] * weight[..., None]
    return np.asarray(np.moveaxis(y, -1, 2))
