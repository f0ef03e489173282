"""Which samples of a backward run are which: the explained tensor's and the inputs'."""

from __future__ import annotations

from dataclasses import dataclass

from rfponnx.runtime.results import Results
from rfponnx.runtime.summary import View


@dataclass(frozen=True, slots=True)
class Followed:
    """The samples of a run.

    Attributes
    ----------
    count
        How many there are.
    lone
        Whether there is only one and no axis counts it: the classes lie along axis 0.
    view
        The explained tensor with as many samples; ``None`` where it is not in the file, or its
        samples are not those of the inputs.
    """

    count: int
    lone: bool
    view: View | None


def followed(results: Results) -> Followed:
    """Return how the samples of the inputs and of the explained tensor belong together."""
    d = results.described
    one = d.readouts[0]
    counts = [
        results[r.output].shape[r.sample_axis]
        for r in d.of_kind("input", "tap", "sources")
        if results[r.output].ndim > r.sample_axis
    ]
    if not one.values:
        return Followed(max(counts, default=1), False, None)
    view, explained = results.values_view(), results.explained()
    if one.class_axis == 0:
        # [N], a score for each sample, reads like [C] too: then the inputs tell
        apart = explained.ndim == 1 and len(explained) in counts
        return Followed(max(counts), False, None) if apart else Followed(1, True, view)
    count = len(view.values)
    if counts and count not in counts:
        return Followed(max(counts), False, None)
    return Followed(count, False, view)
