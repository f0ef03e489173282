"""LSTM, GRU and RNN in NumPy, with every option of the standard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rfponnx.errors import Unsupported
from rfponnx.verify import kernels_math
from rfponnx.verify.kernels_conv import Array

Activation = Callable[[Array], Array]
States = tuple[Array, ...]
Cell = Callable[[Array, States], States]

# name: (function of x, alpha, beta; default alpha; default beta)
_ACTIVATIONS: Mapping[str, tuple[Callable[..., Array], float | None, float | None]] = {
    "relu": (lambda x: np.maximum(x, 0.0), None, None),
    "tanh": (np.tanh, None, None),
    "sigmoid": (kernels_math.sigmoid, None, None),
    "softsign": (lambda x: x / (1.0 + np.abs(x)), None, None),
    "softplus": (kernels_math.softplus, None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a: np.where(x < 0, a * x, x), 0.01, None),
    "thresholdedrelu": (lambda x, a: np.where(x > a, x, 0.0), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0.0, 1.0), 0.2, 0.5),
    "elu": (lambda x, a: kernels_math.elu(x, alpha=a), 1.0, None),
}


def _activation(
    name: str, alphas: Iterator[float], betas: Iterator[float], clip: float
) -> Activation:
    if name.lower() not in _ACTIVATIONS:
        raise Unsupported(f"activation `{name}`")
    function, alpha, beta = _ACTIVATIONS[name.lower()]
    given: list[float] = []
    if alpha is not None:
        given.append(next(alphas, alpha))
    if beta is not None:
        given.append(next(betas, beta))
    if not np.isfinite(clip):
        return lambda x: function(x, *given)
    return lambda x: function(np.clip(x, -clip, clip), *given)


def _activations(
    default: Sequence[str], directions: int, attributes: Mapping[str, Any]
) -> list[list[Activation]]:
    """Return the activations of every direction."""
    names = attributes.get("activations") or [*default] * directions
    alphas = iter(attributes.get("activation_alpha") or ())
    betas = iter(attributes.get("activation_beta") or ())
    clip = float(attributes.get("clip") or np.inf)
    # ONNX Runtime does not clip the cell state on its way to the output (the third activation)
    made = [
        _activation(name, alphas, betas, np.inf if i % len(default) == 2 else clip)
        for i, name in enumerate(names)
    ]
    return [made[i * len(default) : (i + 1) * len(default)] for i in range(directions)]


def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    c: Array | None = None,
    peepholes: Array | None = None,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return all outputs, the last output and the last cell state."""
    size = r.shape[-1]
    peep = np.zeros((len(w), 3 * size)) if peepholes is None else peepholes
    coupled = bool(attributes.get("input_forget"))
    functions = _activations(("Sigmoid", "Tanh", "Tanh"), len(w), attributes)

    def cell(d: int) -> Cell:
        f, g, out = functions[d]
        pi, po, pf = np.split(peep[d], 3)
        bias = 0.0 if b is None else sum(np.split(b[d], 2))

        def step(now: Array, states: States) -> States:
            last, memory = states
            gates = now @ w[d].T + last @ r[d].T + bias
            i, o, forget, candidate = np.split(gates, 4, -1)
            i = f(i + pi * memory)
            kept = 1.0 - i if coupled else f(forget + pf * memory)
            memory = kept * memory + i * g(candidate)
            return f(o + po * memory) * out(memory), memory

        return step

    return _run(x, cell, [h, c], lengths, len(w), size, attributes)


def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return all outputs and the last one."""
    size = r.shape[-1]
    linear = bool(attributes.get("linear_before_reset"))
    functions = _activations(("Sigmoid", "Tanh"), len(w), attributes)

    def cell(d: int) -> Cell:
        f, g = functions[d]
        wb, rb = np.zeros((2, 3 * size)) if b is None else np.split(b[d], 2)

        def step(now: Array, states: States) -> States:
            (last,) = states
            z, reset, new = np.split(now @ w[d].T + wb, 3, -1)
            rz, rr, _ = np.split(last @ r[d].T + rb, 3, -1)
            z, reset = f(z + rz), f(reset + rr)
            own, own_bias = r[d][2 * size :].T, rb[2 * size :]
            if linear:
                new = g(new + reset * (last @ own + own_bias))
            else:
                new = g(new + (reset * last) @ own + own_bias)
            return ((1.0 - z) * new + z * last,)

        return step

    return _run(x, cell, [h], lengths, len(w), size, attributes)


def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return all outputs and the last one."""
    functions = _activations(("Tanh",), len(w), attributes)

    def cell(d: int) -> Cell:
        (f,) = functions[d]
        bias = 0.0 if b is None else sum(np.split(b[d], 2))
        return lambda now, states: (f(now @ w[d].T + states[0] @ r[d].T + bias),)

    return _run(x, cell, [h], lengths, len(w), r.shape[-1], attributes)


def _run(
    x: Array,
    cell: Callable[[int], Cell],
    initial: Sequence[Array | None],
    lengths: Array | None,
    directions: int,
    size: int,
    attributes: Mapping[str, Any],
) -> tuple[Array, ...]:
    """Run every direction; `x` is `[T, N, I]`, or `[N, T, I]` in layout 1."""
    batch_first = bool(attributes.get("layout"))
    x = x.swapaxes(0, 1) if batch_first else x
    steps, batch = x.shape[:2]
    ends = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    starts = [_start(s, directions, batch, size, batch_first) for s in initial]
    rows, finals = [], []
    for d in range(directions):
        backward = attributes.get("direction", "forward") == "reverse" or d == 1
        order = _order(steps, ends, backward)
        y, final = _unroll(_reorder(x, order), cell(d), tuple(s[d] for s in starts), ends)
        rows.append(_reorder(y, order))
        finals.append(final)
    ys = np.stack(rows, axis=1)
    last = [np.stack([final[i] for final in finals]) for i in range(len(starts))]
    if batch_first:
        ys, last = ys.transpose(2, 0, 1, 3), [s.swapaxes(0, 1) for s in last]
    return (ys, *last)[: attributes["outputs"]]


def _start(given: Array | None, directions: int, batch: int, size: int, swap: bool) -> Array:
    if given is None:
        return np.zeros((directions, batch, size))
    return given.swapaxes(0, 1) if swap else given


def _order(steps: int, ends: Array, backward: bool) -> Array:
    """Return which step `[T, N]` comes when; reversed within each sequence."""
    t = np.broadcast_to(np.arange(steps)[:, None], (steps, len(ends)))
    return np.where(t < ends, ends - 1 - t, t) if backward else t


def _reorder(x: Array, order: Array) -> Array:
    return np.take_along_axis(x, order[:, :, None], axis=0)


def _unroll(x: Array, cell: Cell, states: States, ends: Array) -> tuple[Array, States]:
    """Run over time; a sequence that has ended keeps its state and yields zeros."""
    rows = np.zeros((len(x), *states[0].shape))
    for t, now in enumerate(x):
        live = (t < ends)[:, None]
        new = cell(now, states)
        rows[t] = np.where(live, new[0], 0.0)
        states = tuple(np.where(live, n, s) for n, s in zip(new, states, strict=True))
    return rows, states
