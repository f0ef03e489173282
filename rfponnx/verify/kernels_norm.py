"""Normalisations and the softmax family in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rfponnx.errors import Unsupported
from rfponnx.verify.kernels_conv import Array


def _channels(v: Array, x: Array) -> Array:
    """Return a vector `[C]` that broadcasts over `x [N, C, *D]`; other shapes are kept."""
    return v.reshape(-1, *(1,) * (x.ndim - 2)) if v.ndim == 1 and x.ndim > 1 else v


def _standardise(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Return `(x - mean) / std`, the mean and `1 / std` over `axes`, kept as ones."""
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    inverse = 1.0 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def batch_normalization(  # noqa: PLR0913 (the standard's attributes)
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    since: int = 15,
    outputs: int = 1,
    **_: Any,
) -> Array | tuple[Array, ...]:
    """Scale and shift every channel by given or, in training mode, by batch statistics."""
    # before opset 14 more than one output is what asks for training
    if not training_mode and (outputs == 1 or since >= 14):
        gain = scale / np.sqrt(variance + epsilon)
        return (x - _channels(mean, x)) * _channels(gain, x) + _channels(shift, x)
    axes = (0, *range(2, x.ndim))
    y, _mean, _inverse = _standardise(x, axes, epsilon)
    batch = x.mean(axis=axes), x.var(axis=axes)
    running = [
        old * momentum + new * (1 - momentum)
        for old, new in zip((mean, variance), batch, strict=True)
    ]
    return (y * _channels(scale, x) + _channels(shift, x), *running, *batch)[:outputs]


def instance_normalization(
    x: Array, scale: Array, shift: Array, *, epsilon: float = 1e-5, **_: Any
) -> Array:
    """Standardise every channel of every sample."""
    y = _standardise(x, tuple(range(2, x.ndim)), epsilon)[0]
    return y * _channels(scale, x) + _channels(shift, x)


def group_normalization(
    x: Array,
    scale: Array,
    shift: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    since: int = 21,
    **_: Any,
) -> Array:
    """Standardise groups of channels; scale and shift are per group before opset 21."""
    grouped = x.reshape(len(x), num_groups, -1)
    y = _standardise(grouped, (2,), epsilon)[0]
    if since < 21:
        return (y * scale[:, None] + shift[:, None]).reshape(x.shape)
    return y.reshape(x.shape) * _channels(scale, x) + _channels(shift, x)


def layer_normalization(
    x: Array,
    scale: Array,
    shift: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    outputs: int = 1,
    **_: Any,
) -> tuple[Array, ...]:
    """Standardise over the axes from `axis` on; also return the mean and `1 / std`."""
    y, mean, inverse = _standardise(x, tuple(range(axis % x.ndim, x.ndim)), epsilon)
    y = y * scale
    return (y if shift is None else y + shift, mean, inverse)[:outputs]


def rms_normalization(
    x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, **_: Any
) -> Array:
    """Divide by the root of the mean square over the axes from `axis` on."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    return np.asarray(x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon) * scale)


def lrn(
    x: Array,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    **_: Any,
) -> Array:
    """Divide by a power of the local sum of squares over `size` neighbouring channels."""
    before = (size - 1) // 2
    widths = [(0, 0)] * x.ndim
    widths[1] = (before, size - 1 - before)
    squares = np.pad(x * x, widths)
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return np.asarray(x / (bias + alpha / size * total) ** beta)


def mean_variance_normalization(x: Array, *, axes: Sequence[int] = (0, 2, 3), **_: Any) -> Array:
    """Standardise over `axes`; the small constant of the standard is added to the deviation."""
    centred = x - x.mean(axis=tuple(axes), keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=tuple(axes), keepdims=True))
    return np.asarray(centred / (deviation + 1e-9))


def lp_normalization(x: Array, *, axis: int = -1, p: int = 2, **_: Any) -> Array:
    """Divide by the p-norm along `axis`; zero stays zero."""
    if p == 1:
        norm = np.abs(x).sum(axis=axis, keepdims=True)
    else:
        norm = np.sqrt((x * x).sum(axis=axis, keepdims=True))
    return np.asarray(x / np.where(norm == 0, 1.0, norm))


def dropout(
    x: Array,
    ratio: Array | None = None,
    training_mode: Array | None = None,
    *,
    since: int = 13,
    outputs: int = 1,
    **_: Any,
) -> tuple[Array, ...]:
    """Return the input (and a mask of ones): inference."""
    if training_mode is not None and bool(training_mode) and (ratio is None or float(ratio) > 0):
        raise Unsupported("dropout in training mode is random", hint="export for inference")
    mask = np.ones(x.shape, np.bool_ if since >= 10 else x.dtype)
    return (x, mask)[:outputs]


def softmax(x: Array, *, axis: int | None = None, since: int = 13, **_: Any) -> Array:
    """Return the softmax along one axis (before opset 13: over all axes from `axis` on)."""
    rows, along = _rows(x, axis, since)
    powers = np.exp(rows - rows.max(axis=along, keepdims=True))
    return np.asarray(powers / powers.sum(axis=along, keepdims=True)).reshape(x.shape)


def log_softmax(x: Array, *, axis: int | None = None, since: int = 13, **_: Any) -> Array:
    """Return the logarithm of the softmax."""
    rows, along = _rows(x, axis, since)
    shifted = rows - rows.max(axis=along, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=along, keepdims=True))
    return np.asarray(shifted - total).reshape(x.shape)


def hardmax(x: Array, *, axis: int | None = None, since: int = 13, **_: Any) -> Array:
    """Return one at the first maximum, zero elsewhere."""
    rows, along = _rows(x, axis, since)
    y = np.zeros_like(rows)
    np.put_along_axis(y, np.expand_dims(rows.argmax(axis=along), along), 1.0, along)
    return y.reshape(x.shape)


def _rows(x: Array, axis: int | None, since: int) -> tuple[Array, int]:
    if since >= 13:
        return x, -1 if axis is None else axis
    split = (1 if axis is None else axis) % max(x.ndim, 1)
    return x.reshape(int(np.prod(x.shape[:split])), -1), 1
