"""Models that lay open what a backward walk does: conservation, and duality with streams."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from rfponnx.emit.attribution import maps_of
from rfponnx.emit.backward import Backward
from rfponnx.emit.forward import Forward, total
from rfponnx.emit.totals import Totals
from rfponnx.graph.builder import Builder, model_with
from rfponnx.maps.base import Value
from rfponnx.methods.backward import seed_of
from rfponnx.methods.inputs import extra_inputs
from rfponnx.plan.plan import Plan
from rfponnx.plan.sources import declared_masks
from rfponnx.verify.engine import Array

SEED = "verify/seed"


@dataclass(frozen=True, slots=True)
class Balance:
    """The parts of one balance, as tensors of a model: ``seed = sum of maps + bias + leak``.

    Attributes
    ----------
    maps
        Relevances, shaped like their tensors.
    lead
        Axes in front of the samples: 1 with several targets.
    followed
        Whether axis 0 of all of them is the sample.
    """

    model: ModelProto
    seed: str
    maps: tuple[str, ...]
    bias: str
    leak: str
    lead: int
    followed: bool

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors that are needed."""
        return (self.seed, *self.maps, self.bias, self.leak)

    def error(self, run: Mapping[str, Array]) -> float:
        """Return the largest imbalance of a sample on the scale of DESIGN 4."""
        with np.errstate(all="ignore"):
            values = {n: run[n].astype(np.float64) for n in self.names}
            sums = [self._sum(values[n]) for n in self.maps]
            sizes = [self._sum(np.abs(values[n])) for n in self.maps]
            bias, leak = values[self.bias], values[self.leak]
            seed = self._sum(values[self.seed])
            off = np.abs(seed - sum(sums) - bias - leak)
            scale = np.maximum(np.abs(seed), sum(sizes) + np.abs(bias) + np.abs(leak))
            ratio = np.where(off == 0, 0.0, off / np.where(scale == 0, 1.0, scale))
        return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0.0))

    def _sum(self, value: Array) -> Array:
        kept = self.lead + int(self.followed)
        flat = value.reshape(*value.shape[:kept], -1).sum(-1)
        return np.asarray(flat if self.followed else flat[..., None])


def balance(plan: Plan, stop: str | None = None) -> Balance:
    """Return the model of a walk that accounts for bias and leak, ending at a tensor if asked."""
    b = Builder(plan.graph, "verify")
    seed, first = seed_of(plan, b), plan.explained[0].tensor
    ends: Collection[str] = () if stop is None else (stop,)
    walked = Backward(plan, b, {first: seed.value}, accounts=True, ends=ends)
    maps = maps_of(plan, b, walked, times_input=True)
    found = dict(maps.inputs)
    if stop is not None:
        found[stop] = maps.taps[stop]
    totals = Totals(plan, b, (*found, *walked.bias, *walked.leak))
    zero = totals.of(seed.total, first)
    sums = [
        totals.over([(v, t) for t, v in kept.items()], zero) for kept in (walked.bias, walked.leak)
    ]
    names = (seed.total.name, *(v.name for v in found.values()), *sums)
    model = opened(plan, b, names)
    model.graph.input.extend(extra_inputs(plan))
    return Balance(
        model, names[0], names[1:-2], sums[0], sums[1], int(seed.total.stack), totals.followed
    )


@dataclass(frozen=True, slots=True)
class Duality:
    """Per source: ``sum of x m`` over its entries, and the seed on its stream."""

    model: ModelProto
    pulled: tuple[str, ...]
    pushed: tuple[str, ...]
    sizes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors that are needed."""
        return (*self.pulled, *self.pushed, *self.sizes)

    def error(self, run: Mapping[str, Array]) -> float:
        """Return the largest difference, relative to the sizes that are summed."""
        scale = max(float(np.abs(run[n]).sum()) for n in self.sizes) or 1.0
        pairs = zip(self.pulled, self.pushed, strict=True)
        gaps = [np.abs(run[a].sum() - run[c].sum()) / scale for a, c in pairs]
        worst = max(float(g) for g in gaps)
        return worst if np.isfinite(worst) else float("inf")


def duality(plan: Plan) -> Duality:
    """Return the model of a walk from a dense seed, and of the streams of the same plan."""
    b, first = Builder(plan.graph, "verify"), plan.explained[0].tensor
    b.name(SEED)
    walked = Backward(plan, b, {first: Value(SEED)})
    maps = maps_of(plan, b, walked, times_input=True).inputs
    streams = Forward(plan, b).streams.get(first, {})
    totals = Totals(plan, b, maps)
    zero = totals.of(Value(b.op("Mul", SEED, first)), first)
    pulled = [totals.of_source(i, maps, zero) for i in range(len(plan.sources))]
    pushed = []
    for index in range(len(plan.sources)):
        own = [v for g, v in streams.items() if index in g.members]
        weighed = b.op("Mul", total(b, own), SEED) if own else b.op("Sub", zero, zero)
        pushed.append(weighed)
    sizes = [v.name for v in maps.values()] + [b.op("Mul", SEED, first)]
    names = (*pulled, *pushed, *sizes)
    model = opened(plan, b, names)
    dtype = plan.graph.dtype(first) or 1
    model.graph.input.append(helper.make_tensor_value_info(SEED, dtype, None))
    model.graph.input.extend(extra_inputs(plan))  # they are fed, though nothing reads them
    return Duality(model, tuple(pulled), tuple(pushed), tuple(sizes))


def opened(plan: Plan, b: Builder, names: Collection[str]) -> ModelProto:
    """Return the primal with what a builder wrote, some tensors of it as outputs."""
    model = model_with(plan.graph.proto, b)
    model.graph.input.extend(declared_masks(plan.graph, plan.sources, plan.masks))
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(
        ValueInfoProto(name=n) for n in dict.fromkeys(names) if n not in known
    )
    return model
