"""Patterns: what a weight reads as signal, and the two ways back that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.reference.net import Array, Linear, Net, Step, linear
from tests.reference.walk import backward, one_hot, rearranged


def linear_pattern(h: Array, w: Array) -> Array:
    """``a = cov[h] w / (w' cov[h] w)`` for samples h [N, i] and one weight w ([LIE] eq. 9)."""
    centred = h - h.mean(axis=0)
    return _scaled(centred.T @ centred / len(h) @ w, w)


def positive_pattern(h: Array, w: Array, b: float) -> Array:
    """Return the direction of the two-component estimator of the positive regime.

    ``E+[h y] - E+[h] E[y]`` over ``w'`` of the same; E+ is over the samples that the ReLU lets
    through, ``w'h + b > 0``, E[y] over all, y = w'h.
    """
    y = h @ w
    on = y + b > 0
    if not on.any():
        return np.full_like(w, np.nan)
    mean = h[on].mean(axis=0)
    direction = (h[on] * y[on, None]).mean(axis=0) - mean * y.mean()
    return _scaled(direction, w)


def _scaled(direction: Array, w: Array) -> Array:
    """Return a direction that w reads as 1; NaN where it reads nothing."""
    along = w @ direction
    return direction / along if abs(along) > 1e-12 else np.full_like(w, np.nan)


def patches(net: Net, step: Step, values: Array) -> list[Array]:
    """Return, per output channel, what its kernel sees: [positions, i k k], padding as 0."""
    w = step.p["w"]
    shape = net.shapes[step.reads[0]]
    if step.kind == "dense":
        return [values[None] for _ in w]
    pad, stride, k = step.p.get("pad", 0), step.p.get("stride", 1), w.shape[2]
    grown = np.pad(values.reshape(shape), ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = net.shapes[step.name][1:]
    size = len(w) // step.p.get("group", 1)
    found = []
    for o in range(len(w)):
        first = (o // size) * w.shape[1]
        own = grown[first : first + w.shape[1]]
        seen = [
            own[:, stride * q : stride * q + k, stride * r : stride * r + k].ravel()
            for q in range(rows)
            for r in range(columns)
        ]
        found.append(np.stack(seen))
    return found


def fitted(net: Net, samples: Sequence[Array], estimator: str) -> dict[str, Array]:
    """Return the patterns of all weights, by the names under which `export` stores them."""
    runs = [net.forward(x) for x in samples]
    found = {}
    for step in net.steps:
        if step.kind not in ("conv", "dense"):
            continue
        w = step.p["w"]
        per_sample = [patches(net, step, run[step.reads[0]]) for run in runs]
        b = step.p["b"] if step.p.get("b") is not None else np.zeros(len(w))
        a = np.zeros((len(w), w[0].size))
        for o in range(len(w)):
            h = np.concatenate([p[o] for p in per_sample])
            weight = w[o].ravel()
            positive = estimator == "positive"
            a[o] = positive_pattern(h, weight, b[o]) if positive else linear_pattern(h, weight)
        found[f"{step.name}.w"] = a.reshape(w.shape)
    return found


def pattern_net(
    net: Net,
    x: Array,
    seed: Array,
    patterns: Mapping[str, Array],
    *,
    attribution: bool,
    mask: bool = True,
) -> Array:
    """Pull a seed back with a in place of w, or w * a; ReLU and max pool as in the gradient.

    Without `mask`, ReLUs are left out.
    """
    values = net.forward(x)

    def back(step: Step, reads: Sequence[Array], y: Array, m: Array) -> Sequence[Array]:
        if step.kind in ("flatten", "concat"):
            return rearranged(step, reads, m)
        if step.kind == "add":
            return [m for _ in reads]
        if step.kind == "relu":
            return [m * (y > 0) if mask else m]
        if step.kind == "maxpool":
            found = np.zeros_like(reads[0])
            for j, window in enumerate(net.windows(step)):
                found[max(window, key=lambda i: reads[0][i])] += m[j]
            return [found]
        return [_layer(net, step, patterns, attribution).matrix.T @ m]

    return backward(net, values, seed, back)["x"]


def _layer(net: Net, step: Step, patterns: Mapping[str, Array], attribution: bool) -> Linear:
    if step.kind not in ("conv", "dense"):
        return net.linear(step)
    a = patterns[f"{step.name}.w"]
    p = {**step.p, "w": a * step.p["w"] if attribution else a}
    return linear(replace(step, p=p), net.shapes[step.reads[0]])


def seed_of(net: Net, target: int) -> Array:
    """Return 1 at a class."""
    return one_hot(net, target)
