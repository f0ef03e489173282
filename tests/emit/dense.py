"""Relevance forward propagation written out densely: slow, obvious, nothing shared.

Every linear layer is a matrix built column by column from the layer's own definition, and every
rule is the printed formula ([RFP] 3, 5.9; METHODS 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rules:
    """How biases and smooth functions are treated."""

    bias: str = "explicit"
    kind: str = "weighted"
    eps: float = float(np.float32(1e-6))  # as the graph has it
    shift: float = 0.0


@dataclass(frozen=True)
class Point:
    """A tensor for one sample: its value, the streams of the sources that are alive, the bias."""

    rules: Rules
    y: Array
    streams: dict[str, Array]
    bias: Array

    def affine(self, matrix: Array, offset: Array, shape: Sequence[int]) -> Point:
        """``y = M x + o``."""
        streams = {s: (matrix @ r.ravel()).reshape(shape) for s, r in self.streams.items()}
        bias = (matrix @ self.bias.ravel()).reshape(shape)
        o = np.broadcast_to(offset, shape)
        y = (matrix @ self.y.ravel()).reshape(shape) + o
        return Point(self.rules, y, streams, bias).shifted(o)

    def shifted(self, o: Array) -> Point:
        """Give the offset of an affine node to bias, or to the sources by their shares."""
        if not self.rules.bias.startswith("split"):
            return replace(self, bias=self.bias + o)
        total = sum(np.abs(r) + self.rules.eps for r in self.streams.values())
        signed = self.rules.bias == "split_signed"
        return replace(
            self,
            streams={
                s: r + o * ((r if signed else np.abs(r)) + self.rules.eps) / total
                for s, r in self.streams.items()
            },
        )

    def added(self, constant: Array) -> Point:
        """``y = x + c``."""
        return replace(self, y=self.y + constant).shifted(np.broadcast_to(constant, self.y.shape))

    def scaled(self, gain: Array, y: Array) -> Point:
        """``y = g x + (y - g x)``, entry by entry; what is left goes to bias."""
        streams = {s: gain * r for s, r in self.streams.items()}
        return Point(self.rules, y, streams, gain * self.bias + (y - gain * self.y))

    def relu(self) -> Point:
        """``y = max(x, 0)``."""
        return self.scaled((self.y > 0).astype(float), np.maximum(self.y, 0))

    def smooth(self, f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Point:
        """``y = f(x)``, by the secant through ``f(0)``, by ``f(x) / x``, or by the tangent."""
        z, kind = self.y, self.rules.kind
        gain = np.zeros_like(z)
        for i in np.ndindex(z.shape):
            if kind == "taylor" or (kind == "weighted" and z[i] == 0):
                gain[i] = slope(z[i])
            elif kind == "weighted":
                gain[i] = (f(z[i]) - f(np.zeros(()))) / z[i]
            elif abs(z[i]) >= self.rules.eps:
                gain[i] = (f(z[i]) + self.rules.shift) / z[i]
        return self.scaled(gain, f(z))

    def picked(self, places: Sequence[tuple[int, ...]], shape: Sequence[int]) -> Point:
        """Entries of x, in order."""

        def take(a: Array) -> Array:
            return np.asarray([a[p] for p in places]).reshape(shape)

        streams = {s: take(r) for s, r in self.streams.items()}
        return Point(self.rules, take(self.y), streams, take(self.bias))

    def max_pool(self, kernel: int) -> Point:
        """The first maximum of every window of ``[C, H, W]``, stride 1."""
        c, h, w = self.y.shape
        shape = (c, h - kernel + 1, w - kernel + 1)
        places = []
        for k, i, j in product(*map(range, shape)):
            window = [(k, i + p, j + q) for p, q in product(range(kernel), repeat=2)]
            places.append(max(window, key=lambda at: self.y[at]))  # max keeps the first
        return self.picked(places, shape)

    def joined(self, other: Point) -> Point:
        """``y`` = the entries of both, one after the other."""
        zero, none = np.zeros_like(self.y), np.zeros_like(other.y)
        streams = {
            s: np.concatenate([self.streams.get(s, zero), other.streams.get(s, none)])
            for s in {**self.streams, **other.streams}
        }
        join = np.concatenate
        return Point(self.rules, join([self.y, other.y]), streams, join([self.bias, other.bias]))

    def plus(self, other: Point) -> Point:
        """``y = x + x'``."""
        zero = np.zeros_like(self.y)
        streams = {
            s: self.streams.get(s, zero) + other.streams.get(s, zero)
            for s in {**self.streams, **other.streams}
        }
        return Point(self.rules, self.y + other.y, streams, self.bias + other.bias)


def start(rules: Rules, x: Array, owners: dict[str, Array]) -> Point:
    """``x^s = x`` on the entries of source s ([RFP] Def. 1); what nobody owns is bias."""
    streams = {s: np.where(mask, x, 0.0) for s, mask in owners.items()}
    return Point(rules, x, streams, x - sum(streams.values()))


def convolution(
    weight: Array, size: Sequence[int], pads: Sequence[int], strides: Sequence[int]
) -> tuple[Array, tuple[int, int, int]]:
    """Return the matrix of a Conv of ``[C, H, W]`` and the shape of its result.

    ``pads`` are top, left, bottom, right.
    """
    channels, height, width = size
    out, _, kh, kw = weight.shape
    rows = (height + pads[0] + pads[2] - kh) // strides[0] + 1
    columns = (width + pads[1] + pads[3] - kw) // strides[1] + 1
    matrix = np.zeros((out, rows, columns, channels, height, width))
    for o, i, j, c, p, q in product(*map(range, (out, rows, columns, channels, kh, kw))):
        h, w = i * strides[0] + p - pads[0], j * strides[1] + q - pads[1]
        if 0 <= h < height and 0 <= w < width:
            matrix[o, i, j, c, h, w] += weight[o, c, p, q]
    return matrix.reshape(out * rows * columns, -1), (out, rows, columns)


def per_channel(scale: Array, size: Sequence[int]) -> Array:
    """Return the matrix that scales the channels of ``[C, H, W]``."""
    return np.diag(np.broadcast_to(scale[:, None, None], size).ravel())
