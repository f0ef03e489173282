"""Streams sum to what they explain ([RFP] Prop. 1), in a fresh conversion and in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, ValueInfoProto

from rfponnx.emit.forward import Forward, total
from rfponnx.graph.builder import Builder, model_with
from rfponnx.maps.base import Value, whole
from rfponnx.methods.convert import Converted
from rfponnx.plan.plan import Plan, Step
from rfponnx.verify.case import Row
from rfponnx.verify.engine import Array
from rfponnx.verify.report import Check, judged, reported

Run = Mapping[str, Array]
#: A model and tensors of it -> their values.
Evaluate = Callable[[ModelProto, Sequence[str]], Mapping[str, Array]]

SINGLE, DOUBLE = 1e-5, 1e-12


def single_bound(plan: Plan) -> float:
    """Return the bound of a run in the model's own precision.

    1e-5 is 84 roundings of float32, what a deep net of additions and products collects; where
    half-precision tensors carry relevance it is 84 of theirs.
    """
    types = {plan.graph.dtype(t) for t in plan.carried}
    eps = {16: 2.0**-8, 10: 2.0**-10}  # bfloat16, float16
    return max([SINGLE, *(84 * eps[t] for t in types if t in eps)])


def incompleteness(y: Array, rows: Array) -> float:
    """Return ``max |y - sum_s r^s| / max(max |y|, max sum_s |r^s|)``; rows are ``[S, *E]``."""
    with np.errstate(all="ignore"):
        a, r = y.astype(np.float64), rows.astype(np.float64)
        off, size = np.abs(a - r.sum(0)), np.maximum(np.abs(a), np.abs(r).sum(0))
        return _ratio(off, size, np.isfinite(a))


def gap(rows: Array, other: Array, y: Array) -> float:
    """Return the largest difference of two relevances of y, on the scale of `incompleteness`."""
    if rows.shape != other.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        a, r = y.astype(np.float64), rows.astype(np.float64)
        off = np.abs(r - other.astype(np.float64)).max(0, initial=0.0)
        return _ratio(off, np.maximum(np.abs(a), np.abs(r).sum(0)), np.isfinite(a))


def _ratio(off: Array, scale: Array, there: Array) -> float:
    """Return the largest `off` over the largest `scale`; NaN counts as infinite."""
    if not there.any():
        return 0.0
    worst, size = float(off[there].max()), float(scale[there].max())
    if not np.isfinite(worst) or not np.isfinite(size):
        return float("inf")
    return worst / size if size else worst


def completeness(name: str, rows: Sequence[Row], runs: Sequence[Run], bound: float) -> Check:
    """Judge the completeness of every explained tensor in every run."""
    found = [(incompleteness(run[r.value], run[r.relevance]), r) for run in runs for r in rows]
    value, row = max(found, key=lambda pair: pair[0])
    return judged(name, value, bound, "" if value <= bound else f"worst in `{row.relevance}`")


def l1_distance(name: str, rows: Sequence[Row], runs: Sequence[Run]) -> Check:
    """Report mean and deviation of ``|y - sum_s r^s|_1`` over samples ([RFP] Table S4)."""
    found: list[float] = []
    for run in runs:
        for row in rows:
            y = run[row.value].astype(np.float64)
            off = np.abs(y - run[row.relevance].astype(np.float64).sum(0))
            found += [float(np.sum(part)) for part in (off if off.ndim else [off])]
    note = f"mean over {len(found)} samples, standard deviation {np.std(found or [0.0]):.1e}"
    return reported(name, float(np.mean(found or [0.0])), note)


def file_sums(
    rows: Sequence[Row],
    runs: Sequence[Run],
    values: Sequence[Run],
    plan: Plan,
    bound: float,
    name: str = "relevances in the file sum up",
) -> Check:
    """Judge the sum of the relevances in the file itself against the explained tensors."""
    worst = 0.0
    for run, value in zip(runs, values, strict=True):
        for row in rows:
            y = picked(value[row.value], row, plan)
            worst = max(worst, incompleteness(y, run[row.relevance]))
    if plan.options.bias == "split_signed":
        return reported(name, worst, "split_signed does not sum up, as printed in the paper")
    return judged(name, worst, bound)


def file_rows(
    rows: Sequence[Row],
    runs: Sequence[Run],
    fresh: Sequence[Run],
    plan: Plan,
    bound: float,
    note: str,
) -> Check:
    """Judge the relevances and explained tensors in the file against a fresh conversion."""
    worst, where = 0.0, ""
    for run, other in zip(runs, fresh, strict=True):
        for row in rows:
            y = picked(other[row.value], row, plan)
            off = gap(other[row.relevance], run[row.relevance], y)
            off = max(off, gap(other[row.value][None], run[row.value][None], other[row.value]))
            if off > worst:
                worst, where = off, row.relevance
    if worst > bound:
        note = "; ".join(filter(None, [f"worst in `{where}`", note]))
    return judged("relevances as converted afresh", worst, bound, note)


def picked(y: Array, row: Row, plan: Plan) -> Array:
    """Return the explained tensor as it is read out: all of it, or its winning class."""
    if plan.options.readout != "predicted" or not y.ndim:
        return y
    axis = row.of.class_axis
    best = np.expand_dims(np.argmax(y, axis), axis)
    return np.take_along_axis(y, best, axis).squeeze(axis)


def first_break(explicit: Converted, evaluate: Evaluate, bound: float) -> str:
    """Return the first node in the order of the file behind which streams do not sum up."""
    plan = explicit.plan
    b = Builder(plan.graph, "verify")
    walked = Forward(plan, b)
    sums = {step.y: _sums(b, walked, step) for step in plan.steps}
    model = model_with(plan.graph.proto, b)
    model.graph.input.extend(explicit.model.graph.input[len(model.graph.input) :])
    names = list(dict.fromkeys(name for y, pair in sums.items() for name in (y, *pair)))
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(ValueInfoProto(name=n) for n in names if n not in known)
    values = evaluate(model, names)
    for step in plan.steps:
        y, sum_, size = (values[n].astype(np.float64) for n in (step.y, *sums[step.y]))
        if _ratio(np.abs(y - sum_), np.maximum(np.abs(y), size), np.isfinite(y)) > bound:
            return f"first at `{step.node.label}` ({step.node.op})"
    return "every node on the way holds: it is the read-out"


def _sums(b: Builder, walked: Forward, step: Step) -> tuple[str, str]:
    """Return the sum of a step's streams with bias, and the sum of their sizes."""
    values: list[Value] = list(walked.streams[step.y].values())
    if step.y in walked.bias:
        values.append(walked.bias[step.y])
    dense = [whole(b, v) for v in values]
    sizes = [Value(b.op("Abs", v.name), v.stack) for v in dense]
    return total(b, dense), total(b, sizes)
