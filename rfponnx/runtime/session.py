"""Running models: named results, in pieces where memory is short."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from rfponnx.errors import OptionError
from rfponnx.graph.load import load
from rfponnx.runtime.backward import completed
from rfponnx.runtime.chunks import Sizes, cut, joined_samples, joined_sources, sizes
from rfponnx.runtime.description import describe
from rfponnx.runtime.engine import SHORT, Engine, NoMemory, Provider, Setting
from rfponnx.runtime.memory import resident
from rfponnx.runtime.ports import Array, Port, checked
from rfponnx.runtime.results import Results
from rfponnx.runtime.targets import rows_of, stacked

__all__ = ["Model", "Results", "Session"]

Model = str | os.PathLike[str] | bytes | onnx.ModelProto


class Session:
    """A loaded model, converted or not.

    Parameters
    ----------
    model
        A path (external data is found beside it), the bytes of a file, or a ModelProto.
    providers
        ``"cpu"``, ``"cuda"``, or full names with options, the preferred one first.  One that is
        not there is an error, never replaced.
    threads
        Of one operator; ``None`` leaves it to ONNX Runtime.
    memory
        About how many megabytes a run may take; it then goes by samples and, with run-time
        masks, by sources.  Without a budget all is run at once, and in halves if that fails.
    optimisation
        Of the graph when loading: ``all``, ``extended``, ``basic``, ``none``.
    spinning
        Whether idle threads wait actively: lower latency, more processor time.

    Attributes
    ----------
    inputs, outputs
        Names, types and shapes.
    description
        What a converted file says of itself; ``None`` for an original.

    Raises
    ------
    ModelError
        It cannot be read, or ONNX Runtime does not load it.
    OptionError
        A provider is not available.
    """

    def __init__(
        self,
        model: Model,
        providers: Provider | Sequence[Provider] = "cpu",
        *,
        threads: int | None = None,
        memory: float | None = None,
        optimisation: str = "all",
        spinning: bool = True,
    ) -> None:
        given = (providers,) if isinstance(providers, (str, tuple)) else tuple(providers)
        if memory is not None and not memory > 0:
            raise OptionError(f"a budget of {memory} MB", "--memory", "give a number above 0")
        setting = Setting(_limited(given, memory), threads, optimisation, spinning)
        source, self.name = _source(model)
        self.engine = Engine(source, setting, self.name)
        self.inputs: tuple[Port, ...] = self.engine.inputs
        self.outputs: tuple[Port, ...] = self.engine.outputs
        text = self.engine.metadata.get("rfponnx")
        self.description = describe(text, self.inputs, self.outputs, self.name)
        self._memory, self._unit = memory, 0.0

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers at work, in short names, the preferred one first."""
        return self.engine.providers

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources of a converted file, without bias."""
        return self.description.sources if self.description is not None else ()

    def run(
        self, feeds: Mapping[str, Any], *, batch: int | None = None, sources: int | None = None
    ) -> Results:
        """Run the model.

        Parameters
        ----------
        feeds
            An array for every input, but for noise, which is drawn from the seed in the file.
            Classes to explain may be given as [T, N] instead of [N]: then T targets are run one
            after the other.
        batch
            Samples at a time: axis 0 of the inputs that leave it free.
        sources
            Sources at a time, where they are given as run-time masks [S, ...].

        Raises
        ------
        InputError
            An array does not fit: its name, its type, its shape, NaN; or the model does not run.
        OptionError
            `batch` or `sources` is below 1, or the samples cannot be told apart.
        """
        rows = rows_of(feeds, self.inputs, self.description)
        if rows:
            return stacked([self.run(row, batch=batch, sources=sources) for row in rows])
        arrays = self.checked(feeds)
        size = sizes(arrays, self.inputs, self.description)
        self._check_cut(size, batch, sources)
        if batch is None and sources is None and self._memory is not None:
            batch, sources = self._within(arrays, size, self._memory)
        found = self._attempt(
            arrays, size, min(batch or size.samples, size.samples),
            min(sources or size.sources, size.sources),
        )  # fmt: skip
        entries = self.description.extras if self.description is not None else ()
        extra = {e.name: arrays[e.name] for e in entries}
        return Results(found, self.description, self.name, extra)

    def checked(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return the arrays of all inputs, each of them fitting.

        Raises
        ------
        InputError
            See `run`.
        """
        given: Mapping[str, Any] = feeds
        if self.description is not None and self.description.extras:
            given = completed(feeds, self.description.extras, self.inputs, self.name)
        return checked(given, self.inputs, self.name)

    def _check_cut(self, size: Sizes, batch: int | None, sources: int | None) -> None:
        for option, count in (("--batch", batch), ("--sources", sources)):
            if count is not None and count < 1:
                raise OptionError(f"{count} at a time", option, "give 1 or more")
        if batch is not None and not size.clear:
            what = "the inputs differ in axis 0, so samples cannot be told apart"
            raise OptionError(what, f"--batch {batch}", "leave it out")
        if sources is not None and not size.masks:
            what = "the sources are not given at run time"
            raise OptionError(what, "--sources", "convert with --source-masks")
        linear = self.description is None or self.description.linear
        if sources is not None and not linear and sources < size.sources:
            what = "the bias is split among the sources, so they run together"
            raise OptionError(what, "--sources", "convert with --bias separate")

    def _attempt(
        self, arrays: Mapping[str, Array], size: Sizes, batch: int, sources: int
    ) -> dict[str, Array]:
        """Run in pieces of this size, in smaller ones where memory does not suffice."""
        try:
            return self._in_samples(arrays, size, batch, sources)
        except NoMemory:
            apart = self.description is None or self.description.linear
            if batch > 1 and size.sample_axes:
                return self._attempt(arrays, size, -(-batch // 2), sources)
            if sources > 1 and apart:
                return self._attempt(arrays, size, batch, -(-sources // 2))
            raise

    def _in_samples(
        self, arrays: Mapping[str, Array], size: Sizes, batch: int, sources: int
    ) -> dict[str, Array]:
        if batch >= size.samples:
            return self._in_sources(arrays, size, sources)
        starts = range(0, size.samples, batch)
        counts = [min(batch, size.samples - first) for first in starts]
        runs = [
            self._in_sources(cut(arrays, size.sample_axes, first, count), size, sources)
            for first, count in zip(starts, counts, strict=True)
        ]
        return joined_samples(runs, counts, self.outputs, self.description, self.name)

    def _in_sources(
        self, arrays: Mapping[str, Array], size: Sizes, sources: int
    ) -> dict[str, Array]:
        if sources >= size.sources or self.description is None:
            return self.engine.run(arrays)
        starts = range(0, size.sources, sources)
        runs = [self.engine.run(cut(arrays, {size.masks: 0}, s, sources)) for s in starts]
        return joined_sources(runs, self.description)

    def _within(
        self, arrays: Mapping[str, Array], size: Sizes, budget: float
    ) -> tuple[int | None, int | None]:
        """Return how many samples and sources at a time fit a budget in megabytes.

        One sample with one source is run to see by how much the process grows.
        """
        apart = self.description is None or self.description.linear
        cut_sources = size.sources > 1 and apart
        if not size.sample_axes and not cut_sources:
            return None, None
        one = cut(arrays, size.sample_axes, 0, 1)
        one = cut(one, {size.masks: 0}, 0, 1) if cut_sources else one
        if not self._unit:
            before = resident()
            self.engine.run(one)
            self._unit = max(resident() - before, 0.01)
        units = max(1, int(budget / self._unit))
        if not cut_sources:
            return units, None
        if not size.sample_axes:
            return None, max(1, units // size.samples)
        return max(1, units // size.sources), min(units, size.sources)


def _source(model: Model) -> tuple[str | bytes, str]:
    """Return what ONNX Runtime is given, and a name for messages."""
    if isinstance(model, onnx.ModelProto):
        return model.SerializeToString(), "model"
    if isinstance(model, bytes):
        return model, "model"
    path = Path(model)
    try:
        readable = path.is_file()
    except (OSError, ValueError):
        readable = False
    if not readable:
        load(path)  # says why
    return str(path), path.name


def _limited(providers: Sequence[Provider], memory: float | None) -> tuple[Provider, ...]:
    """Hand a memory budget to the CUDA provider, which keeps to it by itself."""
    if memory is None:
        return tuple(providers)
    limit = {"gpu_mem_limit": int(memory * 2**20)}
    found: list[Provider] = []
    for entry in providers:
        name, options = (entry, {}) if isinstance(entry, str) else entry
        cuda = SHORT.get(name.lower(), name) == SHORT["cuda"]
        found.append((name, {**limit, **options}) if cuda else entry)
    return tuple(found)
