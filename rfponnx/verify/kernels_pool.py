"""Pools in NumPy: one pass over the input per kernel position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rfponnx.verify.kernels_conv import Array, Window, window


def max_pool(
    x: Array,
    *,
    kernel_shape: Sequence[int],
    storage_order: int = 0,
    outputs: int = 1,
    **sliding: Any,
) -> Array | tuple[Array, Array]:
    """Return the maxima and, if asked for, their flat positions in `x [N, C, *D]`.

    The first maximum in row-major order is the one reported; padding never wins.
    """
    frame = _frame(x, kernel_shape, sliding)
    padded = frame.pad(x, _lowest(x))
    if outputs < 2:
        best = np.full((*x.shape[:2], *frame.out), _lowest(x), x.dtype)
        for where in frame.taps():
            np.maximum(best, padded[where], out=best)
        return best
    return _first_maxima(x, padded, frame, "F" if storage_order else "C")


def _first_maxima(x: Array, padded: Array, frame: Window, order: Any) -> tuple[Array, Array]:
    flat = np.arange(int(np.prod(frame.size))).reshape(frame.size, order=order)
    position = frame.pad(flat, -1)
    best = np.full((*x.shape[:2], *frame.out), _lowest(x), x.dtype)
    index = np.full(best.shape, -1, np.int64)
    for where in frame.taps():
        value, here = padded[where], position[where]
        better = (here >= 0) & ((value > best) | (index < 0))
        best = np.where(better, value, best)
        index = np.where(better, here, index)
    planes = np.arange(x.shape[0] * x.shape[1]) * flat.size
    return best, index + planes.reshape(*x.shape[:2], *(1,) * len(frame.size))


def _lowest(x: Array) -> Any:
    return -np.inf if np.issubdtype(x.dtype, np.floating) else np.iinfo(x.dtype).min


def _frame(x: Array, kernel: Sequence[int], sliding: dict[str, Any]) -> Window:
    names = ("strides", "dilations", "pads", "auto_pad", "ceil_mode")
    return window(x.shape[2:], kernel, **{k: v for k, v in sliding.items() if k in names})


def _window_sum(x: Array, frame: Window) -> Array:
    padded = frame.pad(x, 0.0)
    y = np.zeros((*x.shape[:2], *frame.out), x.dtype)
    for where in frame.taps():
        y += padded[where]
    return y


def average_pool(
    x: Array, *, kernel_shape: Sequence[int], count_include_pad: int = 0, **sliding: Any
) -> Array:
    """Return the window means; declared pads count if `count_include_pad`, ceil's never."""
    frame = _frame(x, kernel_shape, sliding)
    y = _window_sum(x, frame)
    for axis in range(len(frame.size)):
        shape = [1] * y.ndim
        shape[2 + axis] = -1
        y /= _counts(frame, axis, bool(count_include_pad)).reshape(shape)
    return y


def _counts(frame: Window, axis: int, include: bool) -> Array:
    """Number of counted positions of every window along one axis (at least 1)."""
    starts = np.arange(frame.out[axis]) * frame.strides[axis] - frame.begin[axis]
    reads = starts[:, None] + np.arange(frame.kernel[axis]) * frame.dilations[axis]
    low = -frame.begin[axis] if include else 0
    high = frame.size[axis] + (frame.end[axis] if include else 0)
    return np.asarray(np.maximum(((reads >= low) & (reads < high)).sum(1), 1), np.float64)


def lp_pool(x: Array, *, kernel_shape: Sequence[int], p: float = 2, **sliding: Any) -> Array:
    """Return the p-norm of every window."""
    frame = _frame(x, kernel_shape, sliding)
    return _root(_window_sum(_power(np.abs(x), p), frame), p)


def global_average_pool(x: Array, **_: Any) -> Array:
    """Return the mean over `[*D]`, kept as ones."""
    count = np.float64(np.prod(x.shape[2:]))
    return np.asarray(x.sum(axis=tuple(range(2, x.ndim)), keepdims=True) / count)


def global_max_pool(x: Array, **_: Any) -> Array:
    """Return the maximum over `[*D]`, kept as ones."""
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


def global_lp_pool(x: Array, *, p: float = 2, **_: Any) -> Array:
    """Return the p-norm over `[*D]`, kept as ones."""
    axes = tuple(range(2, x.ndim))
    return _root(_power(np.abs(x), p).sum(axis=axes, keepdims=True), p)


def _power(x: Array, p: float) -> Array:
    return x if p == 1 else np.asarray(x * x if p == 2 else x**p)


def _root(x: Array, p: float) -> Array:
    return x if p == 1 else np.asarray(np.sqrt(x) if p == 2 else x ** (1.0 / p))


def max_unpool(
    x: Array,
    indices: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    """Write every value at its flat position in the output; zero elsewhere.

    A given `output_shape` is what the positions address, as in ONNX Runtime and PyTorch.
    """
    if output_shape is not None:
        shape = tuple(int(d) for d in output_shape)
    else:
        rank = len(kernel_shape)
        steps, both = strides or (1,) * rank, pads or (0,) * 2 * rank
        shape = (
            *x.shape[:2],
            *(
                (n - 1) * s - both[i] - both[rank + i] + k
                for i, (n, s, k) in enumerate(zip(x.shape[2:], steps, kernel_shape, strict=True))
            ),
        )
    y = np.zeros(int(np.prod(shape)), x.dtype)
    y[indices.ravel()] = x.ravel()
    return y.reshape(shape)
