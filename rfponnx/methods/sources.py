"""Sums per source, pushed forward: the streams of the target."""

from __future__ import annotations

from rfponnx.emit.attribution import Attribution
from rfponnx.emit.forward import Forward
from rfponnx.emit.readout import Result
from rfponnx.emit.totals import Totals
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value, whole
from rfponnx.methods.backward import seed_of
from rfponnx.plan.plan import Plan


def pushed_sources(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """Write ``source_relevance``: the seed on every source's stream, summed over the sample."""
    first, seed = plan.explained[0].tensor, seed_of(plan, b)
    totals = Totals(plan, b, ())
    rows: dict[int, str] = {}
    for group, stream in Forward(plan, b).streams.get(first, {}).items():
        for place, member in enumerate(group.members):
            one = whole(b, stream).name
            if stream.stack:
                one = b.op("Squeeze", b.slice(one, [0], [place], [place + 1]), b.ints([0]))
            weighed = Value(b.op("Mul", seed.value.name, one), seed.value.stack)
            rows[member] = totals.of(weighed, first)
    total = totals.of(seed.total, first)
    zero = b.op("Sub", total, total)
    out = Attribution(plan, b)
    out.explained()
    out.rows([rows.get(i, zero) for i in range(len(plan.sources))], total, totals, seed)
    return tuple(out.results)
