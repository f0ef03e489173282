"""Inputs that a model runs on, chosen without help: sizes tried small first, values by law."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, ValueInfoProto

from rfponnx.errors import InputError, RfpError, nearest
from rfponnx.graph.graph import Graph
from rfponnx.verify.engine import Array, Engine, Runner, Values
from rfponnx.verify.inputs import Law, law_of, size_hints

#: Sizes of a free dimension, in the order in which they are tried.
SIZES = (32, 64, 16, 48, 96, 128, 224, 8, 24, 20, 28, 256, 299, 10, 5, 3, 1, 2, 4, 12, 100, 512)
WAYS = ("normal", "positive", "small")
PATIENCE = 60.0  # seconds of search for sizes that run
LARGEST = 2**31  # entries of an input

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs, and what the original model makes of them with optimisation off.

    Attributes
    ----------
    feeds, outputs
        Tensors by name.
    sizes
        What the free dimensions were taken as.
    """

    feeds: Values
    outputs: Values
    sizes: Sizes

    @property
    def elements(self) -> int:
        """How large the inputs are."""
        return sum(v.size for v in self.feeds.values())


class Samples:
    """Random inputs of a model, the same for the same seed.

    Parameters
    ----------
    graph
        The analysed original.
    engine
        Where it runs, optimisation off.
    """

    def __init__(self, graph: Graph, engine: Engine, seed: int = 0) -> None:
        self._graph, self._engine, self._seed = graph, engine, seed
        self._original = engine.open(graph.prepared.loaded)
        self._inner: Runner | None = None
        shapes = [_symbols(graph, name) for name in graph.inputs if graph.shape(name) is not None]
        free = dict.fromkeys(d for s in shapes for d in s if isinstance(d, str))
        self._front = {s[0] for s in shapes if s and isinstance(s[0], str)}
        self._hints = {s: h for s, h in size_hints(graph).items() if s in free}
        self._rest = [s for s in free if s not in self._front and s not in self._hints]
        self._laws: dict[str, Law] = {}
        self._found: dict[int, Sizes] = {}  # by batch
        self._way = WAYS[0]

    def draw(self, index: int, batch: int) -> Sample:
        """Return sample `index` with this batch, or with a batch of 1 where that fails.

        Raises
        ------
        InputError
            No sizes were found at which the model runs.
        """
        self._laws = self._laws or {n: law_of(self._graph, n) for n in self._graph.inputs}
        known = self._found.get(batch)
        if known is not None:
            return self._at(index, known, self._way)
        return self._search(index, batch)

    def given(self, feeds: Values) -> Sample:
        """Return the sample of explicit inputs.

        Raises
        ------
        InputError
            An input is missing, or a name is none.
        """
        for name in feeds:
            if name not in self._graph.inputs and not name.endswith(("_mask", "_masks")):
                hint = nearest(name, self._graph.inputs)
                raise InputError(f"the model has no input `{name}`", "--input", hint)
        for name in self._graph.inputs:
            if name not in feeds:
                raise InputError(f"no value for the input `{name}`", hint="give it with --input")
        sizes = {
            symbol: int(size)
            for name in self._graph.inputs
            if self._graph.shape(name) is not None
            for symbol, size in zip(_symbols(self._graph, name), feeds[name].shape, strict=False)
            if isinstance(symbol, str)
        }
        return Sample(dict(feeds), self._original.run(feeds), sizes)

    def _search(self, index: int, batch: int) -> Sample:
        """Find sizes at which the model runs and nothing is empty, then values that are finite."""
        began, first, still = time.monotonic(), None, None
        for sizes in self._sizes(batch):
            try:
                sample = self._at(index, sizes, WAYS[0])
                if not self._hollow(sample):
                    return self._finite(index, batch, sample)
                still = still or sample
            except RfpError as error:
                first = first or error
            if time.monotonic() - began > (PATIENCE if still is None else PATIENCE / 10):
                break
        if still is not None:
            return self._finite(index, batch, still)
        raise InputError(
            f"no input was found that the model runs on ({first})",
            self._graph.prepared.loaded.name,
            "give inputs with --input NAME=FILE",
        )

    def _hollow(self, sample: Sample) -> bool:
        """Tell whether some inner tensor has no entries: a pool that got a small image.

        ONNX Runtime goes on with whatever lies in memory there.
        """
        if not self._rest:
            return False
        if self._inner is None:
            self._inner = self._probe()
        return any(v.ndim > 1 and not v.size for v in self._inner.run(sample.feeds).values())

    def _probe(self) -> Runner:
        """Return a session that gives every inner float tensor."""
        graph, model = self._graph, ModelProto()
        model.CopyFrom(graph.proto)
        names = {n for node in graph.nodes for n in node.outputs if n and graph.is_float(n)}
        del model.graph.output[:]
        model.graph.output.extend(ValueInfoProto(name=n) for n in sorted(names))
        loaded = graph.prepared.loaded
        return self._engine.of_proto(model, loaded.folder, loaded.name)

    def _finite(self, index: int, batch: int, sample: Sample) -> Sample:
        """Return the sample, or one drawn another way if the model makes no numbers of it."""
        self._found[batch] = sample.sizes
        for way in WAYS:
            other = sample if way == WAYS[0] else self._at(index, sample.sizes, way)
            if finite(other):
                self._way = way
                return other
        return sample

    def _sizes(self, batch: int) -> Iterator[Sizes]:
        """Yield sizes of all free dimensions: fixed by weights, all equal, then mixed."""
        front, hints, rest = self._front, self._hints, self._rest
        batches = [b for b in (batch, 1) if b <= batch] if front - hints.keys() else [1]
        mixed = itertools.product(SIZES[:8], repeat=len(rest)) if 1 < len(rest) <= 4 else ()
        equal = ((size,) * len(rest) for size in SIZES) if rest else [()]
        for values in itertools.chain(equal, mixed):
            for count in dict.fromkeys(batches):
                yield dict.fromkeys(front, count) | dict(zip(rest, values, strict=True)) | hints

    def _at(self, index: int, sizes: Sizes, way: str) -> Sample:
        rng = np.random.default_rng((self._seed, index))
        shapes = {n: shape_at(_symbols(self._graph, n), sizes) for n in self._graph.inputs}
        if any(math.prod(shape) > LARGEST for shape in shapes.values()):
            raise InputError("an input would have more than 2^31 entries")
        feeds = {name: self._laws[name].draw(rng, shape, way) for name, shape in shapes.items()}
        outputs = self._original.run(feeds)
        if not all(np.size(v) for v in outputs.values()):
            raise InputError("an output has no entries at these sizes")
        return Sample(feeds, outputs, sizes)


def shape_at(shape: Sequence[int | str | None], sizes: Sizes) -> tuple[int, ...]:
    """Return a shape at these sizes; what is not known is 1, which broadcasts."""
    return tuple(d if isinstance(d, int) else sizes.get(str(d), 1) for d in shape)


def _symbols(graph: Graph, name: str) -> tuple[int | str, ...]:
    """Return the dimensions of an input, unnamed ones under a name of their own."""
    shape = graph.shape(name)
    if shape is None:
        raise InputError(f"the rank of the input `{name}` is not known", hint="give --input")
    return tuple(f"{name}:{a}" if d is None else d for a, d in enumerate(shape))


def finite(sample: Sample) -> bool:
    """Tell whether all float outputs are numbers."""
    floats = (
        v for v in sample.outputs.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"
    )
    return all(bool(np.isfinite(v).all()) for v in floats)


def owners(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Array:
    """Return masks ``[count, *shape]``: every entry belongs to one of `count`, or to nobody."""
    owner = rng.integers(0, count + 1, shape)
    return np.asarray(owner[None] == np.arange(count).reshape(-1, *[1] * len(shape)))
