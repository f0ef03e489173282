"""The same prediction, bit for bit, and no NaN or infinity of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rfponnx.verify.engine import Array
from rfponnx.verify.report import Check, judged, reported
from rfponnx.verify.samples import Sample

Run = Mapping[str, Array]  # outputs by name


def unchanged(samples: Sequence[Sample], runs: Sequence[Run]) -> Check:
    """Count the entries of the original outputs that are not the same bits (NaN equals NaN)."""
    found = {
        name: sum(
            differing(s.outputs[name], run[name]) for s, run in zip(samples, runs, strict=True)
        )
        for name in samples[0].outputs
    }
    worst = max(found, key=lambda name: found[name])
    total = sum(_count(v) for s in samples for v in s.outputs.values())
    note = f"worst in `{worst}`" if found[worst] else f"{total} entries, {_sizes(samples)}"
    return judged("prediction, not optimised", sum(found.values()), 0, note)


def optimised(samples: Sequence[Sample], runs: Sequence[Run]) -> Check:
    """Report the largest difference that graph optimisation makes, relative to the output."""
    worst, where, decided = 0.0, "", 0
    for sample, run in zip(samples, runs, strict=True):
        for name, one in sample.outputs.items():
            if not _is_float(one):
                decided += differing(one, run[name])
                continue
            gap = relative_gap(one, run[name])
            if gap > worst:
                worst, where = gap, name
    note = f"largest in `{where}`" if where else ""
    if decided:
        note = f"{note}; {decided} integer entries differ".lstrip("; ")
    return reported("prediction, optimised", worst, note)


def optimised_relevances(names: Sequence[str], runs: Sequence[Run], fast: Sequence[Run]) -> Check:
    """Report what optimisation does to the relevances: a piece that changes shows there."""
    found = {
        n: max(relative_gap(a[n], b[n]) for a, b in zip(runs, fast, strict=True)) for n in names
    }
    worst = max(found, key=lambda name: found[name])
    note = f"largest in `{worst}`" if found[worst] else ""
    return reported("relevances, optimised", found[worst], note)


def numbers(runs: Sequence[Run], originals: Sequence[Run], excused: Mapping[str, str]) -> Check:
    """Count NaN and infinity in all outputs, but where the original has them itself.

    Parameters
    ----------
    originals
        The same runs' original outputs and explained tensors.
    excused
        For a relevance, the tensor that it explains.
    """
    found: dict[str, int] = {}
    for run, original in zip(runs, originals, strict=True):
        for name, value in run.items():
            if not _is_float(value):
                continue
            bad = ~np.isfinite(value)
            like = original.get(excused.get(name, name))
            if like is not None and bad.shape[bad.ndim - like.ndim :] == like.shape:
                bad &= np.isfinite(like)
            elif like is not None and not np.isfinite(like).all():
                continue
            found[name] = found.get(name, 0) + int(bad.sum())
    worst = max(found, key=lambda name: found[name], default="")
    note = f"worst in `{worst}`" if worst and found[worst] else ""
    return judged("NaN or infinity", sum(found.values()), 0, note)


def differing(one: Any, two: Any) -> int:
    """Return how many entries are not bit-identical; all of them if type or shape differs."""
    if isinstance(one, list | tuple):
        if len(one) != len(two):
            return max(len(one), len(two))
        return sum(map(differing, one, two))
    if not isinstance(one, np.ndarray):
        return int(one != two)
    if not isinstance(two, np.ndarray) or one.dtype != two.dtype or one.shape != two.shape:
        return max(one.size, 1)
    if not _is_float(one):
        return int(np.count_nonzero(one != two))
    bits = np.dtype(f"u{one.dtype.itemsize}")
    other = np.ascontiguousarray(one).view(bits) != np.ascontiguousarray(two).view(bits)
    return int(np.count_nonzero(other & ~(np.isnan(one) & np.isnan(two))))


def relative_gap(one: Array, two: Array) -> float:
    """Return ``max |a - b| / max |a|`` over the entries where both are finite."""
    if one.shape != two.shape:
        return float("inf")
    a, b = one.astype(np.float64), two.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return 0.0
    gap, scale = float(np.abs(a - b)[both].max()), float(np.abs(a)[both].max())
    return gap / scale if scale else gap


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _count(value: Any) -> int:
    return int(value.size) if isinstance(value, np.ndarray) else 1


def _sizes(samples: Sequence[Sample]) -> str:
    shapes = [v.shape for s in samples for v in list(s.feeds.values())[:1]]
    return "inputs " + ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
