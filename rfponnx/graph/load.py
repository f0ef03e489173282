"""Read a model, refuse what cannot be one, and keep external data where it lies."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from rfponnx.errors import ModelError

#: Protobuf cannot hold more in one message.
PROTO_LIMIT = 2**31 - 1

_NOT_ONNX = "not an ONNX model"
_NO_TEXT = "damaged file: a name is not UTF-8 text"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model as it was read.

    Parameters
    ----------
    proto
        The model; external tensors are references, their data is not loaded.
    folder
        Where the external data lies; None for bytes and protos.
    name
        File name for messages, or "model".
    path
        The file, or None.
    """

    proto: ModelProto
    folder: Path | None
    name: str
    path: Path | None


def load(model: str | os.PathLike[str] | bytes | ModelProto) -> Loaded:
    """Return the model read and checked as far as its structure goes.

    Raises
    ------
    ModelError
        If it is missing, no ONNX model, has undefined or doubly defined
        tensors or a cycle, or if its external data is missing, too short or
        outside the folder of the model.
    """
    if isinstance(model, ModelProto):
        loaded = Loaded(model, None, "model", None)
    elif isinstance(model, (bytes, bytearray, memoryview)):
        loaded = Loaded(_parse(bytes(model), "model"), None, "model", None)
    else:
        path = Path(model)
        loaded = Loaded(_parse(_read(path), path.name), path.parent, path.name, path)
    try:
        _check_text(loaded.proto.graph)
        _check_graph(loaded.proto)
        _check_external(loaded.proto, loaded.folder)
    except UnicodeDecodeError as error:
        raise ModelError(_NO_TEXT, loaded.name) from error
    except ModelError as error:
        raise ModelError(error.what, _join(loaded.name, error.where), error.hint) from error
    return loaded


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that a control-flow node holds."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def reads(node: NodeProto) -> set[str]:
    """Return the names a node reads, those its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= free_names(graph)
    return names


def free_names(graph: GraphProto) -> set[str]:
    """Return the names that a subgraph takes from the graphs around it."""
    own = _given(graph)
    used = {value.name for value in graph.output}
    for node in graph.node:
        own.update(node.output)
        used |= reads(node)
    return used - own - {""}


def order(nodes: Sequence[NodeProto]) -> list[int]:
    """Return the stable topological order of `nodes` (of positions).

    The node that comes first in the file is taken whenever it can run, so a
    graph in order keeps its order.  Nodes on or behind a cycle are left out.
    """
    needs = _needs(nodes)
    readers: dict[int, list[int]] = {}
    for i, sources in enumerate(needs):
        for source in sources:
            readers.setdefault(source, []).append(i)
    missing = [len(sources) for sources in needs]
    ready = [i for i, count in enumerate(missing) if not count]
    done: list[int] = []
    while ready:
        done.append(heapq.heappop(ready))
        for reader in readers.get(done[-1], ()):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return done


def _needs(nodes: Sequence[NodeProto]) -> list[set[int]]:
    producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    return [{producer[n] for n in reads(node) if n in producer} for node in nodes]


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every stored tensor: initializers and attributes, nested graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.TENSORS:
                yield from attribute.tensors
        for inner in subgraphs(node):
            yield from tensors(inner)


def is_external(tensor: TensorProto) -> bool:
    """Say whether the data of a tensor lies in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def stored_bytes(tensor: TensorProto) -> int:
    """Return the number of bytes that type and dimensions call for.

    Raises
    ------
    ModelError
        If the type has no fixed size or a dimension is negative.
    """
    count = 1
    for dim in tensor.dims:
        count *= dim
    try:
        bits = _bits(tensor.data_type)
    except (KeyError, TypeError) as error:
        raise ModelError("external data of a type without fixed size", tensor.name) from error
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"negative dimension in {list(tensor.dims)}", tensor.name)
    return (count * bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the bytes of an external tensor lie: a file below the model's folder."""

    location: str
    offset: int
    length: int


def reference(tensor: TensorProto) -> Reference:
    """Return where the data of an external tensor lies.

    Raises
    ------
    ModelError
        If the entry is malformed, or names a place outside the model's folder.
    """
    entry = {e.key: e.value for e in tensor.external_data}
    where = f"initializer `{tensor.name}`"
    need = stored_bytes(tensor)
    try:
        offset, length = int(entry.get("offset", 0)), int(entry.get("length", need))
    except ValueError as error:
        raise ModelError("offset or length of its external data is no number", where) from error
    location = entry.get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if not posix.name or "\0" in location:
        raise ModelError("its external data names no file", where)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in windows.parts:
        raise ModelError(
            f"external data `{location}` lies outside the folder of the model",
            where,
            "put the data file beside the model",
        )
    if offset < 0 or length < need:
        raise ModelError(f"external data has {length} bytes at {offset}, needs {need}", where)
    return Reference(location, offset, length)


def _bits(data_type: int) -> int:
    if data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise KeyError(data_type)
    name = TensorProto.DataType.Name(data_type)
    if name in ("INT4", "UINT4", "FLOAT4E2M1"):
        return 4
    if name in ("INT2", "UINT2"):
        return 2
    return 8 * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError("is a directory", str(path), "name the .onnx file in it")
        if not path.exists():
            raise ModelError("no such file", str(path))
        if not path.is_file():
            raise ModelError("is not a regular file", str(path))
        if path.stat().st_size > PROTO_LIMIT:
            raise ModelError(
                "larger than 2 GB, which protobuf cannot read", path.name, "use external data"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"cannot be read: {reason}", str(path)) from error


def _parse(data: bytes, name: str) -> ModelProto:
    if not data:
        raise ModelError("is empty", name, "write or download the file again")
    if data.startswith(b"version https://git-lfs"):
        raise ModelError("is a Git LFS pointer, not the model", name, "run `git lfs pull`")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ModelError(_NOT_ONNX, name, "the file is truncated or of another kind") from error
    return proto


def _check_text(graph: GraphProto) -> None:
    """Refuse names that are no text: protobuf hands them out as bytes, or raises."""
    values = (*graph.input, *graph.output, *graph.initializer)
    names: list[str | bytes] = [value.name for value in values]
    for node in graph.node:
        names += (node.name, node.op_type, node.domain, *node.input, *node.output)
        names += (attribute.name for attribute in node.attribute)
        for inner in subgraphs(node):
            _check_text(inner)
    if any(isinstance(name, bytes) for name in names):
        raise ModelError(_NO_TEXT)


def _check_graph(proto: ModelProto) -> None:
    if not proto.HasField("graph"):
        raise ModelError(f"{_NOT_ONNX}: it holds no graph", hint="the file is of another kind")
    graph = proto.graph
    if not graph.node:
        raise ModelError("the graph has no nodes")
    if not graph.output:
        raise ModelError("the graph has no outputs")
    _check_scope(graph, frozenset())
    if len(runnable := order(graph.node)) < len(graph.node):
        raise ModelError("the nodes form a cycle", _cycle(graph.node, runnable), "break the cycle")


def _check_scope(graph: GraphProto, outer: frozenset[str]) -> None:
    """Refuse tensors that two nodes produce, or that nothing produces."""
    given = _given(graph)
    produced: dict[str, str] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in produced or name in given:
                other = produced.get(name, "an input or initializer")
                raise ModelError(f"tensor `{name}` is also produced by {other}", label(node, i))
            produced[name] = label(node, i)
    known = outer | given | produced.keys()
    for i, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in known:
                raise ModelError(f"reads tensor `{name}`, which nothing defines", label(node, i))
        for inner in subgraphs(node):
            _check_scope(inner, known)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"nothing produces the output `{value.name}`")


def label(node: NodeProto, index: int) -> str:
    """Return how messages call a node: its operator and its name or position."""
    return f"{node.op_type} node `{node.name or f'{node.op_type}_{index}'}`"


def _given(graph: GraphProto) -> set[str]:
    names = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    return names | {sparse.values.name for sparse in graph.sparse_initializer}


def _cycle(nodes: Sequence[NodeProto], runnable: Iterable[int]) -> str:
    """Name one node of a cycle: walk backwards inside what can never run."""
    needs = _needs(nodes)
    stuck = set(range(len(nodes))).difference(runnable)
    seen: set[int] = set()
    at = min(stuck)
    while at not in seen:
        seen.add(at)
        at = min(needs[at] & stuck)
    return label(nodes[at], at)


def _check_external(proto: ModelProto, folder: Path | None) -> None:
    held = [t for t in tensors(proto.graph) if is_external(t)]
    for function in proto.functions:
        held += (t for t in tensors(GraphProto(node=function.node)) if is_external(t))
    if held and folder is None:
        raise ModelError(
            "external data of a model that has no folder",
            f"initializer `{held[0].name}`",
            "give the path of the model file",
        )
    sizes: dict[str, int] = {}
    for tensor in held:
        assert folder is not None
        ref = reference(tensor)
        if ref.location not in sizes:
            sizes[ref.location] = _data_size(folder, ref.location)
        if ref.offset + ref.length > sizes[ref.location]:
            raise ModelError(
                f"external data `{ref.location}` is too short "
                f"({sizes[ref.location]} bytes, {ref.offset + ref.length} needed)",
                f"initializer `{tensor.name}`",
                "copy or download the data file again",
            )


def _data_size(folder: Path, location: str) -> int:
    path = folder / location
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside:
            raise ModelError(
                f"external data `{location}` is a link that leads outside the folder of the model",
                hint="put the data file itself beside the model",
            )
        if not path.is_file():
            raise ModelError(
                f"external data `{location}` is missing", hint="put it beside the model file"
            )
        return path.stat().st_size
    except (OSError, RuntimeError) as error:
        raise ModelError(f"external data `{location}` cannot be read", hint=str(error)) from error


def _join(file: str, where: str) -> str:
    return f"{file}: {where}" if where else file
