"""Several targets of a file that takes one at run time: a run for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rfponnx.runtime.description import Description
from rfponnx.runtime.ports import Port
from rfponnx.runtime.results import Results


def rows_of(
    feeds: Mapping[str, Any], ports: Sequence[Port], d: Description | None
) -> list[dict[str, Any]]:
    """Return inputs for each target, where classes are given as [T, N] instead of [N].

    Nothing where they are given for one target only, or where the file has several already.
    """
    if d is None or any(r.several for r in d.relevances):
        return []
    for one in d.extras:
        rank = next((len(p.shape) for p in ports if p.name == one.name), None)
        given = np.asarray(feeds.get(one.name))
        if one.kind == "target" and rank is not None and given.ndim == rank + 1:
            return [{**feeds, one.name: row} for row in given]
    return []


def stacked(runs: Sequence[Results]) -> Results:
    """Return the results of runs that differ in the target, as those of a file with several."""
    first = runs[0]
    d, targets = first.described, tuple(f"target{t + 1}" for t in range(len(runs)))
    arrays = dict(first)
    for one in d.relevances:
        arrays[one.output] = np.stack([run[one.output] for run in runs])
    entries = tuple(replace(r, several=True, targets=targets) for r in d.relevances)
    names = [e.name for e in d.extras if e.kind == "target"]
    extras = {**first.extras, **{n: np.stack([run.extras[n] for run in runs]) for n in names}}
    return Results(arrays, replace(d, relevances=entries), first.model, extras)
