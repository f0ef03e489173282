"""Tiny networks as a list of steps, in NumPy: every linear step is a dense matrix.

Nothing here is shared with the package, and nothing knows ONNX.  A sample has no batch axis.
The matrix of a step is filled by loops over indices, so that padding, strides and groups are in
it and every rule of the papers can be written as it is printed, with sums over i and j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One step: conv, dense, batchnorm, maxpool, avgpool, global, flatten, add, concat, a function.

    Attributes
    ----------
    reads
        The steps, or ``x``, whose values it takes.
    p
        Its numbers: ``w``, ``b``, ``stride``, ``pad``, ``group``, ``kernel``, ...
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    p: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear step on flattened values: ``y = matrix x + bias``.

    Attributes
    ----------
    window
        Where the matrix may hold something: the receptive field without padding.
    """

    matrix: Array
    bias: Array
    window: Array


#: Functions of one entry, by kind of step.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky": lambda z: np.where(z > 0, z, 0.125 * z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


class Net:
    """Steps in order; the last one is what is explained."""

    def __init__(self, shape: Shape, steps: Sequence[Step]) -> None:
        self.shape, self.steps = shape, tuple(steps)
        self.shapes: dict[str, Shape] = {"x": shape}
        for step in self.steps:
            self.shapes[step.name] = _shape(step, [self.shapes[r] for r in step.reads])
        self._linear: dict[str, Linear] = {}

    @property
    def out(self) -> str:
        """The name of the last step."""
        return self.steps[-1].name

    def step(self, name: str) -> Step:
        """Return a step by its name."""
        return next(s for s in self.steps if s.name == name)

    def linear(self, step: Step) -> Linear:
        """Return the matrix of a step of one operand."""
        if step.name not in self._linear:
            self._linear[step.name] = linear(step, self.shapes[step.reads[0]])
        return self._linear[step.name]

    def replace(self, name: str, layer: Linear) -> None:
        """Let a step have another matrix."""
        self._linear[name] = layer

    def windows(self, step: Step) -> list[list[int]]:
        """Return, per output of a pool, the entries it looks at, flat and in row-major order."""
        return _windows(step, self.shapes[step.reads[0]])

    def forward(self, x: Array) -> dict[str, Array]:
        """Return the values of all steps at one sample, each flattened."""
        values = {"x": np.asarray(x, np.float64).ravel()}
        for step in self.steps:
            values[step.name] = self.value(step, [values[r] for r in step.reads])
        return values

    def value(self, step: Step, reads: Sequence[Array]) -> Array:
        """Return the value of a step at the values it reads."""
        if step.kind in ACTIVATIONS:
            return ACTIVATIONS[step.kind](reads[0])
        if step.kind == "maxpool":
            return np.array([max(reads[0][i] for i in w) for w in self.windows(step)])
        if step.kind == "add":
            return np.sum(reads, axis=0)
        if step.kind in ("flatten", "concat"):
            return np.concatenate(reads)
        layer = self.linear(step)
        return layer.matrix @ reads[0] + layer.bias


def grid(*sizes: int) -> Iterator[Index]:
    """Yield all indices of a tensor."""
    return product(*(range(n) for n in sizes))


def linear(step: Step, shape: Shape) -> Linear:
    """Return the matrix of a conv, dense, batchnorm or averaging step."""
    out, n = _shape(step, [shape]), int(np.prod(shape))
    matrix, window = np.zeros((int(np.prod(out)), n)), np.zeros((int(np.prod(out)), n), bool)
    bias = np.zeros(len(matrix))
    for j, i, value in _ENTRIES[step.kind](step, shape, out):
        matrix[j, i] += value
        window[j, i] = True
    if step.kind == "batchnorm":
        p = step.p
        shift = p["shift"] - p["mean"] * p["scale"] / np.sqrt(p["var"] + p["eps"])
        bias += np.repeat(shift, n // shape[0])
    elif step.p.get("b") is not None:
        bias += np.repeat(step.p["b"], len(matrix) // len(step.p["b"]))
    return Linear(matrix, bias, window)


def _conv(step: Step, shape: Shape, out: Shape) -> Iterator[tuple[int, int, float]]:
    w, s, pad = step.p["w"], step.p.get("stride", 1), step.p.get("pad", 0)
    size = len(w) // step.p.get("group", 1)
    for o, *q in grid(*out):
        for c, *k in grid(*w.shape[1:]):
            at = [s * a + b - pad for a, b in zip(q, k, strict=True)]
            if all(0 <= a < n for a, n in zip(at, shape[1:], strict=True)):
                channel = (o // size) * w.shape[1] + c
                yield _flat((o, *q), out), _flat((channel, *at), shape), float(w[(o, c, *k)])


def _dense(step: Step, shape: Shape, out: Shape) -> Iterator[tuple[int, int, float]]:
    for j, i in grid(*step.p["w"].shape):
        yield j, i, float(step.p["w"][j, i])


def _batchnorm(step: Step, shape: Shape, out: Shape) -> Iterator[tuple[int, int, float]]:
    p = step.p
    scale = p["scale"] / np.sqrt(p["var"] + p["eps"])
    for at in grid(*shape):
        yield _flat(at, shape), _flat(at, shape), float(scale[at[0]])


def _average(step: Step, shape: Shape, out: Shape) -> Iterator[tuple[int, int, float]]:
    for j, entries in enumerate(_windows(step, shape)):
        for i in entries:
            yield j, i, 1 / len(entries)


_ENTRIES: dict[str, Callable[[Step, Shape, Shape], Iterator[tuple[int, int, float]]]] = {
    "conv": _conv, "dense": _dense, "batchnorm": _batchnorm, "avgpool": _average,
    "global": _average,
}  # fmt: skip


def _windows(step: Step, shape: Shape) -> list[list[int]]:
    if step.kind == "global":
        each = int(np.prod(shape[1:]))
        return [list(range(c * each, (c + 1) * each)) for c in range(shape[0])]
    k, s, pad = step.p["kernel"], step.p.get("stride", step.p["kernel"]), step.p.get("pad", 0)
    found = []
    for c, *q in grid(*_shape(step, [shape])):
        places = ([s * a + b - pad for a, b in zip(q, d, strict=True)] for d in grid(k, k))
        inside = [p for p in places if all(0 <= a < n for a, n in zip(p, shape[1:], strict=True))]
        found.append([_flat((c, *p), shape) for p in inside])
    return found


def _flat(index: Sequence[int], shape: Shape) -> int:
    return int(np.ravel_multi_index(tuple(index), shape))


def _shape(step: Step, reads: Sequence[Shape]) -> Shape:
    first = reads[0]
    if step.kind == "dense":
        return (len(step.p["w"]),)
    if step.kind == "global":
        return (first[0], 1, 1)
    if step.kind == "flatten":
        return (int(np.prod(first)),)
    if step.kind == "concat":
        return (sum(r[0] for r in reads), *first[1:])
    if step.kind not in ("conv", "maxpool", "avgpool"):
        return first
    kernel = step.p["w"].shape[2] if step.kind == "conv" else step.p["kernel"]
    stride = step.p.get("stride", 1 if step.kind == "conv" else kernel)
    sizes = [(n + 2 * step.p.get("pad", 0) - kernel) // stride + 1 for n in first[1:]]
    return (len(step.p["w"]) if step.kind == "conv" else first[0], *sizes)
