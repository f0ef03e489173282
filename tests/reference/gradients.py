"""Gradients, and what is done to them at a ReLU: guided, deconvolved, rectified."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.reference.net import Array, Net, Step
from tests.reference.walk import backward, one_hot, rearranged

#: Of the activation and of what arrives behind a ReLU, what goes on in front of it.
Gate = Callable[[Array, Array], Array]


def plain(a: Array, m: Array) -> Array:
    """The slope, 0 at 0."""
    return m * (a > 0)


def guided(a: Array, m: Array) -> Array:
    """The slope, and only what is positive."""
    return np.maximum(m, 0) * (a > 0)


def deconvolved(a: Array, m: Array) -> Array:
    """What is positive, whatever the activation was."""
    return np.maximum(m, 0)


def rectified(q: float) -> Gate:
    """Where a m is above its percentile q ([LIE] eq. 14)."""

    def gate(a: Array, m: Array) -> Array:
        return m * (a > 0) * (a * m > np.percentile(a * m, q))

    return gate


def gradient(net: Net, x: Array, target: int, gate: Gate = plain) -> dict[str, Array]:
    """Return what arrives at every value for a seed of 1."""
    values = net.forward(x)

    def back(step: Step, reads: Sequence[Array], y: Array, m: Array) -> Sequence[Array]:
        if step.kind in ("flatten", "concat"):
            return rearranged(step, reads, m)
        if step.kind == "add":
            return [m for _ in reads]
        if step.kind == "relu":
            return [gate(y, m)]
        if step.kind == "maxpool":
            found = np.zeros_like(reads[0])
            for j, window in enumerate(net.windows(step)):
                found[max(window, key=lambda i: reads[0][i])] += m[j]
            return [found]
        return [net.linear(step).matrix.T @ m]

    return backward(net, values, one_hot(net, target), back)


def integrated(net: Net, x: Array, x0: Array, target: int, steps: int) -> Array:
    """Return (x - x0) times the mean gradient over n + 1 points with both ends ([RFP] 2.4)."""
    points = [gradient(net, x0 + k / steps * (x - x0), target)["x"] for k in range(steps + 1)]
    return np.mean(points, axis=0) * (x - x0).ravel()


def grad_cam(net: Net, x: Array, target: int, at: str, *, relu: bool) -> Array:
    """Return the map of a tensor [H, W]: its channels weighted by their mean gradient."""
    shape = net.shapes[at]
    m, a = (v.reshape(shape) for v in (gradient(net, x, target)[at], net.forward(x)[at]))
    found = (m.mean(axis=(1, 2), keepdims=True) * a).sum(axis=0)
    return np.maximum(found, 0) if relu else found
