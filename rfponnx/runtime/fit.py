"""Patterns of a model from data: one pass, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from rfponnx.errors import InputError, OptionError
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import Prepared, prepare
from rfponnx.methods.fit_patterns import Moments, check_estimator
from rfponnx.methods.patterns import Layer, layers
from rfponnx.runtime.inputs import read_inputs
from rfponnx.runtime.pictures import PICTURES
from rfponnx.runtime.ports import Array, Port, checked
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.session import Model, Session
from rfponnx.runtime.write import write_arrays
from rfponnx.verify.engine import Engine, Runner

Path_ = str | os.PathLike[str]
#: Samples at a time, and bytes of the activations that are looked at, unless asked for.
MOST, MEMORY = 32, 2**28
#: Arrays by input, or what brings them: files, folders of pictures, batches.
Data = Mapping[str, Any] | Path_ | Iterable[Path_] | Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The patterns of one layer.

    Attributes
    ----------
    units, undetermined
        How many units it has, and how many of them have the pattern 0 because they never were
        on, or never changed.
    seen
        Samples, of a convolution times positions.
    """

    node: str
    op: str
    weight: str
    shape: tuple[int, ...]
    units: int
    undetermined: int
    seen: int


@dataclass(frozen=True, slots=True)
class Patterns:
    """The patterns of a model.

    Attributes
    ----------
    arrays
        By the name of a weight, and of its shape: one pattern a unit.
    layers
        What was fitted, in the order of the file.
    left_out
        Why other nodes have no patterns, a sentence each.
    samples
        How many were seen.
    """

    arrays: Mapping[str, Array]
    layers: tuple[Fitted, ...]
    left_out: tuple[str, ...]
    estimator: str
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Return what was fitted as JSON data, without the arrays."""
        return {
            "estimator": self.estimator,
            "samples": self.samples,
            "layers": [asdict(one) for one in self.layers],
            "left_out": list(self.left_out),
        }

    def save(self, path: Path_, *, force: bool = False) -> Path:
        """Write an .npz archive with the names of the weights as keys, whole or not at all.

        Raises
        ------
        OutputError
            The file exists (without `force`) or cannot be written.
        """
        where = Path(path)
        write_arrays(where, self.arrays, force=force)
        return where


def fit_patterns(
    model: Model,
    data: Data,
    *,
    estimator: str = "positive",
    batch: int | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    pixels: Pixels | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Patterns:
    """Estimate the patterns of all linear layers with a constant weight (Conv, Gemm, MatMul).

    Parameters
    ----------
    model
        A path, the bytes of a file, or a ModelProto.
    data
        Arrays by input name; or files and folders as on the command line: ``.npy``, ``.npz``,
        pictures, folders of pictures, ``NAME=`` in front where there are several inputs; or
        batches, each a mapping of arrays, taken one after the other.
    estimator
        ``positive``: the two-component estimator of the positive regime; ``linear``.
    batch
        Samples at a time, by default 32 or what 256 MB of activations allow; a model of a fixed
        batch takes its own.
    provider, threads
        As `Session`.
    pixels
        How stored numbers become the numbers of the network.
    progress
        Called with a text after every batch.

    Raises
    ------
    RfpError
        One line: what is wrong, where, what to do.
    """
    check_estimator(estimator)
    if batch is not None and batch < 1:
        raise OptionError(f"{batch} at a time", "--batch", "give 1 or more")
    session = Session(model, provider, threads=threads, optimisation="none")
    ports, name = session.inputs, session.name
    del session
    graph = Graph(prepare(load(model), 1))
    found, left_out = layers(graph)
    moments = [Moments(layer, _weight(graph, layer.weight), estimator) for layer in found]
    runner = _tapped(graph, found, Engine(provider, threads))
    stored = {n: graph.constant(n) for n in _read(found) if graph.is_constant(n)}
    samples = 0

    def take(feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        made = runner.run(feeds, [n for n in runner.outputs if n not in feeds])
        return {**stored, **feeds, **made}

    for arrays in _pieces(data, ports, pixels or Pixels(), batch or MOST):
        if batch is None:
            batch = _fitting(take(next(_cut(arrays, ports, 1, name))))
        for feeds in _cut(arrays, ports, batch, name):
            values = take(feeds)
            for one in moments:
                a = one.layer
                offset = values[a.offset] if a.offset else None
                one.add(values[a.x], values[a.y], values[a.gate], offset)
            samples += _count(feeds, ports)
            progress(f"{samples} samples")
    if not samples:
        raise InputError("no samples", name, "give pictures, .npy or .npz files")
    patterns = [one.pattern() for one in moments]
    return Patterns(
        {one.layer.weight: a for one, (a, _) in zip(moments, patterns, strict=True)},
        tuple(_fitted(one, *p) for one, p in zip(moments, patterns, strict=True)),
        left_out, estimator, samples,
    )  # fmt: skip


def _fitting(values: Mapping[str, Array]) -> int:
    """Return how many samples at a time stay within memory, from the values of one."""
    return min(MOST, max(1, MEMORY // max(1, sum(a.nbytes for a in values.values()))))


def _read(found: Sequence[Layer]) -> dict[str, None]:
    """Return all tensors whose values the layers need, in order."""
    return {n: None for a in found for n in (a.x, a.y, a.gate, a.offset) if n}


def _weight(graph: Graph, name: str) -> Array:
    value = graph.constant(name)
    assert value is not None  # a layer has one
    return value


def _fitted(one: Moments, pattern: Array, undetermined: int) -> Fitted:
    layer, units = one.layer, len(one.layer.rows(pattern))
    return Fitted(layer.node, layer.op, layer.weight, pattern.shape, units, undetermined, one.count)


def _tapped(graph: Graph, found: Sequence[Layer], engine: Engine) -> Runner:
    """Open the model with what the layers need, and nothing else, as its outputs."""
    prepared: Prepared = graph.prepared
    wanted = [n for n in _read(found) if n not in graph.inputs and not graph.is_constant(n)]
    proto = ModelProto()
    proto.CopyFrom(prepared.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(ValueInfoProto(name=n) for n in wanted)
    loaded = prepared.loaded
    return engine.of_proto(proto, loaded.folder, loaded.name, optimise=True)


def _pieces(
    data: Data, ports: Sequence[Port], pixels: Pixels, batch: int
) -> Iterator[Mapping[str, Any]]:
    """Yield arrays by input, as much as one read brings."""
    if isinstance(data, Mapping):
        yield data
        return
    specs = []
    for item in [data] if isinstance(data, str | os.PathLike) else data:
        if isinstance(item, Mapping):
            yield item  # at once: a generator may make one after the other
        else:
            specs.append(os.fspath(item))
    folders = [spec for spec in specs if Path(_file(spec)).is_dir()]
    held = read_inputs([spec for spec in specs if spec not in folders], ports, pixels)
    pictures: dict[str, list[str]] = {}
    for spec in folders:
        pictures.setdefault(spec.removesuffix(_file(spec)), []).extend(_pictures(spec))
    if held and not pictures:
        yield held
    counts = {n: len(a) if a.ndim else 1 for n, a in held.items()} if pictures else {}
    counts |= {n.rstrip("=") or "pictures": len(found) for n, found in pictures.items()}
    _refuse_unlike(counts)
    for first in range(0, max(counts.values()) if pictures else 0, batch):
        part = slice(first, first + batch)
        read = read_inputs([p for found in pictures.values() for p in found[part]], ports, pixels)
        yield {**{n: a[part] for n, a in held.items()}, **read}


def _file(spec: str) -> str:
    """Return the path of ``NAME=PATH``."""
    return spec if os.path.exists(spec) else spec.partition("=")[2] or spec


def _pictures(spec: str) -> list[str]:
    """Return the pictures of a folder and the folders in it, sorted, as ``NAME=FILE``."""
    folder, name = Path(_file(spec)), spec.removesuffix(_file(spec))
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not found:
        hint = f"it may hold {', '.join(sorted(PICTURES))}"
        raise InputError("no pictures in this folder", str(folder), hint)
    return [f"{name}{p}" for p in found]


def _cut(
    arrays: Mapping[str, Any], ports: Sequence[Port], batch: int, model: str
) -> Iterator[dict[str, Array]]:
    """Yield feeds that fit: `batch` samples of axis 0, or as many as the model is fixed to.

    Beside inputs whose axis 0 is free, those of a fixed size are no samples and stay whole.
    """
    given = {n: np.asarray(a) for n, a in arrays.items()}
    sampled = [p for p in ports if p.shape and p.name in given and given[p.name].ndim]
    free = {p.name: batch for p in sampled if not isinstance(p.shape[0], int)}
    _refuse_unlike({n: len(given[n]) for n in free})
    steps = free or {p.name: _step(p, batch) for p in sampled}
    _refuse_unlike({n: -(-len(given[n]) // step) for n, step in steps.items()}, "batches")
    runs = max((-(-len(given[n]) // step) for n, step in steps.items()), default=1)
    for index in range(max(runs, 1)):
        cuts = {n: slice(index * step, (index + 1) * step) for n, step in steps.items()}
        yield checked({n: a[cuts[n]] if n in cuts else a for n, a in given.items()}, ports, model)


def _refuse_unlike(counts: Mapping[str, int], of: str = "samples") -> None:
    """Refuse inputs that bring different numbers of samples."""
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"`{n}` {count}" for n, count in counts.items())
        raise InputError(f"the inputs differ in their {of}: {sizes}", hint="give as many of each")


def _step(p: Port, batch: int) -> int:
    first = p.shape[0]
    return first if isinstance(first, int) else batch


def _count(feeds: Mapping[str, Array], ports: Sequence[Port]) -> int:
    """Return how many samples there are: along a free axis 0 if any input has one."""
    free = [p for p in ports if p.shape and not isinstance(p.shape[0], int)]
    return next((len(feeds[p.name]) for p in free or ports if p.shape), 1)
