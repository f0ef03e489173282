"""Random inputs for a session: what nobody gave is drawn, masks included."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rfponnx.errors import OptionError
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.runtime.ports import Array, Port, checked
from rfponnx.runtime.session import Model, Session
from rfponnx.verify.engine import Runner
from rfponnx.verify.samples import Samples, owners

MASKS = 2  # sources of a model whose number of sources is free


def drawn(
    session: Session, model: Model, given: Mapping[str, Array], *, seed: int, batch: int | None
) -> dict[str, Array]:
    """Return an array for every input: the given ones, and random ones that the model runs on.

    Parameters
    ----------
    model
        What the session was made from: its graph says which values an input expects.
    batch
        Samples; ``None``: as many as the given arrays have, else 1.

    Raises
    ------
    InputError
        No sizes were found that the model runs on.
    OptionError
        `batch` is asked for and no input leaves its first axis free.
    """
    data = data_inputs(session)
    checked(given, session.inputs, session.name, partial=True)
    if all(p.name in given for p in session.inputs):
        return dict(given)
    if batch is not None:
        check_batch(data, batch)
    wanted = batch or next((len(given[p.name]) for p in data if p.name in given and p.shape), 1)
    graph = copy.copy(Graph(prepare(load(model), 1)))
    graph.inputs = tuple(p.name for p in data)
    runner = _Runner(session, given, np.random.default_rng(seed))
    samples = Samples(graph, runner, seed)
    return runner.completed(samples.draw(0, wanted).feeds)


def data_inputs(session: Session) -> tuple[Port, ...]:
    """Return the inputs of the original model: all but the run-time masks of sources."""
    d = session.description
    known = [p for p in session.inputs if d is None or not d.inputs or p.name in d.inputs]
    return tuple(known)


def check_batch(ports: Sequence[Port], batch: int) -> None:
    """Refuse a number of samples that the model does not take."""
    if batch < 1:
        raise OptionError(f"{batch} samples", "--batch", "give 1 or more")
    fixed = {p.shape[0] for p in ports if p.shape}
    if fixed and not any(d is None or isinstance(d, str) for d in fixed) and fixed != {batch}:
        p = next(p for p in ports if p.shape)
        what = f"the first axis of `{p.name}` {p.text} is not free"
        raise OptionError(what, f"--batch {batch}", f"leave it out: the model runs {p.shape[0]}")


class _Runner(Runner):
    """Runs drawn inputs with what was given in their place, and with masks."""

    def __init__(self, session: Session, given: Mapping[str, Array], rng: Any) -> None:
        self._of, self._given, self._rng = session, given, rng
        self.inputs = tuple(p.name for p in session.inputs)
        self.outputs = tuple(p.name for p in session.outputs)

    def run(
        self, feeds: Mapping[str, Array], names: Sequence[str] | None = None
    ) -> dict[str, Array]:
        return dict(self._of.run(self.completed(feeds)))

    def completed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return an array for every input of the session."""
        found = {name: self._given.get(name, array) for name, array in feeds.items()}
        for p in self._of.inputs:
            if p.name not in found:
                found[p.name] = (
                    self._given[p.name] if p.name in self._given else self._mask(p, found)
                )
        return found

    def _mask(self, p: Port, feeds: Mapping[str, Array]) -> Array:
        """Return masks of sources that own every entry between them, or leave it to nobody."""
        d = self._of.description
        assert d is not None
        several = d.masks is not None
        texts = [d.masks or "", *d.specs]
        tensor = next((n for n in feeds if any(_masks(t, n) for t in texts)), "")
        sources = [s for s, spec in zip(d.sources, d.specs, strict=True) if _masks(spec, tensor)]
        shape = feeds[tensor].shape if tensor else (1,) * (len(p.shape) - several)
        owned = owners(np.random.default_rng(0), shape, MASKS if several else max(len(sources), 1))
        if several:
            return np.asarray(owned, p.numpy)
        place = sources.index(p.name.removesuffix("_mask")) if sources else 0
        return np.asarray(owned[place], p.numpy)


def _masks(spec: str, tensor: str) -> bool:
    """Tell whether a source, or the entry `masks`, is a run-time mask of a tensor."""
    return spec == tensor or f"{tensor}@mask" in spec or f"'{tensor}'@mask" in spec
