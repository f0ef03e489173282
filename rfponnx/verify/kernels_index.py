"""Moves of elements in NumPy: gather, scatter, pad, cumulative sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rfponnx.verify.kernels_conv import Array


def _mesh(indices: Array, axis: int, length: int) -> tuple[Array, ...]:
    """Return the full index of every entry of `indices`, which replaces coordinate `axis`."""
    mesh: list[Array] = list(np.indices(indices.shape, sparse=True))
    mesh[axis] = np.where(indices < 0, indices + length, indices)
    return tuple(mesh)


def gather_elements(x: Array, indices: Array, *, axis: int = 0, **_: Any) -> Array:
    """Return `y[i, j, k] = x[indices[i, j, k], j, k]` (for `axis` 0)."""
    return np.asarray(x[_mesh(indices, axis, x.shape[axis])])


def scatter_elements(
    x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none", **_: Any
) -> Array:
    """Write, or combine, `updates[i, j, k]` at `[indices[i, j, k], j, k]` (for `axis` 0)."""
    return _scatter(x, _mesh(indices, axis, x.shape[axis]), updates, reduction)


def scatter_nd(
    x: Array, indices: Array, updates: Array, *, reduction: str = "none", **_: Any
) -> Array:
    """Write, or combine, slices at the positions in the last axis of `indices`."""
    where = [
        np.where(i < 0, i + n, i)
        for i, n in zip(np.moveaxis(indices, -1, 0), x.shape, strict=False)
    ]
    return _scatter(x, tuple(where), updates, reduction)


def _scatter(x: Array, where: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    y = x.copy()
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    if reduction == "none":
        y[where] = updates
    else:
        combine[reduction].at(y, where, updates)
    return y


def cum_sum(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0, **_: Any) -> Array:
    """Return the running sums along an axis."""
    along = int(np.asarray(axis).reshape(()))
    flipped = np.flip(x, along) if reverse else x
    y = np.cumsum(flipped, axis=along, dtype=x.dtype)
    if exclusive:
        first = [slice(None)] * x.ndim
        first[along] = slice(0, 1)
        y = np.roll(y, 1, axis=along)
        y[tuple(first)] = 0
    return np.flip(y, along) if reverse else y


def pad(
    x: Array,
    amounts: Array | None = None,
    constant: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] | None = None,
    paddings: Sequence[int] | None = None,
    value: float = 0.0,
    **_: Any,
) -> Array:
    """Crop by the negative pads, then fill the positive ones."""
    given = amounts if amounts is not None else pads if pads is not None else paddings
    both = np.asarray(given).reshape(2, -1)
    widths = np.zeros((x.ndim, 2), np.int64)
    widths[slice(None) if axes is None else axes.astype(np.int64)] = both.T
    crop: tuple[Any, ...] = tuple(
        slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(widths, x.shape, strict=True)
    )
    kept, grow = x[crop], np.maximum(widths, 0)
    if mode != "constant":
        return np.pad(kept, grow, mode=mode)  # type: ignore[call-overload,no-any-return]
    fill = value if constant is None or constant.size == 0 else constant.reshape(())
    return np.pad(kept, grow, constant_values=fill)
