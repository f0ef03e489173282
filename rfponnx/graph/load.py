"""Read a model, refuse what cannot be one, and keep external data where it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto

from rfponnx.errors import ModelError
from rfponnx.graph.external import check_external
from rfponnx.graph.stored import check_stored
from rfponnx.graph.walk import given, label, needs, order, subgraphs

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
        tensors or a cycle, stored tensors of another size than they say, or if
        its external data is missing, too short or outside the folder of the model.
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
        check_external(loaded.proto, loaded.folder)
        check_stored(loaded.proto)
    except UnicodeDecodeError as error:
        raise ModelError(_NO_TEXT, loaded.name) from error
    except ModelError as error:
        raise ModelError(error.what, _join(loaded.name, error.where), error.hint) from error
    return loaded


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
    start = given(graph)
    produced: dict[str, str] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in produced or name in start:
                other = produced.get(name, "an input or initializer")
                raise ModelError(f"tensor `{name}` is also produced by {other}", label(node, i))
            produced[name] = label(node, i)
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            _check_constant(node, label(node, i))
    known = outer | start | produced.keys()
    for i, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in known:
                raise ModelError(f"reads tensor `{name}`, which nothing defines", label(node, i))
        for inner in subgraphs(node):
            _check_scope(inner, known)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"nothing produces the output `{value.name}`")


def _check_constant(node: NodeProto, where: str) -> None:
    """Refuse a Constant that stores nothing, or reads; ONNX Runtime takes what it finds."""
    held = [a.name for a in node.attribute if a.name.startswith(("value", "sparse_value"))]
    if len(held) != 1 or node.input:
        raise ModelError("a Constant has one stored value and no inputs", where)


def _cycle(nodes: Sequence[NodeProto], runnable: Iterable[int]) -> str:
    """Name one node of a cycle: walk backwards inside what can never run."""
    sources = needs(nodes)
    stuck = set(range(len(nodes))).difference(runnable)
    seen: set[int] = set()
    at = min(stuck)
    while at not in seen:
        seen.add(at)
        at = min(sources[at] & stuck)
    return label(nodes[at], at)


def _join(file: str, where: str) -> str:
    return f"{file}: {where}" if where else file
