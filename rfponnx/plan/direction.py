"""Which way the sums per source are computed, where both give the same numbers (DESIGN 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rfponnx.errors import OptionError
from rfponnx.plan.merge import weight_of
from rfponnx.plan.options import Options

if TYPE_CHECKING:
    from rfponnx.plan.plan import Step

BACK = 1.3  # what pulling through a layer costs, in pushes through it


def direction(options: Options, steps: Sequence[Step], *, linear: bool) -> tuple[str, str]:
    """Return ``forward`` or ``backward``, and why.

    Parameters
    ----------
    steps
        With the groups of sources alive at each.
    linear
        Whether every step is a choice of a linear map, so that streams can be pushed.

    Raises
    ------
    OptionError
        The direction that is asked for does not give what is asked for.
    """
    own, asked = options.way.direction, options.direction
    free = options.readout == "sources" and options.way.times_input and linear
    if not free:
        natural = "backward" if options.backward else own
        if asked not in ("auto", natural):
            what = f"{options.method} with --readout {options.readout} goes {natural}"
            hint = "--readout sources can be had both ways, under rules in multiplier form"
            raise OptionError(what, f"--direction {asked}", hint)
        return natural, ""
    forward, backward = costs(steps)
    best = "forward" if forward <= backward else "backward"
    chosen = best if asked == "auto" else asked
    why = f"about {forward:.1f} passes forward, {backward:.1f} backward"
    return chosen, why


def costs(steps: Sequence[Step]) -> tuple[float, float]:
    """Return how many passes pushing all sources and pulling one target take, by layers."""
    layers = [s for s in steps if any(_weighted(t.map) for t in s.linearisation.terms)]
    if not layers:
        layers = list(steps)
    pushes = sum(max(len(g.members), 1) for s in layers for g in s.groups)
    count = max(len(layers), 1)
    return pushes / count, BACK


def _weighted(form: object) -> bool:
    from rfponnx.maps.base import Then

    maps = form.maps if isinstance(form, Then) else (form,)
    return any(weight_of(m) is not None for m in maps)  # type: ignore[arg-type]
