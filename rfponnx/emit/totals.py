"""Sums over a sample, and over the entries that a source owns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rfponnx.emit.start import mask_of_source
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value
from rfponnx.plan.plan import Plan


class Totals:
    """Sums per sample ``[N]``, or ``[1]`` over all where the sample axis cannot be followed."""

    def __init__(self, plan: Plan, b: Builder, tensors: Iterable[str]) -> None:
        self.plan, self.b = plan, b
        first = plan.explained[0].tensor
        self.followed = all(follows(plan, t, first) for t in (first, *tensors))

    def of(self, value: Value, tensor: str) -> str:
        """Return the sum of a value shaped like a tensor: ``[N]``, ``[T, N]`` of several."""
        b, lead = self.b, int(value.stack)
        rank = len(b.dims(tensor))
        if self.followed and rank:
            axes = list(range(lead + 1, lead + rank))
            return b.reduce("ReduceSum", value.name, axes, keepdims=False) if axes else value.name
        axes = list(range(lead, lead + rank))
        summed = b.reduce("ReduceSum", value.name, axes, keepdims=False) if axes else value.name
        return b.op("Unsqueeze", summed, b.ints([lead]))

    def over(self, parts: Sequence[tuple[Value, str]], like: str) -> str:
        """Return the sum of several values; zeros like a sum where there are none."""
        sums = [self.of(value, tensor) for value, tensor in parts]
        if not sums:
            return self.b.op("Sub", like, like)
        return sums[0] if len(sums) == 1 else self.b.op("Sum", *sums)

    def of_source(self, index: int, relevances: dict[str, Value], zero: str) -> str:
        """Return the sum over the entries that a source owns."""
        parts = []
        for tensor, value in relevances.items():
            mask = mask_of_source(self.b, self.plan, index, tensor)
            if mask is None:
                continue
            owned = self.b.op("Mul", value.name, mask) if mask else value.name
            parts.append((Value(owned, value.stack), tensor))
        return self.over(parts, zero)


def follows(plan: Plan, tensor: str, first: str) -> bool:
    """Tell whether axis 0 of a tensor is the sample axis of the explained tensor."""
    shape, like = plan.graph.shape(tensor), plan.graph.shape(first)
    if not shape or not like:
        return shape == like
    return shape[0] == like[0] and shape[0] is not None
