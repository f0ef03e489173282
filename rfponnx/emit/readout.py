"""The outputs of a converted graph: streams gathered along one source axis."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.emit.forward import Forward, total
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import whole
from rfponnx.plan.explained import Explained
from rfponnx.plan.plan import Plan
from rfponnx.plan.sources import masks_input


@dataclass(frozen=True, slots=True)
class Result:
    """An output to declare: its name, element type and shape (a name is a free dimension).

    `of` says what is explained where the output is a forward relevance; `kind` and `tensor` say
    what a backward one is of.
    """

    name: str
    dtype: int
    shape: tuple[int | str | None, ...]
    of: Explained | None = None
    kind: str = ""
    tensor: str = ""


def read_out(plan: Plan, b: Builder, walked: Forward) -> tuple[Result, ...]:
    """Write ``<output>_relevance`` [S+1, *E] (and ``<output>_explained``) for what is explained."""
    results: list[Result] = []
    for one in plan.explained:
        dtype, shape = b.dtype(one.tensor), b.dims(one.tensor)
        if not one.own_output:
            name = b.named(b.name(f"{one.output}_explained"), "Identity", one.tensor)
            results.append(Result(name, dtype, shape))
        rows = _rows(plan, b, walked, one, dtype)
        name = b.name(f"{one.output}_relevance")
        count: int | str = f"{one.output}_sources" if plan.masks else len(plan.sources) + 1
        if plan.options.readout == "predicted" and shape:
            _predicted(b, name, one, b.op("Concat", *rows, axis=0), len(shape))
            shape = tuple(d for i, d in enumerate(shape) if i != one.class_axis)
        else:
            b.named(name, "Concat", *rows, axis=0)
        results.append(Result(name, dtype, (count, *shape), one))
    return tuple(results)


def _rows(plan: Plan, b: Builder, walked: Forward, one: Explained, dtype: int) -> list[str]:
    """Return the streams in the order of the sources, and bias: to be joined to [S+1, *E]."""
    streams = walked.streams.get(one.tensor, {})  # none: only integers lead here, or steps
    front = b.ints([0])
    rows: dict[int, str] = {}
    blocks: list[str] = []
    for group, value in streams.items():
        if not group.stacked:
            rows[group.members[0]] = b.op("Unsqueeze", whole(b, value).name, front)
        elif list(group.members) == list(range(len(plan.sources))):
            blocks.append(value.name)
        else:
            for place, member in enumerate(group.members):
                rows[member] = b.slice(value.name, [0], [place], [place + 1])
    if not blocks and plan.masks is not None:
        masks = b.op("Shape", masks_input(plan.masks.tensor))
        size = b.op("Concat", b.slice(masks, [0], [0], [1]), b.shape(one.tensor), axis=0)
        blocks = [b.op("Expand", b.floats(0.0, dtype), size)]
    elif not blocks:
        zeros = _zeros(b, one.tensor, dtype) if len(rows) < len(plan.sources) else ""
        blocks = [rows.get(i, zeros) for i in range(len(plan.sources))]
    if one.tensor not in plan.carried:
        last = b.op("Unsqueeze", one.tensor, front)
    elif plan.carries_bias:
        bias = walked.bias.get(one.tensor)
        last = b.op("Unsqueeze", bias.name, front) if bias else _zeros(b, one.tensor, dtype)
    else:
        left = b.op("Sub", one.tensor, total(b, list(streams.values())))
        last = b.op("Unsqueeze", left, front)
    return [*blocks, last]


def _zeros(b: Builder, like: str, dtype: int) -> str:
    return b.op("Expand", b.floats(0.0, dtype), b.shape(like, lead=(1,)))


def _predicted(b: Builder, name: str, one: Explained, rows: str, rank: int) -> None:
    """Write the rows of the winning class only; its axis goes."""
    winner = b.op("ArgMax", one.tensor, axis=one.class_axis, keepdims=1)
    lead = b.op("Unsqueeze", winner, b.ints([0]))
    sources = b.slice(b.op("Shape", rows), [0], [0], [1])
    index = b.op("Expand", lead, b.op("Concat", sources, b.ints([1] * rank), axis=0))
    axis = one.class_axis + 1
    picked = b.op("GatherElements", rows, index, axis=axis)
    b.named(name, "Squeeze", picked, b.ints([axis]))
