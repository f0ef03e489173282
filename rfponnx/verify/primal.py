"""The primal is untouched, and the overlay only reads from it (DESIGN 1.1)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from rfponnx.errors import RfpError
from rfponnx.graph.external import is_external, reference
from rfponnx.graph.load import Loaded
from rfponnx.graph.prepare import Prepared
from rfponnx.graph.walk import tensors
from rfponnx.methods.metadata import KEY
from rfponnx.plan.sources import mask_input, masks_input
from rfponnx.verify.report import Check, judged

_CHUNK = 1 << 20
#: What the overlay adds to; everything else of a model stays as it is.
_GROWING = ("node", "initializer", "input", "output")


def primal_checks(
    prepared: Prepared, converted: Loaded, described: Mapping[str, Any]
) -> tuple[Check, Check]:
    """Compare every proto of the primal, and look at what was added."""
    changed = list(differences(prepared, converted))
    wrong = list(trespasses(prepared.proto, converted.proto, described))
    return (
        judged("primal unchanged", len(changed), 0, changed[0] if changed else ""),
        judged("overlay only reads", len(wrong), 0, wrong[0] if wrong else ""),
    )


def differences(prepared: Prepared, converted: Loaded) -> Iterator[str]:
    """Yield what is not as in the prepared primal, a clause each."""
    ours, theirs = prepared.proto, converted.proto
    for name in _fields(ours, "graph", "metadata_props"):
        if not _same(getattr(ours, name), getattr(theirs, name)):
            yield f"the model's {name} differs"
    if _properties(ours) != _properties(theirs):
        yield "the model's metadata differs"
    for name in _fields(ours.graph, *_GROWING):
        if not _same(getattr(ours.graph, name), getattr(theirs.graph, name)):
            yield f"the graph's {name} differs"
    folders = (prepared.loaded.folder, converted.folder)
    outside = any(is_external(t) for p in (ours, theirs) for t in tensors(p.graph))
    for name in _GROWING:
        old, new = getattr(ours.graph, name), getattr(theirs.graph, name)
        if len(new) < len(old):
            yield f"{len(old) - len(new)} of {len(old)} {name} protos are missing"
        for index, (one, two) in enumerate(zip(old, new, strict=False)):
            if not (_same_proto(one, two, folders) if outside else _same(one, two)):
                yield f"{name} {index} `{one.name or two.name}` differs"


def trespasses(
    primal: ModelProto, converted: ModelProto, described: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what the overlay may not have: foreign names, domains, inputs, outputs."""
    prefix = f"{described.get('prefix')}/"
    added = {name: list(_added(primal, converted, name)) for name in _GROWING}
    results = {value.name for value in added["output"]}
    for node in added["node"]:
        if node.domain not in ("", "ai.onnx"):
            yield f"overlay node `{node.name}` is no standard operator ({node.domain})"
        for name in (node.name, *node.output):
            if name and not name.startswith(prefix) and name not in results:
                yield f"overlay node `{node.name}` has the name `{name}` outside `{prefix}`"
    for tensor in added["initializer"]:
        if not tensor.name.startswith(prefix):
            yield f"overlay constant `{tensor.name}` lies outside `{prefix}`"
    expected = set(described.get("report", {}).get("outputs", ()))
    if results != expected:
        yield f"the outputs {sorted(results ^ expected)} are not those of the metadata"
    known = run_time_masks(described) | set(described.get("extra_inputs", ()))
    if (given := {value.name for value in added["input"]}) != known:
        yield f"the inputs {sorted(given ^ known)} are not those of the metadata"


def run_time_masks(described: Mapping[str, Any]) -> set[str]:
    """Return the names of the mask inputs that a conversion added."""
    if described.get("masks"):
        return {masks_input(described["masks"])}
    pairs = zip(described["source_names"], described["sources"], strict=True)
    return {mask_input(name) for name, spec in pairs if spec.endswith("@mask") or "@mask+" in spec}


def first_difference(ours: ModelProto, theirs: ModelProto, primal: ModelProto) -> str:
    """Return the first overlay node or constant that is not the same in both, or nothing."""
    for name in ("node", "initializer"):
        old, new = list(_added(primal, ours, name)), list(_added(primal, theirs, name))
        for one, two in zip(old, new, strict=False):
            if not _same(one, two):
                return _called(one) or _called(two) or name
        if len(old) != len(new):
            longer = old if len(old) > len(new) else new
            return _called(longer[min(len(old), len(new))]) or name
    return ""


def _called(proto: Any) -> str:
    """Return a name; a copied node may have none but that of what it makes."""
    return str(proto.name or next(iter(getattr(proto, "output", ())), ""))


def _added(primal: ModelProto, model: ModelProto, name: str) -> Sequence[Any]:
    found: Sequence[Any] = getattr(model.graph, name)[len(getattr(primal.graph, name)) :]
    return found


def _fields(message: Message, *but: str) -> list[str]:
    return [f.name for f in message.DESCRIPTOR.fields if f.name not in but]


def _properties(model: ModelProto) -> list[tuple[str, str]]:
    return [(p.key, p.value) for p in model.metadata_props if p.key != KEY]


def _same(one: Any, two: Any) -> bool:
    """Compare messages, lists of them, or plain values; NaN equals NaN."""
    if one == two:
        return True
    if isinstance(one, Message) and isinstance(two, Message):
        return _bytes(one) == _bytes(two)
    if isinstance(one, str | bytes | int | float):
        return False
    return len(one) == len(two) and all(map(_same, one, two))


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _same_proto(one: Any, two: Any, folders: tuple[Path | None, Path | None]) -> bool:
    """Compare two protos of one kind; external data by its bytes, wherever it lies."""
    if _same(one, two):
        pairs: Iterable[tuple[TensorProto, TensorProto]] = zip(_held(one), _held(two), strict=True)
    else:
        held = list(_held(one)), list(_held(two))
        inside = any(map(is_external, held[0])) or any(map(is_external, held[1]))
        if len(held[0]) != len(held[1]) or not inside or not _same(_bare(one), _bare(two)):
            return False
        pairs = zip(*held, strict=True)
    return all(_same_bytes(a, b, folders) for a, b in pairs if is_external(a) or is_external(b))


def _held(proto: Any) -> Iterator[TensorProto]:
    if isinstance(proto, TensorProto):
        yield proto
    elif isinstance(proto, NodeProto):
        yield from tensors(GraphProto(node=[proto]))


def _bare(proto: Any) -> Any:
    """Return a copy without the values of its tensors."""
    empty = copy.deepcopy(proto) if isinstance(proto, NodeProto) else TensorProto(name=proto.name)
    if isinstance(proto, TensorProto):
        empty.data_type, empty.doc_string = proto.data_type, proto.doc_string
        empty.dims.extend(proto.dims)
        return empty
    held = [a.t for a in empty.attribute if a.HasField("t")]
    for tensor in held:
        tensor.CopyFrom(_bare(tensor))
    return empty


def _same_bytes(
    one: TensorProto, two: TensorProto, folders: tuple[Path | None, Path | None]
) -> bool:
    """Compare the stored bytes of two tensors, a chunk at a time."""
    try:
        if _place(one, folders[0]) == _place(two, folders[1]) is not None:
            return True
        pairs = zip(_chunks(one, folders[0]), _chunks(two, folders[1]), strict=True)
        return all(a == b for a, b in pairs)
    except (OSError, ValueError, RfpError):
        return False


def _place(tensor: TensorProto, folder: Path | None) -> tuple[Path, int, int] | None:
    if not is_external(tensor) or folder is None:
        return None
    ref = reference(tensor)
    return (folder / ref.location).resolve(), ref.offset, ref.length


def _chunks(tensor: TensorProto, folder: Path | None) -> Iterator[bytes]:
    place = _place(tensor, folder)
    if place is None:
        data = tensor.raw_data
        yield from (data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK))
        return
    path, offset, length = place
    with path.open("rb") as file:
        file.seek(offset)
        while length > 0 and (part := file.read(min(_CHUNK, length))):
            yield part
            length -= len(part)
