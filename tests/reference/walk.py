"""From the last step back to the input: one function a step, sums where a value is read twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.reference.net import Array, Net, Step

#: Of a step, what it reads and makes, and what arrives at it: what goes to each value it reads.
Back = Callable[[Step, Sequence[Array], Array, Array], Sequence[Array]]


@dataclass(frozen=True, eq=False)
class Split:
    """What a step does with its relevance: a part for each value it reads, and one for biases."""

    parts: Sequence[Array]
    bias: float = 0.0


@dataclass(frozen=True, eq=False)
class Relevance:
    """The relevance of the input, flat, what went to biases, and what nobody got."""

    x: Array
    bias: float
    leak: float


def backward(net: Net, values: dict[str, Array], seed: Array, back: Back) -> dict[str, Array]:
    """Return what arrives at every value; arrays may have axes in front of the flat one."""
    arrived = {net.out: seed}
    for step in reversed(net.steps):
        reads = [values[r] for r in step.reads]
        parts = back(step, reads, values[step.name], arrived[step.name])
        for name, part in zip(step.reads, parts, strict=True):
            arrived[name] = arrived[name] + part if name in arrived else part
    return arrived


def propagate(
    net: Net,
    values: dict[str, Array],
    seed: Array,
    rule: Callable[[Step, Sequence[Array], Array, Array], Split],
) -> Relevance:
    """Return where the relevance of the output goes, every bit of it."""
    bias, leak = 0.0, 0.0

    def back(step: Step, reads: Sequence[Array], y: Array, r: Array) -> Sequence[Array]:
        nonlocal bias, leak
        split = rule(step, reads, y, r)
        bias += split.bias
        leak += float(r.sum() - sum(p.sum() for p in split.parts) - split.bias)
        return split.parts

    return Relevance(backward(net, values, seed, back)["x"], bias, leak)


def rearranged(step: Step, reads: Sequence[Array], r: Array) -> Sequence[Array]:
    """Undo a flatten or a concat along the first axis."""
    ends = np.cumsum([len(v) for v in reads])[:-1]
    return np.split(r, ends, axis=-1)


def one_hot(net: Net, index: int, value: float = 1.0) -> Array:
    """Return a seed that is `value` at every position of a class."""
    shape = net.shapes[net.out]
    seed = np.zeros(shape)
    seed[index] = value
    return seed.ravel()
