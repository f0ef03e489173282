"""Patterns from data: sums over samples first, a direction for every unit at the end.

For a unit y = w . h (no bias) the pattern is the part of h that w reads out,

    a = cov[h, y] / (w . cov[h, y])                                   ([LIE] eq. 9)

With the two-component estimator of the positive regime, the moments of h are those of the
samples that the following ReLU lets through, E+, and that of y is over all ([LIE] eq. 37):

    a = (E+[h y] - E+[h] E[y]) / (w . (E+[h y] - E+[h] E[y]))

Both need four sums of the size of the weight or less, so that data may be as long as it likes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rfponnx.errors import OptionError, nearest
from rfponnx.methods.patterns import Array, Layer, Window

ESTIMATORS = ("positive", "linear")
#: Of the largest |w . h| there can be: a unit that changes by less does so by rounding.
LEAST = 1e-6


def check_estimator(name: str) -> None:
    """Refuse what is no estimator.

    Raises
    ------
    OptionError
        Always then.
    """
    if name not in ESTIMATORS:
        hint = nearest(name, ESTIMATORS) or f"it can be {' or '.join(ESTIMATORS)}"
        raise OptionError(f"no estimator `{name}`", "--estimator", hint)


class Moments:
    """The sums of one layer over all samples (of a convolution: and positions) so far.

    Parameters
    ----------
    layer
        The layer.
    weight
        Its weight, as stored.
    estimator
        ``positive`` or ``linear``.

    Raises
    ------
    OptionError
        There is no such estimator.
    """

    def __init__(self, layer: Layer, weight: Array, estimator: str) -> None:
        check_estimator(estimator)
        self.layer, self.estimator = layer, estimator
        self._weight = np.asarray(weight)
        self._w = layer.rows(self._weight.astype(np.float64))
        units = len(self._w)
        self.count = 0
        self._on, self._y = np.zeros(units), np.zeros(units)
        self._h, self._hy = np.zeros(self._w.shape), np.zeros(self._w.shape)
        self._largest = 0.0
        # of y, and without effect: products of what is near 0 lose no digits when they cancel
        self._centre: Array | None = None

    def add(self, x: Array, y: Array, gate: Array, offset: Array | None = None) -> None:
        """Take the values of some samples: what the layer reads and makes, its gate and bias."""
        layer = self.layer
        axes: tuple[int, ...] = (0,)
        kind: Any = np.float64 if x.dtype == np.float64 else np.float32
        h, out = x.astype(kind, copy=False), y.astype(kind, copy=False)
        if offset is not None:
            added = offset if layer.window is None else _spread(offset, out.ndim - 1)
            out = out - (layer.offset_scale * added).astype(kind)
        out = out / kind(layer.scale)
        on: Array = np.ones_like(out) if self.estimator == "linear" else (gate > 0).astype(kind)
        if layer.window is None:
            h = _flat(h, columns=layer.x_columns)
            out, on = (_flat(a, columns=layer.y_columns) for a in (out, on))
        else:
            axes = (0, *range(2, out.ndim))
        if self._centre is None:
            self._centre = out.mean(axis=axes, dtype=np.float64).astype(kind)
        out = out - _spread(self._centre, max(out.ndim - 1, 1))
        both = np.stack([on, on * out])
        if layer.window is None:
            sums = np.swapaxes(both, 1, 2) @ h
        else:
            sums = _correlated(h, both, self._w.shape, layer.window)
        self._h += sums[0]
        self._hy += sums[1]
        self._largest = max(self._largest, float(np.abs(h).max()))
        self.count += out.size // len(self._w)
        self._on += on.sum(axis=axes, dtype=np.float64)
        self._y += out.sum(axis=axes, dtype=np.float64)

    def pattern(self) -> tuple[Array, int]:
        """Return the patterns, of the weight's shape, and how many units have none.

        Such a unit, whose pattern is 0, never was on, never changed, or has a weight so small
        that its pattern would leave the range of numbers.
        """
        axes = tuple(range(1, self._w.ndim))
        on, mean = np.maximum(self._on, 1), self._y / max(self.count, 1)
        direction = (self._hy - self._h * _spread(mean, self._w.ndim)) / _spread(on, self._w.ndim)
        along = (self._w * direction).sum(axis=axes)
        kind = np.float64 if self._weight.dtype == np.float64 else np.float32
        reach = LEAST * self._largest * np.abs(self._w).sum(axis=axes)
        longest = np.abs(direction).max(axis=axes) / np.finfo(kind).max
        known = (np.abs(along) > reach**2) & (np.abs(along) > longest)
        found = np.where(_spread(known, self._w.ndim), direction, 0)
        found = found / _spread(np.where(known, along, 1), self._w.ndim)
        stored = np.ascontiguousarray(self.layer.rows(found).astype(kind))
        return stored, int(len(known) - np.count_nonzero(known))


def _spread(units: Array, rank: int) -> Array:
    return units.reshape(-1, *(1,) * (rank - 1))


def _flat(values: Array, *, columns: bool) -> Array:
    """Return values [S, I], whatever axes count the samples."""
    last = np.moveaxis(values, -2, -1) if columns else values
    return last.reshape(-1, last.shape[-1])


def _correlated(h: Array, g: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Return ``sum_{n, q} g[t, n, o, q] h[n, c, s q + d k - pad]``, [T, O, I, *K].

    One matrix product for each place k of the kernel: no patches are stored.
    """
    kernel, groups = shape[2:], window.groups
    size = g.shape[3:]
    padded: Array = np.pad(h, [(0, 0), (0, 0), *_pads(window, h.shape[2:], size, kernel)])
    found = np.zeros((g.shape[0], *shape), h.dtype)
    # [groups, T * O / groups, N * Q]
    t, n, o = g.shape[:3]
    rows = np.moveaxis(g.reshape(t, n, groups, o // groups, -1), 1, 3)
    rows = np.moveaxis(rows, 1, 0).reshape(groups, t * (o // groups), -1)
    for place in np.ndindex(*kernel):
        cuts = tuple(
            slice(k * d, k * d + (q - 1) * s + 1, s)
            for k, d, q, s in zip(place, window.dilations, size, window.strides, strict=True)
        )
        seen = padded[:, :, *cuts]
        # [groups, N * Q, I]
        seen = np.moveaxis(seen.reshape(n, groups, shape[1], -1), 0, 2)
        columns = np.moveaxis(seen.reshape(groups, shape[1], -1), 1, 2)
        sums = (rows @ columns).reshape(groups, t, o // groups, shape[1])
        found[:, :, :, *place] = np.moveaxis(sums, 1, 0).reshape(t, o, shape[1])
    return found


def _pads(
    window: Window, size: tuple[int, ...], out: tuple[int, ...], kernel: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Return begin and end pads; the end may be cut by a stride, which leaves it unread."""
    if window.pads is not None:
        return list(window.pads)
    found = []
    for n, q, k, s, d in zip(size, out, kernel, window.strides, window.dilations, strict=True):
        total = max((q - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = total // 2, total - total // 2
        found.append((large, small) if window.lower else (small, large))
    return found
