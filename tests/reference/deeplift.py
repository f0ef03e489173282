"""DeepLIFT: rescale, reveal-cancel, and reveal-cancel whose two signs do not mix.

Every value has two multipliers, one for what it does to the positive part of the target's
difference and one for the negative part; rescale keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.reference.net import ACTIVATIONS, Array, Net, Step
from tests.reference.walk import backward, one_hot, rearranged

VARIANTS = ("rescale", "reveal_cancel", "no_crossing")
NEAR = {"rescale": 1e-10, "reveal_cancel": 1e-7, "no_crossing": 1e-7}


def deeplift(net: Net, x: Array, x0: Array, target: int, variant: str) -> Array:
    """Return the relevance of every input entry, multiplier times difference, flat."""
    values, base = net.forward(x), net.forward(x0)
    changes = {name: values[name] - base[name] for name in values}

    def back(step: Step, reads: Sequence[Array], y: Array, m: Array) -> Sequence[Array]:
        deltas = [changes[r] for r in step.reads]
        if step.kind in ("flatten", "concat"):
            return rearranged(step, reads, m)
        if step.kind == "add":
            return [through(np.eye(len(d)), d, m, variant) for d in deltas]
        if step.kind == "maxpool":
            return [_max_pool(net, step, reads[0], base[step.reads[0]], m)]
        if step.kind in ACTIVATIONS:
            if variant == "rescale":
                return [m * _slope(reads[0], deltas[0], changes[step.name])]
            z0 = base[step.reads[0]]
            parts = _sums(net, step.reads[0], changes)
            f = ACTIVATIONS[step.kind]
            return [m * _two_slopes(f, reads[0], z0, *parts, NEAR[variant])]
        return [through(net.linear(step).matrix, deltas[0], m, variant)]

    arrived = backward(net, values, np.stack([one_hot(net, target)] * 2), back)["x"]
    # an entry passes its difference on by the multiplier of its own sign; where they mix, or
    # under rescale, the two are one
    m = np.where(changes["x"] > 0, arrived[0], arrived[1])
    return m * changes["x"]


def through(w: Array, d: Array, m: Array, variant: str) -> Array:
    """Return both multipliers in front of a linear step w, d the difference in front of it.

    What raises an output (w d > 0) goes by the positive multiplier, what lowers it by the
    negative one ([LIE] eq. 13); an entry without a difference takes half of each.
    """
    if variant == "rescale":
        return m @ w
    up, down = np.maximum(w, 0), np.minimum(w, 0)
    if variant == "no_crossing":
        rises = np.where(d > 0, m[0] @ up, np.where(d == 0, m[0] @ up / 2, 0))
        falls = np.where(d < 0, m[1] @ down, np.where(d == 0, m[1] @ down / 2, 0))
        return np.stack([rises, falls])
    rises = m[0] @ up + m[1] @ down
    falls = m[0] @ down + m[1] @ up
    one = np.where(d > 0, rises, np.where(d < 0, falls, (m[0] + m[1]) @ w / 2))
    return np.stack([one, one])


def _slope(z: Array, dz: Array, dy: Array) -> Array:
    near = np.abs(dz) < NEAR["rescale"]
    return np.where(near, z > 0, dy / np.where(near, 1, dz))


def _sums(net: Net, name: str, changes: dict[str, Array]) -> tuple[Array, Array]:
    """Return the sums P and N of what raises and of what lowers a value."""
    step = net.step(name)
    rows = []
    for place, read in enumerate(step.reads):
        d = changes[read]
        w = np.eye(len(d)) if step.kind == "add" else net.linear(step).matrix
        rows.append(w * d)
        assert place == 0 or step.kind == "add"
    terms = np.concatenate(rows, axis=1)
    return np.maximum(terms, 0).sum(axis=1), np.minimum(terms, 0).sum(axis=1)


def _two_slopes(
    f: Callable[[Array], Array], z: Array, z0: Array, p: Array, n: Array, near: float
) -> Array:
    """Return what P and N do to f, on the mean of both orders, divided by P and by N.

    Where a part is next to nothing, the slope of a ReLU at z; the others are not brought there.
    """
    rise = (f(z0 + p) - f(z0) + f(z0 + n + p) - f(z0 + n)) / 2
    fall = (f(z0 + n) - f(z0) + f(z0 + p + n) - f(z0 + p)) / 2
    found = []
    for change, part in ((rise, p), (fall, n)):
        small = np.abs(part) < near
        found.append(np.where(small, z > 0, change / np.where(small, 1, part)))
    return np.stack(found)


def _max_pool(net: Net, step: Step, x: Array, x0: Array, m: Array) -> Array:
    """Return the rule of METHODS 5: between the two winners, by way of the larger output."""
    found = np.zeros((2, len(x)))
    for j, window in enumerate(net.windows(step)):
        w = max(window, key=lambda i: x[i])  # the first of equals
        w0 = max(window, key=lambda i: x0[i])
        top = max(x[w], x0[w0])
        for i, change in ((w, top - x0[w0]), (w0, x[w] - top)):
            d = x[i] - x0[i]
            if abs(d) >= NEAR["rescale"]:
                found[:, i] += m[:, j] * change / d
    return found
