"""A run in pieces: over samples, and over sources that come in as run-time masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rfponnx.errors import InputError
from rfponnx.runtime.description import Description
from rfponnx.runtime.ports import Array, Port


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to run, and how it may be cut.

    Attributes
    ----------
    samples, sources
        How many; 1 source where they are not given at run time.
    clear
        Whether all inputs that leave axis 0 free have as many samples.
    sample_axes
        By input: the axis that counts the samples.  Empty: there is nothing to cut.
    masks
        The input [S, ...] that holds a mask for each source; empty if there is none.
    """

    samples: int
    sources: int
    clear: bool
    sample_axes: Mapping[str, int]
    masks: str


def sizes(feeds: Mapping[str, Array], ports: Sequence[Port], d: Description | None) -> Sizes:
    """Return what can be cut: axis 0 of every input that leaves it free, if they all agree."""
    masks = f"{d.masks}_masks" if d is not None and d.masks is not None else ""
    own = [p for p in ports if d is None or not d.inputs or p.name in d.inputs]
    free = [p.name for p in own if p.shape and not isinstance(p.shape[0], int)]
    counts = {feeds[name].shape[0] for name in free}
    samples = next(iter(counts)) if len(counts) == 1 else 1
    axes = dict.fromkeys(free, 0) if samples > 1 else {}
    extra = {e.name: e.sample_axis for e in d.extras} if d is not None else {}
    for p in ports if axes else ():
        axis = extra.get(p.name, int(p.name == masks))
        if p not in own and feeds[p.name].shape[axis : axis + 1] == (samples,):
            axes[p.name] = axis
    sources = len(feeds[masks]) if masks else 1
    return Sizes(samples, sources, len(counts) <= 1, axes, masks)


def cut(
    feeds: Mapping[str, Array], axes: Mapping[str, int], first: int, count: int
) -> dict[str, Array]:
    """Return some of the samples (or sources): `count` of them from `first` on."""
    found = dict(feeds)
    for name, axis in axes.items():
        where = (*(slice(None),) * axis, slice(first, first + count))
        found[name] = np.ascontiguousarray(feeds[name][where])
    return found


def joined_samples(
    runs: Sequence[Mapping[str, Array]],
    counts: Sequence[int],
    ports: Sequence[Port],
    d: Description | None,
    model: str,
) -> dict[str, Array]:
    """Put the outputs of runs over parts of the samples together again.

    Raises
    ------
    InputError
        An output does not go by samples.
    """  # fmt: skip
    if len(runs) == 1:
        return dict(runs[0])
    behind = _sample_axes(d) if d is not None else {}
    together = {r.output for r in d.of_kind("bias", "leak")} if d is not None else set()
    found = {}
    for p in ports:
        if p.name not in runs[0]:
            continue
        axis = behind.get(p.name, 0)
        arrays = [run[p.name] for run in runs]
        free = len(p.shape) > axis and not isinstance(p.shape[axis], int)
        if free and [a.shape[axis] for a in arrays] == list(counts):
            found[p.name] = np.concatenate(arrays, axis=axis)
        elif p.name in together and all(a.shape[axis:] == (1,) for a in arrays):
            found[p.name] = np.sum(arrays, axis=0, dtype=arrays[0].dtype)
        elif all(np.array_equal(a, arrays[0]) for a in arrays):
            found[p.name] = arrays[0]
        else:
            what = f"the output `{p.name}` does not go by samples"
            raise InputError(what, model, "run all samples at once, without --batch")
    return found


def _sample_axes(d: Description) -> dict[str, int]:
    """Return the axis of the samples of every output where it is not the first."""
    forward = {r.relevance: 1 for r in d.readouts if r.relevance and r.class_axis != 0}
    return forward | {r.output: r.sample_axis for r in d.relevances}


def joined_sources(runs: Sequence[Mapping[str, Array]], d: Description) -> dict[str, Array]:
    """Put the outputs of runs over parts of the sources together again.

    Every run has its own row for bias, the explained tensor less its sources: the whole bias is
    the first run's less the sources of all others.
    """
    found = dict(runs[0])
    rows = {r.relevance: 0 for r in d.readouts if r.relevance}
    rows |= {r.output: int(r.several) for r in d.of_kind("sources")}
    for name, axis in rows.items() if len(runs) > 1 else ():
        parts = [np.moveaxis(run[name], axis, 0) for run in runs]
        bias = parts[0][-1] - sum(r[:-1].sum(axis=0) for r in parts[1:])
        whole = np.concatenate([*(r[:-1] for r in parts), bias[np.newaxis]])
        found[name] = np.moveaxis(whole, 0, axis)
    return found
