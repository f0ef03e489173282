"""Several converted files of one original, run on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence

from rfponnx.errors import OptionError
from rfponnx.runtime.ports import Port
from rfponnx.runtime.session import Session


def check_alike(sessions: Sequence[Session]) -> None:
    """Refuse files that cannot stand side by side.

    Raises
    ------
    OptionError
        One is not of the backward direction, or they come of different originals.
    """
    if len(sessions) < 2:
        return
    first = sessions[0]
    for one in sessions:
        d = one.description
        if d is None or not d.backward:
            what = "is not a file of the backward direction"
            hint = "only those are shown side by side; run it alone"
            raise OptionError(what, one.name, hint)
        assert first.description is not None
        ends = (d.inputs, d.outputs), (first.description.inputs, first.description.outputs)
        if ends[0] != ends[1] or _shapes(one) != _shapes(first):
            what = f"has other inputs or outputs than {first.name}"
            raise OptionError(what, one.name, "give files that were converted from one original")


def _shapes(session: Session) -> list[tuple[str, str, list[int]]]:
    """Return names, types and sizes of the inputs of the original, -1 for a free size."""
    d = session.description
    own = [p for p in session.inputs if d is not None and p.name in d.inputs]
    sizes = ([d if isinstance(d, int) else -1 for d in p.shape] for p in own)
    return [(p.name, p.dtype, size) for p, size in zip(own, sizes, strict=True)]


def shared_ports(sessions: Sequence[Session]) -> tuple[Port, ...]:
    """Return the inputs of all sessions, each name once."""
    found = {p.name: p for one in reversed(sessions) for p in one.inputs}
    return tuple(found[name] for name in dict.fromkeys(p.name for s in sessions for p in s.inputs))


def no_data(sessions: Sequence[Session]) -> set[str]:
    """Return the inputs whose numbers are no data: masks, targets, seeds and noise."""
    found: set[str] = set()
    for one in sessions:
        d = one.description
        if d is not None and d.inputs:
            references = {e.name for e in d.extras if e.kind == "reference"}
            found |= {p.name for p in one.inputs} - set(d.inputs) - references
    return found
