"""What a relevance graph costs: both models in one process, in turns, on the same inputs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rfponnx.errors import OptionError
from rfponnx.runtime.draw import check_batch, data_inputs, drawn
from rfponnx.runtime.memory import resident
from rfponnx.runtime.ports import Array
from rfponnx.runtime.session import Model, Session

WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the rounds of one model: on the clock, and of the processor on all cores."""

    wall_min: float
    wall_median: float
    cpu_min: float
    cpu_median: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured.

    Attributes
    ----------
    original, converted
        Times of a run with all its samples.
    ratio_wall, ratio_cpu
        Of the minima, converted to original.
    memory
        Resident megabytes that loading and running each model added, in this order.
    sources
        How many the converted model has, ``None`` if that is known at run time only.
    """

    batch: int
    rounds: int
    threads: int | None
    provider: str
    original: Times
    converted: Times
    ratio_wall: float
    ratio_cpu: float
    memory: Mapping[str, float]
    sources: int | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def bench(
    original: Model,
    converted: Model,
    *,
    batch: int | None = None,
    rounds: int = 10,
    inputs: Mapping[str, Array] | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Bench:
    """Measure both models, interleaved, after a warm-up; idle threads sleep.

    Parameters
    ----------
    batch
        Samples of random inputs.
    inputs
        Arrays by name instead.

    Raises
    ------
    RfpError
        A model that cannot be loaded, inputs that do not fit, fewer than one round.
    """
    if rounds < 1:
        raise OptionError(f"{rounds} rounds", "--rounds", "give 1 or more")
    say = progress or (lambda _: None)
    say("loading the original")
    own = _ready(original, dict(inputs or {}), True, batch, provider, threads)
    say("loading the converted")
    feeds = {**(inputs or {}), **own.feeds}
    second = _ready(converted, feeds, False, batch, provider, threads)
    times = [_times(t) for t in _interleaved((own.call, second.call), rounds, say)]
    described = second.session.description
    static = described is not None and described.masks is None
    return Bench(
        batch=next((len(a) for a in own.feeds.values() if a.ndim), 1),
        rounds=rounds,
        threads=threads,
        provider=second.session.providers[0],
        original=times[0],
        converted=times[1],
        ratio_wall=times[1].wall_min / times[0].wall_min,
        ratio_cpu=times[1].cpu_min / times[0].cpu_min if times[0].cpu_min else float("nan"),
        memory={
            "original_loaded": own.loaded, "original_run": own.ran,
            "converted_loaded": second.loaded, "converted_run": second.ran,
        },
        sources=len(described.sources) if static and described is not None else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ready:
    """A model that has run before: its inputs, a call that runs it, megabytes it added."""

    session: Session
    feeds: Mapping[str, Array]
    call: Callable[[], object]
    loaded: float
    ran: float


def _ready(
    model: Model,
    given: Mapping[str, Array],
    only_its_own: bool,
    batch: int | None,
    provider: str,
    threads: int | None,
) -> _Ready:
    """Load a model and run it a few times.

    Parameters
    ----------
    only_its_own
        Whether inputs that the model does not have (masks of sources) are left out.
    """  # fmt: skip
    before = resident()
    session = Session(model, provider, threads=threads, spinning=False)
    loaded = resident() - before
    if batch is not None:
        check_batch(data_inputs(session), batch)
    if only_its_own:
        given = {p.name: given[p.name] for p in session.inputs if p.name in given}
    feeds = drawn(session, model, given, seed=0, batch=batch)
    call = session.engine.bind(session.checked(feeds))
    before = resident()
    for _ in range(WARM_UP):
        call()
    return _Ready(session, feeds, call, loaded, loaded + resident() - before)


def _interleaved(
    runs: Sequence[Callable[[], object]], rounds: int, say: Callable[[str], None]
) -> list[list[tuple[float, float]]]:
    """Return wall and processor seconds of every round of every run, in turns."""
    found: list[list[tuple[float, float]]] = [[] for _ in runs]
    collected = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            say(f"round {index + 1} of {rounds}")
            for place, call in enumerate(runs):
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                found[place].append((time.perf_counter() - wall, time.process_time() - cpu))
    finally:
        if collected:
            gc.enable()
    return found


def _times(rounds: Sequence[tuple[float, float]]) -> Times:
    wall, cpu = zip(*rounds, strict=True)
    return Times(min(wall), median(wall), min(cpu), median(cpu))
