"""Gradients averaged over a path or over noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rfponnx.emit.attribution import Maps
from rfponnx.emit.loop import averaged
from rfponnx.emit.readout import Result
from rfponnx.emit.replica import Replica
from rfponnx.emit.seed import Seed
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value
from rfponnx.methods.backward import seed_of, written
from rfponnx.methods.inputs import noise_input
from rfponnx.methods.reference import reference_of
from rfponnx.plan.plan import Plan, start_tensors


def quadrature(name: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points in 0..1 and their weights, which sum to 1.

    ``gauss_legendre``, ``left``, ``right``: `steps` points; ``trapezoid``, ``paper``: steps + 1
    points, both ends among them, which count half or as much as all others ([RFP] 2.4).
    """
    if name == "gauss_legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return (points + 1) / 2, weights / 2
    if name == "paper":
        return np.linspace(0, 1, steps + 1), np.full(steps + 1, 1 / (steps + 1))
    if name == "trapezoid":
        weights = np.full(steps + 1, 1 / steps)
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps + 1), weights
    first = 0 if name == "left" else 1
    return (np.arange(steps) + first) / steps, np.full(steps, 1 / steps)


def integrated_gradients(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """``(x - x0) sum_k w_k dy/dx at x0 + a_k (x - x0)``; what is missing to y - y0 is the rest."""
    way, given = plan.options.way, plan.options.numbers
    numbers = {**way.keys, **given}
    points, weights = quadrature(numbers["quadrature"], numbers["steps"])
    references = {t: reference_of(b, t, numbers["reference"]) for t in start_tensors(plan)}
    ways = {t: b.op("Sub", t, r) for t, r in references.items()}

    def at(inner: Builder, step: str) -> tuple[Mapping[str, str], str]:
        moved = {}
        for tensor, reference in references.items():
            dtype = b.dtype(tensor)
            place = inner.op("Gather", inner.floats(points, dtype), step)
            part = inner.op("Mul", ways[tensor], place)
            moved[tensor] = inner.op("Add", reference, part)
        dtype = b.dtype(plan.explained[0].tensor)
        return moved, inner.op("Gather", inner.floats(weights, dtype), step)

    seed = seed_of(plan, b)
    means = averaged(plan, b, seed, len(points), at)
    maps = {t: Value(b.op("Mul", m.name, ways[t]), m.stack) for t, m in means.items()}
    return written(plan, b, Maps(maps, {}), difference(plan, b, seed, references))


def difference(plan: Plan, b: Builder, seed: Seed, references: Mapping[str, str]) -> Seed:
    """Return a seed whose total is what the target differs from that at the references."""
    first = plan.explained[0].tensor
    replica = Replica(plan.graph, references, f"{b.prefix}/reference")
    b.nodes.extend(replica.nodes([first]))
    change = b.op("Sub", first, replica.names[first])
    return Seed(seed.value, Value(b.op("Mul", seed.value.name, change), seed.value.stack))


def smoothgrad(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """The mean of dy/dx at ``x + noise (max x - min x) e``, e standard normal."""
    numbers = {**plan.options.way.keys, **plan.options.numbers}
    samples = int(numbers["samples"])

    def at(inner: Builder, step: str) -> tuple[Mapping[str, str], str]:
        moved = {}
        for tensor in start_tensors(plan):
            dtype, rank = b.dtype(tensor), len(b.dims(tensor))
            axes = list(range(1, rank)) or [0]
            high, low = (b.reduce(k, tensor, axes) for k in ("ReduceMax", "ReduceMin"))
            size = b.op("Mul", b.op("Sub", high, low), b.floats(numbers["noise"], dtype))
            drawn = inner.op("Gather", noise_input(tensor), step, axis=0)
            moved[tensor] = inner.op("Add", tensor, inner.op("Mul", drawn, size))
        return moved, inner.floats(1 / samples, b.dtype(plan.explained[0].tensor))

    seed = seed_of(plan, b)
    return written(plan, b, Maps(averaged(plan, b, seed, samples, at), {}), seed)
